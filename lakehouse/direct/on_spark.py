"""The direct way of writing in a Spark query.

Spark plans batches, runs tasks and keeps the checkpoint. Tasks write the data files. Only the names of those files pass
through the JVM to the commit; the rows never enter it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceStreamWriter, InputPartition, WriterCommitMessage
from pyspark.sql.streaming.datasource import ReadLimit
from pyspark.sql.types import LongType, StringType, StructField, StructType

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.source import CloudFiles, CloudFilesStream, running_batch, settled
from lakehouse.autoloader.source import Part as PlannedPart
from lakehouse.errors import TransientError
from lakehouse.storage.environment import endpoint_from_environment
from lakehouse.storage.store import ObjectMissing

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.direct.commit import Offset, TableAt
    from lakehouse.direct.data_files import DataFile
    from lakehouse.direct.part import Target
    from lakehouse.storage.store import ObjectStore

_TARGET, _SINK = "lakehouse.target", "lakehouse.sink"
_OBSERVED = ("rows", "rescued_rows", "corrupt_rows")
_WRITTEN = StructType(
    [
        StructField("path", StringType()),
        StructField("size_bytes", LongType()),
        StructField("rows", LongType()),
        StructField("partition", StringType()),
        StructField("written_milliseconds", LongType()),
        StructField("statistics", StringType()),
        StructField("rescued_rows", LongType()),
        StructField("corrupt_rows", LongType()),
        StructField("end", LongType()),
    ]
)
"""A data file that no commit names yet; see ``DataFile``. The first of a part has the part's rescued and corrupt rows.
``end`` is the number of the batch's last source file."""


@dataclass(frozen=True)
class DirectSink:
    """The sink of ``written_files``: one conditional commit for a batch, none when the table has the batch.

    Attributes:
        table: ``layer.name``, for messages.
        table_uri: The Delta table; it need not exist.
        checkpoint_uri: The stream's checkpoint.
        columns: The table's columns, as Spark's JSON.
        partition_by: Columns by which the folders of a new table are made.
    """

    table: str
    table_uri: str
    checkpoint_uri: str
    columns: str
    partition_by: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> DirectSink:
        """Reads the sink from an option, which ``to_json`` wrote."""
        given = json.loads(text)
        return cls(**{**given, "partition_by": tuple(given["partition_by"])})

    def to_json(self) -> str:
        """The sink as text, for an option."""
        return json.dumps(asdict(self))

    def start(self, writer: Any) -> Any:
        """Starts the query of a ``DataStreamWriter``."""
        return writer.format(WrittenFiles.name()).option(_SINK, self.to_json()).start()

    def has(self, end: Offset) -> bool:
        """Whether the table has the batch that ends there."""
        from lakehouse.checkpoints.spark_log import planned_offset

        store, place = self._checkpoint()
        opened = self.at().opened()
        last = None if opened is None else opened.transaction_version(self._query_id(store, place))
        committed = None if last is None else planned_offset(store, *place, last)
        return committed is not None and committed["stream"] == end["stream"] and committed["seq"] >= end["seq"]

    def commit(self, batch_id: int, files: Sequence[DataFile], ends: Collection[int]) -> None:
        """Commits a batch that Spark has planned; deletes its data files when the table has it.

        Args:
            batch_id: Its number.
            files: What its tasks wrote.
            ends: Numbers of the last source file, as its tasks knew them.

        Raises:
            TransientError: another writer planned the batch anew meanwhile; see ``commit`` for further reasons.
            CheckpointMismatch: somebody removed the table while the query ran.
        """
        from lakehouse.checkpoints.spark_log import planned_offset
        from lakehouse.direct.commit import Batch, Change, commit

        store, place = self._checkpoint()
        start, end = (planned_offset(store, *place, number) for number in (batch_id - 1, batch_id))
        assert end is not None
        if not {end["seq"]}.issuperset(ends):  # another writer has replaced the offset in the checkpoint
            raise TransientError(
                f"batch {batch_id} of {self.table} is not committed: another writer planned it anew meanwhile",
                where=self.checkpoint_uri,
                state="nothing of the batch is in the table; data files that it wrote are in no version, and vacuum "
                "removes them",
                next_command="end the other writer, then run the same again",
            )
        batch = Batch(self._query_id(store, place), batch_id, start, end)
        columns = StructType.fromJson(json.loads(self.columns))
        change = Change(files, (), columns, self.partition_by)
        commit(self.at(), None, batch, change, begins=lambda: self._require_beginning(store, place, batch_id - 1))

    def at(self) -> TableAt:
        """The table, with the endpoint that this process's environment names."""
        from lakehouse.direct.commit import TableAt

        return TableAt(self.table, self.table_uri, endpoint_from_environment())

    def _require_beginning(self, store: ObjectStore, place: tuple[str, str], before: int) -> None:
        """Makes sure that no table had the batch before: a repair or a fork wrote the checkpoint, or there is none.

        Raises:
            CheckpointMismatch: some table had it.
        """
        from lakehouse.checkpoints.agreement import FORKED, REPAIRED, CheckpointMismatch

        bucket, prefix = place
        if before < 0 or store.info(bucket, f"{prefix}commits/{before}") is None:
            return
        for mark in (REPAIRED, FORKED):
            with suppress(ObjectMissing):
                if json.loads(store.read(bucket, prefix + mark)).get("batch") == before:
                    return
        raise CheckpointMismatch(
            f"the table {self.table} is gone, but its checkpoint stands at batch {before}",
            where=self.checkpoint_uri,
            state="nothing of the batch is in a table",
            next_command=f"lakehouse checkpoint repair {self.table}   (says what it would do; --yes does it)",
        )

    def _checkpoint(self) -> tuple[ObjectStore, tuple[str, str]]:
        from lakehouse.storage.fast_store import FastStore

        return FastStore(endpoint_from_environment()), split_uri(self.checkpoint_uri.rstrip("/") + "/")

    @staticmethod
    def _query_id(store: ObjectStore, place: tuple[str, str]) -> str:
        return str(json.loads(store.read(place[0], f"{place[1]}metadata"))["id"])


class WrittenFiles(CloudFiles):
    """``cloudFiles`` whose tasks write their rows to a table's folder; its rows are the data files."""

    def streamWriter(self, schema: StructType, overwrite: bool) -> DataSourceStreamWriter:  # noqa: N802
        """The sink."""
        return _Committing(DirectSink.parse(self.options[_SINK]))

    @classmethod
    def name(cls) -> str:
        """The format's name."""
        return "cloudFilesWritten"

    def schema(self) -> StructType:
        """See ``_WRITTEN``."""
        return _WRITTEN

    def streamReader(self, schema: StructType) -> CloudFilesStream:  # noqa: N802
        """The stream."""
        given = dict(self.options)
        target, sink = _target_of(json.loads(given.pop(_TARGET))), DirectSink.parse(given.pop(_SINK))
        options = settled(CloudFilesOptions.parse(given), target.schema)
        return _WritingStream(options, target, sink, self.looked_upto)


@dataclass
class _Part(InputPartition):
    """A task's work, and when its batch was cut into parts."""

    planned: PlannedPart
    at: datetime


class _WritingStream(CloudFilesStream):
    def __init__(
        self, options: CloudFilesOptions, target: Target, sink: DirectSink, looked_upto: int | None = None
    ) -> None:
        super().__init__(options, target.schema, None, looked_upto)
        self._target, self._sink, self._asked = target, sink, False

    def latestOffset(self, start: Offset, limit: ReadLimit) -> Offset:  # noqa: N802
        self._asked = True
        return super().latestOffset(start, limit)

    def partitions(self, start: Offset, end: Offset) -> list[InputPartition]:
        # Spark did not ask for the batch: an earlier run planned it, and its files may have changed since
        if not self._asked and self._sink.has(end):
            return []
        now = datetime.now(UTC)
        return [_Part(part, now) for part in super().partitions(start, end)]  # type: ignore[arg-type]

    def read(self, partition: _Part) -> Iterator[pa.RecordBatch]:  # type: ignore[override]
        from lakehouse.direct.part import Part, write_parts

        part = Part(self._options, partition.planned.task, self._target, running_batch(), partition.at)
        written = write_parts([part], endpoint_from_environment())
        rows = [
            {
                **{field.name: getattr(file, field.name) for field in fields(file)},
                "partition": json.dumps(file.partition),
                "rescued_rows": 0 if number else written.rescued_rows,
                "corrupt_rows": 0 if number else written.corrupt_rows,
                "end": partition.planned.task.end,
            }
            for number, file in enumerate(written.files)
        ]
        if rows:
            from pyspark.sql.pandas.types import to_arrow_schema

            yield pa.RecordBatch.from_pylist(rows, schema=to_arrow_schema(_WRITTEN))


def written_files(spark: Any, options: dict[str, str], target: Target, sink: DirectSink) -> DataFrame:
    """A stream of the data files that its tasks write.

    Args:
        spark: Any session of Spark 4.2.
        options: Of ``cloudFiles``, ``path`` among them.
        target: What the rows become.
        sink: What commits them.
    """
    from pyspark.sql import functions as F  # noqa: N812

    from lakehouse.streams.run import WRITTEN

    spark.dataSource.register(WrittenFiles)
    reader = spark.readStream.format(WrittenFiles.name()).option(_TARGET, json.dumps(_target_fields(target)))
    reader = reader.option(_SINK, sink.to_json())
    for name, value in options.items():
        reader = reader.option(name, value) if name != "path" else reader
    counts = [F.sum(name).alias(name) for name in _OBSERVED]
    return reader.load(options["path"]).observe(WRITTEN, *counts)


@dataclass
class _Named(WriterCommitMessage):
    """The data files of a task, as rows of ``_WRITTEN``."""

    rows: list[dict[str, Any]]


class _Committing(DataSourceStreamWriter):
    """Tasks hand on what they wrote; the driver commits it."""

    def __init__(self, sink: DirectSink) -> None:
        self._sink = sink

    def write(self, iterator: Iterator[Any]) -> WriterCommitMessage:
        return _Named([row.asDict() for row in iterator])

    def commit(self, messages: list[WriterCommitMessage | None], batchId: int) -> None:  # noqa: N803
        from lakehouse.direct.data_files import DataFile

        files, rows = [], [row for message in messages if isinstance(message, _Named) for row in message.rows]
        for row in rows:
            own = {field.name: row[field.name] for field in fields(DataFile)}
            files.append(DataFile(**{**own, "partition": json.loads(row["partition"])}))
        self._sink.commit(batchId, files, {row["end"] for row in rows})


def _target_fields(target: Target) -> dict[str, Any]:
    return {
        "table_uri": target.table_uri,
        "schema": target.schema.jsonValue(),
        "added": dict(target.added),
        "partition_by": target.partition_by,
        "expected": target.expected,
    }


def _target_of(record: dict[str, Any]) -> Target:
    from lakehouse.direct.part import Target

    schema = StructType.fromJson(record["schema"])
    return Target(
        record["table_uri"], schema, record["added"], tuple(record["partition_by"]), tuple(record["expected"])
    )
