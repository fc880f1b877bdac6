"""``./dev bench batch``: ``copy_into`` against a ``cloudFiles`` stream with ``availableNow``, on the same files.

Prints one JSON object. For each case three steps in a row, into a table that is new at the first: all files, one more
file, nothing new. Seconds are medians of the runs, in one warm engine; requests are all that reached the object store.
Both find out the columns by themselves, and load all files in one commit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.ingest import put_orders, requests_served
from benchmarks.own_lake import own_lake
from lakehouse.copy_into.call import Copy
from lakehouse.copy_into.copy import copy_into
from lakehouse.engine import connect
from lakehouse.lake import Lake

_CASES = ((200, 100), (20, 20_000))
_STEPS = ("all_files", "one_more_file", "nothing_new")


def main(arguments: list[str]) -> None:
    """Runs every case and prints the result."""
    parser = argparse.ArgumentParser(prog="./dev bench batch", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="measured runs of each case; the median is reported")
    chosen = parser.parse_args(arguments)
    with own_lake() as lake:
        result = {f"{files}_files_of_{rows}_rows": _case(lake, files, rows, chosen.runs) for files, rows in _CASES}
    print(json.dumps(result, indent=2))


def _case(lake: Lake, files: int, rows: int, runs: int) -> dict[str, Any]:
    ways: dict[str, Callable[[Lake, str, str], int]] = {"copy_into": _copy, "cloud_files": _stream}
    seconds: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    requests: dict[str, dict[str, int]] = {way: {} for way in ways}
    for run in range(runs + 1):
        for way, load in ways.items():
            name = f"{files}_{rows}_{way}_{run}"
            took: dict[str, float] = {}
            for step in _STEPS:
                if step != "nothing_new":
                    first = 0 if step == "all_files" else files
                    put_orders(lake, name, range(first, files if step == "all_files" else files + 1), rows)
                before, started = requests_served(lake), time.monotonic()
                loaded = load(lake, name, f"bronze.{name}")
                took[step] = time.monotonic() - started
                requests[way][step] = requests_served(lake) - before
                expected = {"all_files": files * rows, "one_more_file": rows, "nothing_new": 0}[step]
                if loaded != expected:
                    raise SystemExit(f"{way}, {step}: {loaded:,} rows loaded, not {expected:,}")
            print(f"{name}: {took}", file=sys.stderr, flush=True)
            if run:  # the first one warms
                seconds[way].append(took)
    return {
        step: {
            **{f"{way}_seconds": round(statistics.median(times[step] for times in seconds[way]), 2) for way in ways},
            **{f"{way}_requests": requests[way][step] for way in ways},
        }
        for step in _STEPS
    }


def _copy(lake: Lake, folder: str, table: str) -> int:
    copy = Copy(table, f"s3a://{lake.settings.landing_bucket}/{folder}/", "json")
    return copy_into(connect(lake), lake, copy).rows


def _stream(lake: Lake, folder: str, table: str) -> int:
    base = f"{lake.settings.lake_uri}/bench/{folder}"
    query = (
        connect(lake)
        .readStream.format("cloudFiles")
        .option("cloudFiles.format", "json")
        .option("cloudFiles.inferColumnTypes", "true")
        .option("cloudFiles.schemaLocation", f"{base}/schema")
        .option("cloudFiles.maxFilesPerTrigger", 1000)
        .load(f"s3a://{lake.settings.landing_bucket}/{folder}/")
        .writeStream.format("delta")
        .option("checkpointLocation", f"{base}/checkpoint")
        .trigger(availableNow=True)
        .start(lake.settings.table_uri(table))
    )
    query.awaitTermination()
    return sum(source["numInputRows"] or 0 for progress in query.recentProgress for source in progress["sources"])
