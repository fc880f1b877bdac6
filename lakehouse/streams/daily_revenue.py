"""Gold: revenue by day and payment method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.streams.transaction import transaction

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

DAILY_REVENUE = "gold.daily_revenue"
GROUP = ("day", "payment_method")
MEASURES = ("orders", "revenue", "avg_order_value", "distinct_customers")
_SCHEMA = (
    "day DATE, payment_method STRING, orders BIGINT, revenue DOUBLE, avg_order_value DOUBLE, distinct_customers BIGINT"
)
_READS = ("order_id", "order_day", "payment_method", "total_amount", "customer_id")
_MOST_DAYS_NAMED = 500


def daily_revenue(orders: DataFrame, *more: Column) -> DataFrame:
    """``silver.orders`` by day and payment method; NULL is a payment method, too.

    Args:
        orders: The rows.
        more: Further aggregates.

    Returns:
        ``day`` DATE (UTC), ``payment_method`` STRING, ``orders`` BIGINT, ``revenue`` DOUBLE (sum of the amounts that
        are known; NULL when none is), ``avg_order_value`` DOUBLE (their mean), ``distinct_customers`` BIGINT.
    """
    return orders.groupBy(F.col("order_day").alias("day"), "payment_method").agg(
        F.count("*").alias("orders"),
        F.sum("total_amount").alias("revenue"),
        F.avg("total_amount").alias("avg_order_value"),
        F.countDistinct("customer_id").alias("distinct_customers"),
        *more,
    )


def changes_of_orders(spark: SparkSession, orders_uri: str) -> DataFrame:
    """The change data feed of ``silver.orders`` as a stream: first all rows as inserted, then what each commit did."""
    feed = spark.readStream.format("delta").option("readChangeFeed", "true").load(orders_uri)
    return feed.select(*_READS, "_commit_version")


def changes_since(spark: SparkSession, orders_uri: str, version: int) -> DataFrame:
    """What the commits after ``version`` did, in the columns of ``changes_of_orders``; there must be one."""
    feed = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", version + 1)
    return feed.load(orders_uri).select(*_READS, "_commit_version")


def changed_days(changes: DataFrame) -> list[date]:
    """Days whose revenue the changes may have altered: those of a row before and after it."""
    # what a commit left as it was is there twice, before and after: an order that was sent again unchanged, a row
    # that was only written into another data file
    images = changes.groupBy(*_READS, "_commit_version").count().where("count = 1")
    return sorted(row["order_day"] for row in images.select("order_day").distinct().collect())


@dataclass(frozen=True)
class DailyRevenueWriter:
    """For ``foreachBatch`` of ``changes_of_orders``: computes the days that changed anew, and replaces them.

    The orders that are read may be newer than the batch. That does no harm: a day is computed from all its orders as
    they are then, and what changed after the batch names its day again in a later one.

    Attributes:
        orders_uri: ``silver.orders``.
        table_uri: ``gold.daily_revenue``; it must exist.
        checkpoint_uri: The stream's checkpoint.
    """

    orders_uri: str
    table_uri: str
    checkpoint_uri: str

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Commits the batch; a batch that the table has already is left out."""
        days = changed_days(frame)
        orders = frame.sparkSession.read.format("delta").load(self.orders_uri)
        writer = (
            daily_revenue(orders.where(_within("order_day", days)))
            .write.format("delta")
            .options(**transaction(self.checkpoint_uri, batch_id))
        )
        if days:
            writer = writer.option("replaceWhere", _within("day", days))
        writer.mode("overwrite" if days else "append").save(self.table_uri)


def create_daily_revenue(spark: SparkSession, table_uri: str) -> None:
    """Makes the table, empty; leaves one that exists alone."""
    spark.createDataFrame([], _SCHEMA).write.format("delta").mode("ignore").save(table_uri)


def _within(column: str, days: Sequence[date]) -> str:
    """The condition for these days, as values, so that Delta leaves out the files of others.

    Very many are a range: what lies between is computed anew for nothing, and comes out the same.
    """
    if not days:
        return "false"
    named = [f"DATE'{day}'" for day in days]
    if len(named) > _MOST_DAYS_NAMED:
        return f"{column} BETWEEN {named[0]} AND {named[-1]}"
    return f"{column} IN ({', '.join(named)})"
