"""``format("cloudFiles")``: the Python Data Source that Spark talks to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar

from pyspark import TaskContext
from pyspark.sql.datasource import DataSource, DataSourceReader, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadLimit, ReadMaxFiles, SupportsTriggerAvailableNow
from pyspark.sql.types import StructType

from lakehouse.autoloader.backlog import Backlog
from lakehouse.autoloader.columns import Columns, partition_values
from lakehouse.autoloader.discovery import discover
from lakehouse.autoloader.fetch import Fetcher
from lakehouse.autoloader.formats.choose import ChosenFormat, reads_lines
from lakehouse.autoloader.journal import Journal, Position
from lakehouse.autoloader.location import SourcePath, split_uri
from lakehouse.autoloader.options import CloudFilesOptions
from lakehouse.autoloader.plan import Span, plan
from lakehouse.autoloader.read import PartReader
from lakehouse.autoloader.receipts import write_receipts
from lakehouse.autoloader.schemas import SAMPLE_FILES, SchemaLocation, full_schema, infer_version
from lakehouse.autoloader.state import POINTER
from lakehouse.errors import ConfigurationError
from lakehouse.storage.contract import ObjectExists, ObjectStore
from lakehouse.storage.environment import endpoint_from_environment
from lakehouse.storage.fast_store import FastStore

_QUERY_ID = "sql.streaming.queryId"
_BATCH_ID = "streaming.sql.batchId"


def now() -> datetime:
    """The clock of the source."""
    return datetime.now(UTC)


class CloudFiles(DataSource):
    """Incremental loading of files from an object store, exactly once, with Auto Loader's options.

    Attributes:
        journal_root: Where the journals of sources without ``cloudFiles.journalLocation`` are.
    """

    journal_root: ClassVar[str | None] = None

    @classmethod
    def name(cls) -> str:
        """The format's name."""
        return "cloudFiles"

    def schema(self) -> StructType:
        """The columns of a stream without an explicit schema: from the schema location, or inferred into it.

        Raises:
            ConfigurationError: there is no schema location, or no file to infer from.
        """
        source = Source(CloudFilesOptions.parse(dict(self.options)), self.journal_root)
        return source.inferred_schema()

    def reader(self, schema: StructType) -> DataSourceReader:
        """There is no batch read; as on Databricks."""
        raise ConfigurationError(
            "cloudFiles is a streaming source: spark.read cannot use it",
            where="spark.read.format('cloudFiles')",
            state="nothing was read",
            next_command="use spark.readStream with .trigger(availableNow=True): it loads what is there, and stops",
        )

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802
        """The stream."""
        return CloudFilesStream(CloudFilesOptions.parse(dict(self.options)), schema, self.journal_root)


def register_cloud_files(spark: Any, journal_root: str | None = None) -> None:
    """Makes ``format("cloudFiles")`` known to a session of any Spark 4.2.

    Args:
        spark: The session.
        journal_root: Folder on the object store for the journals; without one each stream needs
            ``cloudFiles.journalLocation`` or ``cloudFiles.schemaLocation``.
    """
    # a class made here travels by value: it carries the folder to Spark's processes
    spark.dataSource.register(type("CloudFiles", (CloudFiles,), {"journal_root": journal_root}))


@dataclass
class Source:
    """What the options name, opened."""

    options: CloudFilesOptions
    journal_root: str | None

    @cached_property
    def path(self) -> SourcePath:
        """The files."""
        return SourcePath.parse(self.options.path, strict=self.options.use_strict_globber)

    @cached_property
    def store(self) -> ObjectStore:
        """The object store, with the keys of this process."""
        return FastStore(endpoint_from_environment(self.options.profile))

    @cached_property
    def fetcher(self) -> Fetcher:
        """For the files themselves."""
        return Fetcher(endpoint_from_environment(self.options.profile), self.path.bucket)

    @cached_property
    def journal_place(self) -> tuple[str, str]:
        """Bucket and folder of the journal."""
        return split_uri(self.journal_uri)

    @cached_property
    def journal_uri(self) -> str:
        """The journal's folder.

        Raises:
            ConfigurationError: nothing says where it is.
        """
        place = self.options.journal_location
        if place is None and self.journal_root is not None:
            place = f"{self.journal_root.rstrip('/')}/{source_id(self.path)}"
        if place is None and self.options.schema_location is not None:
            place = f"{self.options.schema_location.rstrip('/')}/_journal"
        if place is None:
            raise ConfigurationError(
                "nothing says where to keep the journal of files",
                where="cloudFiles options",
                state="nothing was read or written",
                next_command="give cloudFiles.schemaLocation or cloudFiles.journalLocation; get_spark() sets a default",
            )
        return place.rstrip("/") + "/"

    @cached_property
    def journal(self) -> Journal:
        """The journal, opened."""
        return Journal(self.store, *self.journal_place, now=now)

    def discover(self) -> None:
        """Brings the journal up to date with the bucket."""
        bucket, prefix = self.journal_place
        discover(
            self.store,
            self.path,
            self.journal,
            (bucket, f"{prefix}audit.json"),
            now=now,
            audit_interval_seconds=self.options.backfill_interval_seconds,
        )

    def inferred_schema(self) -> StructType:
        """See ``CloudFiles.schema``."""
        location = self.options.schema_location
        if location is None:
            raise ConfigurationError(
                "no schema, and no place to keep an inferred one",
                where="cloudFiles options",
                state="nothing was read or written",
                next_command="give the option cloudFiles.schemaLocation, or a schema: .schema(...)",
            )
        schemas = SchemaLocation(self.store, *split_uri(location))
        version = schemas.latest()
        if version is None:
            self.discover()
            newest = Backlog(self.journal, self.path, self.options).newest(SAMPLE_FILES)
            if not newest:
                raise ConfigurationError(
                    "there is no file yet to infer a schema from",
                    where=self.options.path,
                    state="nothing was written",
                    next_command="start the stream when the first file has landed, or give a schema: .schema(...)",
                )
            version = schemas.write(infer_version(self.options, self.path.root, self.fetcher, newest))
            bucket, prefix = split_uri(location)
            pointer = json.dumps({"journal": self.journal_uri}).encode()
            self.store.write(bucket, f"{prefix.rstrip('/')}/{POINTER}", pointer)
        return full_schema(self.options, version)


@dataclass
class Part(InputPartition):
    """A task's work."""

    spans: list[Span]


class CloudFilesStream(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """One stream. In Spark's driver it discovers and plans, in its workers it reads.

    An offset is ``{"v": 1, "seq": N, "segment": "...", "journal": "..."}``: all files up to number N of the journal
    were read. What the stream passes over (another version of a known key, a filtered name) it passes over for ever.
    """

    def __init__(self, options: CloudFilesOptions, schema: StructType, journal_root: str | None) -> None:
        self._options, self._schema = options, schema
        self._source = Source(options, journal_root)
        self._backlog: Backlog | None = None
        self._target: int | None = None
        self._read_upto = 0

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802
        """The beginning; or, without ``includeExistingFiles``, the end of what is there at the first start."""
        return self._offset(0 if self._options.include_existing_files else self._first_start())

    def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802
        """``maxFilesPerTrigger``; ``maxBytesPerTrigger`` is looked at beside it."""
        return ReadMaxFiles(self._options.max_files_per_trigger)

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802
        """Fixes what this run will read: what is there now."""
        self._source.discover()
        self._target = self._source.journal.high_water

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:  # noqa: N802
        """The end of the next batch; ``start`` again when there is nothing to read."""
        position = Position(start["seq"], start.get("segment", ""))
        journal = self._source.journal
        if self._target is None:
            self._source.discover()
        journal.verify(position)
        backlog = self._pending(position.seq)
        no_limit = isinstance(limit, ReadAllAvailable)
        end = backlog.end_of_batch(
            position.seq,
            max_files=None if no_limit else getattr(limit, "max_files", self._options.max_files_per_trigger),
            max_bytes=None if no_limit else self._options.max_bytes_per_trigger,
        )
        self._read_upto = end
        return self._offset(end) if end > position.seq else start

    def reportLatestOffset(self) -> dict[str, Any] | None:  # noqa: N802
        """What is known beyond the batch, with Auto Loader's names: shown as ``latestOffset`` in the progress."""
        if self._backlog is None:
            return None
        target = self._source.journal.high_water if self._target is None else self._target
        return {"v": 1, "seq": target, **self._backlog.outstanding(self._read_upto)}

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> list[InputPartition]:
        """The files of (start, end], the same at every call."""
        journal = self._source.journal
        if end["seq"] > journal.high_water:
            journal.refresh()
        journal.verify(Position(end["seq"], end.get("segment", "")))
        backlog = self._backlog or Backlog(journal, self._source.path, self._options, after=start["seq"])
        files = backlog.files(start["seq"], end["seq"])
        parts = plan(
            files,
            lines=reads_lines(self._options),
            min_partitions=self._options.min_partitions,
            max_partition_bytes=self._options.max_partition_bytes,
        )
        return [Part(spans) for spans in parts]

    def read(self, partition: Part) -> Iterator[Any]:  # type: ignore[override]
        """Arrow batches of one part, in a worker; then its receipts."""
        source = self._source
        columns = Columns(self._schema, self._partition_names(partition), source.path.bucket, source.path.root)
        format_ = ChosenFormat(self._options, columns.data)
        part = PartReader(source.path.bucket, source.fetcher, format_, self._options)
        for loaded in part.read(partition.spans):
            yield from columns.batches(loaded)
        context = TaskContext.get()
        if context is not None:
            query, batch = context.getLocalProperty(_QUERY_ID), context.getLocalProperty(_BATCH_ID)
            if query and batch:
                bucket, prefix = source.journal_place
                name = f"{context.partitionId():05d}"
                write_receipts(source.store, bucket, prefix, query, int(batch), name, part.receipts)

    def commit(self, end: dict[str, Any]) -> None:
        """Nothing: what is committed is what Delta and the checkpoint say."""

    def stop(self) -> None:
        """Nothing is held open."""

    def __getstate__(self) -> dict[str, Any]:
        """A worker gets the options and the schema; it opens what it needs itself."""
        fresh = CloudFilesStream(self._options, self._schema, self._source.journal_root)
        return fresh.__dict__

    def _offset(self, seq: int) -> dict[str, Any]:
        position = self._source.journal.position(seq)
        # the journal's place makes a checkpoint tell its own story
        return {"v": 1, "seq": seq, "segment": position.segment, "journal": self._source.journal_uri}

    def _pending(self, start: int) -> Backlog:
        if self._backlog is None or self._backlog.after > start:
            self._backlog = Backlog(self._source.journal, self._source.path, self._options, after=start)
        self._backlog.extend(self._source.journal.high_water if self._target is None else self._target)
        return self._backlog

    def _partition_names(self, partition: Part) -> frozenset[str]:
        if self._options.partition_columns is not None:
            return frozenset(self._options.partition_columns)
        root = self._source.path.root
        return frozenset(name for span in partition.spans for name in partition_values(span.key, root))

    def _first_start(self) -> int:
        """Where a stream that leaves out existing files began: written once, because a crash asks again."""
        source = self._source
        source.discover()
        bucket, prefix = source.journal_place
        stream = hashlib.sha256((self._options.schema_location or self._options.path).encode()).hexdigest()[:16]
        key = f"{prefix}starts/{stream}"
        try:
            source.store.write(bucket, key, str(source.journal.high_water).encode(), if_absent=True)
        except ObjectExists:
            return int(source.store.read(bucket, key))
        return source.journal.high_water


def source_id(path: SourcePath) -> str:
    """A readable, unique name for the journal of a bucket's folder."""
    slug = re.sub(r"[^a-z0-9]+", "-", f"{path.bucket}/{path.root}".lower()).strip("-")[:40]
    return f"{slug}-{hashlib.sha256(f'{path.bucket}/{path.root}'.encode()).hexdigest()[:8]}"
