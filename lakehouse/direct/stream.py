"""A ``cloudFiles`` stream without Spark: it plans, reads and commits batches.

Journal, receipts, checkpoint and Delta's transactions are those of a Spark query. So the two engines can take turns on
a table. Each goes on where the other stopped, even in the middle of a batch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql.types import StructType

from lakehouse.autoloader.context import Source
from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.outcomes.file_states import StreamLog
from lakehouse.autoloader.source import schema_of, settled
from lakehouse.autoloader.stream import Stream
from lakehouse.checkpoints.position import position_before
from lakehouse.direct.commit import Batch, Change, Offset, TableAt, commit, is_committed, remove_unnamed
from lakehouse.direct.data_files import DataFile, DataFiles
from lakehouse.direct.kept import At, Kept, last_planned
from lakehouse.direct.part import Part, Target, Written
from lakehouse.direct.pool import Pool
from lakehouse.direct.reasons import require_direct
from lakehouse.direct.rewriting import Removed, rewrite_without
from lakehouse.errors import UnknownFieldException
from lakehouse.lake import Lake, LakeTable
from lakehouse.storage import ObjectExists
from lakehouse.streams.replacing import Place, decide, replaced_by


@dataclass(frozen=True)
class Done:
    """A batch that is in the table.

    Attributes:
        number: Of the batch.
        start: The source's offset before it.
        end: The source's offset after it.
        known: How far discovery has come, see ``Stream.known_end``.
        parts: What was written of its parts; empty when another writer had committed it.
        seconds: Of each phase, by Spark's name of the phase.
    """

    number: int
    start: Offset
    end: Offset
    known: Offset | None
    parts: tuple[Written, ...]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Loading:
    """What is loaded into a table.

    Attributes:
        options: Of ``cloudFiles``.
        columns: The schema, where it was given, with ``_metadata``; None for an inferred one.
        added: Columns beside those of the files: name to field of ``_metadata``, or to ``processing_time``.
        partition_by: Columns that make the folders of a new table.
        expected: Columns in which a value of another type makes the row invalid.
    """

    options: CloudFilesOptions
    columns: StructType | None
    added: dict[str, str]
    partition_by: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()


class DirectStream:
    """One run of a stream into a table, under its lease.

    Args:
        lake: Where the table and its checkpoint are.
        table: The target.
        loading: What is loaded.
        pool: Reads the parts of batches.
        kept: What an earlier run has open.
    """

    def __init__(self, lake: Lake, table: str, loading: Loading, pool: Pool, kept: Kept | None = None) -> None:
        self._lake, self._table, self._loading = lake, table, loading
        self._kept = kept or Kept(lake, table)
        self._log, self._pool = self._kept.log, pool
        self._place = TableAt(table, lake.settings.table_uri(table), lake.endpoint)
        self._open_source()

    def batches(self, *, once: bool = False) -> Iterator[Done]:
        """Batches until nothing is left of what was there at the start; ``once``: all of it in a single batch.

        Raises:
            NotDirect: only Spark can write what comes.
            UnknownFieldException: the stream has to fail on new columns.
            CheckpointMismatch: a planned batch cannot be done again, see ``position_before``.
            LakehouseError: see ``Stream.read`` and ``commit``.
        """
        if (place := self._kept.place) is not None:
            yield from self._from(place, once=once)
            return
        last = last_planned(self._lake, self._table, self._log)
        query, number, end = last.query, last.number, last.end
        if end is not None and last.finished:
            start, number = end, number + 1
        elif end is not None:  # a batch that was planned and not finished is done again
            done = self._batch(Batch(query, number, self._before(query, number, end), end), {}, planned=True)
            yield done
            start, number = done.end, number + 1
        else:
            start = self._stream.beginning()
            if start["seq"]:  # a batch without files: its offset says to the next run where this run began
                done = self._batch(Batch(query, number, start, start), {})
                yield done
                start, number = done.end, number + 1
        yield from self._from(At(query, number, start), once=once)

    def _from(self, place: At, *, once: bool) -> Iterator[Done]:
        """Batches from a place on."""
        query, number, start = place.query, place.number, place.start
        if number:  # before the first batch each look decides anew where the stream begins
            self._kept.place = place
        while True:
            began = time.monotonic()
            most = (None, None) if once else (self._options.max_files_per_trigger, self._options.max_bytes_per_trigger)
            end = self._stream.next_end(start, max_files=most[0], max_bytes=most[1])
            if end is start or end["seq"] == start["seq"]:
                return
            seconds = {"latestOffset": time.monotonic() - began}
            self._kept.place = None
            done = self._batch(Batch(query, number, start, end), seconds)
            self._kept.place = At(query, number + 1, done.end)
            yield done
            start, number = done.end, number + 1  # another writer's end, where that writer planned the batch first

    def _before(self, query: str, number: int, end: Offset) -> Offset:
        """Where the source stood before a batch that was planned.

        Raises:
            CheckpointMismatch: neither the checkpoint nor the table has that offset any more.
        """
        if number == 0:  # the first batch: what was there at the first start cannot be asked again, more is there now
            return (
                {**self._stream.beginning(), "stream": end["stream"]} if self._options.include_existing_files else end
            )
        start = self._log.planned(number - 1)
        if start is None:
            start = position_before(self._lake, self._table, query, number)
            with suppress(ObjectExists):
                self._log.plan(number - 1, start)
        return start

    def _batch(self, batch: Batch, seconds: dict[str, float], *, planned: bool = False) -> Done:
        opened = self._kept.opened()
        self._require_direct(opened)
        if batch.start is not None:
            self._stream.resume(batch.start, batch.end)
        known = self._stream.known_end()
        began = time.monotonic()
        if not planned:
            end = self._log.plan_first(batch.number, batch.end)
            batch = Batch(batch.query_id, batch.number, batch.start, end)
        seconds["walCommit"] = time.monotonic() - began
        began = time.monotonic()
        written: list[Written] = []
        if not is_committed(opened, batch, self._kept.own):
            written, removed, kept = self._changes(opened, batch)
            files = [*(file for part in written for file in part.files), *kept]
            change = Change(files, removed, self._rows, self._loading.partition_by)
            if not commit(self._place, opened, batch, change, self._kept.own):
                written = []
        seconds["addBatch"] = time.monotonic() - began
        began = time.monotonic()
        self._log.finish(batch.number)
        seconds["commitOffsets"] = time.monotonic() - began
        assert batch.start is not None
        return Done(batch.number, batch.start, batch.end, known, tuple(written), seconds)

    def _changes(self, opened: LakeTable | None, batch: Batch) -> tuple[list[Written], list[Removed], list[DataFile]]:
        """What a batch changes: what it wrote, data files that it removes, and new data files with their other rows.

        Rows are removed when their source file is loaded again.
        """
        written = self._read(batch)
        places = self._replaced(batch)
        if not places:
            return written, [], []
        lake, uri = self._lake, self._lake.settings.table_uri(self._table)
        log = StreamLog(batch.query_id, batch.end["journal"], batch.end["stream"], {}, {})
        gone, left_out = decide(lake.store, log, batch.end["seq"], places, batch.number)
        if left_out:  # rows that were read and are not loaded, because their file is not whole
            remove_unnamed(self._place, [file for part in written for file in part.files])
            written = self._read(batch, frozenset(left_out))
        if not gone or opened is None:
            return written, [], []
        kept = DataFiles(lake.endpoint, uri, self._loading.partition_by)
        removed = rewrite_without(opened, gone, kept)
        return written, removed, kept.finish()

    def _read(self, batch: Batch, left_out: frozenset[int] = frozenset()) -> list[Written]:
        """Reads a batch and writes its rows; reads it again with the new columns when it has some."""
        while True:
            now = datetime.now(UTC)
            assert batch.start is not None
            tasks = self._stream.parts(batch.start, batch.end)
            target = self._target
            before = self._source.schemas.newest if self._options.schema_location else None
            try:
                return self._pool.write(
                    [Part(self._options, task, target, batch.number, now, left_out) for task in tasks]
                )
            except UnknownFieldException:
                if before is None or self._source.schemas.newest == before:
                    raise
            self._open_source()
            self._require_direct(self._kept.opened())

    def _open_source(self) -> None:
        endpoint = self._lake.endpoint
        journals = self._kept.journals
        self._source = Source(self._loading.options, None, endpoint=endpoint, journals=journals)
        self._schema = self._loading.columns or schema_of(self._loading.options, None, endpoint)
        self._options = settled(self._loading.options, self._schema)
        loading = self._loading
        self._target = Target(self._place.uri, self._schema, loading.added, loading.partition_by, loading.expected)
        self._rows = self._target.rows
        self._stream = Stream(self._options, None, endpoint=endpoint, journals=journals)
        self._stream.fix_target()

    def _require_direct(self, opened: LakeTable | None) -> None:
        require_direct(opened, self._rows, self._loading.partition_by)

    def _replaced(self, batch: Batch) -> list[Place]:
        """The source files of a batch that replace earlier ones; none where rows do not name their file."""
        if SEQUENCE not in self._loading.added or batch.start is None:
            return []
        overwrites = self._options.allow_overwrites == "replace"
        after, upto = batch.start["seq"], batch.end["seq"]
        return replaced_by(self._source.journal, batch.end["stream"], after, upto, overwrites=overwrites)


def target_of(lake: Lake, table: str, loading: Loading) -> Target:
    """What the rows of a stream become, as of now.

    Raises:
        NotDirect: only Spark can write them.
        ConfigurationError: see ``require_direct``.
    """
    schema = loading.columns or schema_of(loading.options, None, lake.endpoint)
    target = Target(
        lake.settings.table_uri(table), schema, loading.added, tuple(loading.partition_by), tuple(loading.expected)
    )
    require_direct(lake.delta(table), target.rows, target.partition_by)
    return target
