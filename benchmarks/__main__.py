"""``./dev bench``: seconds and peak memory of ``lakehouse ingest`` for twelve new files, each time in a new process.

Everything runs in a temporary home with servers of its own, so that nothing of the user's is touched. Figures of one
run are comparable with each other; between runs and machines only their ratios are.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.memory import PeakMemory

_OTHERS = (*("ingest", "growth", "small_files", "schema", "silver", "batch", "events", "formats", "entrances", "run"),)
_WITHOUT_SPARK = ("bronze.orders_autoloader", "silver.orders", "gold.daily_revenue")
_LAKEHOUSE = [sys.executable, "-m", "lakehouse.cli.main"]


def _run(home: Path, *arguments: str, **variables: str) -> str:
    environment = {**os.environ, "LAKEHOUSE_HOME": str(home), "LAKEHOUSE_USER": "bench", **variables}
    done = subprocess.run([*_LAKEHOUSE, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"lakehouse {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _measure(home: Path, *chosen: str, **variables: str) -> dict[str, float]:
    """One ``ingest`` of twelve new files; of the chosen tables, or of all."""
    _run(home, "generate", "--json")
    with PeakMemory(home) as memory:
        started = time.monotonic()
        report = json.loads(_run(home, "ingest", *chosen, "--json", **variables))
        seconds = time.monotonic() - started
    tables = {table["table"]: table for table in report["tables"]}
    bronze = tables["bronze.orders_autoloader"]
    if bronze["rows_added"] != 3000:
        raise SystemExit(f"expected 3000 rows, got {bronze['rows_added']}")
    windows = tables.get("silver.orders_windowed_aggregates")
    return {
        "seconds": round(seconds, 2),
        "bronze_seconds": round(bronze["duration_seconds"], 2),
        **({"silver_seconds": round(windows["duration_seconds"], 2)} if windows else {}),
        **memory.megabytes(),
    }


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}


def main() -> None:
    """Runs every case and prints the result."""
    parser = argparse.ArgumentParser(
        prog="./dev bench", description=__doc__, epilog=f"others: ./dev bench {{{', '.join(_OTHERS)}}} --help"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs with the warm engine; the median is reported")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        home = Path(folder)
        try:
            _run(home, "env")
            cold = _measure(home)
            warm = [_measure(home) for _ in range(runs)]
            local = [_measure(home, LAKEHOUSE_ENGINE="local") for _ in range(runs)]
            nothing = time.monotonic()
            _run(home, "ingest")
            nothing_seconds = round(time.monotonic() - nothing, 2)
            _run(home, "down", "--all")
            _run(home, "env")  # the store alone
            without = [_measure(home, *_WITHOUT_SPARK, LAKEHOUSE_ENGINE="local") for _ in range(runs)]
            bronze = [_measure(home, _WITHOUT_SPARK[0], LAKEHOUSE_ENGINE="local") for _ in range(runs)]
            _run(home, "generate")
            in_process = _measure_in_process(home)
        finally:
            _run(home, "down", "--all")
    result = {
        "machine": {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "ingest_12_files_3000_rows": {
            "engine_cold": cold,
            "engine_warm_median": _median(warm),
            "engine_local_and_windows_median": _median(local),
            "without_spark_median": _median(without),
            "bronze_without_spark_median": _median(bronze),
            "engine_warm_runs_seconds": [run["seconds"] for run in warm],
            "in_process": in_process,
            "nothing_new_seconds": nothing_seconds,
        },
    }
    print(json.dumps(result, indent=2))


def _measure_in_process(home: Path) -> dict[str, float]:
    _run(home, "ingest")
    _run(home, "down", "--all")
    _run(home, "env")
    return _measure(home, LAKEHOUSE_SPARK_REMOTE="local[2]")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in _OTHERS:
        importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
    else:
        main()
