"""Late orders: bringing them into windows that are closed, and foreseeing how many a watermark would drop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from lakehouse import checkpoints
from lakehouse.accounting import quarantined
from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.durations import spark_interval
from lakehouse.errors import ConfigurationError
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
    order_key,
    valid_orders,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_TABLE = ORDERS_WINDOWED_AGGREGATES
_SAME_WINDOW = " AND ".join(f"old.{name} <=> new.{name}" for name in WINDOW_KEYS)
_VALUES = ("order_count", "total_revenue", "avg_order_value")


@dataclass(frozen=True)
class LateReplay:
    """What a replay of late rows does, or would do.

    Attributes:
        late_rows: Rows that wait in quarantine.
        windows: Closed windows that miss them.
        windows_changed: Windows that were written; 0 when they were right already.
        done: Whether it was asked for.
    """

    late_rows: int
    windows: int
    windows_changed: int
    done: bool

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def replay_late(spark: SparkSession, lake: Lake, *, really: bool = False) -> LateReplay:
    """Computes the closed windows that miss a late row again, from all that silver's stream has read of bronze.

    A window is a function of its rows, so doing it twice, or again after a crash between the two commits (the windows,
    then the mark in quarantine), changes nothing. The stream goes on as if nothing had happened: it never writes a
    window that is closed.

    Raises:
        LeaseHeld: the stream writes the table now.
        ConfigurationError: the windows are sessions; a late row can join two of them.
    """
    windows, limits = Windows.of(lake.settings), Limits.of(lake.settings)
    if windows.session_gap is not None:
        raise ConfigurationError(
            "late rows cannot be brought into sessions that are written: a row can join two of them",
            where=lake.settings.quarantine_uri(_TABLE),
            state="nothing was changed; the late rows stay in quarantine",
            next_command=f"compute the table anew, from all of bronze: lakehouse checkpoint restart {_TABLE} --yes",
        )
    with checkpoints.writer_of(lake, _TABLE):
        kept = quarantined(spark, lake)
        if kept is None:
            return LateReplay(0, 0, 0, really)
        waiting = kept.where((F.col("reason") == LATE) & F.col("replayed_at").isNull())
        missed = waiting.groupBy(*WINDOW_KEYS).agg(F.count("*").alias("late_rows"))
        totals = missed.agg(F.count("*").alias("windows"), F.sum("late_rows").alias("rows")).first()
        assert totals is not None  # an aggregate without groups always gives one row
        rows, count = int(totals["rows"] or 0), int(totals["windows"])
        if not (really and rows):
            return LateReplay(rows, count, 0, really)
        changed = _correct(spark, lake, missed, windows, limits)
        moment = f"timestamp '{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}'"
        spark.sql(
            f"UPDATE delta.`{lake.settings.quarantine_uri(_TABLE)}` SET replayed_at = {moment} "
            f"WHERE reason = '{LATE}' AND replayed_at IS NULL"
        )
        return LateReplay(rows, count, changed, True)


def _correct(spark: SparkSession, lake: Lake, missed: DataFrame, windows: Windows, limits: Limits) -> int:
    """Merges the windows of ``missed`` as all of bronze makes them; returns how many were written."""
    orders = valid_orders(rows_read(spark, lake, bronze.ORDERS_AUTOLOADER, reader=_TABLE), limits)
    if windows.drop_duplicates:
        first = F.min(F.struct(SEQUENCE, "_source_record"))
        orders = orders.withColumn("_order", order_key())
        firsts = orders.groupBy("_order").agg(first.alias("_first")).select("_first.*")
        orders = orders.join(firsts, [SEQUENCE, "_source_record"], "left_semi")
    # only what can be in those windows is read: bronze's files know the smallest and largest date in them
    bounds = missed.agg(F.min("window_start").alias("first"), F.max("window_end").alias("last")).first()
    assert bounds is not None
    near = (F.col("event_time") >= F.lit(bounds["first"])) & (F.col("event_time") < F.lit(bounds["last"]))
    made = in_windows(orders.where(near), windows).alias("new")
    same = [F.col(f"new.{name}").eqNullSafe(F.col(f"old.{name}")) for name in WINDOW_KEYS]
    corrected = made.join(missed.alias("old"), reduce(and_, same), "left_semi").alias("new")
    written = spark.read.format("delta").load(lake.settings.table_uri(_TABLE)).alias("old")
    on = [F.col(f"new.{name}").eqNullSafe(F.col(f"old.{name}")) for name in (*WINDOW_KEYS, *_VALUES)]
    wrong = corrected.join(written, reduce(and_, on), "left_anti")
    wrong.createOrReplaceTempView("corrected_windows")
    try:
        # a MERGE makes a commit also when there is nothing to write
        if not spark.table("corrected_windows").head(1):
            return 0
        [row] = spark.sql(
            f"MERGE INTO delta.`{lake.settings.table_uri(_TABLE)}` AS old USING corrected_windows AS new "
            f"ON {_SAME_WINDOW} WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        ).collect()
    finally:
        spark.catalog.dropTempView("corrected_windows")
    return int(row["num_affected_rows"])


@dataclass(frozen=True)
class WatermarkForecast:
    """What one watermark would have done with all that is in bronze.

    Attributes:
        watermark: The delay, as Spark reads it.
        late_rows: Rows that would have been dropped, counted once a window.
        share: Of all rows that can be counted.
        open_windows: Largest number of windows open at a time, for each payment method.
    """

    watermark: str
    late_rows: int
    share: float
    open_windows: int

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


DELAYS = tuple(timedelta(minutes=minutes) for minutes in (5, 10, 30, 60))


def forecast(spark: SparkSession, lake: Lake, delays: Sequence[timedelta] = DELAYS) -> list[WatermarkForecast]:
    """How many rows of bronze each watermark would drop, if silver ran after every micro-batch of bronze.

    That is the worst case: a batch of silver that holds several of bronze drops no row that one of them could save.
    """
    windows, limits = Windows.of(lake.settings), Limits.of(lake.settings)
    length = windows.length or windows.session_gap or timedelta(0)
    table = spark.read.format("delta").load(lake.settings.table_uri(bronze.ORDERS_AUTOLOADER))
    orders = valid_orders(table, limits).select(
        F.col("_processing_time").alias("batch"), F.unix_millis("event_time").alias("event_time")
    )
    batches = orders.groupBy("batch").agg(F.max("event_time").alias("newest"))
    batches.createOrReplaceTempView("bronze_batches")
    before = spark.sql(
        "SELECT batch, max(newest) OVER (ORDER BY batch ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) "
        "AS newest_before FROM bronze_batches"
    )
    slide = (windows.slide or length) / timedelta(milliseconds=1)
    span = length / timedelta(milliseconds=1)
    seen = orders.join(F.broadcast(before), "batch")
    # ends of the windows that hold a row: the first one after it, and one each slide on
    first_end = (F.floor(F.col("event_time") / slide) + 1) * slide - slide + span
    if windows.session_gap is not None:
        first_end = F.col("event_time") + span
    ends = [first_end - number * slide for number in range(max(int(-(-span // slide)), 1))]
    missing = []
    for number, delay in enumerate(delays):
        limit = F.col("newest_before") - delay / timedelta(milliseconds=1)
        dropped = [F.when((end <= limit) & (end > F.col("event_time")), 1).otherwise(0) for end in ends]
        missing.append(F.coalesce(F.sum(sum(dropped[1:], dropped[0])), F.lit(0)).alias(f"late_{number}"))
    counts = seen.agg(F.count("*").alias("rows"), *missing).first()
    assert counts is not None
    rows = int(counts["rows"])
    return [
        WatermarkForecast(
            watermark=spark_interval(delay),
            late_rows=int(counts[f"late_{number}"]),
            share=int(counts[f"late_{number}"]) / rows if rows else 0.0,
            open_windows=int(-(-(delay + length) // (windows.slide or length))) if length else 0,
        )
        for number, delay in enumerate(delays)
    ]
