"""Reading a part of a batch and writing its rows as data files of the table.

It runs in a worker of Spark, in a process of the local pool, or in the command itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import StructField, StructType, TimestampType

from lakehouse.autoloader.lineage import CORRUPT_RECORD, METADATA, READ_AT, RESCUED_DATA, SEQUENCE, evidence_among
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.reading.columns import METADATA_TYPE
from lakehouse.autoloader.stream import Stream, Task
from lakehouse.direct.data_files import DataFile, DataFiles
from lakehouse.storage.store import StoreEndpoint


@dataclass(frozen=True)
class Target:
    """The table that the rows of a stream become.

    Attributes:
        table_uri: The table.
        schema: The stream's columns, with ``_metadata``.
        added: Columns beside those of the files: name to field of ``_metadata``, or to ``processing_time``.
        partition_by: The partition columns.
        expected: Columns in which a value of another type makes the row invalid.
    """

    table_uri: str
    schema: StructType
    added: Mapping[str, str]
    partition_by: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()

    @property
    def rows(self) -> StructType:
        """The table's columns: those of the stream and those that are added, as ``with_lineage`` makes them."""
        of_metadata = {field.name: field.dataType for field in METADATA_TYPE.fields}
        columns = {field.name: field.dataType for field in self.schema.fields if field.name != METADATA}
        for name, source in self.added.items():
            there = next((known for known in columns if known.lower() == name.lower()), name)
            columns[there] = TimestampType() if source == READ_AT else of_metadata[source]
        return StructType([StructField(name, type_) for name, type_ in columns.items()])


@dataclass(frozen=True)
class Part:
    """A part of a batch, with all that a reader of it needs.

    Attributes:
        options: Of the stream, settled.
        task: What is read.
        target: The table that gets the rows.
        batch: Number of the batch, where it is known.
        processing_time: When the batch began.
        left_out: Numbers of source files whose rows are read and not written.
    """

    options: CloudFilesOptions
    task: Task
    target: Target
    batch: int | None
    processing_time: datetime
    left_out: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Written:
    """What was written of parts.

    Attributes:
        files: Data files, complete, which no commit names yet.
        rows: Their rows.
        rescued_rows: Rows with a value that did not fit its column.
        corrupt_rows: Rows that are no whole record; rescued rows may be among them.
    """

    files: tuple[DataFile, ...] = ()
    rows: int = 0
    rescued_rows: int = 0
    corrupt_rows: int = 0


def write_parts(parts: Sequence[Part], endpoint: StoreEndpoint) -> Written:
    """Reads parts of one batch and writes their rows; their receipts are durable when it returns.

    Raises:
        UnknownFieldException: the files need columns that the stream does not have.
        LakehouseError: see ``Stream.read``.
    """
    target = parts[0].target
    files = DataFiles(endpoint, target.table_uri, target.partition_by)
    rescued = corrupt = rows = 0
    for part in parts:
        stream = Stream(part.options, None, endpoint=endpoint)
        for batch in stream.read(part.task, target.schema, lambda number=part.batch: number):  # type: ignore[misc]
            made = with_lineage(batch, target.added, part.processing_time)
            if part.left_out:
                made = made.filter(pc.invert(pc.is_in(made[SEQUENCE], pa.array(sorted(part.left_out), pa.int64()))))
            rows += made.num_rows
            of_batch = evidence_counts(made, target.expected)
            rescued, corrupt = rescued + of_batch[0], corrupt + of_batch[1]
            files.add(made)
    return Written(tuple(files.finish()), rows, rescued, corrupt)


def with_lineage(rows: pa.RecordBatch, added: Mapping[str, str], processing_time: datetime) -> pa.RecordBatch:
    """The rows with the columns that the declaration adds, without ``_metadata``: as ``lineage.with_metadata``."""
    at = rows.schema.get_field_index(METADATA)
    names = [name for name in rows.schema.names if name != METADATA]
    columns = {name: rows.column(rows.schema.get_field_index(name)) for name in names}
    for name, source in added.items():
        there = next((known for known in columns if known.lower() == name.lower()), name)
        if source == READ_AT:
            columns[there] = pa.repeat(pa.scalar(processing_time, pa.timestamp("us", "UTC")), rows.num_rows)
        else:
            metadata = rows.column(at)
            columns[there] = metadata.field(metadata.type.get_field_index(source))
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def evidence_counts(rows: pa.RecordBatch, expected: Sequence[str]) -> tuple[int, int]:
    """How many rows have rescued values, and how many are invalid records by ``invalid_rows``."""
    rescued = len(rows) - rows.column(RESCUED_DATA).null_count if RESCUED_DATA in rows.schema.names else 0
    return rescued, pc.sum(invalid_rows(rows, expected)).as_py() or 0


def invalid_rows(rows: pa.RecordBatch, expected: Sequence[str]) -> pa.BooleanArray:
    """Whether each row is an invalid record. ``lineage.is_invalid`` says the same in Spark."""
    evidence = evidence_among(rows.schema.names)
    if evidence is None:
        return pa.repeat(pa.scalar(False), rows.num_rows)
    texts = rows.column(evidence)
    if evidence == CORRUPT_RECORD or texts.null_count == len(texts):
        return texts.is_valid()
    wrong = {*expected, CORRUPT_RECORD}
    return pa.array([text is not None and not wrong.isdisjoint(_keys(text)) for text in texts.to_pylist()], pa.bool_())


def _keys(text: str) -> Sequence[str]:
    try:
        value = json.loads(text)
    except ValueError:
        return ()
    return tuple(value) if isinstance(value, dict) else ()
