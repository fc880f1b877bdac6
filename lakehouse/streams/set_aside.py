"""What silver does not count is kept: late rows, and rows with a problem, in ``_quarantine/<table>``.

Spark drops a late row without a word. Which rows it dropped can be told afterwards: the offsets of a batch say which
files it read, and the batch before it which watermark its rows were held against.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from lakehouse import checkpoints
from lakehouse.autoloader.lineage import RESCUED_DATA
from lakehouse.lake import Lake
from lakehouse.storage import ObjectMissing
from lakehouse.streams import bronze
from lakehouse.streams.delta_batches import Place, files_between
from lakehouse.streams.run import observed
from lakehouse.streams.silver import OBSERVED, ORDERS_WINDOWED_AGGREGATES, Limits, Windows, with_problem

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

LATE = "late"
_KEPT = (*bronze.ORDER_COLUMNS, "event_time", RESCUED_DATA, "_processing_time", "_source_file")
_PLACE = (bronze.SEQUENCE, "_source_record")

RowsOfBatch = Callable[[dict[str, Any] | None, dict[str, Any]], "DataFrame | None"]
"""From the offsets before and after a batch to the bronze rows that it read; None while they are not in bronze yet."""


class SetAside:
    """The quarantine of ``silver.orders_windowed_aggregates``: one row for each window that missed an order.

    Columns: ``reason`` STRING (``late``, or what ``with_problem`` says), ``window_start``, ``window_end`` TIMESTAMP
    (NULL where a row has no window), ``watermark`` TIMESTAMP in force, ``lateness_seconds`` DOUBLE: how far the row was
    behind the newest event time of its stream, ``batch_id`` BIGINT, ``quarantined_at``, ``replayed_at`` TIMESTAMP
    (NULL until its window is corrected), then the order as bronze has it, with its place.

    Exactly once: a batch is one Delta transaction, under the checkpoint's id.

    Args:
        spark: A session.
        lake: Where all of it is.
        windows: How the table's windows are made.
        limits: What an order must keep.
        rows_of_batch: Finds the rows of a batch.
    """

    def __init__(
        self, spark: SparkSession, lake: Lake, windows: Windows, limits: Limits, rows_of_batch: RowsOfBatch
    ) -> None:
        self._spark, self._lake, self._windows, self._limits = spark, lake, windows, limits
        self._rows_of_batch = rows_of_batch
        self._table = ORDERS_WINDOWED_AGGREGATES
        self._uri = lake.settings.quarantine_uri(self._table)
        self._examined: int | None = None

    def is_behind(self) -> bool:
        """Whether there are batches that nobody looked at: their process was killed."""
        return self._last_commit() > self._position()

    def catch_up(self) -> None:
        """Examines them."""
        self._examine_upto(self._last_commit(), None)

    def after_batch(self, progress: dict[str, Any]) -> dict[str, int]:
        """Examines a batch that was committed just now: ``late_rows`` and ``set_aside_rows``, for its report."""
        return self._examine_upto(progress["batchId"], progress)

    def _examine_upto(self, last: int, progress: dict[str, Any] | None) -> dict[str, int]:
        counts: dict[str, int] = {}
        for batch in range(self._position() + 1, last + 1):
            found = self._examine(batch, progress if batch == last else None)
            if found is None:
                break
            counts = {name: counts.get(name, 0) + found.get(name, 0) for name in {*counts, *found}}
            self._note(batch)
        late = counts.pop(LATE, 0)
        return {"late_rows": late, "set_aside_rows": sum(counts.values())}

    def _examine(self, batch: int, progress: dict[str, Any] | None) -> dict[str, int] | None:
        before = checkpoints.planned(self._lake, self._table, batch - 1) if batch else None
        watermark = before.watermark_milliseconds if before and self._windows.drops_late_rows else 0
        if progress is not None and not self._may_miss_rows(progress, watermark):
            return {}
        now = checkpoints.planned(self._lake, self._table, batch)
        if before is not None and before.offset == now.offset:
            return {}  # a batch without data: it closes windows
        rows = self._rows_of_batch(before.offset if before else None, now.offset)
        if rows is None:
            return None
        judged = with_problem(rows, self._limits)
        missed = self._with_problems(judged)
        if watermark:
            missed = missed.unionByName(self._late(judged.where("problem IS NULL"), watermark))
        return self._keep(missed, batch, now.query_id)

    def _may_miss_rows(self, progress: dict[str, Any], watermark: int) -> bool:
        counts = observed(progress, OBSERVED)
        if not counts:
            return bool(sum(source.get("numInputRows") or 0 for source in progress["sources"]))
        earliest = counts.get("earliest_milliseconds")
        return bool(counts.get("set_aside")) or (earliest is not None and earliest <= watermark)

    def _with_problems(self, judged: DataFrame) -> DataFrame:
        nothing = F.lit(None).cast("timestamp")
        return judged.where("problem IS NOT NULL").select(
            F.col("problem").alias("reason"),
            nothing.alias("window_start"),
            nothing.alias("window_end"),
            nothing.alias("watermark"),
            F.lit(None).cast("double").alias("lateness_seconds"),
            *_order_columns(judged),
        )

    def _late(self, valid: DataFrame, watermark: int) -> DataFrame:
        """The rows that Spark's operators dropped by that watermark, once for each window that missed them."""
        limit = F.timestamp_millis(F.lit(watermark))
        # with duplicates dropped, a row passes an operator that looks at its own time before it has a window
        end = F.col("event_time") if self._windows.drop_duplicates else F.col("window.end")
        newest = limit + F.expr(f"INTERVAL {self._windows.watermark.total_seconds()} SECONDS")
        return (
            self._with_window(valid)
            .where(end <= limit)
            .select(
                F.lit(LATE).alias("reason"),
                F.col("window.start").alias("window_start"),
                F.col("window.end").alias("window_end"),
                limit.alias("watermark"),
                ((F.unix_millis(newest) - F.unix_millis("event_time")) / 1000).alias("lateness_seconds"),
                *_order_columns(valid),
            )
        )

    def _with_window(self, valid: DataFrame) -> DataFrame:
        if self._windows.session_gap is None:
            return valid.withColumn("window", self._windows.column())
        # a session is made of all rows of its batch before it is held against the watermark
        sessions = valid.groupBy(self._windows.column().alias("window"), F.col("payment_method").alias("_method"))
        return valid.join(
            sessions.agg(F.count("*").alias("_rows")),
            F.col("payment_method").eqNullSafe(F.col("_method"))
            & (F.col("event_time") >= F.col("window.start"))
            & (F.col("event_time") < F.col("window.end")),
        )

    def _keep(self, missed: DataFrame, batch: int, query_id: str) -> dict[str, int]:
        counts = {row["reason"]: int(row["count"]) for row in missed.groupBy("reason").count().collect()}
        if counts:
            kept = missed.select(
                *missed.columns[:5],
                F.lit(batch).cast("bigint").alias("batch_id"),
                F.lit(datetime.now(UTC)).alias("quarantined_at"),
                F.lit(None).cast("timestamp").alias("replayed_at"),
                *missed.columns[5:],
            )
            (
                kept.write.format("delta")
                .mode("append")
                .option("mergeSchema", "true")
                .option("txnAppId", f"{query_id}/set_aside")
                .option("txnVersion", batch)
                .save(self._uri)
            )
        return counts

    def _last_commit(self) -> int:
        state = checkpoints.read_checkpoint(self._lake, self._table)
        return -1 if state is None or state.last_commit is None else state.last_commit

    def _position(self) -> int:
        if self._examined is None:
            try:
                said = self._lake.store.read(self._lake.settings.bucket, self._key())
                self._examined = int(json.loads(said)["batch"])
            except ObjectMissing:
                self._examined = -1
        return self._examined

    def _note(self, batch: int) -> None:
        self._examined = batch
        self._lake.store.write(self._lake.settings.bucket, self._key(), json.dumps({"batch": batch}).encode())

    def _key(self) -> str:
        return checkpoints.object_key(self._lake, self._table, "set_aside.json")


def _order_columns(rows: DataFrame) -> list[Column]:
    there = set(rows.columns)
    return [F.col(name) for name in (*_KEPT, *_PLACE) if name in there]


def rows_of_bronze_files(spark: SparkSession, lake: Lake) -> RowsOfBatch:
    """For a stream of the bronze table: the rows of the data files that the batch read."""

    def rows(before: dict[str, Any] | None, now: dict[str, Any]) -> DataFrame:
        uri = lake.settings.table_uri(bronze.ORDERS_AUTOLOADER)
        paths = files_between(lake, bronze.ORDERS_AUTOLOADER, Place.of(before) if before else None, Place.of(now))
        table = spark.read.format("delta").load(uri)
        # the files themselves: the table may have taken out what the stream has read
        return spark.read.schema(table.schema).parquet(*paths) if paths else table.limit(0)

    return rows


def rows_of_journal_numbers(spark: SparkSession, lake: Lake) -> RowsOfBatch:
    """For a stream of the files themselves: the bronze rows of those files, once bronze has loaded them."""

    def rows(before: dict[str, Any] | None, now: dict[str, Any]) -> DataFrame | None:
        loaded = checkpoints.last_finished(lake, bronze.ORDERS_AUTOLOADER)
        if loaded is None or loaded.offset["seq"] < now["seq"]:
            return None
        table = spark.read.format("delta").load(lake.settings.table_uri(bronze.ORDERS_AUTOLOADER))
        number = F.col(bronze.SEQUENCE)
        return table.where((number > (before["seq"] if before else 0)) & (number <= now["seq"]))

    return rows
