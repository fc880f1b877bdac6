"""``./dev bench small_files``: what the same rows cost a reader in 1, 10, 100, 1,000 and 10,000 data files.

Each time all rows of two columns are read without Spark, as checks and reports do, and then the rows of one key. Store
and reader are on one machine: over a network each file costs more.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from benchmarks.own_lake import own_lake
from lakehouse.lake import Lake
from lakehouse.maintenance.optimize import Thresholds, optimize

_FILES = (1, 10, 100, 1_000, 10_000)


def rows_of(count: int) -> pa.Table:
    """Orders in the order of their numbers."""
    dice = np.random.default_rng(7)
    return pa.table(
        {
            "order_id": pa.array(np.arange(count)),
            "customer": pa.array(dice.integers(0, 100_000, count)),
            "amount": pa.array(dice.normal(50, 12, count)),
            "city": pa.array(np.array(["Aarau", "Bern", "Chur", "Davos"])[dice.integers(0, 4, count)]),
        }
    )


def write(lake: Lake, table: str, rows: pa.Table, files: int) -> None:
    """Makes the table, of so many files, in one commit."""
    bucket, folder = lake.settings.bucket, lake.settings.table_uri(table).split("/", 3)[3]
    borders = np.linspace(0, rows.num_rows, files + 1).astype(int)

    def put(number: int) -> AddAction:
        part = rows.slice(borders[number], borders[number + 1] - borders[number])
        sink, name = io.BytesIO(), f"part-{uuid.uuid4()}.parquet"
        pq.write_table(part, sink, compression="zstd")
        lake.store.write(bucket, f"{folder}/{name}", sink.getvalue())
        ids = part["order_id"]
        stats = {
            "numRecords": part.num_rows,
            "minValues": {"order_id": pc.min(ids).as_py()},
            "maxValues": {"order_id": pc.max(ids).as_py()},
            "nullCount": {"order_id": 0},
        }
        return AddAction(name, sink.getbuffer().nbytes, {}, 0, True, json.dumps(stats))

    with ThreadPoolExecutor(8) as pool:
        adds = list(pool.map(put, range(files)))
    uri, options = f"s3://{bucket}/{folder}", lake.endpoint.deltalake_options()
    create_table_with_add_actions(uri, Schema.from_arrow(rows.schema), adds, mode="error", storage_options=options)


def _seconds(runs: int, work: Callable[[], int]) -> float:
    seconds = []
    for _ in range(runs):
        started = time.monotonic()
        work()
        seconds.append(time.monotonic() - started)
    return round(statistics.median(seconds), 2)


def main(arguments: list[str]) -> None:
    """Measures and prints the result."""
    parser = argparse.ArgumentParser(prog="./dev bench small_files", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=3, help="the median is reported")
    given = parser.parse_args(arguments)
    rows, found = rows_of(given.rows), []
    with own_lake() as lake:
        for files in _FILES:
            table = f"bronze.of_{files}"
            write(lake, table, rows, files)

            def read(table: str = table) -> int:
                opened = lake.rows(table)
                return 0 if opened is None else int(opened.to_table(columns=["customer", "amount"]).num_rows)

            def look(table: str = table) -> int:
                opened = lake.rows(table)
                wanted = pc.field("order_id") == given.rows // 3
                return 0 if opened is None else int(opened.to_table(filter=wanted).num_rows)

            result = {
                "files": files,
                "read_seconds": _seconds(given.runs, read),
                "one_key_seconds": _seconds(given.runs, look),
            }
            started = time.monotonic()
            done = optimize(lake, table, Thresholds(), rewritten=False, really=True)
            result["join_seconds"] = round(time.monotonic() - started, 2) if done and done.done else 0.0
            result["size_megabytes"] = round(done.bytes_before / 1e6, 1) if done else 0.0
            found.append(result)
    print(json.dumps({"rows": given.rows, "files": found}, indent=2))
