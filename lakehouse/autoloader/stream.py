"""One stream's life between two offsets: what the next batch is, who reads what, and the reading itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
from pyspark.sql.types import StructType

from lakehouse.autoloader.backlog import Backlog
from lakehouse.autoloader.clean import SourceCleaner
from lakehouse.autoloader.columns import Columns, partition_values
from lakehouse.autoloader.formats.choose import ChosenFormat, reads_lines
from lakehouse.autoloader.journal import Journal, Position, utc_now
from lakehouse.autoloader.opened import Source
from lakehouse.autoloader.options import CloudFilesOptions
from lakehouse.autoloader.plan import Span, plan
from lakehouse.autoloader.probe import KILLS_ITS_READER, Probe, find_deadly
from lakehouse.autoloader.read import PartReader
from lakehouse.autoloader.receipts import Receipt, State, TaskReceipts

Offset = dict[str, Any]
"""``{"v": 1, "seq": N, "segment": "...", "journal": "..."}``: all files up to number N of the journal were read."""


class Stream:
    """What ``cloudFiles`` does, in the words of files; ``source`` puts it into Spark's.

    What a stream passes over (another version of a known key, a filtered name) it passes over for ever.
    """

    def __init__(
        self, options: CloudFilesOptions, journal_root: str | None, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._options = options
        self._source = Source(options, journal_root, now)
        self._backlog: Backlog | None = None
        self._target: int | None = None
        self._read_upto = 0

    def beginning(self) -> Offset:
        """Zero; or, without ``includeExistingFiles``, the end of what is there at the first start."""
        return self._offset(0 if self._options.include_existing_files else self._source.first_start())

    def fix_target(self) -> None:
        """Fixes what this run will read: what is there now."""
        self._source.discover()
        self._target = self._journal.high_water

    def next_end(self, start: Offset, *, max_files: int | None, max_bytes: int | None) -> Offset:
        """The end of the batch after ``start``; ``start`` again when there is nothing to read.

        Raises:
            JournalMismatch: ``start`` is no place in this journal.
        """
        position = _position(start)
        if self._target is None:
            self._source.discover()
        self._journal.verify(position)
        # Spark asks for a batch when the one before it is finished: what came before ``start`` is in the sink
        self._source.position.note(position.seq)
        if self._options.clean_source != "OFF":
            self._cleaner.step()
        end = self._pending(position.seq).end_of_batch(position.seq, max_files=max_files, max_bytes=max_bytes)
        self._read_upto = end
        return self._offset(end) if end > position.seq else start

    def known_end(self) -> Offset | None:
        """How far discovery has come, and with Auto Loader's names what waits behind the batch that was planned."""
        if self._backlog is None:
            return None
        target = self._journal.high_water if self._target is None else self._target
        return {"v": 1, "seq": target, **self._backlog.outstanding(self._read_upto)}

    def parts(self, start: Offset, end: Offset) -> list[list[Span]]:
        """Who reads what of (start, end]: the same files at every call, cut alike."""
        if end["seq"] > self._journal.high_water:
            self._journal.refresh()
        self._journal.verify(_position(end))
        backlog = self._backlog or self._source.backlog(start["seq"])
        return plan(
            list(backlog.files(start["seq"], end["seq"])),
            lines=reads_lines(self._options),
            min_partitions=self._options.min_partitions,
            max_partition_bytes=self._options.max_partition_bytes,
            may_split=self._source.fetcher.is_there,
        )

    def read(
        self, spans: list[Span], schema: StructType, place: Callable[[], tuple[str, int, int] | None]
    ) -> Iterator[pa.RecordBatch]:
        """Arrow batches of one part; then its receipts, before the task can count as done.

        A part whose reading once ended without a word is probed first, see ``probe``: what kills a reader is left out
        and goes to quarantine.

        Args:
            spans: The part.
            schema: The stream's columns.
            place: Query, batch and number of the task; None outside of a stream.
        """
        receipts: list[Receipt] = []
        found = place()
        if found is None:
            yield from self.rows(spans, schema, receipts)
            return
        query, batch, number = found
        task = TaskReceipts(self._source.store, *self._source.journal_place, query, batch, f"{number:05d}")
        if not task.begin():
            deadly = find_deadly(spans, Probe(self._options, schema))
            receipts += [Receipt(one.seq, one.start, 0, State.QUARANTINED, KILLS_ITS_READER) for one in deadly]
            spans = [one for one in spans if one not in deadly]
        yield from self.rows(spans, schema, receipts)
        task.finish(receipts)

    def rows(self, spans: list[Span], schema: StructType, receipts: list[Receipt]) -> Iterator[pa.RecordBatch]:
        """Arrow batches of spans; what became of each goes to ``receipts``."""
        source = self._source
        columns = Columns(schema, self._partition_names(spans), source.path.bucket, source.path.root)
        chosen = ChosenFormat(self._options, columns.data)
        part = PartReader(source.path.bucket, source.fetcher, chosen, self._options, receipts)
        for loaded in part.read(spans):
            yield from columns.batches(loaded)

    @cached_property
    def _cleaner(self) -> SourceCleaner:
        return SourceCleaner(self._source, self._source.position)

    @cached_property
    def _journal(self) -> Journal:
        return self._source.journal

    def _offset(self, seq: int) -> Offset:
        # the journal's place makes a checkpoint tell its own story
        segment = self._journal.position(seq).segment
        return {"v": 1, "seq": seq, "segment": segment, "journal": self._source.journal_uri}

    def _pending(self, start: int) -> Backlog:
        if self._backlog is None or self._backlog.after > start:
            self._backlog = self._source.backlog(start)
        self._backlog.extend(self._journal.high_water if self._target is None else self._target)
        return self._backlog

    def _partition_names(self, spans: list[Span]) -> frozenset[str]:
        if self._options.partition_columns is not None:
            return frozenset(self._options.partition_columns)
        root = self._source.path.root
        return frozenset(name for span in spans for name in partition_values(span.key, root))


def _position(offset: Offset) -> Position:
    return Position(offset["seq"], offset.get("segment", ""))
