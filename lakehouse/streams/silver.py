"""Which orders are believed, for what still asks this module; ``flows.judged`` is what the windows ask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.durations import spark_interval
from lakehouse.settings import Settings
from lakehouse.streams.bronze import is_invalid

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ORDERS_WINDOWED_AGGREGATES = "silver.orders_windowed_aggregates"

EVENT_TIME_FORMAT = "yyyy-MM-dd HH:mm:ss"


@dataclass(frozen=True)
class Limits:
    """What an order must keep to be counted; what does not goes to quarantine.

    Attributes:
        earliest: First day of an event time that is believed.
        future: How far an event time may be ahead of the moment when its row was read: one wrong clock must not close
            every window.
        amount: Largest amount, without its sign.
    """

    earliest: date
    future: timedelta
    amount: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """As configured."""
        return cls(settings.silver_earliest_date, settings.silver_future_limit, settings.silver_amount_limit)


def valid_orders(orders: DataFrame, limits: Limits) -> DataFrame:
    """Rows that can be counted, with ``event_time``."""
    orders = orders.withColumn("event_time", F.try_to_timestamp("order_date", F.lit(EVENT_TIME_FORMAT)))
    event_time, amount = F.col("event_time"), F.col("total_amount")
    future = F.expr(f"INTERVAL {spark_interval(limits.future)}")
    problem = (
        is_invalid(orders)
        | event_time.isNull()
        | (event_time < F.lit(limits.earliest).cast("timestamp"))
        | (event_time > F.col("_processing_time") + future)
        | F.isnan(amount)
        | (F.abs(amount) > limits.amount)
    )
    return orders.where(~F.coalesce(problem, F.lit(False)))
