"""Metrics are text that a strict reader takes, with the numbers of the batches, whatever tables are called."""

from datetime import UTC, datetime, timedelta

import exposition
import pytest
import requests

from lakehouse.errors import StoreUnavailable
from lakehouse.events.event import Event
from lakehouse.events.reader import Reader
from lakehouse.events.sqlite_inbox import SqliteInbox
from lakehouse.service import lake_metrics
from lakehouse.service.event_metrics import event_metrics
from lakehouse.service.health import ServiceHealth, State, serve
from lakehouse.settings import Settings
from lakehouse.streams.progress import BatchProgress

HOSTILE = [
    'bronze.a"b',
    "bronze.back\\slash",
    "bronze.two\nlines",
    'bronze.x"} 1\nlakehouse_up{y="',
    "bronze.ż 😀",
    "bronze.\\n",
    "bronze.end\\",
]


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def sample(samples, name, **labels):
    return samples.get((name, frozenset(labels.items())))


def of(health):
    return exposition.read(health.metrics().decode())[0]


def test_the_numbers_of_batches_are_sums_and_those_of_the_newest():
    clock = Clock()
    health, table = ServiceHealth(["bronze.a"], now=clock), "bronze.a"
    behind = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    health.batch(BatchProgress(table, 0, 100, 2.0, rescued_rows=1, late_rows=4))
    assert sample(of(health), "lakehouse_last_batch_input_rows_per_second", table=table) is None
    clock.seconds += 20
    newest = {"rescued_rows": 2, "late_rows": 0, "backlog_bytes": 9, "state_rows": 5, "state_memory_bytes": 4096}
    phases = {"addBatch": 2500}
    health.batch(BatchProgress(table, 1, 300, 4.0, watermark=behind, phases_milliseconds=phases, **newest))
    told = of(health)

    def value(name):
        return sample(told, f"lakehouse_{name}", table=table)

    assert value("batch_input_rows_total") == 400
    assert (value("batch_rescued_rows_total"), value("batch_late_rows_total")) == (3, 4)
    assert value("batch_corrupt_rows_total") is None, "what nobody measured is not told as zero"
    assert (value("batch_duration_seconds_count"), value("batch_duration_seconds_sum")) == (2, 6)
    assert value("last_batch_input_rows") == 300
    assert value("last_batch_input_rows_per_second") == pytest.approx(300 / 18)
    assert (value("last_batch_processed_rows_per_second"), value("last_batch_duration_seconds")) == (75, 4)
    assert (value("last_batch_state_memory_bytes"), value("last_batch_backlog_bytes")) == (4096, 9)
    assert 600 <= value("last_batch_watermark_lag_seconds") < 700
    assert sample(told, "lakehouse_last_batch_phase_seconds", table=table, phase="addBatch") == 2.5


@pytest.mark.parametrize("table", HOSTILE)
def test_a_table_may_be_called_whatever_it_is(table):
    health = ServiceHealth([table])
    health.batch(BatchProgress(table, 0, 7, 1.0, latencies_seconds=(1.0,), phases_milliseconds={table: 1}))
    told = of(health)
    assert sample(told, "lakehouse_batch_input_rows_total", table=table) == 7
    assert sample(told, "lakehouse_last_batch_phase_seconds", table=table, phase=table) == 0.001
    assert {dict(labels)["table"] for _, labels in told} == {table}
    assert not any(name == "lakehouse_up" for name, _ in told)


def test_a_stream_has_one_state():
    health = ServiceHealth(["bronze.a"])
    states = {State(dict(labels)["lakehouse_stream_state"]): on for (_, labels), on in of(health).items() if on == 1}
    assert [*states] == [State.STARTING]


def test_files_that_no_event_told_of_are_counted(tmp_path):
    where = tmp_path / "inbox.sqlite"
    settings = Settings.load(home=tmp_path, events_inbox=str(where))
    assert [*event_metrics(settings)] == []
    inbox, now = SqliteInbox(where, create=True), datetime(2026, 3, 1, tzinfo=UTC)
    inbox.put([Event("landing", f"{key}.json", "e", 1, now, "1") for key in "abc"], now)
    counts = {"told_in_all": 30, "lost_in_all": 10, "told_before": 6, "lost_before": 2}
    inbox.listed(Reader("the journal", 1, 1, "s", now, **counts))
    inbox.close()
    health = ServiceHealth(["bronze.a"], also=lambda: event_metrics(settings))
    told = of(health)
    names = ("files_total", "lost_files_total", "loss_ratio", "unread", "listed_timestamp_seconds")
    found = [sample(told, f"lakehouse_events_{name}", reader="the journal") for name in names]
    assert found == [30, 10, 0.25, 2, now.timestamp()]
    where.write_bytes(b"no database" * 1000)
    assert of(health), "an inbox that cannot be read is no reason to tell nothing"


def test_a_lake_that_cannot_be_looked_at_is_a_metric_without_its_keys(monkeypatch, tmp_path, caplog):
    def away(settings):
        raise StoreUnavailable("no answer", where="here", state="nothing was read", next_command="lakehouse up")

    monkeypatch.setattr(lake_metrics, "find_store", away)
    told = lake_metrics.scraped(Settings.load(home=tmp_path, s3_access_key="a", s3_secret_key="canary-of-a-key"))
    assert exposition.read(told.decode())[0] == {("lakehouse_up", frozenset()): 0}
    assert "no answer" in caplog.text and "canary" not in caplog.text + told.decode()


def test_the_type_of_the_page_is_that_of_the_format():
    with serve(ServiceHealth(["bronze.a"]), 0) as address:
        answer = requests.get(f"{address}/metrics?name[]=x", timeout=10)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    exposition.read(answer.text)


@pytest.mark.parametrize(
    "wrong",
    [
        'a{b="c"} 1\n',
        "# HELP a h\n# TYPE a gauge\na 1\na 1\n",
        '# HELP a h\n# TYPE a gauge\na{b="c\\x"} 1\n',
        '# HELP a h\n# TYPE a gauge\na{b="c"d"} 1\n',
        "# HELP a h\n# TYPE a counter\na 1\n",
        "# HELP a h\n# TYPE a gauge\n# HELP b h\n# TYPE b gauge\na 1\n",
        "# HELP a h\n# TYPE a gauge\na one\n",
        "# HELP a h\n# TYPE a gauge\na 1",
    ],
)
def test_the_reader_of_these_tests_is_strict(wrong):
    with pytest.raises((AssertionError, ValueError)):
        exposition.read(wrong)
