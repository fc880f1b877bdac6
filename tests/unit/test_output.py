"""Whatever keys, columns, values and errors are called: a terminal shows it, and nothing else happens."""

import io
import json
import os
import subprocess
from pathlib import Path

import pytest
import typer
from command import COMMAND
from rich.console import Console

from lakehouse.cli import output
from lakehouse.errors import ConfigurationError
from lakehouse.plain_text import printable, shortened
from lakehouse.table import Finding

NASTY = {
    "closing tag": ("[/x].json", "[/x].json"),
    "link": ("[link=file:///etc]a[/link]", "[link=file:///etc]a[/link]"),
    "style": ("[bold red]a[/]", "[bold red]a[/]"),
    "backslash": ("\\[x]", "\\[x]"),
    "mathtext": (r"$\frac$", r"$\frac$"),
    "emoji": ("🧊.json", "🧊.json"),
    "name of an emoji": (":warning:.json", ":warning:.json"),
    "family": ("👨\u200d👩\u200d👧.json", "👨\u200d👩\u200d👧.json"),
    "line end": ("a\nerror: b\r", r"a\nerror: b\r"),
    "colour": ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    "hyperlink": ("\x1b]8;;http://x\x07a\x1b]8;;\x07", r"\x1b]8;;http://x\x07a\x1b]8;;\x07"),
    "eight-bit escape": ("\x9b2J", r"\x9b2J"),
    "right to left": ("\u202egnp.exe", r"\u202egnp.exe"),
    "half of a character": ("\ud800", r"\ud800"),
    "nothing": ("\x00", r"\x00"),
}


@pytest.fixture(params=NASTY.values(), ids=NASTY)
def nasty(request):
    return request.param


@pytest.fixture
def shown(monkeypatch):
    """What is printed for people, on a terminal that could do everything."""
    screens = {name: io.StringIO() for name in ("_console", "_errors")}
    for name, screen in screens.items():
        console = getattr(output, name)
        monkeypatch.setattr(console, "_file", screen)
        monkeypatch.setattr(console, "_width", 500)
    return lambda: "".join(screen.getvalue() for screen in screens.values())


def test_cells_names_and_titles_of_tables_are_shown_as_they_are(shown, nasty):
    given, expected = nasty
    output.Output(False).table(["a", given], [[given, 1], [None, 2]], title=given)
    title, names, row, _ = shown().splitlines()
    assert title.rstrip() == expected
    assert names.startswith("a ")
    assert names.rstrip().endswith(expected)
    assert row.startswith(f"{expected} ")


def test_lines_and_progress_are_shown_as_they_are(shown, nasty):
    given, expected = nasty
    out = output.Output(False)
    out.line(f"{given}: loaded")
    out.line(f"{given}: loaded", style="yellow")
    out.say(given)
    assert shown().splitlines() == [f"{expected}: loaded"] * 2 + [f" {expected}"]


def test_errors_keep_their_lines_and_nothing_else_is_one(shown, nasty):
    given, expected = nasty
    with pytest.raises(typer.Exit), output.command(False):
        raise ConfigurationError(given.replace("\n", " "), where=given, next_command=f"lakehouse files --table {given}")
    assert shown().splitlines() == [
        f"error: {expected.replace(chr(92) + 'n', ' ')}",
        f"  where  {expected}",
        f"  next   lakehouse files --table {expected}",
    ]


def test_json_is_exact(capsys, nasty):
    given, _ = nasty
    with output.command(True) as out:
        out.line(given)
        out.table([given], [[given]])
        out.result({given: [given]})
    assert json.loads(capsys.readouterr().out) == {given: [given]}


def test_the_end_of_a_server_s_log_stays_in_lines(shown):
    with pytest.raises(typer.Exit), output.command(False):
        raise ConfigurationError("it did not start:\nfirst\x1b[2J\n\tsecond", where="log")
    assert shown().splitlines() == ["error: it did not start:", r"first\x1b[2J", r"\tsecond", "  where  log"]


def test_a_console_of_this_package_reads_nothing_into_text():
    consoles = [value for value in vars(output).values() if isinstance(value, Console)]
    assert len(consoles) == 2
    assert not any(console._markup or console._emoji for console in consoles)


def test_long_text_is_cut_and_says_so():
    assert shortened("x" * 10, 10) == "x" * 10
    assert shortened("x" * 1_000_000, 10) == "xxxxxxxxxx… (1,000,000 characters)"
    assert printable("a\nb\r", lines=True) == "a\nb\\r"


def test_a_title_is_one_line_however_narrow_its_table_is(shown):
    output.Output(False).table(["n"], [[1]], title="bronze.orders_autoloader, version 12")
    assert shown().splitlines()[0] == "bronze.orders_autoloader, version 12"


@pytest.mark.parametrize(
    ("passed", "blocks", "word"), [(True, True, "PASS"), (False, True, "FAIL"), (False, False, "WARN")]
)
def test_a_failure_that_stops_nothing_is_a_warning(passed, blocks, word):
    assert Finding("unique", "bronze.x", passed, {}, blocks=blocks).line().startswith(f"{word}  unique on bronze.x")


@pytest.mark.parametrize("words", [("explain", "LeaseHeld"), ("explain", "--json")])
def test_output_that_a_full_disk_does_not_take_is_an_error_and_no_traceback(tmp_path, words):
    environment = {**os.environ, "LAKEHOUSE_HOME": str(tmp_path)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr
