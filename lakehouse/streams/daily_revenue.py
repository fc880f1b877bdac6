"""Gold: revenue by day and payment method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.streams.merging import merge

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

DAILY_REVENUE = "gold.daily_revenue"
GROUP = ("day", "payment_method")
MEASURES = ("orders", "revenue", "avg_order_value", "distinct_customers")
_MEASURED = ("payment_method", "total_amount", "customer_id")
_SCHEMA = (
    "day DATE, payment_method STRING, orders BIGINT, revenue DOUBLE, avg_order_value DOUBLE, distinct_customers BIGINT"
)
_READS = ("order_id", "order_day", *_MEASURED)


def daily_revenue(orders: DataFrame, *more: Column) -> DataFrame:
    """``silver.orders`` by day and payment method; NULL is a payment method, too.

    Args:
        orders: The rows.
        more: Further aggregates.

    Returns:
        ``day`` DATE (UTC), ``payment_method`` STRING, ``orders`` BIGINT, ``revenue`` DOUBLE (sum of the amounts that
        are known; NULL when none is), ``avg_order_value`` DOUBLE (their mean), ``distinct_customers`` BIGINT.
    """
    return _measured(_counted(orders), *more)


def changes_of_orders(spark: SparkSession, orders_uri: str) -> DataFrame:
    """The change data feed of ``silver.orders`` as a stream: first all rows as inserted, then what each commit did."""
    feed = spark.readStream.format("delta").option("readChangeFeed", "true").load(orders_uri)
    return feed.select(*_READS, "_commit_version")


def changed_groups(changes: DataFrame) -> DataFrame:
    """Days and payment methods whose measures a change may have altered: those of the row before and after it."""
    # what a commit left as it was is there twice, before and after: an order sent again unchanged, a row moved to
    # another data file
    images = changes.groupBy(*_READS, "_commit_version").count().where("count = 1")
    return images.select(F.col("order_day").alias("day"), "payment_method").distinct()


@dataclass(frozen=True)
class DailyRevenueWriter:
    """For ``foreachBatch`` of ``changes_of_orders``: computes the groups that changed anew, and replaces them.

    The table of orders may be newer than the batch when it is read. That does no harm: a group is computed from all
    its orders as they are then, and what changed after the batch names it again in the next.

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
        groups = changed_groups(frame).persist()
        try:
            orders = frame.sparkSession.read.format("delta").load(self.orders_uri)
            same = " AND ".join(f"t.{name} <=> s.{name}" for name in MEASURES)
            merge(
                _computed_anew(orders, groups),
                f"""
                ON t.day = s.day AND t.payment_method <=> s.payment_method
                WHEN MATCHED AND s.orders = 0 THEN DELETE
                WHEN MATCHED AND NOT ({same}) THEN UPDATE SET *
                WHEN NOT MATCHED AND s.orders > 0 THEN INSERT *""",
                table_uri=self.table_uri,
                checkpoint_uri=self.checkpoint_uri,
                batch_id=batch_id,
            )
        finally:
            groups.unpersist()


def create_daily_revenue(spark: SparkSession, table_uri: str) -> None:
    """Makes the table, empty; leaves one that exists alone."""
    spark.createDataFrame([], _SCHEMA).write.format("delta").mode("ignore").save(table_uri)


def _computed_anew(orders: DataFrame, groups: DataFrame) -> DataFrame:
    """The measures of ``groups``; those that have no orders any more with ``orders`` 0."""
    first, last = groups.agg(F.min("day"), F.max("day")).collect()[0]
    # the days are values, not a join, so that Delta leaves out the files of other days
    of_days = orders.where(F.col("order_day").between(F.lit(first), F.lit(last)))
    same = (of_days["order_day"] == groups["day"]) & of_days["payment_method"].eqNullSafe(groups["payment_method"])
    present = _counted(of_days.join(groups, same, "left_semi"))
    return _measured(present.unionByName(groups.withColumn("orders", F.lit(0)), allowMissingColumns=True))


def _counted(orders: DataFrame) -> DataFrame:
    return orders.select(F.col("order_day").alias("day"), *_MEASURED, F.lit(1).alias("orders"))


def _measured(rows: DataFrame, *more: Column) -> DataFrame:
    return rows.groupBy(*GROUP).agg(
        F.sum("orders").alias("orders"),
        F.sum("total_amount").alias("revenue"),
        F.avg("total_amount").alias("avg_order_value"),
        F.countDistinct("customer_id").alias("distinct_customers"),
        *more,
    )
