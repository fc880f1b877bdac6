from datetime import timedelta

import pytest
from typer.testing import CliRunner

from lakehouse.cli.main import app
from lakehouse.errors import ConfigurationError
from lakehouse.streams.trigger import AVAILABLE_NOW, Trigger

SPELLINGS = [
    ("availableNow", "availableNow", {"availableNow": True}),
    ("available-now", "availableNow", {"availableNow": True}),
    ("ONCE", "once", {"once": True}),
    ("processing-time=10s", "processing-time=10s", {"processingTime": "10 seconds"}),
    ("processingTime=10 seconds", "processing-time=10s", {"processingTime": "10 seconds"}),
    ("processing_time = 1 minute 30 seconds", "processing-time=90s", {"processingTime": "90 seconds"}),
    ("processing-time=500ms", "processing-time=500ms", {"processingTime": "500 milliseconds"}),
    ("processing-time=2h", "processing-time=2h", {"processingTime": "2 hours"}),
    ("continuous=1s", "continuous=1s", {"continuous": "1 second"}),
    ("default", "default", {"processingTime": "0 seconds"}),
]


@pytest.mark.parametrize(("text", "shown", "arguments"), SPELLINGS)
def test_a_trigger_is_read_in_both_spellings_and_shown_in_one(text, shown, arguments):
    trigger = Trigger.parse(text)
    assert (str(trigger), trigger.arguments()) == (shown, arguments)
    assert Trigger.parse(str(trigger)) == trigger


@pytest.mark.parametrize(
    ("text", "what", "meant"),
    [
        ("avaliableNow", "no such trigger", "availableNow"),
        ("processing-tme=5s", "no such trigger", "processing-time"),
        ("hourly", "no such trigger", ""),
        ("", "no such trigger", ""),
        ("10s", "a length of time alone", "processing-time=10s"),
        ("processing-time", "the interval is missing", "processing-time=10s"),
        ("processing-time=soon", "no length of time", ""),
        ("processing-time=0s", "longer than nothing", "default"),
        ("availableNow=5s", "takes no interval", "availableNow"),
    ],
)
def test_a_wrong_trigger_is_told_what_was_meant(text, what, meant):
    with pytest.raises(ConfigurationError, match=what) as caught:
        Trigger.parse(text)
    assert f"did you mean {meant}" in str(caught.value) if meant else "did you mean" not in str(caught.value)
    assert "processing-time=10s" in caught.value.next_command


def test_which_runs_end_by_themselves():
    assert [text for text, shown, _ in SPELLINGS if shown == text and Trigger.parse(text).ends] == ["availableNow"]
    assert Trigger.parse("once").ends
    assert Trigger.parse("availableNow") == AVAILABLE_NOW


def test_what_is_old_or_experimental_says_so():
    assert "use availableNow" in Trigger("once").advice
    assert "at least once" in Trigger("continuous", timedelta(seconds=1)).advice
    assert AVAILABLE_NOW.advice == Trigger("default").advice == ""


def test_streams_of_the_lake_refuse_continuous_with_the_reason():
    with pytest.raises(ConfigurationError, match="need micro-batches") as caught:
        Trigger.parse("continuous=1s").require_batches("bronze.t")
    assert "at least once" in caught.value.next_command
    Trigger.parse("processing-time=1s").require_batches("bronze.t")


@pytest.mark.parametrize(
    ("command", "message", "cure"),
    [
        (["ingest", "--trigger", "processing-time=5s"], "does not end", "lakehouse stream bronze.orders_autoloader"),
        (["ingest", "--trigger", "sometimes"], "no such trigger", "availableNow"),
        (["stream", "bronze.orders_autoloader", "--trigger", "sometimes"], "no such trigger", "availableNow"),
    ],
)
def test_a_command_refuses_a_trigger_before_it_opens_anything(command, message, cure, tmp_path):
    done = CliRunner().invoke(app, command, env={"LAKEHOUSE_HOME": str(tmp_path)})
    assert done.exit_code == 1
    assert message in done.stderr
    assert cure in done.stderr
    assert list(tmp_path.iterdir()) == []
