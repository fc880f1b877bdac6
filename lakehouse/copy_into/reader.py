"""The batch read of ``copy_into``: chosen files, read as a stream reads them. What does not fit fails all of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.files.segments import FileVersion, encode, to_files, to_table
from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.formats.rows import FILE_PATH
from lakehouse.autoloader.lineage import CORRUPT_RECORD, RESCUED_DATA
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import key_uri, split_uri
from lakehouse.autoloader.outcomes.bad_records import StagedRecords
from lakehouse.autoloader.outcomes.receipts import Receipt, State
from lakehouse.autoloader.reading.columns import Columns
from lakehouse.autoloader.reading.probe import KILLS_ITS_READER
from lakehouse.autoloader.schema.evolve import Learner
from lakehouse.autoloader.source import Part
from lakehouse.autoloader.stream import Stream, Task
from lakehouse.errors import CopyFailed, UnknownFieldException
from lakehouse.storage.store import ObjectStore

STREAM = "copy"
"""The name that an attempt's receipts go under."""

_NOTHING = "nothing was loaded"
_SHOWN = 200


def write_plan(store: ObjectStore, uri: str, files: Sequence[FileVersion]) -> None:
    """Fixes what an attempt reads."""
    bucket, prefix = split_uri(uri)
    store.write(bucket, f"{prefix}plan.parquet", encode(to_table(files)))


def read_plan(store: ObjectStore, uri: str) -> list[FileVersion]:
    """What an attempt reads."""
    bucket, prefix = split_uri(uri)
    opened = pq.ParquetFile(io.BytesIO(store.read(bucket, f"{prefix}plan.parquet")))
    return to_files(opened.read(use_threads=False))  # see FinishedBatch.tables


class CopyFiles(DataSource):
    """The files of the attempt in ``cloudFiles.journalLocation``; its schema is always given."""

    @classmethod
    def name(cls) -> str:
        """The format's name."""
        return "lakehouseCopyInto"

    def reader(self, schema: StructType) -> DataSourceReader:
        """The batch read."""
        return CopyReader(CloudFilesOptions.parse(dict(self.options)), schema)


@dataclass
class CopyReader(DataSourceReader):
    """Spark's view of a ``CopyStream``."""

    options: CloudFilesOptions
    schema: StructType

    def partitions(self) -> Sequence[InputPartition]:
        """See ``CopyStream.tasks``."""
        return [Part(task) for task in CopyStream(self.options, None).tasks()]

    def read(self, partition: Part) -> Iterator[pa.RecordBatch]:  # type: ignore[override]
        """See ``Stream.read``."""
        return CopyStream(self.options, None).read(partition.task, self.schema)


class CopyStream(Stream):
    """Reads files for a table that takes only what fits: what would be rescued is an error, unless it has the column.

    Attributes:
        learner: Knows the new columns of what was read last; None before, and for files without fields.
    """

    learner: Learner | None = None
    _keys: Mapping[int, str] = {}

    def tasks(self) -> list[Task]:
        """Who reads what."""
        files = read_plan(self._source.store, self._source.journal_uri)
        return [Task(spans, STREAM, 0, len(files), number) for number, spans in enumerate(self.cut(files))]

    def cut(self, files: Sequence[FileVersion]) -> list[list[Span]]:
        """Parts of like size."""
        return self._source.parts(files)

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
        """See ``Stream.rows``.

        Raises:
            CopyFailed: a value, a record, a file or a column does not fit.
        """
        for batch, misfits in self.examined(spans, schema, receipts):
            if misfits:
                path, problem = misfits[0]
                raise CopyFailed(
                    problem,
                    where=path,
                    state=_NOTHING,
                    next_command="correct the file, or leave it out with --pattern or --files; "
                    f"a table with a column {self._rescued} STRING keeps such values there",
                )
            yield batch
        for receipt in self.unread(receipts):
            raise CopyFailed(
                f"a file cannot be read: {receipt.error}",
                where=key_uri(self._source.path.bucket, self._keys.get(receipt.seq, "")),
                state=_NOTHING,
                next_command="correct the file, leave it out with --pattern or --files, "
                "or load the others with --option ignoreCorruptFiles=true",
            )

    def unread(self, receipts: list[Receipt]) -> Iterator[Receipt]:
        """The receipts that fail a copy: of files that cannot be read, and of lines that are left out."""
        for receipt in receipts:
            ignored = self._options.ignore_corrupt_files and receipt.error == KILLS_ITS_READER
            if receipt.error and receipt.state in (State.QUARANTINED, State.INGESTED) and not ignored:
                yield receipt

    def read(
        self, task: Task, schema: StructType, batch_id: Callable[[], int | None] = lambda: None
    ) -> Iterator[pa.RecordBatch]:
        """See ``Stream.read``."""
        self._keys = {span.seq: span.key for span in task.spans}
        return super().read(task, schema, batch_id)

    def examined(
        self, spans: list[Span], schema: StructType, receipts: list[Receipt]
    ) -> Iterator[tuple[pa.RecordBatch, list[tuple[str, str]]]]:
        """Batches of the table's columns, each with what does not fit them: file and problem."""
        keeps = self._rescued in schema.names or not FORMATS[self._options.format].has_fields
        read = schema if keeps else StructType([*schema.fields]).add(self._rescued, "string")
        try:
            for batch in super().rows(spans, read, receipts):
                if keeps:
                    yield batch, []
                else:
                    yield (
                        batch.select(schema.names),
                        [misfit(text) for text in batch[self._rescued].drop_null().to_pylist()],
                    )
        except UnknownFieldException:
            if self._options.schema_evolution_mode != "failOnNewColumns" or self.learner is None:
                raise
            names = list(self.learner.introduced)
            path, record = self.learner.introduced[names[0]]
            raise CopyFailed(
                f"the table has no column {', '.join(names)}; first met in record {record:,}",
                where=path,
                state=_NOTHING,
                next_command="--merge-schema adds new columns to the table",
            ) from None

    @cached_property
    def _rescued(self) -> str:
        return self._options.rescued_data_column or RESCUED_DATA

    def _learner(self, schema: StructType, columns: Columns) -> Learner | None:
        self.learner = super()._learner(schema, columns)
        return self.learner


def misfit(rescued: str) -> tuple[str, str]:
    """Of a rescued record the file, and what is wrong with it."""
    record: dict[str, Any] = json.loads(rescued)
    path = str(record.pop(FILE_PATH, ""))
    if CORRUPT_RECORD in record:
        return path, f"a record is malformed: {str(record[CORRUPT_RECORD])[:_SHOWN]}"
    shown = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in record.items())
    return path, f"a value does not fit the table: {shown[:_SHOWN]}"
