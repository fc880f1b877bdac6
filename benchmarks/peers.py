"""What others use to get files into Delta, on the same objects: dlt, and a bare loop of Polars and deltalake.

They are no dependencies of this project: ``requirements-peers.lock`` (its ``.in`` says how it is made) goes into an
environment of its own in the user's cache folder, when first asked for. Each run is a new process and a new table.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from filelock import FileLock

from lakehouse.lake import Lake

LOCK = Path(__file__).with_name("requirements-peers.lock")
_LOOPS = Path(__file__).with_name("peer_loops.py")
_TIMEOUT_SECONDS = 3600
_PACKAGES = {"polars": ("polars", "deltalake", "s3fs"), "dlt": ("dlt", "deltalake", "s3fs")}
LACKS = {  # each was tried with the versions of the lock, or follows from what the loop is
    "polars": (
        "No journal: the set of seen keys dies with the process, and the next one loads the whole folder again.",
        "No exactly-once: the append and the remembering of its keys are two steps, and the commit names no batch; "
        "stopped in between, even a loop with a durable set would load those files twice.",
        "A file is its key: an object replaced after it was loaded is never looked at again.",
        "No quarantine and no rescue: one broken line, or one value that does not fit its column, fails the whole "
        "batch, and the next one with it.",
        "No schema evolution: fields outside the given schema are dropped without a word.",
        "No limits: whatever is new is one data frame in memory and one commit, however many files or bytes.",
        "No receipts: nothing tells which file a row is from, when it was loaded or in which version of the table; "
        "that every file was loaded cannot be checked, nor the rows of one file found again.",
    ),
    "dlt": (
        "No journal: the state is the newest modification_date, and hashes of the file_urls that have exactly it. "
        "Other files of that moment are loaded; one that turns up with an older date is skipped for good and silently.",
        "The option for late ones (lag) gives up those hashes: an append loads the files of its window again.",
        "No exactly-once: the Delta commit of an append names no load, and is not looked for before it is repeated; "
        "killed, or its answer lost, after the commit, the same rows are appended again.",
        "A file replaced after it was loaded is appended beside its old rows; there is no other choice by file.",
        "No quarantine: one broken line fails the extraction, so that nothing of that run is loaded, nor of the next. "
        "(A value that does not fit its column is kept, in a column of its own; new fields become new columns.)",
        "No limits by bytes; by pages of files or by time when asked for (row_order and add_limit), one run a part.",
        "No receipts by file: a row names its load, and a load its tables and jobs, none of them the file (unless the "
        "reader is one's own); that every file was loaded cannot be checked, nor the rows of one file found again.",
    ),
}


class Landed(NamedTuple):
    """Objects that ``benchmarks.ingest`` landed, and what cloudFiles took for them."""

    folder: str
    rows: int
    cloud_files_seconds: float


def measure(lake: Lake, cases: list[Landed], columns: dict[str, str], *, runs: int) -> dict[str, Any]:
    """Versions, figures of every case and lacks, by peer; ``error`` instead of figures where a run went wrong."""
    python = ensure_environment()
    return {
        peer: {
            "versions": _versions(peer),
            **{case.folder: _case(lake, python, peer, case, columns, runs) for case in cases},
            "lacks": list(LACKS[peer]),
        }
        for peer in LACKS
    }


def failures(measured: dict[str, Any]) -> list[str]:
    """One line for each case that went wrong."""
    cases = ((peer, name, case) for peer, found in measured.items() for name, case in found.items())
    return [f"{peer}, {name}: {case['error']}" for peer, name, case in cases if "error" in case]


def ensure_environment() -> Path:
    """The Python of the peers' environment, made anew when its stamp is not the lock's."""
    folder = platformdirs.user_cache_path("lakehouse") / "peers"
    python, stamp = folder / "bin" / "python", folder / ".stamp"
    wanted = f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {sys.version_info.major}.{sys.version_info.minor}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not python.exists() or not stamp.is_file() or stamp.read_text() != wanted:
            print("peers: installing what requirements-peers.lock names, once (about 620 MB) ...", file=sys.stderr)
            _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
            _uv("pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode", "--python", str(python), str(LOCK))
            stamp.write_text(wanted)  # last: an environment without it is made anew
    return python


def _uv(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "uv", *arguments], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"uv {' '.join(arguments[:2])} failed:\n{done.stderr[-2000:]}")


def _versions(peer: str) -> dict[str, str]:
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", LOCK.read_text(), re.MULTILINE))
    return {package: locked[package] for package in _PACKAGES[peer]}


def _case(lake: Lake, python: Path, peer: str, case: Landed, columns: dict[str, str], runs: int) -> dict[str, Any]:
    """Medians of the measured runs, after one that is not."""
    try:
        measured = [_run(lake, python, peer, case, columns) for _ in range(runs + 1)][1:]
    except _WentWrong as problem:
        return {"error": str(problem)}
    seconds = statistics.median(run["seconds"] for run in measured)
    return {
        "seconds": round(seconds, 2),
        "process_seconds": round(statistics.median(run["process_seconds"] for run in measured), 2),
        "ratio": round(seconds / case.cloud_files_seconds, 2),
        "rows": case.rows,
        "peak_megabytes": round(max(run["peak_kilobytes"] for run in measured) / 1024),
    }


class _WentWrong(Exception):
    """A run ended badly, or its table does not hold what was landed."""


def _run(lake: Lake, python: Path, peer: str, case: Landed, columns: dict[str, str]) -> dict[str, float]:
    uri = f"{lake.settings.lake_uri}/bench/{peer}/{case.folder}_{time.time_ns()}".replace("s3a://", "s3://", 1)
    options = lake.endpoint.deltalake_options()
    with tempfile.TemporaryDirectory(prefix="lakehouse-peer-") as work:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": work,  # no settings of the user's, and nothing left in them
            "DLT_DATA_DIR": work,
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "PEER_SOURCE": f"s3://{lake.settings.landing_bucket}/{case.folder}",
            "PEER_TABLE": uri,
            "PEER_COLUMNS": json.dumps(columns),
            **options,
        }
        started = time.monotonic()
        measured = _started([str(python), "-I", str(_LOOPS), peer], work, environment)
        measured["process_seconds"] = time.monotonic() - started
    _check(uri, options, case.rows)
    return measured


def _started(command: list[str], work: str, environment: dict[str, str]) -> dict[str, float]:
    try:
        done = subprocess.run(
            command,
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _WentWrong(f"not done after {_TIMEOUT_SECONDS} seconds") from None
    if done.returncode:
        raise _WentWrong(f"exit code {done.returncode}: {_without_secrets(done.stderr, environment).strip()[-500:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _without_secrets(text: str, environment: dict[str, str]) -> str:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"):
        if environment.get(name):
            text = text.replace(environment[name], "***")
    return text


def _check(uri: str, options: dict[str, str], rows: int) -> None:
    """Holds the table against what was landed: so many rows, and no order twice."""
    # not by to_pyarrow_table: its threads may outlive the last line (see lakehouse.lake.LakeTable)
    asked = QueryBuilder().register("orders", DeltaTable(uri, storage_options=options))
    counted = asked.execute("SELECT count(*) AS found, count(DISTINCT order_id) AS different FROM orders")
    found, different = pa.table(counted).to_pylist()[0].values()
    if (found, different) != (rows, rows):
        raise _WentWrong(f"the table has {found:,} rows with {different:,} order ids; {rows:,} were landed")
