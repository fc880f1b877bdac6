"""``./dev bench silver``: windows over bronze, with this project's settings and with Spark's and Delta's own.

Prints one JSON object. ``big`` is one run over all rows, in batches of a few data files, 2 % of them two weeks late;
``small`` is four runs after each other over 750 new orders each, as a sensor makes them. ``ours`` is the stream alone,
``defaults`` the same query with the defaults of Spark and Delta, ``rocksdb`` with that state store and changelog
checkpointing; ``with_quarantine`` is what ``lakehouse ingest`` does: it keeps the late rows, too. Ratios are to
``ours``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812

from benchmarks.memory import PeakMemory
from benchmarks.own_lake import own_lake
from lakehouse.checks.accounts_for_rows import windows_of
from lakehouse.declaration import read_catalogue
from lakehouse.engine import connect
from lakehouse.engine.conf import session_conf
from lakehouse.lake import Lake
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.pipeline import run_table
from lakehouse.settings import Settings
from lakehouse.table import At

_ROWS, _WINDOWS, _FILES, _FILES_IN_A_BATCH = 2_000_000, 10_000, 20, 4
_SMALL_RUNS, _SMALL_ROWS = 4, 750
_METHODS = ("card", "blik", "transfer", "cash")

_DEFAULTS = {
    "spark.sql.shuffle.partitions": "200",
    "spark.sql.files.maxPartitionNum": "10000",
    "spark.sql.adaptive.enabled": "true",
    "spark.databricks.delta.snapshotPartitions": "50",
}
_ROCKSDB = {
    "spark.sql.streaming.stateStore.providerClass": "org.apache.spark.sql.execution.streaming.state."
    "RocksDBStateStoreProvider",
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
}
_CASES: dict[str, dict[str, str]] = {"ours": {}, "defaults": _DEFAULTS, "rocksdb": _ROCKSDB}


def main(arguments: list[str]) -> None:
    """Runs every case and prints the result."""
    parser = argparse.ArgumentParser(prog="./dev bench silver", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="measured runs of each case; the median is reported")
    parser.add_argument("--divide", type=int, default=1, help="of the rows and windows, one in so many: a quick look")
    chosen = parser.parse_args(arguments)
    with own_lake(variables={"LAKEHOUSE_SILVER_MAX_FILES_PER_TRIGGER": str(_FILES_IN_A_BATCH)}) as lake:
        result = {
            "small": _small(lake.settings, chosen.runs),
            "big": _big(lake.settings, _ROWS // chosen.divide, _WINDOWS // chosen.divide, chosen.runs),
        }
    print(json.dumps(result, indent=2))


def _big(settings: Settings, rows: int, windows: int, runs: int) -> dict[str, Any]:
    lake = _lake(settings, "big")
    for number in range(_FILES):
        share = rows // _FILES
        _write_orders(lake, share, first=number * share, rows_per_window=rows // windows, sequence=number + 1)

    def once(case: str) -> dict[str, float]:
        return _stream(lake, f"{case}-{time.time_ns()}")

    result = _cases("big", lake, once, runs)
    with PeakMemory(settings.home) as memory:
        started = time.monotonic()
        report = run_table(connect(lake), lake, SILVER)
        seconds = time.monotonic() - started
    result["with_quarantine"] = {
        "seconds": round(seconds, 2),
        "rows_per_second": round(rows / seconds),
        "late_rows": report.late_rows,
        "windows_written": report.rows_added,
        **memory.megabytes(),
    }
    return {"rows": rows, **result}


def _small(settings: Settings, runs: int) -> dict[str, Any]:
    def once(case: str) -> dict[str, float]:
        lake, name = _lake(settings, f"small-{case}-{time.time_ns()}"), f"{case}-{time.time_ns()}"
        seconds = 0.0
        for number in range(_SMALL_RUNS):
            first = number * _SMALL_ROWS
            _write_orders(lake, _SMALL_ROWS, first=first, rows_per_window=60, sequence=number + 1)
            seconds += _stream(lake, name)["seconds"]
        return {"seconds": seconds}

    return _cases("small", _lake(settings, "small"), once, runs)


def _cases(label: str, lake: Lake, once: Callable[[str], dict[str, float]], runs: int) -> dict[str, Any]:
    measured: dict[str, list[dict[str, float]]] = {case: [] for case in _CASES}
    once("ours")  # warms the engine
    for run in range(runs):
        for case, conf in _CASES.items():
            with _settings_of(connect(lake), conf):
                measured[case].append(once(case))
            print(f"{label}, run {run + 1} of {runs}, {case}: {measured[case][-1]}", file=sys.stderr, flush=True)
    ours = statistics.median(figures["seconds"] for figures in measured["ours"])
    return {
        case: {
            **{name: round(statistics.median(figures[name] for figures in of_case), 2) for name in of_case[0]},
            "ratio": round(statistics.median(figures["seconds"] for figures in of_case) / ours, 2),
        }
        for case, of_case in measured.items()
    }


@contextmanager
def _settings_of(spark: SparkSession, conf: dict[str, str]) -> Iterator[None]:
    for name, value in conf.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name in conf:
            spark.conf.unset(name)
        for name, value in session_conf().items():
            spark.conf.set(name, value)


def _lake(settings: Settings, name: str) -> Lake:
    return Lake.open(settings.model_copy(update={"bucket": f"bench-{name}"}))


def _stream(lake: Lake, name: str) -> dict[str, float]:
    base = f"{lake.settings.lake_uri}/measured/{name}"
    catalogue = read_catalogue(lake.settings)
    windows = windows_of(At(connect(lake), lake, catalogue[SILVER], catalogue))
    reader = connect(lake).readStream.format("delta").option("maxFilesPerTrigger", windows.max_files_per_trigger)
    frame = windows.windowed(reader.load(lake.settings.table_uri(BRONZE)), windows.expected(catalogue))
    started = time.monotonic()
    query = (
        frame.writeStream.format("delta")
        .option("checkpointLocation", f"{base}/checkpoint")
        .trigger(availableNow=True)
        .start(f"{base}/table")
    )
    query.awaitTermination()
    seconds = time.monotonic() - started
    states = [progress["stateOperators"][0] for progress in query.recentProgress if progress["stateOperators"]]
    return {
        "seconds": seconds,
        "state_rows": max((state["numRowsTotal"] for state in states), default=0),
        "state_bytes": max((state["memoryUsedBytes"] for state in states), default=0),
    }


def _write_orders(lake: Lake, rows: int, *, first: int, rows_per_window: int, sequence: int) -> None:
    """Writes one commit of bronze: orders in the order of their times, one in fifty of them two weeks late."""
    spark = connect(lake)
    number = F.col("id")
    seconds = (number * 300 / rows_per_window).cast("bigint") - F.when(number % 50 == 49, 14 * 24 * 3600).otherwise(0)
    frame = spark.range(first, first + rows, 1, 1).select(
        F.format_string("O-%09d", number).alias("order_id"),
        F.format_string("C-%05d", number % 5000).alias("customer_id"),
        F.date_format(F.timestamp_seconds(F.lit(1_767_225_600) + seconds), "yyyy-MM-dd HH:mm:ss").alias("order_date"),
        (number % 1000 / 4).alias("total_amount"),
        F.element_at(F.array(*map(F.lit, _METHODS)), (number % 4 + 1).cast("int")).alias("payment_method"),
        F.lit("P-001").alias("product_id"),
        F.lit(1).alias("quantity"),
        F.lit(None).cast("string").alias("_rescued_data"),
        F.current_timestamp().alias("_processing_time"),
        F.lit(f"s3a://landing/{sequence}.json").alias("_source_file"),
        F.lit(sequence).cast("bigint").alias("_source_sequence"),
        number.alias("_source_record"),
    )
    frame.write.format("delta").mode("append").save(lake.settings.table_uri(BRONZE))
