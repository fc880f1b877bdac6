"""``./dev bench run``: what a run of Dagster takes, from its start to its first commit, to its end, and in its checks.

Prints one JSON object: medians in seconds over twelve new files of 250 orders each, behind a run that warms the engine,
and then over runs that find nothing. The job is executed in this process, with an instance of its own: a daemon's queue
and the start of a run's process come on top. ``checks_seconds`` are all checks of all tables, together.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime

import dagster as dg

from assets.definitions import JOB, defs
from benchmarks.own_lake import own_lake
from lakehouse.lake import Lake
from lakehouse.orders.landing import look_at_landing
from lakehouse.orders.samples import generate_orders
from lakehouse.orders.tables import BRONZE

_FILES, _ROWS_PER_FILE = 12, 250
_CHECKS = "__checks"


def main(arguments: list[str]) -> None:
    """Runs every case and prints the result."""
    parser = argparse.ArgumentParser(prog="./dev bench run", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="measured runs of each case; the median is reported")
    parser.add_argument("--engine", choices=("spark", "local"), default="spark", help="who loads files")
    chosen = parser.parse_args(arguments)
    with own_lake(engine=chosen.engine) as lake, tempfile.TemporaryDirectory() as folder:
        settings = lake.settings
        os.environ |= {
            "LAKEHOUSE_HOME": str(settings.home),
            "LAKEHOUSE_USER": settings.user,
            "LAKEHOUSE_ENGINE": settings.engine,
        }
        job = defs().resolve_job_def(JOB)
        with dg.DagsterInstance.local_temp(folder) as instance:
            _measure(lake, job, instance, _FILES)  # warms the engine
            busy = [_measure(lake, job, instance, _FILES) for _ in range(chosen.runs)]
            quiet = [_measure(lake, job, instance, 0) for _ in range(chosen.runs)]
    result = {"engine": chosen.engine, f"{_FILES}_new_files": _median(busy), "nothing_new": _median(quiet)}
    print(json.dumps(result, indent=2))


def _measure(lake: Lake, job: dg.JobDefinition, instance: dg.DagsterInstance, files: int) -> dict[str, float]:
    if files:
        bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix
        generate_orders(
            lambda name, data: lake.store.write(bucket, prefix + name, data),
            files=files,
            rows_per_file=_ROWS_PER_FILE,
            first_file=look_at_landing(lake).next_number,
        )
    before, began, started = lake.version(BRONZE), datetime.now(UTC), time.monotonic()
    done = job.execute_in_process(instance=instance)
    seconds = time.monotonic() - started
    commits = lake.commits_since(BRONZE, before)
    rows = sum(commit.rows_added for commit in commits)
    if rows != files * _ROWS_PER_FILE:
        raise SystemExit(f"expected {files * _ROWS_PER_FILE} rows, got {rows}")
    checks = [event for event in done.all_events if event.is_step_success and event.step_key.endswith(_CHECKS)]
    if not checks:
        raise SystemExit("no check was run")
    taken = {
        "seconds": seconds,
        "checks_seconds": sum(event.step_success_data.duration_ms for event in checks) / 1000,
    }
    if commits and commits[0].at is not None:
        taken["to_first_commit_seconds"] = (commits[0].at - began).total_seconds()
    return taken


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}
