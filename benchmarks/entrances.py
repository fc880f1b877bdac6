"""``./dev bench entrances``: what people wait for before anything is loaded.

Prints one JSON object. ``lakehouse --help`` and ``dg list defs`` are new processes in this clone; ``--help`` of the
command alone is also told in processor seconds. The declared tables are half files, half latest versions: from the text
of the file to Dagster's definitions with their graph, the imports before it told apart. The sensor's ticks look at a
folder of ``--objects`` files, each after one more has landed; the store itself counts the requests. Its objects are
written first: ``--objects 1000000`` takes an hour and more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.ingest import requests_served
from benchmarks.own_lake import own_lake
from lakehouse.lake import Lake

_ROOT = Path(__file__).resolve().parents[1]
_SCRIPTS = Path(sys.executable).parent
_PARTS = ("help", "dg", "tables", "sensor")
_WRITERS = 16
_FOLDER = "many/"


def main(arguments: list[str]) -> None:
    """Measures what is chosen and prints the result."""
    parser = argparse.ArgumentParser(prog="./dev bench entrances", description=__doc__)
    parser.add_argument("--only", choices=_PARTS, nargs="+", default=_PARTS, help="these parts")
    parser.add_argument("--runs", type=int, default=5, help="measured runs of each; median and worst are reported")
    parser.add_argument("--tables", type=int, default=200, help="declared tables")
    parser.add_argument("--objects", type=int, default=25_000, help="files of the folder; more than 20,000 are many")
    chosen = parser.parse_args(arguments)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "help": lambda: _command([str(_SCRIPTS / "lakehouse"), "--help"], chosen.runs),
        "dg": lambda: _command([str(_SCRIPTS / "dg"), "list", "defs"], chosen.runs),
        "tables": lambda: _declared(chosen.tables, chosen.runs),
        "sensor": lambda: _sensor(chosen.objects, chosen.runs),
    }
    print(json.dumps({name: parts[name]() for name in _PARTS if name in chosen.only}, indent=2))


def _command(command: list[str], runs: int) -> dict[str, Any]:
    seconds, processor_seconds = [], []
    for _ in range(runs + 1):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor_seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return {"seconds": _spread(seconds[1:]), "processor_seconds": _spread(processor_seconds[1:])}


def _declared(tables: int, runs: int) -> dict[str, Any]:
    """Reading and loading that many tables; opens no store."""
    started = time.perf_counter()
    import dagster as dg

    from lakehouse.dagster import definitions
    from lakehouse.declaration.reading import catalogue_of
    from lakehouse.settings import Settings

    import_seconds, settings = time.perf_counter() - started, Settings.load(home=Path("none"), user="bench")
    lines = ["tables:"]
    for number in range(tables // 2):
        lines += [f"  bronze.t{number}:", f"    files: {{path: s3a://landing/t{number}/, hints: {{id: STRING}}}}"]
        lines += [f"  silver.t{number}:", f"    latest: {{of: bronze.t{number}, key: id}}", "    checks: [unique: id]"]
    content, reading, loading = "\n".join(lines).encode(), [], []
    for _ in range(runs):
        started = time.perf_counter()
        catalogue = catalogue_of(content, settings)
        reading.append(time.perf_counter() - started)
        dg.Definitions.validate_loadable(definitions(catalogue))
        loading.append(time.perf_counter() - started)
    return {
        "tables": len(catalogue.names),
        "import_seconds": round(import_seconds, 3),
        "read_seconds": _spread(reading),
        "read_and_load_seconds": _spread(loading),
    }


def _sensor(objects: int, runs: int) -> dict[str, Any]:
    from lakehouse.dagster.cursor import Cursor
    from lakehouse.dagster.landing import landing_folders
    from lakehouse.dagster.looking import look_around
    from lakehouse.declaration.reading import catalogue_of
    from lakehouse.maintenance.asked import asked_runs

    with own_lake() as lake:
        settings, bucket = lake.settings, lake.settings.landing_bucket
        declared = f"tables:\n  bronze.many: {{files: {{path: 's3a://{bucket}/{_FOLDER}'}}}}\n"
        folders = landing_folders(catalogue_of(declared.encode(), settings))

        def put(number: int) -> None:
            lake.store.write(bucket, f"{_FOLDER}{number:08d}.json", b'{"id": 1}\n')

        def tick(cursor: Cursor, new: int, whole: bool) -> tuple[Cursor, float, int]:
            served, started = requests_served(lake), time.perf_counter()
            opened = Lake.open(settings)
            looked = look_around(opened, folders, cursor, now=datetime.now(UTC), in_a_hurry=lambda folder: False)
            asked_runs(opened)
            seconds = time.perf_counter() - started
            [(folder, found)] = looked.found
            if (found.new, found.whole) != (new, whole):
                raise SystemExit(f"a look found {found.new:,} of {new:,} files, everything listed: {found.whole}")
            return cursor.after(folder, found.after), seconds, requests_served(lake) - served

        with ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(put, range(objects - 1)))
        time.sleep(1.1)  # the greatest key is the newest file
        put(objects - 1)
        cursor, first_seconds, first_requests = tick(Cursor(), objects, whole=True)
        ticks, requests = [], []
        for number in range(objects, objects + runs):
            put(number)
            cursor, seconds, served = tick(cursor, 1, whole=False)
            ticks.append(seconds)
            requests.append(served)
    return {
        "objects": objects,
        "first_look_seconds": round(first_seconds, 3),
        "first_look_requests": first_requests,
        "tick_seconds": _spread(ticks),
        "tick_requests_most": max(requests),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 3), "worst": round(max(values), 3)}


if __name__ == "__main__":
    os.chdir(_ROOT)
    main(sys.argv[1:])
