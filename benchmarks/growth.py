"""``./dev bench growth``: what a run of twelve new files costs behind ever longer histories.

A table of files with the checks that it has by itself and ``unique``, on the local engine, each run a new process. The
history is loaded by the same command first, and one run is not measured: it makes what checks keep of earlier counts.
``seconds``, ``requests`` and memory are of ``lakehouse ingest`` with its checks; ``ratio`` is to the first history.

Afterwards faults are planted, each alone, and it is told which checks find it: ``incremental`` of the run that
comes next, ``full`` of ``lakehouse check --full``.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import write_deltalake

from benchmarks.ingest import requests_served
from benchmarks.memory import PeakMemory
from benchmarks.own_lake import own_lake
from lakehouse.autoloader.lineage import RECORD, SEQUENCE
from lakehouse.lake import Lake

_TABLE, _NEW_FILES, _NEW_ROWS = "bronze.events", 12, 250
_DECLARATION = """
tables:
  bronze.events:
    files:
      path: s3a://landing/events/
      format: parquet
      engine: local
      options: {cloudFiles.maxFilesPerTrigger: 100000}
    checks:
      - unique: event_id
      - range: {column: amount, min: 0, max: 1000000, on_failure: block}
"""


def main(arguments: list[str]) -> None:
    """Runs every case and prints the result."""
    parser = argparse.ArgumentParser(prog="./dev bench growth", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[3_000, 2_000_000, 20_000_000])
    parser.add_argument(
        "--files", type=int, nargs="*", default=[1_000, 100_000], help="histories of so many small files"
    )
    parser.add_argument("--runs", type=int, default=3, help="measured runs of each case; the median is reported")
    chosen = parser.parse_args(arguments)
    result: dict[str, Any] = {}
    for kind, sizes in (("rows", chosen.rows), ("files", chosen.files)):
        first = None
        for size in sizes:
            # 200,000 rows a file, or ten
            files = max(12, size // 200_000) if kind == "rows" else size
            case = _case(files, size if kind == "rows" else 10 * size, chosen.runs)
            first = first or case["seconds"]
            result[f"{size}_{kind}"] = {**case, "ratio": round(case["seconds"] / first, 2)}
            print(f"{size:,} {kind}: {result[f'{size}_{kind}']}", file=sys.stderr, flush=True)
    print(json.dumps(result, indent=2))


def _case(files: int, rows: int, runs: int) -> dict[str, Any]:
    with own_lake() as lake:
        _put(lake, "history", files, rows // files, 0)
        began, next_row = time.monotonic(), rows
        _ingest(lake)
        history_seconds = time.monotonic() - began
        measured: list[dict[str, float]] = []
        for run in range(runs + 1):
            _put(lake, f"run{run}", _NEW_FILES, _NEW_ROWS, next_row)
            next_row += _NEW_FILES * _NEW_ROWS
            measured += [_measured(lake)]
        medians = {name: statistics.median(figures[name] for figures in measured[1:]) for name in measured[0]}
        return {
            "history_seconds": round(history_seconds, 1),
            **{name: round(value, 2) for name, value in medians.items()},
            "faults": dict(_faults(lake, next_row)),
        }


def _measured(lake: Lake) -> dict[str, float]:
    before = requests_served(lake)
    with PeakMemory(lake.settings.home) as memory:
        began = time.monotonic()
        result = _ingest(lake)
        seconds = time.monotonic() - began
    [report] = result["tables"]
    if report["rows_added"] != _NEW_FILES * _NEW_ROWS or any(not check["passed"] for check in result["checks"]):
        raise SystemExit(f"the run is not as it should be: {result}")
    return {
        "seconds": seconds,
        "stream_seconds": report["duration_seconds"],
        "requests": requests_served(lake) - before,
        "peak_megabytes": memory.megabytes()["peak_client_megabytes"],
    }


def _faults(lake: Lake, next_row: int) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Each fault, what found it, and then the table is as it was."""
    opened = lake.delta(_TABLE)
    assert opened is not None
    healthy = opened.version()
    first = pc.field(SEQUENCE) == 1
    rows = opened.to_pyarrow_dataset()

    def append(table: pa.Table) -> None:
        write_deltalake(opened.table_uri, table, mode="append", storage_options=lake.endpoint.deltalake_options())

    def tampered() -> pa.Table:
        table = rows.to_table(filter=first & (pc.field(RECORD) == 1))
        amount = pa.array([-1.0] * table.num_rows)
        return table.set_column(table.schema.get_field_index("amount"), "amount", amount)

    faults: dict[str, Callable[[], object]] = {
        "a_lost_file": lambda: opened.delete(f"{SEQUENCE} = 1"),
        "a_row_doubled": lambda: append(rows.to_table(filter=first & (pc.field(RECORD) == 1))),
        "a_file_doubled": lambda: append(rows.to_table(filter=first)),
        "a_row_tampered_with": lambda: (opened.delete(f"{SEQUENCE} = 1 AND {RECORD} = 1"), append(tampered())),
    }
    for name, plant in faults.items():
        opened.update_incremental()
        plant()
        yield name, _found(lake)
        current = lake.delta(_TABLE)
        assert current is not None
        current.restore(healthy)
        _check(lake, "--full")
    _put(lake, "the_first_again", 1, 1, 0)  # behind all others, so that a listing of what is new has it
    _ingest(lake, allowed=(0, 1))
    yield "the_first_key_again", _found(lake)


def _found(lake: Lake) -> dict[str, list[str]]:
    return {"incremental": _check(lake), "full": _check(lake, "--full")}


def _check(lake: Lake, *options: str) -> list[str]:
    result = _lakehouse(lake, "check", _TABLE, "--json", *options, allowed=(0, 1))
    return sorted(check["check"] for check in result["checks"] if not check["passed"])


def _ingest(lake: Lake, allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
    return _lakehouse(lake, "ingest", _TABLE, "--json", allowed=allowed)


def _lakehouse(lake: Lake, *arguments: str, allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
    home = lake.settings.home
    declaration = Path(home, "growth.yaml")
    declaration.write_text(_DECLARATION)
    variables = {"LAKEHOUSE_HOME": str(home), "LAKEHOUSE_USER": "bench", "LAKEHOUSE_DECLARATION": str(declaration)}
    command = [sys.executable, "-m", "lakehouse.cli.main", *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    if done.returncode not in allowed:
        raise SystemExit(f"lakehouse {' '.join(arguments)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def _put(lake: Lake, folder: str, files: int, rows: int, first_row: int) -> None:
    """Files of Parquet, each of so many rows; keys count up through all of them."""

    def put(number: int) -> None:
        ids = pa.array(range(first_row + number * rows, first_row + (number + 1) * rows), pa.int64())
        amounts = pc.cast(pc.bit_wise_and(ids, 1023), pa.float64())
        at = pa.repeat(pa.scalar("2026-01-01 10:00:00"), len(ids))
        written = io.BytesIO()
        pq.write_table(pa.table({"event_id": ids, "amount": amounts, "at": at}), written, compression="zstd")
        lake.store.write(lake.settings.landing_bucket, f"events/{folder}/{number:07d}.parquet", written.getvalue())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(files)))
