"""What a peer does: run by ``benchmarks.peers`` in the peers' own environment, where this project is not installed.

``peer_loops.py polars|dlt`` takes its places from ``PEER_*`` and its credentials from ``AWS_*`` in the environment,
loads what is in the folder once, and prints one JSON line. Both know the columns beforehand, as cloudFiles does here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

_ENV = os.environ


def _polars(source: str, table: str) -> float:
    """Lists, reads what is new, appends it, until a listing has nothing new; the seconds of it."""
    import polars as pl
    import s3fs

    types = {"text": pl.String, "double": pl.Float64, "bigint": pl.Int32}
    schema = {name: types[kind] for name, kind in _columns().items()}
    options = {name: value for name, value in _ENV.items() if name.startswith("AWS_")}
    started = time.monotonic()
    store = s3fs.S3FileSystem(endpoint_url=_ENV["AWS_ENDPOINT_URL"], use_listings_cache=False)
    seen: set[str] = set()
    while new := sorted({f"s3://{key}" for key in store.find(source)} - seen):
        orders = pl.scan_ndjson(new, schema=schema, storage_options=options).collect()
        orders.write_delta(table, mode="append", storage_options=options)
        seen.update(new)
    return time.monotonic() - started


def _dlt(source: str, table: str) -> float:
    """One run of a pipeline as dlt's own pages write it; the seconds of it."""
    import dlt
    from dlt.common.configuration.specs import AwsCredentials
    from dlt.sources.filesystem import filesystem, read_jsonl

    started = time.monotonic()
    credentials = AwsCredentials(
        aws_access_key_id=_ENV["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_ENV["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=_ENV.get("AWS_SESSION_TOKEN"),
        region_name=_ENV["AWS_REGION"],
        endpoint_url=_ENV["AWS_ENDPOINT_URL"],
    )
    base, dataset, name = table.rsplit("/", 2)
    listed = filesystem(
        source, credentials, file_glob="*.json", incremental=dlt.sources.incremental("modification_date")
    )
    orders = (listed | read_jsonl()).with_name(name)
    columns = {column: {"data_type": kind} for column, kind in _columns().items()}
    orders.apply_hints(columns=columns, write_disposition="append", table_format="delta")
    pipeline = dlt.pipeline(
        "peer",
        pipelines_dir=str(Path.cwd()),
        destination=dlt.destinations.filesystem(bucket_url=base, credentials=credentials),
        dataset_name=dataset,
    )
    pipeline.run(orders)
    return time.monotonic() - started


def _columns() -> dict[str, str]:
    """Column name to dlt's name of its type."""
    return dict(json.loads(_ENV["PEER_COLUMNS"]))


def _peak_kilobytes() -> int:
    """This program's own peak; ``getrusage`` would count what its parent had when it forked."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    seconds = {"polars": _polars, "dlt": _dlt}[sys.argv[1]](_ENV["PEER_SOURCE"], _ENV["PEER_TABLE"])
    print(json.dumps({"seconds": seconds, "peak_kilobytes": _peak_kilobytes()}), flush=True)
    os._exit(0)  # threads of dlt's process have aborted Python's own way out, after all was done
