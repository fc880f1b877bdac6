"""Whether silver accounts for every row of bronze: counted, or kept in quarantine with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from lakehouse import checkpoints
from lakehouse.lake import Lake
from lakehouse.streams import bronze
from lakehouse.streams.delta_batches import rows_read
from lakehouse.streams.set_aside import LATE
from lakehouse.streams.silver import (
    ORDERS_WINDOWED_AGGREGATES,
    WINDOW_KEYS,
    Limits,
    Windows,
    in_windows,
    with_problem,
)
from lakehouse.table import SAMPLE_ROWS, Finding

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_TABLE = ORDERS_WINDOWED_AGGREGATES


def windows_account_for_orders(spark: SparkSession, lake: Lake) -> Finding:
    """Every order that the stream has read is counted in its closed windows once, or waits in quarantine.

    Closed are the windows up to the watermark of its last batch; in update and complete mode all count as such. A
    window that counts more than bronze has, or stands in silver twice, is a double; one that counts less without a
    late row in quarantine is a loss. Sessions are held against bronze as a whole: a late row can join two of them.

    Where duplicates are dropped, an order that comes again is missing by intention: only doubles are found then. Where
    the table keeps what bronze forgot, it may count more: only losses, and lines that stand there twice, are found.
    """
    keeps = bool(checkpoints.kept_removals(lake, _TABLE))
    windows, limits = Windows.of(lake.settings), Limits.of(lake.settings)
    judged = with_problem(rows_read(spark, lake, bronze.ORDERS_AUTOLOADER, reader=_TABLE), limits)
    counted = spark.read.format("delta").load(lake.settings.table_uri(_TABLE))
    kept = quarantined(spark, lake)
    late = kept.where((F.col("reason") == LATE) & F.col("replayed_at").isNull()) if kept else None
    if windows.session_gap is None:
        sides = _sides(judged, counted, late, windows)
    else:
        sides = _sides_of_sessions(judged, counted, late)
    closed = sides
    if windows.output_mode == "append" and windows.session_gap is None:
        last = checkpoints.last_finished(lake, _TABLE)
        closed = sides.where(
            F.col("window_end") <= F.timestamp_millis(F.lit(last.watermark_milliseconds if last else 0))
        )
    # what comes again is dropped on purpose, and a session that is open is counted nowhere yet
    exact = windows.session_gap is None and not windows.drop_duplicates
    relation = "<" if keeps else "<>" if exact else ">"
    differs = F.expr(f"counted_rows + late_rows {relation} bronze_rows") if exact or not keeps else F.lit(False)
    wrong = differs | (F.col("lines") > 1)
    sums = {name: F.coalesce(F.sum(name), F.lit(0)) for name in ("bronze_rows", "counted_rows", "late_rows")}
    totals = closed.agg(
        *(column.alias(name) for name, column in sums.items()),
        F.count("*").alias("windows"),
        F.count(F.when(wrong, 1)).alias("wrong"),
    ).first()
    assert totals is not None  # an aggregate without groups always gives one row
    problems = judged.where("problem IS NOT NULL").count()
    set_aside = kept.where(F.col("reason") != LATE).count() if kept else 0
    sample = closed.where(wrong).orderBy("window_start").limit(SAMPLE_ROWS).collect() if totals["wrong"] else []
    passed = not sample and (problems <= set_aside if keeps else problems == set_aside)
    numbers = {name: int(totals[name]) for name in ("windows", "counted_rows", "late_rows")}
    missing = int(totals["bronze_rows"]) - numbers["counted_rows"] - numbers["late_rows"] if exact else 0
    return Finding(
        check="windows_account_for_orders",
        table=_TABLE,
        passed=passed,
        numbers={**numbers, "set_aside_rows": set_aside, "unaccounted_rows": missing + problems - set_aside},
        sample=tuple(row.asDict() for row in sample),
        next_command=""
        if passed
        else "lakehouse replay-late --yes when that was interrupted; else: "
        f"lakehouse checkpoint restart {_TABLE} --yes && lakehouse ingest",
    )


def quarantined(spark: SparkSession, lake: Lake) -> DataFrame | None:
    """The rows that silver set aside; None when there are none. See ``SetAside`` for the columns."""
    uri = lake.settings.quarantine_uri(_TABLE)
    if lake.version_at(uri) is None:
        return None
    return spark.read.format("delta").load(uri)


def _sides(judged: DataFrame, counted: DataFrame, late: DataFrame | None, windows: Windows) -> DataFrame:
    """``bronze_rows``, ``counted_rows``, ``late_rows`` and ``lines`` for each window and payment method."""
    present = in_windows(judged.where("problem IS NULL"), windows)
    both = present.select(*WINDOW_KEYS, F.col("order_count").alias("bronze_rows")).unionByName(
        counted.select(*WINDOW_KEYS, F.col("order_count").alias("counted_rows"), F.lit(1).alias("lines")),
        allowMissingColumns=True,
    )
    if late is not None:
        both = both.unionByName(late.select(*WINDOW_KEYS, F.lit(1).alias("late_rows")), allowMissingColumns=True)
    # a union and one aggregation put all sides of a window into one row, without a join
    names = [name for name in ("bronze_rows", "counted_rows", "late_rows", "lines") if name in both.columns]
    sides = both.groupBy(*WINDOW_KEYS).agg(*(F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in names))
    return sides if late is not None else sides.withColumn("late_rows", F.lit(0))


def _sides_of_sessions(judged: DataFrame, counted: DataFrame, late: DataFrame | None) -> DataFrame:
    def rows(count: Column, name: str) -> Column:
        return F.coalesce(count, F.lit(0)).cast("bigint").alias(name)

    sides = judged.where("problem IS NULL").agg(rows(F.count("*"), "bronze_rows"))
    lines = counted.groupBy(*WINDOW_KEYS).agg(F.sum("order_count").alias("rows"), F.count("*").alias("lines"))
    sides = sides.crossJoin(lines.agg(rows(F.sum("rows"), "counted_rows"), rows(F.max("lines"), "lines")))
    waiting = late.agg(rows(F.count("*"), "late_rows")) if late is not None else None
    sides = sides.crossJoin(waiting) if waiting is not None else sides.withColumn("late_rows", F.lit(0))
    return sides.withColumn("window_start", F.lit(None).cast("timestamp"))
