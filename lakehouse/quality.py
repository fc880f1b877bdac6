"""What must be true of the tables: each check is a query over the table's state, with the offending rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.streams.bronze import CORRUPT_RECORD
from lakehouse.streams.silver import WINDOW, valid_orders

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: Its name, as in Dagster.
        table: The table that was examined, whole.
        passed: True when the table is as it must be.
        numbers: Counts with their unit in the name.
        sample: At most ``SAMPLE_ROWS`` offending rows.
        next_command: What mends it; empty when passed.
    """

    check: str
    table: str
    passed: bool
    numbers: dict[str, int]
    sample: tuple[dict[str, Any], ...] = ()
    next_command: str = ""

    def line(self) -> str:
        """``PASS  no_duplicate_orders on bronze.x  duplicate_orders 0  ...``."""
        numbers = "  ".join(f"{name} {value:,}" for name, value in self.numbers.items())
        cure = f"  next: {self.next_command}" if self.next_command else ""
        return f"{'PASS' if self.passed else 'FAIL'}  {self.check} on {self.table}  {numbers}{cure}"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


SAMPLE_ROWS = 20


def no_duplicate_orders(spark: SparkSession, table: str, uri: str) -> Finding:
    """Each ``order_id`` stands in the table once, whatever run, batch or file brought it.

    The sample has ``order_id``, ``copies`` and the ``source_files`` that hold them: one file named means that a file
    was loaded twice or repeats itself, several mean that the sender sent the order again.
    """
    orders = _read(spark, uri)
    groups = (
        orders.where(F.col("order_id").isNotNull())
        .groupBy("order_id")
        .agg(F.count("*").alias("copies"), F.sort_array(F.collect_set("_source_file")).alias("source_files"))
        .where("copies > 1")
    )
    totals = groups.agg(F.count("*").alias("orders"), F.coalesce(F.sum("copies"), F.lit(0)).alias("rows")).first()
    assert totals is not None  # an aggregate without groups always gives one row
    duplicates = int(totals["orders"])
    sample = groups.orderBy(F.desc("copies"), "order_id").limit(SAMPLE_ROWS).collect() if duplicates else []
    return Finding(
        check="no_duplicate_orders",
        table=table,
        passed=duplicates == 0,
        numbers={
            "duplicate_orders": duplicates,
            "surplus_rows": int(totals["rows"]) - duplicates,
            "examined_rows": orders.count(),
        },
        sample=tuple({**row.asDict(), "source_files": ", ".join(row["source_files"])} for row in sample),
        next_command=""
        if duplicates == 0
        else f"look at the files named, remove the surplus rows from {table} with SQL DELETE, then check again",
    )


def no_corrupt_records(spark: SparkSession, table: str, uri: str) -> Finding:
    """Lines that are no valid order: kept in the table whole, counted here, left out of silver."""
    orders = _read(spark, uri)
    corrupt = orders.where(F.col(CORRUPT_RECORD).isNotNull())
    count = corrupt.count()
    sample = corrupt.select("_source_file", F.substring(CORRUPT_RECORD, 1, 200).alias("line")).limit(SAMPLE_ROWS)
    return Finding(
        check="no_corrupt_records",
        table=table,
        passed=count == 0,
        numbers={"corrupt_rows": count},
        sample=tuple(row.asDict() for row in sample.collect()) if count else (),
        next_command="" if count == 0 else "correct the lines at their sender and let it send them in a new file",
    )


def windows_account_for_orders(spark: SparkSession, bronze_uri: str, silver: str, silver_uri: str) -> Finding:
    """Every order of a closed window is counted in it, or came after the watermark had closed it.

    Closed are the windows up to the newest one that silver holds. Rows that are missing there came late: they are
    counted, never silent. A window that counts more rows than bronze has would be a double: then the check fails.
    """
    windows = _read(spark, silver_uri)
    newest = windows.agg(F.max("window_end").alias("end")).first()
    counted = windows.groupBy("window_start", "payment_method").agg(
        F.sum("order_count").alias("counted"), F.count("*").alias("lines")
    )
    orders = valid_orders(_read(spark, bronze_uri)).groupBy(F.window("event_time", WINDOW), "payment_method").count()
    present = orders.select(F.col("window.start").alias("window_start"), "window.end", "payment_method", "count")
    end = newest["end"] if newest else None
    expected = present.where(F.col("end") <= F.lit(end)) if end else present.where(F.lit(False))
    joined = expected.join(
        counted.withColumnRenamed("payment_method", "method"),
        on=(expected["window_start"] == counted["window_start"]) & F.col("payment_method").eqNullSafe(F.col("method")),
        how="full_outer",
    ).select(
        F.coalesce(expected["window_start"], counted["window_start"]).alias("window_start"),
        F.coalesce("payment_method", "method").alias("payment_method"),
        F.coalesce("count", F.lit(0)).alias("bronze_rows"),
        F.coalesce("counted", F.lit(0)).alias("counted_rows"),
        F.coalesce("lines", F.lit(0)).alias("lines"),
    )
    wrong = joined.where("counted_rows > bronze_rows OR lines > 1")
    totals = joined.agg(
        F.coalesce(F.sum("bronze_rows"), F.lit(0)).alias("bronze"),
        F.coalesce(F.sum("counted_rows"), F.lit(0)).alias("counted"),
        F.count("*").alias("windows"),
    ).first()
    assert totals is not None  # an aggregate without groups always gives one row
    sample = [row.asDict() for row in wrong.orderBy("window_start").limit(SAMPLE_ROWS).collect()]
    return Finding(
        check="windows_account_for_orders",
        table=silver,
        passed=not sample,
        numbers={
            "windows": int(totals["windows"]),
            "counted_rows": int(totals["counted"]),
            "late_rows": int(totals["bronze"]) - int(totals["counted"]),
        },
        sample=tuple(sample),
        next_command=""
        if not sample
        else f"{silver} holds windows twice: stop its runs and compare with its checkpoint",
    )


def _read(spark: SparkSession, uri: str) -> DataFrame:
    return spark.read.format("delta").load(uri)
