"""Silver: orders counted in event-time windows that are final when they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.streams.bronze import ORDER_COLUMNS, is_invalid

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ORDERS_WINDOWED_AGGREGATES = "silver.orders_windowed_aggregates"

EVENT_TIME_FORMAT = "yyyy-MM-dd HH:mm:ss"
WATERMARK = "10 minutes"
WINDOW = "5 minutes"

READS = frozenset(ORDER_COLUMNS)
"""Columns of bronze that decide what is counted."""


def with_event_time(orders: DataFrame) -> DataFrame:
    """Adds ``event_time`` TIMESTAMP (UTC) from ``order_date``; NULL where that is no date."""
    return orders.withColumn("event_time", F.try_to_timestamp("order_date", F.lit(EVENT_TIME_FORMAT)))


def valid_orders(orders: DataFrame) -> DataFrame:
    """Rows that can be counted: whole records with an event time. Checks count the others, in bronze."""
    return with_event_time(orders.where(~is_invalid(orders))).where(F.col("event_time").isNotNull())


def orders_windowed_aggregates(spark: SparkSession, bronze_uri: str, *, skip_changes: bool = False) -> DataFrame:
    """Tumbling windows by payment method, streamed from the bronze table at ``bronze_uri``.

    In append mode a window is written once, after the watermark (newest event time less ten minutes) passed its end;
    a row that comes later than that is not counted.

    Args:
        spark: The session.
        bronze_uri: The table.
        skip_changes: Leave out commits that change rows: for those that change nothing which is read here.

    Returns:
        ``window_start``, ``window_end`` TIMESTAMP (UTC; the end is excluded), ``payment_method`` STRING,
        ``order_count`` BIGINT, ``total_revenue`` DOUBLE, ``avg_order_value`` DOUBLE.
    """
    orders = spark.readStream.format("delta").option("skipChangeCommits", skip_changes).load(bronze_uri)
    return (
        valid_orders(orders)
        .withWatermark("event_time", WATERMARK)
        .groupBy(F.window("event_time", WINDOW), "payment_method")
        .agg(
            F.count("*").alias("order_count"),
            F.sum("total_amount").alias("total_revenue"),
            F.avg("total_amount").alias("avg_order_value"),
        )
        .select(
            F.col("window.start").alias("window_start"),
            F.col("window.end").alias("window_end"),
            "payment_method",
            "order_count",
            "total_revenue",
            "avg_order_value",
        )
    )
