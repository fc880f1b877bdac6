"""Silver: orders counted in event-time windows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.durations import spark_interval
from lakehouse.settings import Settings
from lakehouse.streams.bronze import ORDER_COLUMNS, ORDERS_AUTOLOADER, is_invalid
from lakehouse.streams.transaction import merge, transaction

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

ORDERS_WINDOWED_AGGREGATES = "silver.orders_windowed_aggregates"

EVENT_TIME_FORMAT = "yyyy-MM-dd HH:mm:ss"

READS = frozenset(ORDER_COLUMNS)
"""Columns of bronze that decide what is counted."""

WINDOW_KEYS = ("window_start", "window_end", "payment_method")
"""What names a row of the table."""
_SCHEMA = (
    "window_start TIMESTAMP, window_end TIMESTAMP, payment_method STRING, "
    "order_count BIGINT, total_revenue DOUBLE, avg_order_value DOUBLE"
)


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


@dataclass(frozen=True)
class Windows:
    """How orders are put into windows.

    Attributes:
        watermark: How long a window waits for late orders, in event time.
        length: Length of a window; None for sessions.
        slide: From one window's start to the next one's; None for windows that do not overlap.
        session_gap: Pause that ends a session; None for windows of one length.
        output_mode: ``append``: a window once, when it is closed; ``update``: after each batch that changed it;
            ``complete``: all windows after each batch.
        drop_duplicates: Whether an order that comes again within the watermark is left out.
    """

    watermark: timedelta
    length: timedelta | None
    slide: timedelta | None = None
    session_gap: timedelta | None = None
    output_mode: str = "append"
    drop_duplicates: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Windows:
        """As configured."""
        gap = settings.silver_session_gap
        return cls(
            watermark=settings.silver_watermark,
            length=settings.silver_window if gap is None else None,
            slide=settings.silver_slide,
            session_gap=gap,
            output_mode=settings.silver_output_mode,
            drop_duplicates=settings.duplicate_orders == "drop",
        )

    def definition(self) -> dict[str, Any]:
        """What a checkpoint cannot change any more: its state has rows of this shape."""
        said = {
            name: spark_interval(value) if isinstance(value, timedelta) else value
            for name, value in asdict(self).items()
        }
        del said["watermark"]  # may change from one start to the next
        return said

    @property
    def drops_late_rows(self) -> bool:
        """Whether a window is ever closed; in complete mode all of them are kept, and written anew each time."""
        return self.output_mode != "complete"

    def column(self) -> Column:
        """The window of ``event_time``: STRUCT of ``start`` and ``end``. A row is in several when windows overlap."""
        if self.session_gap is not None:
            return F.session_window("event_time", spark_interval(self.session_gap))
        assert self.length is not None
        slide = self.slide or self.length
        return F.window("event_time", spark_interval(self.length), spark_interval(slide))


def with_event_time(orders: DataFrame) -> DataFrame:
    """Adds ``event_time`` TIMESTAMP (UTC) from ``order_date``; NULL where that is no date."""
    return orders.withColumn("event_time", F.try_to_timestamp("order_date", F.lit(EVENT_TIME_FORMAT)))


def with_problem(orders: DataFrame, limits: Limits) -> DataFrame:
    """Adds ``event_time`` and ``problem`` STRING: why an order is not counted; NULL when it is.

    ``no_order``: the line is broken, or a value is not of its column's type. ``no_event_time``: ``order_date`` is
    missing or cannot be read. ``event_time_too_early``, ``event_time_in_the_future``: it can, and is not believed.
    ``amount_out_of_range``: infinite, no number, or larger than anything that is sold; one such would spoil the sums
    of its window.

    A function of the row alone, with the moment when it was read: a row is judged the same however often.
    """
    dated = with_event_time(orders)
    event_time, amount = F.col("event_time"), F.col("total_amount")
    read_at = F.col("_processing_time")
    future = F.expr(f"INTERVAL {spark_interval(limits.future)}")
    return dated.withColumn(
        "problem",
        F.when(is_invalid(orders), "no_order")
        .when(event_time.isNull(), "no_event_time")
        .when(event_time < F.lit(limits.earliest).cast("timestamp"), "event_time_too_early")
        .when(event_time > read_at + future, "event_time_in_the_future")
        .when(F.isnan(amount) | (F.abs(amount) > limits.amount), "amount_out_of_range"),
    )


def valid_orders(orders: DataFrame, limits: Limits) -> DataFrame:
    """Rows that can be counted, with ``event_time``."""
    return with_problem(orders, limits).where(F.col("problem").isNull()).drop("problem")


def in_windows(orders: DataFrame, windows: Windows) -> DataFrame:
    """Counts and sums of valid orders by window and payment method; of a stream, or of a table at rest.

    Returns:
        ``window_start``, ``window_end`` TIMESTAMP (UTC; the end is excluded), ``payment_method`` STRING,
        ``order_count`` BIGINT, ``total_revenue`` DOUBLE, ``avg_order_value`` DOUBLE.
    """
    return (
        orders.groupBy(windows.column().alias("window"), "payment_method")
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


OBSERVED = "orders"


def orders_windowed_aggregates(orders: DataFrame, windows: Windows, limits: Limits) -> DataFrame:
    """Windows by payment method, of a stream of bronze's rows: its table, or ``cloudFiles`` itself.

    In append mode a window is written once, after the watermark (newest event time less ``windows.watermark``) passed
    its end; a row that comes later than that is not counted: ``set_aside`` keeps it.

    Observed under the name ``OBSERVED``: ``set_aside``, the rows with a problem, and ``earliest_milliseconds``, the
    smallest event time of the others since 1970.

    Returns:
        As ``in_windows``.
    """
    judged = with_problem(orders, limits)
    counted = F.when(F.col("problem").isNull(), F.unix_millis("event_time"))
    judged = judged.observe(
        OBSERVED, F.count("problem").alias("set_aside"), F.min(counted).alias("earliest_milliseconds")
    )
    valid = judged.where(F.col("problem").isNull()).withWatermark("event_time", spark_interval(windows.watermark))
    if windows.drop_duplicates:
        valid = valid.withColumn("_order", order_key()).dropDuplicatesWithinWatermark(["_order"])
    return in_windows(valid, windows)


def order_key() -> Column:
    """What an order is known by: its number, or its place in its file when it has none."""
    place = F.concat_ws("/", F.lit(""), SEQUENCE, "_source_record")
    return F.coalesce("order_id", place)


def from_bronze(spark: SparkSession, settings: Settings, *, skip_changes: bool = False) -> DataFrame:
    """The bronze table as a stream.

    Args:
        spark: The session.
        settings: Where it is.
        skip_changes: Leave out commits that change rows: for those that change nothing which is read here.
    """
    reader = spark.readStream.format("delta").option("skipChangeCommits", skip_changes)
    return reader.option("maxFilesPerTrigger", settings.silver_max_files_per_trigger).load(
        settings.table_uri(ORDERS_AUTOLOADER)
    )


def create_windows(spark: SparkSession, table_uri: str) -> None:
    """Makes the table, empty: a MERGE needs one. Leaves one that exists alone."""
    spark.createDataFrame([], _SCHEMA).write.format("delta").mode("ignore").save(table_uri)


@dataclass(frozen=True)
class WindowsWriter:
    """For ``foreachBatch`` in update mode: each window that a batch changed takes the place of the one before.

    Attributes:
        table_uri: The table; it must exist.
        checkpoint_uri: The stream's checkpoint.
        keys: ``engine.conf.TRANSACTION``.
    """

    table_uri: str
    checkpoint_uri: str
    keys: dict[str, str]

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Commits the batch; a batch that the table has already is left out."""
        same = " AND ".join(f"t.{name} <=> s.{name}" for name in WINDOW_KEYS)
        clauses = f"ON {same} WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        merge(frame, self.table_uri, clauses, transaction(self.checkpoint_uri, batch_id), self.keys)
