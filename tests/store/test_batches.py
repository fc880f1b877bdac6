"""``ops.batches``: a row for each committed batch, in one commit a run, that no run fails for."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from command import lakehouse_here, lakehouse_json_here
from deltalake.exceptions import DeltaError
from pydantic import SecretStr
from store.local_world import TABLE, LocalWorld

from lakehouse import batches
from lakehouse.batches import SCHEMA, Recorder
from lakehouse.sql_query import sql
from lakehouse.streams.progress import BatchProgress

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(options={"cloudFiles.maxFilesPerTrigger": 1})


@pytest.fixture
def kept(things):
    settings = things.lake.settings.model_copy(update={"keep_batches": timedelta(days=2)})
    return replace(things.lake, settings=settings)


def batch(number, rows=10, **more):
    return BatchProgress(TABLE, number, rows, 2.0, **more)


def told(lake, columns="*", rest="ORDER BY batch_id"):
    return [tuple(row.values()) for row in sql(f"SELECT {columns} FROM ops.batches {rest}", lake).to_pylist()]


def versions(lake):
    return lake.version("ops.batches")


def test_a_run_appends_its_batches_in_one_commit_that_sql_reads(things):
    here = things.environment
    for number in range(3):
        things.put(f"{number}.json", [{"id": 1}] * (number + 1))
    assert lakehouse_here(here, "ingest").returncode == 0
    assert versions(things.lake) is None, "it is not written unless it is asked for"
    here["LAKEHOUSE_KEEP_BATCHES"] = "30 days"
    for number in range(3, 6):
        things.put(f"{number}.json", [{"id": 1}] * (number + 1))
    before = datetime.now(UTC)
    assert lakehouse_here(here, "ingest").returncode == 0
    assert lakehouse_here(here, "ingest").returncode == 0, "a run without a batch adds nothing"
    assert versions(things.lake) == 0
    query = (
        'SELECT "table", batch_id, input_rows, files, rescued_rows, state_rows, backlog_files, engine, '
        "map_keys(phases_milliseconds) AS phases, run_id, started_at, ended_at, duration_seconds, "
        "processed_rows_per_second, latency_p95_seconds FROM ops.batches ORDER BY batch_id"
    )
    rows = lakehouse_json_here(here, "sql", query)["rows"]
    assert [(row["batch_id"], row["input_rows"], row["backlog_files"]) for row in rows] == [
        (3, 4, 2),
        (4, 5, 1),
        (5, 6, 0),
    ]
    for row in rows:
        assert (row["table"], row["files"], row["rescued_rows"], row["state_rows"]) == (TABLE, 1, 0, None)
        assert row["engine"] == "local" and "triggerExecution" in row["phases"]
        assert before < datetime.fromisoformat(row["started_at"]) < datetime.fromisoformat(row["ended_at"])
        assert row["processed_rows_per_second"] == pytest.approx(row["input_rows"] / row["duration_seconds"])
        assert row["latency_p95_seconds"] > 0
    assert len({row["run_id"] for row in rows}) == 1
    wrong = lakehouse_here({**here, "LAKEHOUSE_KEEP_BATCHES": "for ever"}, "ingest")
    assert wrong.returncode == 1 and "LAKEHOUSE_KEEP_BATCHES" in wrong.stderr


def test_what_is_measured_is_there_and_what_is_not_is_null(kept):
    moments = iter([NOW, NOW + timedelta(seconds=5)] + [NOW] * 9)
    recorder = Recorder(kept, "the run", now=lambda: next(moments))
    with recorder.flushing():
        recorder.note(batch(0))
        recorder.note(batch(1, 30, watermark="2026-03-01T11:50:00.000Z", late_rows=3, latencies_seconds=(1.0, 3.0)))
    assert told(kept, "input_rows_per_second, processed_rows_per_second, late_rows, latency_p50_seconds, run_id") == [
        (None, 5.0, None, None, "the run"),
        (6.0, 15.0, 3, 2.0, "the run"),
    ]
    assert told(kept, "started_at, ended_at, watermark", "WHERE batch_id = 1") == [
        (NOW + timedelta(seconds=3), NOW + timedelta(seconds=5), NOW - timedelta(minutes=10))
    ]
    found = pa.schema(kept.delta("ops.batches").schema().to_arrow())
    assert found.names == SCHEMA.names


def test_what_cannot_be_written_fails_nothing_and_is_written_the_next_time(kept, caplog):
    endpoint = replace(kept.endpoint, secret_key=SecretStr("canary-of-a-wrong-key"))
    recorder = Recorder(replace(kept, endpoint=endpoint), now=lambda: NOW)
    with recorder.flushing():
        recorder.note(batch(0))
    assert versions(kept) is None and "ops.batches was not written" in caplog.text
    assert "canary" not in caplog.text
    recorder._lake = kept
    recorder.note(batch(1))
    recorder.flush()
    recorder.flush()
    assert told(kept, "batch_id") == [(0,), (1,)]
    assert versions(kept) == 0


def test_runs_that_make_the_table_at_the_same_moment_lose_nothing(kept):
    together = threading.Barrier(4)

    def run(number):
        recorder = Recorder(kept, now=lambda: NOW)
        recorder.note(batch(number))
        together.wait(30)
        recorder.flush()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(kept, "batch_id") == [(number,) for number in range(4)]


def test_old_days_go_and_small_files_are_joined(kept, monkeypatch):
    monkeypatch.setattr(batches, "_JOINED_FILES", 4)
    for number in range(5):
        recorder = Recorder(kept, now=lambda number=number: NOW + timedelta(days=number))
        recorder.note(batch(number))
        recorder.flush()
    assert told(kept, "batch_id") == [(2,), (3,), (4,)], "two days and the one that has begun"
    for number in range(5, 9):
        recorder = Recorder(kept, now=lambda: NOW + timedelta(days=4))
        recorder.note(batch(number))
        recorder.flush()
    assert told(kept, "batch_id") == [(number,) for number in range(2, 9)]
    assert len(kept.delta("ops.batches").file_uris()) < 6


def test_a_service_writes_while_it_runs(kept):
    recorder = Recorder(kept, now=lambda: NOW)
    seen = threading.Event()
    flush = recorder.flush

    def flushed():
        flush()
        if versions(kept) is not None:
            seen.set()

    recorder.flush = flushed
    with recorder.flushing(every_seconds=0.01):
        recorder.note(batch(0))
        assert seen.wait(30)
    assert told(kept, "batch_id") == [(0,)]


@pytest.mark.parametrize("lost", ["the reply to the commit", "what keeps the table tidy"])
def test_batches_whose_writer_failed_behind_the_commit_are_there_once(kept, monkeypatch, lost):
    name = "write_deltalake" if lost == "the reply to the commit" else "_tidy"
    real, calls = getattr(batches, name), []

    def fail_behind(*given, **named):
        real(*given, **named)
        calls.append(name)
        if len(calls) == 1:
            raise DeltaError("connection closed before message completed")

    monkeypatch.setattr(batches, name, fail_behind)
    recorder = Recorder(kept, now=lambda: NOW)
    recorder.note(batch(0))
    recorder.flush()
    recorder.note(batch(1))
    recorder.flush()
    assert told(kept, "batch_id") == [(0,), (1,)]


def test_batches_that_were_written_while_nobody_could_look_are_there_once(kept, monkeypatch):
    """The reply is lost with the store: whether the rows are in the table is asked by the next write."""
    real, look, away = batches.write_deltalake, batches._writes, [True]

    def fail_behind(*given, **named):
        real(*given, **named)
        if away:
            raise DeltaError("connection closed before message completed")

    def writes(lake):
        if away:
            raise OSError("connection refused")
        return look(lake)

    monkeypatch.setattr(batches, "write_deltalake", fail_behind)
    monkeypatch.setattr(batches, "_writes", writes)
    recorder = Recorder(kept, now=lambda: NOW)
    recorder.note(batch(0))
    recorder.flush()
    away.clear()
    recorder.note(batch(1))
    recorder.flush()
    assert told(kept, "batch_id") == [(0,), (1,)]
