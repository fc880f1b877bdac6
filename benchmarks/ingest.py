"""``./dev bench ingest``: cloudFiles against Spark's own file source, on the same objects, in one run.

``cloud_files`` is the source with Delta's sink on the warm Spark engine; ``table_by_spark`` a declared table on it,
whose tasks write the data files; ``table_by_local`` the same on the engine without a JVM, its processes started anew.

Prints one JSON object. Each case is warmed by an unmeasured run; ratios are of medians. ``requests_per_file`` counts
every request that reached the object store, those of Delta and of the checkpoint included; ``of_which_reading`` is the
same into a sink that keeps nothing, once. ``--local`` loads the same files from local paths and from S3, on the engine
without a JVM alone. ``--peers`` adds dlt and a
bare loop of Polars and deltalake, each measured after its imports; a ``ratio`` is theirs to the seconds of cloudFiles.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks import peers
from benchmarks.memory import PeakMemory
from benchmarks.own_lake import own_lake
from lakehouse.engine import connect
from lakehouse.flows.files import Files
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.streams.run import Run
from lakehouse.table import At, Catalogue, Table

_DDL = (
    "order_id STRING, customer_id STRING, order_date STRING, total_amount DOUBLE, payment_method STRING, "
    "product_id STRING, quantity INT"
)
_CASES = {"small": (4000, 10), "big": (400, 5000)}
_DLT_TYPES = {"STRING": "text", "DOUBLE": "double", "INT": "bigint"}


def main(arguments: list[str]) -> None:
    """Runs every case and prints the result."""
    parser = argparse.ArgumentParser(prog="./dev bench ingest", description=__doc__)
    parser.add_argument("--runs", type=int, default=2, help="measured runs of each case; the median is reported")
    parser.add_argument("--known", type=int, default=1_000_000, help="files in the journal of the last case")
    parser.add_argument("--peers", action="store_true", help="others beside ours, installed when first asked for")
    parser.add_argument("--divide", type=int, default=1, help="of the files of each case, one in so many: a quick look")
    parser.add_argument(
        "--local", action="store_true", help="local paths beside S3, on the engine local, without Spark"
    )
    chosen = parser.parse_args(arguments)
    if chosen.local:
        with own_lake() as lake:
            found = {name: _local_case(lake, name, *size, runs=chosen.runs) for name, size in _cases(chosen.divide)}
        print(json.dumps(found, indent=2))
        return
    if chosen.peers:
        peers.ensure_environment()  # before anything is measured
    cases = dict(_cases(chosen.divide))
    with own_lake() as lake:
        result = {name: _case(lake, name, *size, runs=chosen.runs) for name, size in cases.items()}
        result["journal"] = _journal(str(lake.settings.home), chosen.known)
        if chosen.peers:
            result["peers"] = _peers(lake, cases, result, chosen.runs)
    print(json.dumps(result, indent=2))
    failures = peers.failures(result["peers"]) if chosen.peers else []
    if failures:
        raise SystemExit("\n".join(failures))


def _cases(divide: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name and size of each case, the name telling the size."""
    for name, (files, rows) in _CASES.items():
        files = max(1, files // divide)
        yield f"{name}_{files}_files_of_{rows}_rows", (files, rows)


def _peers(lake: Lake, cases: dict[str, tuple[int, int]], result: dict[str, Any], runs: int) -> dict[str, Any]:
    """The peers on the objects of every case, and what cloudFiles holds in memory on them, in a run of its own."""
    ours: dict[str, Any] = {}
    for name, (files, rows) in cases.items():
        with PeakMemory(lake.settings.home) as memory:
            _load(lake, name, "cloudFiles", files, files * rows)
        ours[name] = {"seconds": result[name]["cloud_files_seconds"], **memory.megabytes()}
    columns = {name: _DLT_TYPES[kind] for name, kind in (column.split() for column in _DDL.split(", "))}
    landed = [
        peers.Landed(name, files * rows, result[name]["cloud_files_seconds"]) for name, (files, rows) in cases.items()
    ]
    return {"cloudFiles": ours, **peers.measure(lake, landed, columns, runs=runs)}


def _case(lake: Lake, name: str, files: int, rows: int, *, runs: int) -> dict[str, Any]:
    put_orders(lake, name, range(files), rows)
    ways: dict[str, Callable[..., float]] = {
        "json": partial(_load, format_="json"),
        "cloudFiles": partial(_load, format_="cloudFiles"),
        "spark": partial(_load_table, engine="spark"),
        "local": partial(_load_table, engine="local"),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    requests: dict[str, float] = {}
    for run in range(runs + 1):
        for way, load in ways.items():
            before = requests_served(lake)
            took = load(lake, name, files=files, rows=files * rows)
            if run:
                seconds[way].append(took)
            requests[way] = (requests_served(lake) - before) / files
    medians = {way: statistics.median(measured) for way, measured in seconds.items()}
    read = {format_: _load(lake, name, format_, files, files * rows, sink="noop") for format_ in ("json", "cloudFiles")}
    return {
        "spark_read_stream_json_seconds": round(medians["json"], 2),
        "cloud_files_seconds": round(medians["cloudFiles"], 2),
        "ratio": round(medians["json"] / medians["cloudFiles"], 2),
        "requests_per_file": round(requests["cloudFiles"], 3),
        **{
            f"table_by_{engine}": {
                "seconds": round(medians[engine], 2),
                "ratio": round(medians["json"] / medians[engine], 2),
                "requests_per_file": round(requests[engine], 3),
            }
            for engine in ("spark", "local")
        },
        "of_which_reading": {
            "spark_read_stream_json_seconds": round(read["json"], 2),
            "cloud_files_seconds": round(read["cloudFiles"], 2),
            "ratio": round(read["json"] / read["cloudFiles"], 2),
        },
    }


def _local_case(lake: Lake, name: str, files: int, rows: int, *, runs: int) -> dict[str, float]:
    """A declared table on the engine ``local``, from the store and from a local folder; the lake is on the store."""
    put_orders(lake, name, range(files), rows)
    folder = lake.settings.home / "landed" / name
    folder.mkdir(parents=True)
    for number in range(files):
        lines = "".join(order_line(number * rows + row) for row in range(rows))
        (folder / f"{number:05d}.json").write_text(lines)
    paths = {"s3": f"s3a://{lake.settings.landing_bucket}/{name}/", "local": f"{folder}/"}
    seconds: dict[str, list[float]] = {way: [] for way in paths}
    for run in range(runs + 1):
        for way, path in paths.items():
            took = _load_table(lake, name, "local", files, files * rows, path)
            if run:
                seconds[way].append(took)
    medians = {way: statistics.median(measured) for way, measured in seconds.items()}
    return {
        **{f"{way}_seconds": round(took, 2) for way, took in medians.items()},
        **{f"{way}_rows_per_second": round(files * rows / took) for way, took in medians.items()},
        "ratio": round(medians["s3"] / medians["local"], 2),
    }


def put_orders(lake: Lake, folder: str, numbers: Iterable[int], rows: int) -> None:
    """Writes the files of these numbers into a folder of the landing bucket, each of so many orders."""

    def put(number: int) -> None:
        lines = "".join(order_line(number * rows + row) for row in range(rows))
        lake.store.write(lake.settings.landing_bucket, f"{folder}/{number:05d}.json", lines.encode())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, numbers))


def order_line(number: int, **more: str) -> str:
    """One order as a line of JSON."""
    order = {
        "order_id": f"ORD-{number:08d}",
        "customer_id": f"CUST-{number % 977:04d}",
        "order_date": "2026-01-01 10:00:00",
        "total_amount": 12.5 + number % 100,
        "payment_method": "card",
        "product_id": f"PROD-{number % 50:03d}",
        "quantity": number % 5,
        **more,
    }
    return json.dumps(order) + "\n"


def _load(lake: Lake, name: str, format_: str, files: int, rows: int, *, sink: str = "delta") -> float:
    """One stream into a new table (or nowhere), all files in one batch; the seconds from its definition to its end."""
    spark, tag = connect(lake), f"{name}-{format_}-{time.time_ns()}"
    base = f"{lake.settings.lake_uri}/bench/{tag}"
    started = time.monotonic()
    reader = spark.readStream.format(format_).schema(_DDL)
    if format_ == "cloudFiles":
        reader = (
            reader.option("cloudFiles.format", "json")
            .option("cloudFiles.maxFilesPerTrigger", files)
            .option("cloudFiles.journalLocation", f"{base}/journal")
        )
    query = (
        reader.load(f"s3a://{lake.settings.landing_bucket}/{name}/")
        .writeStream.format(sink)
        .option("checkpointLocation", f"{base}/checkpoint")
        .trigger(availableNow=True)
        .start(f"{base}/table")
    )
    query.awaitTermination()
    seconds = time.monotonic() - started
    if sink == "delta":
        loaded = spark.read.format("delta").load(f"{base}/table").count()
    else:
        loaded = sum(source["numInputRows"] or 0 for progress in query.recentProgress for source in progress["sources"])
    if loaded != rows:
        raise SystemExit(f"{format_} loaded {loaded:,} of {rows:,} rows")
    return seconds


def _load_table(
    lake: Lake, name: str, engine: Literal["spark", "local"], files: int, rows: int, path: str | None = None
) -> float:
    """The same into a declared table; ``path`` in place of the landing bucket's folder."""
    table = f"bronze.{name}_{time.time_ns()}"
    flow = Files(
        path=path or f"s3a://{lake.settings.landing_bucket}/{name}/",
        columns=_DDL,
        lineage=False,
        engine=engine,
        options={
            "cloudFiles.maxFilesPerTrigger": str(files),
            "cloudFiles.journalLocation": f"{lake.settings.lake_uri}/bench/{table}/journal",
        },
    )
    declared = Table(table, flow)
    started = time.monotonic()
    report = flow.bring_up_to_date(At(lambda: connect(lake), lake, declared, Catalogue((declared,))), Run())
    seconds = time.monotonic() - started
    if report.rows_added != rows:
        raise SystemExit(f"the engine {engine} loaded {report.rows_added:,} of {rows:,} rows")
    return seconds


def requests_served(lake: Lake) -> int:
    """All S3 requests that MinIO has served, from its own metrics."""

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"exp": int(time.time()) + 600, "sub": lake.endpoint.access_key.get_secret_value(), "iss": "prometheus"}
    signed = part(b'{"alg":"HS512","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    secret = lake.endpoint.secret_key.get_secret_value().encode()
    token = (signed + b"." + part(hmac.new(secret, signed, hashlib.sha512).digest())).decode()
    request = urllib.request.Request(
        f"{lake.endpoint.url}/minio/metrics/v3/api/requests", headers={"Authorization": f"Bearer {token}"}
    )
    text = urllib.request.urlopen(request, timeout=30).read().decode()
    counts = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith("minio_api_requests_total{")]
    return sum(int(float(count)) for count in counts)


def _journal(folder: str, known: int) -> dict[str, Any]:
    """A journal of ``known`` files: opened and asked in a process of its own, so that its memory can be told."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ingest", "--measure-journal", folder, str(known)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout))


def _measure_journal(folder: str, known: int) -> None:
    from datetime import UTC, datetime

    from lakehouse.autoloader.files import segments
    from lakehouse.autoloader.files.journal import Journal
    from lakehouse.autoloader.files.segments import FileVersion
    from lakehouse.storage.fast_store import FastStore
    from lakehouse.storage.store import ObjectInfo

    lake = Lake.open(Settings.load(home=Path(folder), user="bench"))
    store, moment = FastStore(lake.endpoint), datetime(2026, 1, 1, tzinfo=UTC)
    if not Path(folder, "journal.written").exists():
        step = 50_000
        for number, first in enumerate(range(1, known + 1, step), 1):
            last = min(first + step, known + 1)
            files = [
                FileVersion(seq, "landing", _key(seq), f"{seq:032x}", 1000, moment, moment, True, f"{number:012x}")
                for seq in range(first, last)
            ]
            name = segments.name_of(number, number)
            store.write(lake.settings.bucket, f"known/segments/{name}", segments.encode(segments.to_table(files)))
        Path(folder, "journal.written").touch()
        return _measure_again(folder, known)
    empty_kilobytes = _peak_kilobytes()
    started = time.monotonic()
    journal = Journal(store, lake.settings.bucket, "known", now=lambda: moment)
    opened = time.monotonic() - started
    new = [ObjectInfo(_key(seq), 1000, f"{seq:032x}", moment) for seq in range(known + 1, known + 1001)]
    started = time.monotonic()
    found = journal.append("landing", new)
    appended = time.monotonic() - started
    peak_kilobytes = _peak_kilobytes()
    print(
        json.dumps(
            {
                "known_files": known,
                "open_seconds": round(opened, 2),
                "append_of_1000_new_seconds": round(appended, 2),
                "found": found,
                "peak_megabytes": round(peak_kilobytes / 1024),
                "of_which_python_and_libraries_megabytes": round(empty_kilobytes / 1024),
            }
        )
    )
    return None


def _peak_kilobytes() -> int:
    """This program's own peak; ``getrusage`` would count what its parent had when it forked."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def _measure_again(folder: str, known: int) -> None:
    """In a fresh process: what writing the journal took is not what opening it takes."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--measure-journal", folder, str(known)]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _key(seq: int) -> str:
    return f"orders/date=2026-01-{seq % 28 + 1:02d}/orders_stream_{seq:09d}.json"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure-journal"]:
        _measure_journal(sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1:])
