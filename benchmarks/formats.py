"""``./dev bench formats``: XML and workbooks read by this library and by pandas; with ``--spark`` by Spark, too.

Prints one JSON object: rows a second of each, and their ratio to ours. No store is asked: bytes are in memory for us
and for pandas, and on a local disk for Spark. Each case is warmed by an unmeasured run; figures are of medians, and
only those of one run are comparable with each other.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pyspark.sql.types import StructType

from lakehouse.autoloader.formats.excel import parse_excel
from lakehouse.autoloader.formats.rows import Target
from lakehouse.autoloader.formats.xml import parse_xml

_SCHEMA = (
    StructType()
    .add("order_id", "string")
    .add("customer_id", "string")
    .add("order_date", "timestamp_ntz")
    .add("total_amount", "double")
    .add("quantity", "long")
)
_XML = {"rowtag": "order"}
_EXCEL = {"headerrows": "1"}


def main(arguments: list[str]) -> None:
    """Runs every case and prints the result."""
    parser = argparse.ArgumentParser(prog="./dev bench formats", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the large file; small ones have 100")
    parser.add_argument("--runs", type=int, default=3, help="measured runs of each case; the median is reported")
    parser.add_argument("--spark", action="store_true", help="Spark's XML reader beside ours, in this process")
    chosen = parser.parse_args(arguments)
    small, large = max(1, chosen.rows // 100), 1
    result: dict[str, Any] = {}
    for files, rows in ((small, 100), (large, chosen.rows)):
        name = f"{files}_files_of_{rows}_rows"
        documents, books = [_document(rows)] * files, [_book(rows)] * files
        xml: dict[str, Callable[[], int]] = {
            "ours": lambda documents=documents: sum(map(_read_xml, documents)),  # type: ignore[misc]
            "pandas": lambda documents=documents: sum(map(_pandas_xml, documents)),  # type: ignore[misc]
        }
        if chosen.spark:
            xml["spark"] = _by_spark(documents)
        result[f"xml_{name}"] = _measured(xml, files * rows, chosen.runs)
        excel: dict[str, Callable[[], int]] = {
            "ours": lambda books=books: sum(map(_read_excel, books)),  # type: ignore[misc]
            "pandas": lambda books=books: sum(map(_pandas_excel, books)),  # type: ignore[misc]
            "pandas_with_calamine": lambda books=books: sum(_pandas_excel(book, "calamine") for book in books),  # type: ignore[misc]
        }
        result[f"excel_{name}"] = _measured(excel, files * rows, chosen.runs)
    print(json.dumps(result, indent=2))


def _measured(ways: dict[str, Callable[[], int]], rows: int, runs: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for run in range(runs + 1):
        for way, read in ways.items():
            started = time.monotonic()
            found = read()
            if found != rows:
                raise SystemExit(f"{way} read {found:,} of {rows:,} rows")
            if run:  # the first one warms
                seconds[way].append(time.monotonic() - started)
    medians = {way: statistics.median(some) for way, some in seconds.items()}
    speeds = {f"{way}_rows_per_second": round(rows / took) for way, took in medians.items()}
    others = {f"ratio_to_{way}": round(took / medians["ours"], 2) for way, took in medians.items() if way != "ours"}
    return {**speeds, **others}


def _orders(rows: int) -> list[dict[str, Any]]:
    return [
        {
            "order_id": f"ORD-{number:08d}",
            "customer_id": f"CUST-{number % 977:04d}",
            "order_date": pd.Timestamp("2026-01-01 10:00:00"),
            "total_amount": 12.5 + number % 100,
            "quantity": number % 5,
        }
        for number in range(rows)
    ]


def _document(rows: int) -> bytes:
    fields = ((name, [str(order[name]) for order in _orders(rows)]) for name in _SCHEMA.names)
    columns = [[f"<{name}>{value}</{name}>" for value in values] for name, values in fields]
    return (
        "<orders>" + "\n".join(f"<order>{''.join(row)}</order>" for row in zip(*columns, strict=True)) + "</orders>"
    ).encode()


def _book(rows: int) -> bytes:
    file = io.BytesIO()
    pd.DataFrame(_orders(rows)).to_excel(file, index=False, engine="openpyxl")
    return file.getvalue()


def _read_xml(data: bytes) -> int:
    return sum(len(part.table) for part in parse_xml(io.BytesIO(data), Target(_SCHEMA, _XML, "p")))


def _read_excel(data: bytes) -> int:
    return sum(len(part.table) for part in parse_excel(io.BytesIO(data), Target(_SCHEMA, _EXCEL, "p")))


def _pandas_xml(data: bytes) -> int:
    return len(pd.read_xml(io.BytesIO(data), xpath="//order", parse_dates=["order_date"]))


def _pandas_excel(data: bytes, engine: Literal["openpyxl", "calamine"] = "openpyxl") -> int:
    return len(pd.read_excel(io.BytesIO(data), engine=engine))


def _by_spark(documents: list[bytes]) -> Callable[[], int]:
    from pyspark.sql import SparkSession

    folder = Path(tempfile.mkdtemp(prefix="lakehouse-bench-"))
    for number, data in enumerate(documents):
        (folder / f"{number:05d}.xml").write_bytes(data)
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()

    frame = spark.read.format("xml").options(rowTag="order").schema(_SCHEMA).load(str(folder))
    rows = frame.count()

    def read() -> int:
        frame.write.format("noop").mode("overwrite").save()  # a count would read no column
        return rows

    return read


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
