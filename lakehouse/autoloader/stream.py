"""A stream between two offsets: what the next batch is, which task reads what, and the reading itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any

import pyarrow as pa
from pyspark.sql.types import StringType, StructField, StructType

from lakehouse.autoloader.clean_source import SourceCleaner
from lakehouse.autoloader.context import Source, new_stream_id
from lakehouse.autoloader.files.backlog import Backlog
from lakehouse.autoloader.files.journal import Journal, Position, utc_now
from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.files.positions import StreamPosition, committed_by_all
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.lineage import RESCUED_DATA
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import key_uri, split_uri
from lakehouse.autoloader.outcomes.bad_records import StagedRecords, finished_batches, plan_name, staged_folder
from lakehouse.autoloader.outcomes.receipt_log import FOLDED_BATCHES, fold_receipts
from lakehouse.autoloader.outcomes.receipts import Receipt, State, TaskReceipts
from lakehouse.autoloader.part import PartReader
from lakehouse.autoloader.reading.choose import ChosenFormat
from lakehouse.autoloader.reading.columns import Columns, partition_values
from lakehouse.autoloader.reading.probe import KILLS_ITS_READER, Probe, attempt, find_deadly
from lakehouse.autoloader.reading.unrescued import refuse_unrescued, without_place
from lakehouse.autoloader.schema.evolve import EVOLVING, Learner
from lakehouse.errors import UnknownFieldException
from lakehouse.storage.store import StoreEndpoint

Offset = dict[str, Any]
"""``{"v": 1, "seq": N, "segment": "...", "journal": "...", "stream": "..."}``: all files up to number N of the journal
were read. The last two never change: by them a checkpoint names its journal and its stream. Checkpoints from before
streams had names have a ``query``, too, where they keep bad records."""


@dataclass(frozen=True)
class Task:
    """A part of a batch.

    Attributes:
        spans: What is read.
        stream: Id of the stream.
        after: Number of the last file before the batch.
        end: Number of the last file of the batch.
        number: Its place among the parts.
        plan: Name of the cut of its batch into parts.
        query: See ``Offset``.
    """

    spans: list[Span]
    stream: str
    after: int
    end: int
    number: int
    plan: str = ""
    query: str = ""


class Stream:
    """What ``cloudFiles`` does, in terms of files; ``source`` translates it into Spark's terms.

    A file that a stream passes over (another version of a known key, a filtered name) is passed over for ever.
    """

    def __init__(
        self,
        options: CloudFilesOptions,
        journal_root: str | None,
        *,
        now: Callable[[], datetime] = utc_now,
        endpoint: StoreEndpoint | None = None,
        journals: dict[str, Journal] | None = None,
    ) -> None:
        self._options = options
        self._source = Source(options, journal_root, now, endpoint, {} if journals is None else journals)
        self._backlog: Backlog | None = None
        self._target: int | None = None
        self._read_upto = self._batches = 0
        self._position: StreamPosition | None = None

    def beginning(self) -> Offset:
        """Zero; or, without ``includeExistingFiles``, the end of what is there at the first start.

        Spark asks again until a first batch is in the checkpoint, and makes one at once, even without files.
        """
        if self._options.include_existing_files:
            return self._offset(0, new_stream_id())
        self._source.discover()
        return self._offset(self._journal.high_water, new_stream_id())

    def fix_target(self, looked_upto: int | None = None) -> int:
        """Fixes what this run will read: what is there now. Returns the number of the last file of it.

        Args:
            looked_upto: That number, where somebody has just looked for this run; the folder is not listed again then.
        """
        if looked_upto is None:
            self._source.discover()
        elif self._journal.high_water < looked_upto:
            self._journal.refresh()
        self._target = self._journal.high_water if looked_upto is None else looked_upto
        return self._target

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
        self._place(start["stream"]).note(position.seq)
        self._fold_receipts(start)
        if self._options.bad_records_path:
            self._publish_bad_records(start)
        if self._options.clean_source != "OFF":
            SourceCleaner(self._source, self._place(start["stream"])).step()
        end = self._pending(position.seq, start["stream"]).end_of_batch(
            position.seq, max_files=max_files, max_bytes=max_bytes
        )
        self._read_upto = end
        return {**start, **self._offset(end, start["stream"])} if end > position.seq else start

    def known_end(self) -> Offset | None:
        """How far discovery has come, and with Auto Loader's names what waits behind the batch that was planned."""
        if self._backlog is None:
            return None
        target = self._journal.high_water if self._target is None else self._target
        return {"v": 1, "seq": target, **self._backlog.outstanding(self._read_upto)}

    def resume(self, start: Offset, end: Offset) -> None:
        """Takes note of a batch that an earlier run has planned."""
        if self._backlog is None:
            self._pending(start["seq"], end["stream"])
            self._read_upto = end["seq"]

    def parts(self, start: Offset, end: Offset) -> list[Task]:
        """The parts of (start, end]: the same files, cut in the same way, at every call."""
        if end["seq"] > self._journal.high_water:
            self._journal.refresh()
        self._journal.verify(_position(end))
        self.resume(start, end)
        assert self._backlog is not None
        parts = self._source.parts(self._backlog.batch(start["seq"], end["seq"]))
        name, query = plan_name(parts), end.get("query", "")
        whose = (end["stream"], start["seq"], end["seq"])
        return [Task(spans, *whose, number, name, query) for number, spans in enumerate(parts)]

    def read(
        self, task: Task, schema: StructType, batch_id: Callable[[], int | None] = lambda: None
    ) -> Iterator[pa.RecordBatch]:
        """Arrow batches of one part; then its receipts, before the task can count as done.

        When an earlier attempt at the part died, its files are probed first, see ``probe``. A file that kills its
        reader is left out and goes to quarantine.

        Args:
            task: The part.
            schema: The stream's columns.
            batch_id: Returns the micro-batch, where Spark tells it to the task.
        """
        receipts: list[Receipt] = []
        spans, batch = task.spans, batch_id()
        place = self._source.journal_place
        durable = TaskReceipts(self._source.store, *place, task.stream, task.end, f"{task.number:05d}", task.plan)
        staged = self._staged(task) if self._options.bad_records_path else None
        earlier = durable.begin()
        known = {(receipt.seq, receipt.start) for receipt in earlier.receipts if receipt.error == KILLS_ITS_READER}
        deadly = [span for span in spans if (span.seq, span.start) in known]
        if earlier.died:
            deadly = find_deadly(spans, Probe(self._options, schema, self._source.server_of_probes))
        receipts += [Receipt(span.seq, span.start, 0, State.QUARANTINED, KILLS_ITS_READER) for span in deadly]
        spans = [span for span in spans if span not in deadly]
        try:
            yield from self.rows(spans, schema, receipts, after=task.after, staged=staged, careful=earlier.died)
        except (Exception, GeneratorExit):  # whoever closes the generator reports the error
            durable.give_up()
            raise
        if staged is not None:
            staged.finish()
        durable.finish(replace(receipt, batch_id=batch) for receipt in receipts)

    def rows(
        self,
        spans: list[Span],
        schema: StructType,
        receipts: list[Receipt],
        *,
        after: int | None = None,
        staged: StagedRecords | None = None,
        careful: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Arrow batches of spans; what became of each goes to ``receipts``.

        Args:
            spans: What is read.
            schema: The stream's columns.
            receipts: Gets what became of each span.
            after: Number of the last file before the batch, where the spans are a part of a batch.
            staged: Gets the bad records.
            careful: Files of other parts are probed before they are looked at: a file may kill its reader.

        Raises:
            UnknownFieldException: the files need columns that the stream does not have.
            StreamFailed: a value has to be rescued, and the stream has no column for that.
        """
        source = self._source
        columns = Columns(schema, self._partition_names(spans), source.path.bucket, source.path.root)
        chosen = self._chosen(columns)
        unplaced = without_place(self._options, schema.names)
        learner = self._learner(schema, columns)
        part = PartReader(source.path.bucket, source.fetcher, chosen, self._options, receipts, learner, staged)
        for loaded in part.read(spans):
            if learner is None or not learner.introduced:
                if unplaced:
                    refuse_unrescued(loaded, unplaced, columns.bucket)
                yield from columns.batches(loaded)
        if learner is not None and learner.introduced:
            if after is not None:
                self._look_back(spans, schema, learner, after, careful)
            raise source.unknown_fields(learner)

    def _look_back(self, spans: list[Span], schema: StructType, learner: Learner, after: int, careful: bool) -> None:
        """Looks at earlier files of the batch, which other tasks read: a new column may be in them first."""
        own = {span.seq for span in spans}
        files = self._source.backlog(after).files(after, max(own))
        earlier = within_sample((file for file in files if file.seq not in own), self._options)
        if careful:
            deadly = find_deadly(earlier, Probe(self._options, schema, self._source.server_of_probes))
            earlier = [candidate for candidate in earlier if candidate not in deadly]
        if not earlier:
            return
        columns = Columns(schema, self._partition_names(earlier), self._source.path.bucket, self._source.path.root)
        learned = self._learner(schema, columns)
        assert learned is not None
        chosen = self._chosen(columns)
        for _ in PartReader(columns.bucket, self._source.fetcher, chosen, self._options, [], learned).read(earlier):
            pass
        learner.take_over(learned, {key_uri(columns.bucket, span.key): span.seq for span in [*spans, *earlier]})

    def look_ahead(self, schema: StructType) -> StructType:
        """The stream's columns, with the new columns of waiting files: of the oldest, as many as inference looks at.

        A file is looked at once. What is left out here is met when it is read.
        """
        source, options = self._source, self._options
        schemas = source.schemas
        source.discover()
        loaded = committed_by_all(source.store, *source.journal_place, options.schema_location or "")
        start = max(schemas.looked_ahead, loaded)
        spans = within_sample(self._source.backlog(start).files(start, self._journal.high_water), options)
        if not spans:
            return schema
        bucket, prefix = split_uri(options.schema_location or "")
        with (
            attempt(source.store, bucket, f"{prefix.rstrip('/')}/_looking_ahead") as died,
            suppress(UnknownFieldException),
        ):
            deadly = find_deadly(spans, Probe(options, schema, source.server_of_probes)) if died else []
            for _ in self.rows([span for span in spans if span not in deadly], schema, []):
                pass
        # what was new is in the next version now
        schemas.looked_ahead = spans[-1].seq
        return source.inferred_schema()

    def _chosen(self, columns: Columns) -> ChosenFormat:
        """The format with the columns that files fill, and the column for rescued data that is named and lacking."""
        unplaced = without_place(self._options, columns.data.names)
        fields = [*columns.data.fields, *([StructField(unplaced, StringType())] if unplaced else [])]
        return ChosenFormat(self._options, StructType(fields))

    def _learner(self, schema: StructType, columns: Columns) -> Learner | None:
        rescued = self._options.rescued_data_column or RESCUED_DATA
        if self._options.schema_evolution_mode not in EVOLVING:
            return None
        known = StructType([field for field in columns.data.fields if field.name != rescued])
        return Learner(self._options, known, frozenset(schema.names) - frozenset(known.names), rescued)

    def _staged(self, task: Task) -> StagedRecords:
        bucket, prefix = self._source.journal_place
        batch = f"{staged_folder(prefix, task.stream, task.query)}{task.end:020d}/"
        return StagedRecords(self._source.store, bucket, batch, task.plan, f"{task.number:05d}")

    def _publish_bad_records(self, start: Offset) -> None:
        bucket, prefix = self._source.journal_place
        folder = staged_folder(prefix, start["stream"], start.get("query", ""))
        batches = finished_batches(self._source.store, bucket, folder, start["seq"])
        if batches:
            from lakehouse.autoloader.outcomes.bad_records_table import (
                QuarantineTable,  # only batches with bad records need it
            )

            # a checkpoint from before badRecordsPath has no name of its own: the journal's first write stands in
            name = f"cloudFiles/{start['stream']}/{start.get('query') or self._journal.position(1).segment}"
            table = QuarantineTable(self._options.bad_records_path or "", lambda: self._source.server)
            table.append_once(name, batches, self._source.now())
            for batch in batches:
                batch.remove()

    def _fold_receipts(self, start: Offset) -> None:
        """At the first batch of a run, and then as often as there may be enough of them."""
        if self._batches % FOLDED_BATCHES == 0:
            fold_receipts(self._source.store, *self._source.journal_place, start["stream"], start["seq"])
        self._batches += 1

    def _place(self, stream: str) -> StreamPosition:
        if self._position is None or self._position.stream != stream:
            self._position = self._source.position(stream)
        return self._position

    @cached_property
    def _journal(self) -> Journal:
        return self._source.journal

    def _offset(self, seq: int, stream: str) -> Offset:
        segment = self._journal.position(seq).segment
        return {"v": 1, "seq": seq, "segment": segment, "journal": self._source.journal_uri, "stream": stream}

    def _pending(self, start: int, stream: str) -> Backlog:
        if self._backlog is None or self._backlog.after > start:
            self._backlog = self._source.backlog(start, stream)
        self._backlog.extend(self._journal.high_water if self._target is None else self._target)
        return self._backlog

    def _partition_names(self, spans: list[Span]) -> frozenset[str]:
        if self._options.partition_columns is not None:
            return frozenset(self._options.partition_columns)
        root = self._source.path.root
        return frozenset(name for span in spans for name in partition_values(span.key, root))


def within_sample(files: Iterable[FileVersion], options: CloudFilesOptions) -> list[Span]:
    """The first files, whole, up to the limits of inference."""
    spans: list[Span] = []
    size = 0
    for file in islice(files, options.sample_files):
        size += file.size_bytes
        if size > options.sample_bytes:
            break
        spans.append(Span(file.seq, file.key, file.e_tag, file.size_bytes, file.last_modified, 0, file.size_bytes))
    return spans


def _position(offset: Offset) -> Position:
    return Position(offset["seq"], offset.get("segment", ""))
