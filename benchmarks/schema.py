"""``./dev bench schema``: what inference, evolution and rescue cost beside a fixed schema, in one run.

Prints one JSON object. ``fixed`` has a schema and the mode ``none``; ``inferred`` is the same files with the mode
``addNewColumns``; in ``rescued`` one row in a hundred has an unknown column, mode ``rescue``; in ``grown`` the second
half of the files has a new column, so that the stream ends there and is started again. Each is warmed by an unmeasured
run; seconds are medians from the query's start to its end, ratios are to ``fixed``. The first inference comes before
the start and is told on its own. ``of_which_reading`` is into a sink that keeps nothing, once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from benchmarks.ingest import order_line, requests_served
from benchmarks.own_lake import own_lake
from lakehouse.autoloader.lineage import RESCUED_DATA
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.schema.versions import SchemaLocation, SchemaVersion
from lakehouse.engine import connect
from lakehouse.lake import Lake

_SCHEMA = StructType()
for _name in ("customer_id", "order_date", "order_id", "payment_method", "product_id"):
    _SCHEMA.add(_name, "string")
_SCHEMA.add("quantity", "long").add("total_amount", "double")
_SIZES = {"small": (1000, 10), "big": (100, 5000)}
_MODES = {"fixed": "none", "inferred": "addNewColumns", "rescued": "rescue", "grown": "addNewColumns"}


def main(arguments: list[str]) -> None:
    """Runs every case and prints the result."""
    parser = argparse.ArgumentParser(prog="./dev bench schema", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="measured runs of each case; the median is reported")
    parser.add_argument("--divide", type=int, default=1, help="of the files of each case, one in so many: a quick look")
    chosen = parser.parse_args(arguments)
    with own_lake() as lake:
        result = {}
        for name, (files, rows) in _SIZES.items():
            files = max(2, files // chosen.divide)
            result[f"{name}_{files}_files_of_{rows}_rows"] = _size(lake, files, rows, chosen.runs)
    print(json.dumps(result, indent=2))


def _size(lake: Lake, files: int, rows: int, runs: int) -> dict[str, Any]:
    for case in _MODES:
        if case != "inferred":
            _land(lake, case, files, rows)
    measured: dict[str, list[dict[str, float]]] = {case: [] for case in _MODES}
    for run in range(runs + 1):
        for case, of_case in measured.items():
            figures = _load(lake, case, files, rows)
            if run:
                of_case.append(figures)
    reading = {case: _load(lake, case, files, rows, sink="noop")["seconds"] for case in _MODES if case != "grown"}
    result: dict[str, Any] = {}
    for case, of_case in measured.items():
        median = {name: statistics.median(figures[name] for figures in of_case) for name in of_case[0]}
        result[case] = {name: round(value, 3 if "per_file" in name else 2) for name, value in median.items()}
        if case != "fixed":
            fixed = statistics.median(figures["seconds"] for figures in measured["fixed"])
            result[case]["ratio"] = round(median["seconds"] / fixed, 2)
    result["of_which_reading"] = {
        case: {"seconds": round(seconds, 2), "ratio": round(seconds / reading["fixed"], 2)}
        for case, seconds in reading.items()
    }
    return result


def _land(lake: Lake, case: str, files: int, rows: int) -> None:
    def line(file: int, row: int) -> str:
        number = file * rows + row
        unknown = (case == "rescued" and number % 100 == 50) or (case == "grown" and 2 * file >= files)
        return order_line(number, **({"channel": "shop"} if unknown else {}))

    def put(file: int) -> None:
        lines = "".join(line(file, row) for row in range(rows))
        lake.store.write(lake.settings.landing_bucket, f"{case}-{rows}/{file:05d}.json", lines.encode())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(files)))


def _load(lake: Lake, case: str, files: int, rows: int, *, sink: str = "delta") -> dict[str, float]:
    """One stream into a new table (or nowhere), in one batch, ``grown`` in two."""
    base = f"{lake.settings.lake_uri}/bench/{case}-{time.time_ns()}"
    if case in ("rescued", "grown"):  # inference would see what shall be met later
        bucket, prefix = split_uri(f"{base}/schemas")
        known = SchemaVersion(0, _SCHEMA, StructType())
        SchemaLocation(lake.store, bucket, prefix).write(known)
    figures: dict[str, float] = {}
    if case == "inferred":
        before, started = requests_served(lake), time.monotonic()
        names = _columns(lake, case, files, rows, base).columns
        figures["inference_seconds"] = time.monotonic() - started
        figures["inference_requests_per_file"] = (requests_served(lake) - before) / files
        if sorted(names) != sorted([*_SCHEMA.names, RESCUED_DATA]):
            raise SystemExit(f"inferred {names}")
    before, started = requests_served(lake), time.monotonic()
    restarts = 0
    while True:
        writer = _columns(lake, case, files, rows, base).writeStream.format(sink).option("mergeSchema", "true")
        writer = writer.option("checkpointLocation", f"{base}/checkpoint").trigger(availableNow=True)
        try:
            writer.start(f"{base}/table").awaitTermination()
            break
        except StreamingQueryException as error:
            if case != "grown" or restarts or "UNKNOWN_FIELD_EXCEPTION" not in str(error):
                raise
            restarts += 1
    figures["seconds"] = time.monotonic() - started
    figures["requests_per_file"] = (requests_served(lake) - before) / files
    if sink == "delta":
        _check(connect(lake).read.format("delta").load(f"{base}/table"), case, files * rows, restarts)
    return figures


def _columns(lake: Lake, case: str, files: int, rows: int, base: str) -> DataFrame:
    """The stream without ``_metadata``, so that all cases write the same columns."""
    reader = (
        connect(lake)
        .readStream.format("cloudFiles")
        .option("cloudFiles.format", "json")
        .option("cloudFiles.schemaEvolutionMode", _MODES[case])
        .option("cloudFiles.schemaLocation", f"{base}/schemas")
        .option("cloudFiles.inferColumnTypes", "true")
        .option("cloudFiles.maxFilesPerTrigger", files // 2 if case == "grown" else files)
    )
    landed = f"{'fixed' if case == 'inferred' else case}-{rows}"
    frame = (reader.schema(_SCHEMA) if case == "fixed" else reader).load(
        f"s3a://{lake.settings.landing_bucket}/{landed}/"
    )
    return frame.drop("_metadata")


def _check(table: DataFrame, case: str, rows: int, restarts: int) -> None:
    """What was measured is what was meant."""
    rescued, channels = (f"count({name})" if name in table.columns else "0L" for name in (RESCUED_DATA, "channel"))
    found = tuple(table.selectExpr("count(*)", rescued, channels, f"{restarts}L").collect()[0])
    expected = {"rescued": (rows, rows // 100, 0, 0), "grown": (rows, 0, rows // 2, 1)}.get(case, (rows, 0, 0, 0))
    if found != expected:
        raise SystemExit(f"{case}: rows, rescued, with a new column, restarts: {found}, not {expected}")
