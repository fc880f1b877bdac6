"""Keeping the rows that a table of windows does not count: late and invalid rows, in ``_quarantine/<table>``.

Spark drops late rows silently. Which rows it dropped is computed afterwards: the offsets of a batch say which files it
read, and the batch before it has the watermark to which its rows were compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.autoloader.lineage import CORRUPT_RECORD, FILE, PROCESSING_TIME, RECORD, RESCUED_DATA, SEQUENCE
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.delta_offsets import Place, files_between, rows_of_files
from lakehouse.lake import Lake
from lakehouse.spark_sql import named
from lakehouse.storage import ObjectMissing
from lakehouse.streams.run import observed
from lakehouse.streams.widening import widen_table

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_NAME = "set_aside.json"
LATE = "late"
EVENT_TIME, PROBLEM = "event_time", "_problem"
OBSERVED = "judged"
_ABOUT = (EVENT_TIME, RESCUED_DATA, CORRUPT_RECORD, PROCESSING_TIME, FILE, SEQUENCE, RECORD)
_WHY = ("reason", "window_start", "window_end", "watermark", "lateness_seconds")
_WHEN = ("batch_id", "quarantined_at", "replayed_at")

RowsOfBatch = Callable[[dict[str, Any] | None, dict[str, Any]], "DataFrame | None"]
"""From the offsets before and after a batch to the rows that it read; None while they are not in the table yet."""


class Windowed(Protocol):
    """What this module needs of a table's windows; ``flows.windowing`` implements it."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns beside the window."""

    @property
    def watermark(self) -> timedelta:
        """How long a window waits for late rows."""

    @property
    def session_gap(self) -> timedelta | None:
        """Pause that ends a session; None for windows of one length."""

    @property
    def drops_late_rows(self) -> bool:
        """Whether a window is ever closed."""

    @property
    def drops_duplicates(self) -> bool:
        """Whether a row that comes again is left out."""

    def window_column(self) -> Column:
        """The window of ``event_time``."""

    def judge(self, rows: DataFrame, expected: tuple[str, ...], *, into: str) -> DataFrame:
        """Adds ``event_time``, and a column ``into`` with the reason why a row is not counted."""


class SetAside:
    """The quarantine of a table of windows: a row for each window that missed a row of the source.

    Columns: ``reason`` STRING (``late``, or what ``judge`` says), ``window_start``, ``window_end`` TIMESTAMP (NULL
    where a row has no window), ``watermark`` TIMESTAMP in force, ``lateness_seconds`` DOUBLE: how far the row was
    behind the newest event time of its stream, ``batch_id`` BIGINT, ``quarantined_at``, ``replayed_at`` TIMESTAMP
    (NULL until its window is corrected), then the row as the source has it, see ``kept_name``.

    Exactly once: a batch is one Delta transaction, under the checkpoint's id.

    Args:
        lake: Where the tables are.
        table: The table of windows.
        windows: How its windows are made.
        expected: Columns in which a value of another type makes the row invalid.
        rows_of_batch: Finds the rows of a batch.
    """

    def __init__(
        self,
        lake: Lake,
        table: str,
        windows: Windowed,
        expected: tuple[str, ...],
        rows_of_batch: RowsOfBatch,
    ) -> None:
        self._lake, self._table = lake, table
        self._windows, self._expected = windows, expected
        self._rows_of_batch = rows_of_batch
        self._uri = lake.settings.quarantine_uri(table)
        self._examined: int | None = None

    def is_behind(self) -> bool:
        """Whether batches were not examined yet, because their process was killed."""
        return self._last_commit() > self._position()

    def catch_up(self) -> None:
        """Examines those batches."""
        self._examine_upto(self._last_commit(), None)

    def after_batch(self, progress: dict[str, Any]) -> dict[str, int]:
        """Examines a batch that was just committed; returns ``late_rows`` and ``set_aside_rows`` for its report."""
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
        judged = self._windows.judge(rows, self._expected, into=PROBLEM)
        missed = self._with_problems(judged)
        if watermark:
            missed = missed.unionByName(self._late(judged.where(F.col(PROBLEM).isNull()), watermark))
        return self._keep(missed, batch, now.query_id)

    def _may_miss_rows(self, progress: dict[str, Any], watermark: int) -> bool:
        counts = observed(progress, OBSERVED)
        if not counts:
            return bool(sum(source.get("numInputRows") or 0 for source in progress["sources"]))
        earliest = counts.get("earliest_milliseconds")
        return bool(counts.get("set_aside")) or (earliest is not None and earliest <= watermark)

    def _with_problems(self, judged: DataFrame) -> DataFrame:
        nothing = F.lit(None).cast("timestamp")
        why = F.col(PROBLEM), nothing, nothing, nothing, F.lit(None).cast("double")
        return judged.where(F.col(PROBLEM).isNotNull()).select(*_aliased(why, _WHY), *_row(judged))

    def _late(self, valid: DataFrame, watermark: int) -> DataFrame:
        """The rows that Spark's operators dropped by that watermark, once for each window that missed them."""
        limit = F.timestamp_millis(F.lit(watermark))
        # where duplicates are dropped, that operator compares the row's own time before the row has a window
        end = F.col(EVENT_TIME) if self._windows.drops_duplicates else F.col("_window.end")
        newest = limit + F.expr(f"INTERVAL {self._windows.watermark.total_seconds()} SECONDS")
        lateness = (F.unix_millis(newest) - F.unix_millis(EVENT_TIME)) / 1000
        why = F.lit(LATE), F.col("_window.start"), F.col("_window.end"), limit, lateness
        return self._with_window(valid).where(end <= limit).select(*_aliased(why, _WHY), *_row(valid))

    def _with_window(self, valid: DataFrame) -> DataFrame:
        if self._windows.session_gap is None:
            return valid.withColumn("_window", self._windows.window_column())
        # a session is made of all rows of its batch before it is compared with the watermark
        keys = {f"_key_{number}": named(name) for number, name in enumerate(self._windows.keys)}
        window = self._windows.window_column().alias("_window")
        sessions = valid.groupBy(window, *(key.alias(name) for name, key in keys.items())).agg(F.count("*"))
        within = (F.col(EVENT_TIME) >= F.col("_window.start")) & (F.col(EVENT_TIME) < F.col("_window.end"))
        for name, key in keys.items():
            within = within & key.eqNullSafe(F.col(name))
        return valid.join(sessions, within)

    def _keep(self, missed: DataFrame, batch: int, query_id: str) -> dict[str, int]:
        counts = {row["reason"]: int(row["count"]) for row in missed.groupBy("reason").count().collect()}
        if counts:
            when = F.lit(batch).cast("bigint"), F.lit(datetime.now(UTC)), F.lit(None).cast("timestamp")
            row = (named(name) for name in missed.columns[len(_WHY) :])
            kept = missed.select(*_WHY, *_aliased(when, _WHEN), *row)
            if self._lake.version_at(self._uri) is not None:
                widen_table(kept, self._uri)
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
                content = self._lake.store.read(self._lake.settings.bucket, self._key())
            except ObjectMissing:
                content = b'{"batch": -1}'
            with checkpoints.readable(self._lake, self._table, _NAME, cure="restart"):
                self._examined = int(json.loads(content)["batch"])
        return self._examined

    def _note(self, batch: int) -> None:
        self._examined = batch
        self._lake.store.write(self._lake.settings.bucket, self._key(), json.dumps({"batch": batch}).encode())

    def _key(self) -> str:
        return checkpoints.object_key(self._lake, self._table, _NAME)


def quarantined(spark: SparkSession, lake: Lake, table: str) -> DataFrame | None:
    """The rows that a table of windows set aside; None when there are none. See ``SetAside`` for the columns."""
    uri = lake.settings.quarantine_uri(table)
    if lake.version_at(uri) is None:
        return None
    return spark.read.format("delta").load(uri)


def kept_name(column: str) -> str:
    """The name of a source's column in quarantine: ``row_reason`` for a ``reason``, which the quarantine has itself."""
    return f"row_{column}" if column.lower() in (*_WHY, *_WHEN) else column


def _row(rows: DataFrame) -> list[Column]:
    """The row as the source has it: its fields, then its event time and where it is from."""
    there = rows.columns
    fields = [name for name in there if name not in (*_ABOUT, PROBLEM)]
    names = [*fields, *(name for name in _ABOUT if name in there)]
    return [named(name).alias(kept_name(name)) for name in names]


def _aliased(columns: tuple[Column, ...], names: tuple[str, ...]) -> list[Column]:
    return [column.alias(name) for column, name in zip(columns, names, strict=True)]


def rows_of_data_files(session: Callable[[], SparkSession], lake: Lake, source: str) -> RowsOfBatch:
    """For a stream of a table: the rows of the data files that the batch read, by a session that is opened then."""

    def rows(before: dict[str, Any] | None, now: dict[str, Any]) -> DataFrame:
        paths = files_between(lake, source, Place.of(before) if before else None, Place.of(now))
        return rows_of_files(session(), lake, source, paths)

    return rows


def rows_of_journal_numbers(session: Callable[[], SparkSession], lake: Lake, source: str) -> RowsOfBatch:
    """For a stream of the files themselves: the rows of those files, once the table ``source`` has loaded them."""

    def rows(before: dict[str, Any] | None, now: dict[str, Any]) -> DataFrame | None:
        loaded = checkpoints.last_finished(lake, source)
        if loaded is None or loaded.offset["seq"] < now["seq"]:
            return None
        table = session().read.format("delta").load(lake.settings.table_uri(source))
        number = F.col(SEQUENCE)
        return table.where((number > (before["seq"] if before else 0)) & (number <= now["seq"]))

    return rows
