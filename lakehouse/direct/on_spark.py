"""The direct road in a Spark query: its tasks write data files, and only their names pass through Spark to the commit.

Spark plans, hands out the work and keeps the checkpoint. The rows themselves never enter the JVM.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql.datasource import DataSourceStreamWriter, InputPartition, WriterCommitMessage
from pyspark.sql.types import LongType, StringType, StructField, StructType

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.source import CloudFiles, CloudFilesStream, running_batch, settled
from lakehouse.autoloader.source import Part as PlannedPart
from lakehouse.storage.environment import endpoint_from_environment

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.direct.commit import Offset
    from lakehouse.direct.part import Target

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
    ]
)
"""A data file that no commit names yet; see ``DataFile``. The first of a part counts what of the part is evidence."""


class WrittenFiles(CloudFiles):
    """``cloudFiles`` whose tasks write their rows to a table's folder; its rows are the data files."""

    def streamWriter(self, schema: StructType, overwrite: bool) -> DataSourceStreamWriter:  # noqa: N802
        """The sink."""
        return _Committing(DirectSink(**json.loads(self.options[_SINK])))

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
        target = _target_of(json.loads(given.pop(_TARGET)))
        options = settled(CloudFilesOptions.parse(given), target.schema)
        return _WritingStream(options, target)


@dataclass
class _Part(InputPartition):
    """A task's work, and when its batch was cut into parts."""

    planned: PlannedPart
    at: datetime


class _WritingStream(CloudFilesStream):
    def __init__(self, options: CloudFilesOptions, target: Target) -> None:
        super().__init__(options, target.schema, None)
        self._target = target

    def partitions(self, start: Offset, end: Offset) -> list[InputPartition]:
        now = datetime.now(UTC)
        return [_Part(one, now) for one in super().partitions(start, end)]  # type: ignore[arg-type]

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
            }
            for number, file in enumerate(written.files)
        ]
        if rows:
            from pyspark.sql.pandas.types import to_arrow_schema

            yield pa.RecordBatch.from_pylist(rows, schema=to_arrow_schema(_WRITTEN))


def written_files(spark: Any, options: dict[str, str], target: Target) -> DataFrame:
    """A stream of the data files that its tasks write.

    Args:
        spark: Any session of Spark 4.2.
        options: Of ``cloudFiles``, ``path`` among them.
        target: What the rows become.
    """
    from pyspark.sql import functions as F  # noqa: N812

    from lakehouse.streams.run import WRITTEN

    spark.dataSource.register(WrittenFiles)
    reader = spark.readStream.format(WrittenFiles.name()).option(_TARGET, json.dumps(_said(target)))
    for name, value in options.items():
        reader = reader.option(name, value) if name != "path" else reader
    counts = [F.sum(name).alias(name) for name in _OBSERVED]
    return reader.load(options["path"]).observe(WRITTEN, *counts)


@dataclass(frozen=True)
class DirectSink:
    """The sink of ``written_files``: one conditional commit a batch, or none when the table has it.

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

    def start(self, writer: Any) -> Any:
        """Starts the query of a ``DataStreamWriter``."""
        return writer.format(WrittenFiles.name()).option(_SINK, json.dumps(asdict(self))).start()


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
        from lakehouse.checkpoints.spark_log import planned_offset
        from lakehouse.direct.commit import Batch, Change, TableAt, commit
        from lakehouse.direct.data_files import DataFile
        from lakehouse.storage.fast_store import FastStore

        sink, endpoint = self._sink, endpoint_from_environment()
        store, (bucket, folder) = FastStore(endpoint), split_uri(sink.checkpoint_uri.rstrip("/") + "/")
        query = json.loads(store.read(bucket, f"{folder}metadata"))["id"]
        start, end = (planned_offset(store, bucket, folder, one) for one in (batchId - 1, batchId))
        assert end is not None  # Spark plans a batch before it does it
        files = []
        for said in (row for one in messages if isinstance(one, _Named) for row in one.rows):
            own = {field.name: said[field.name] for field in fields(DataFile)}
            files.append(DataFile(**{**own, "partition": json.loads(said["partition"])}))
        columns = StructType.fromJson(json.loads(sink.columns))
        table = TableAt(sink.table, sink.table_uri, endpoint)
        change = Change(files, (), columns, tuple(sink.partition_by))
        commit(table, table.opened(), Batch(query, batchId, start, end), change)


def _said(target: Target) -> dict[str, Any]:
    return {
        "table_uri": target.table_uri,
        "schema": target.schema.jsonValue(),
        "added": dict(target.added),
        "partition_by": target.partition_by,
        "expected": target.expected,
    }


def _target_of(said: dict[str, Any]) -> Target:
    from lakehouse.direct.part import Target

    schema = StructType.fromJson(said["schema"])
    return Target(said["table_uri"], schema, said["added"], tuple(said["partition_by"]), tuple(said["expected"]))
