"""A stream that follows another Delta table, without Spark: it plans, commits and finishes batch after batch.

Offsets and transactions are those of a Spark query into such a table. So the two engines can take turns on it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import DeltaError

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.position import position_before
from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.delta_log import CHECKPOINT_INTERVAL
from lakehouse.direct.commit import Batch, is_committed
from lakehouse.direct.delta_source import Offset
from lakehouse.direct.kept import last_planned
from lakehouse.errors import TransientError
from lakehouse.lake import KEEPS_LOG, Lake, LakeTable
from lakehouse.plain_text import cause_of
from lakehouse.storage.delta_paths import deltalake_uri
from lakehouse.streams.progress import BatchProgress

_STATISTICS, _MOST_STATISTICS = "delta.dataSkippingStatsColumns", 32


class FollowingStream(ABC):
    """One run of a stream into a table that is computed from another, under its lease.

    Args:
        lake: Where both tables are.
        table: The target.
    """

    def __init__(self, lake: Lake, table: str) -> None:
        self._lake, self._table = lake, table
        self._log = SparkLog(lake, table)

    @abstractmethod
    def _next_end(self, start: Offset | None, *, once: bool) -> Offset | None:
        """Where the batch after ``start`` ends; None when nothing is new."""

    @abstractmethod
    def _opened(self) -> LakeTable:
        """The target, made when there is none."""

    @abstractmethod
    def _load(self, batch: Batch) -> tuple[Any, int]:
        """What a batch writes, and how many rows were read for it."""

    @abstractmethod
    def _write(self, opened: LakeTable, brought: Any, properties: CommitProperties) -> None:
        """Writes it in one commit with ``properties``; makes no commit when it changes nothing."""

    def batches(self, *, once: bool = False) -> Iterator[BatchProgress]:
        """Batches until nothing is left of what was there at the start; ``once``: all of it in a single batch.

        Raises:
            NotDirect, OnlySpark: only Spark can go on; nothing of the batch is committed.
            CheckpointMismatch: a planned batch cannot be done again, see ``position_before``; or the table was taken
                back to an older version while the stream ran.
            SourceChanged: rows that were read are not in the source any more.
            TransientError: another writer was faster.
        """
        last = last_planned(self._lake, self._table, self._log)
        query, number, start, end = last.query, last.number, None, last.end
        if end is not None and last.finished:
            start, number, end = end, number + 1, None
        elif end is not None:  # a batch that was planned and not finished is done again
            start = self._before(query, number)
        while True:
            began = time.monotonic()
            planned, end = end is not None, end or self._next_end(start, once=once)
            if end is None:
                return
            progress, start = self._batch(Batch(query, number, start, end), began, planned)
            yield progress
            number, end = number + 1, None

    def _before(self, query: str, number: int) -> Offset | None:
        if number == 0:
            return None
        return self._log.planned(number - 1) or position_before(self._lake, self._table, query, number)

    def _batch(self, batch: Batch, began: float, planned: bool) -> tuple[BatchProgress, Offset]:
        marks = {"latestOffset": began, "walCommit": time.monotonic()}
        if not planned:
            end = self._log.plan_first(batch.number, batch.end)
            batch = Batch(batch.query_id, batch.number, batch.start, end)
        marks["addBatch"] = time.monotonic()
        read, opened = 0, self._opened()
        if not is_committed(opened, batch):
            where = self._lake.settings.table_uri(self._table)
            checkpoints.require_not_taken_back(opened, batch.query_id, self._table, where)
            brought, read = self._load(batch)
            self._commit(opened, batch, brought)
        marks["commitOffsets"] = time.monotonic()
        self._log.finish(batch.number)
        ends = [*list(marks.values())[1:], time.monotonic()]
        phases = {name: round((end - at) * 1000) for (name, at), end in zip(marks.items(), ends, strict=True)}
        seconds = round(time.monotonic() - began, 3)
        phases["triggerExecution"] = round(seconds * 1000)
        return BatchProgress(self._table, batch.number, read, seconds, phases_milliseconds=phases), batch.end

    def _commit(self, opened: LakeTable, batch: Batch, brought: Any) -> None:
        """Commits what a batch writes. Where it changes nothing, an empty commit records that the batch is done."""
        before = opened.version()
        properties = CommitProperties(
            custom_metadata={"userMetadata": batch.user_metadata(False)},
            max_commit_retries=0,  # the version that was compared must be the version that is replaced
            app_transactions=[Transaction(batch.query_id, batch.number)],
        )
        try:
            self._write(opened, brought, properties)
            if opened.version() == before:
                opened.create_write_transaction(
                    [], "append", opened.schema(), commit_properties=properties, post_commithook_properties=KEEPS_LOG
                )
        except (DeltaError, OSError) as error:
            if is_committed(self._opened(), batch):  # the reply was lost, and the commit not
                return
            raise TransientError(
                f"the batch of {self._table} is not committed: {cause_of(error, 300)}",
                where=self._lake.settings.table_uri(self._table),
                state="nothing of the batch is in the table",
                next_command="run the same again: the batch is done again",
            ) from None


def opened_or_made(lake: Lake, table: str, columns: pa.Schema, **configuration: str) -> LakeTable:
    """The table; made with these columns, and without rows, when there is none yet.

    Floating-point columns have no statistics. Those that ``deltalake`` writes leave NaN out, and a reader that trusts
    them skips files with NaN.

    Raises:
        CheckpointMismatch: it is gone, and its checkpoint has finished batches.
    """
    plain = [field.name for field in columns if not _has_fractions(field.type)]
    if len(plain) < len(columns):
        configuration[_STATISTICS] = ",".join(f"`{name}`" for name in plain[:_MOST_STATISTICS])
    opened = lake.delta(table)
    if opened is None:
        checkpoints.verify(lake, table)  # somebody may have removed it while the stream runs
        DeltaTable.create(
            deltalake_uri(lake.settings.table_uri(table)),
            Schema.from_arrow(columns),
            configuration={**CHECKPOINT_INTERVAL, **configuration},
            storage_options=lake.endpoint.deltalake_options(),
        )
        opened = lake.delta(table)
        assert opened is not None
    elif _STATISTICS in configuration and _STATISTICS not in opened.metadata().configuration:
        opened.alter.set_table_properties({_STATISTICS: configuration[_STATISTICS]})
    return opened


def _has_fractions(type_: pa.DataType) -> bool:
    if pa.types.is_floating(type_):
        return True
    return any(_has_fractions(type_.field(number).type) for number in range(type_.num_fields))
