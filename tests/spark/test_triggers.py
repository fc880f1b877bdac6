"""What each trigger does on real Spark: the facts of docs/triggers.md."""

import threading
import time
from dataclasses import replace

import pytest
from command import lakehouse_here, lakehouse_json_here

from lakehouse.orders.tables import AVAILABLE_NOW_TABLE, BRONZE, SILVER
from lakehouse.orders.trigger_comparison import Comparison
from lakehouse.pipeline import run_table, schemas
from lakehouse.service.usage import usage
from lakehouse.streams import run as run_module
from lakehouse.streams.queries import StopRequest
from lakehouse.streams.run import Run
from lakehouse.streams.trigger import ONCE, Trigger

DEFAULT = Trigger("default")


def rows(lake, table):
    opened = lake.delta(table)
    return opened.to_pyarrow_table().num_rows if opened else 0


@pytest.mark.soak("the trigger once by Spark; tests/store/test_local_engine.py has it without")
def test_once_reads_everything_in_one_batch_and_closes_no_windows(lake, land, spark):
    land(files=7, rows_per_file=20, late_share=0)
    once = run_table(spark, lake, BRONZE, Run(ONCE))
    assert [batch.files for batch in once.batches] == [7], "the limit of three files does not count"
    assert len(run_table(spark, lake, SILVER, Run(ONCE)).batches) == 1
    assert rows(lake, SILVER) == 0, "the watermark moved, and no batch came after it"
    land(files=4, first_file=7, rows_per_file=20, late_share=0)
    assert [batch.files for batch in run_table(spark, lake, BRONZE).batches] == [3, 1]
    assert len(run_table(spark, lake, SILVER).batches) == 2, "the second one has no rows: it closes windows"
    assert rows(lake, SILVER) > 0


def test_a_stream_is_stopped_between_two_batches_goes_on_and_is_not_ended_by_new_columns(
    lake, land, spark, monkeypatch
):
    land(files=18, rows_per_file=5, late_share=0)
    stop, told = StopRequest(), []

    def on_batch(batch):
        told.append(batch.batch_id)
        stop.ask()

    report = run_table(spark, lake, BRONZE, Run(DEFAULT, on_batch, stop=stop))
    assert 1 <= len(told) <= 4
    assert [batch.batch_id for batch in report.batches] == told == list(range(len(told)))
    assert report.rows_added == len(told) * 15 == rows(lake, BRONZE)

    # the report of a stream that does not end keeps the last batches
    monkeypatch.setattr(run_module, "KEPT_BATCHES", 2)
    land(files=1, first_file=18, rows_per_file=5, late_share=0, new_column="coupon")
    stop, went_on = StopRequest(), []

    def until_all_is_read(batch):
        went_on.append(batch)
        if batch.batch_id == 6:  # the last of 19 files; a batch that is done again does not know what waits behind it
            stop.ask()

    report = run_table(spark, lake, BRONZE, Run(DEFAULT, until_all_is_read, stop=stop))
    assert [batch.batch_id for batch in went_on] == list(range(len(told), 7))
    assert [batch.batch_id for batch in report.batches] == [5, 6]
    assert (report.rows_added, len(report.source_files)) == (20, 4)
    assert [len(batch.latencies_seconds) for batch in went_on] == [3] * (len(went_on) - 1) + [1]
    assert all(min(batch.latencies_seconds) > 0 for batch in went_on)
    assert sum(batch.input_rows for batch in went_on) + len(told) * 15 == rows(lake, BRONZE) == 95
    assert "coupon" in lake.describe(BRONZE).columns


def test_a_query_ends_with_the_run_that_is_interrupted_whoever_keeps_the_error(lake, land, spark):
    """Else it is ended at the end of Python, when nobody can ask the engine any more: the command would hang."""
    land(files=6, rows_per_file=5, late_share=0)

    def ctrl_c(batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as kept:
        run_table(spark, lake, BRONZE, Run(DEFAULT, ctrl_c))
    assert spark.streams.active == []
    assert kept.value.__traceback__ is not None, "it holds all that the run held"
    assert sum(batch.input_rows for batch in run_table(spark, lake, BRONZE).batches) <= 15
    assert rows(lake, BRONZE) == 30


def test_a_batch_that_is_in_the_table_is_told_though_its_query_ended_before_spark_told_it(lake, land, spark):
    land(files=3, rows_per_file=5, late_share=0)
    stop, told = StopRequest(), []

    def stop_after_the_commit():
        while lake.version(BRONZE) is None and not stop.asked.is_set():
            time.sleep(0.005)
        stop.ask()
        stop.ask()

    watching = threading.Thread(target=stop_after_the_commit)
    watching.start()
    try:
        report = run_table(spark, lake, BRONZE, Run(DEFAULT, told.append, stop=stop))
    finally:
        stop.ask()
        watching.join()
    assert [(batch.batch_id, batch.files, batch.input_rows) for batch in told] == [(0, 3, 15)]
    assert (report.rows_added, len(report.source_files)) == (15, 3)
    assert run_table(spark, lake, BRONZE).batches == (), "and the next run has nothing to do again"
    assert rows(lake, BRONZE) == 15


def test_continuous_is_what_spark_has_it_for(spark, tmp_path):
    arguments = Trigger.parse("continuous=1s").arguments()
    rates = spark.readStream.format("rate").load()
    query = rates.writeStream.format("noop").trigger(**arguments).option("checkpointLocation", str(tmp_path)).start()
    try:
        assert query.isActive
    finally:
        query.stop()
    delta = rates.writeStream.format("delta").trigger(**arguments).option("checkpointLocation", str(tmp_path / "c"))
    with pytest.raises(Exception, match=r"(?i)continuous"):
        delta.start(str(tmp_path / "table")).awaitTermination(60)


@pytest.mark.soak("a table without an option of its own; test_auto_loader.py has streams that share a source")
def test_the_table_of_defaults_shares_the_journal(lake, land, spark, environment):
    land(files=5, rows_per_file=20, late_share=0)
    report = lakehouse_json_here(environment, "ingest", AVAILABLE_NOW_TABLE, BRONZE, "--trigger", "availableNow")
    mine, bronze = report["tables"]
    assert ([batch["files"] for batch in mine["batches"]], mine["rows_added"]) == ([5], 100)
    assert bronze["rows_added"] == 100
    assert {check["check"]: check["passed"] for check in report["checks"] if check["table"] == AVAILABLE_NOW_TABLE} == {
        "no_duplicate_orders": True,
        "no_corrupt_records": True,
        "rescue_rate": True,
    }
    assert set(lake.describe(AVAILABLE_NOW_TABLE).columns.values()) == {"string"}
    journals = lake.store.folders(lake.settings.bucket, f"{lake.settings.user}/_journal/")
    assert len(list(journals)) == 1
    land(files=1, first_file=5, rows_per_file=20, late_share=0, new_column="coupon")
    done = lakehouse_here(environment, "ingest", AVAILABLE_NOW_TABLE, "--trigger", "once")
    assert done.returncode == 0, done.stderr
    assert "use availableNow" in done.stderr
    assert rows(lake, AVAILABLE_NOW_TABLE) == 120
    assert schemas(lake, AVAILABLE_NOW_TABLE).newest == 1


@pytest.mark.soak("the command that compares three triggers, each of which has a test of its own")
def test_the_comparison_measures_and_leaves_nothing_behind(lake, land, spark):
    land(files=1, rows_per_file=20)
    before = sorted(info.key for info in lake.store.list(lake.settings.bucket))
    interval = Trigger.parse("processing-time=1s").interval
    measured = Comparison(lake, 4, 25, interval, 2, lambda text: None).run()
    assert [run.trigger for run in measured] == ["availableNow", "once", "processing-time=1s"]
    assert [run.rows for run in measured] == [100, 100, 100]
    assert [run.batches for run in measured][:2] == [2, 1]
    assert all(0 < run.latency_p50_seconds <= run.latency_p95_seconds for run in measured)
    assert all(run.idle_cpu_seconds >= 0 and run.idle_s3_requests >= 0 for run in measured)
    assert measured[2].idle_s3_requests > 0, "the running stream lists the folder"
    assert [run.empty_run_s3_requests is None for run in measured] == [False, False, True]
    assert sorted(info.key for info in lake.store.list(lake.settings.bucket)) == before


def test_the_store_counts_its_requests(lake):
    before = usage(lake)
    for _ in range(5):
        list(lake.store.list(lake.settings.bucket, "nothing/"))
    assert usage(lake).since(before).s3_requests >= 5
    silent = replace(lake, endpoint=replace(lake.endpoint, url="http://127.0.0.1:9"))
    assert usage(silent).s3_requests is None
