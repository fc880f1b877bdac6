"""The files of a path read once, as a stream would read them: without a journal, a checkpoint or a schema location."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nlargest
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from lakehouse.autoloader.context import Source
from lakehouse.autoloader.files.backlog import FileFilter
from lakehouse.autoloader.files.discovery import listed_files
from lakehouse.autoloader.files.journal import utc_now
from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import key_uri, require_there
from lakehouse.autoloader.outcomes.receipts import Receipt, State
from lakehouse.autoloader.reading.decompress import compression_of
from lakehouse.autoloader.schema.versions import full_schema
from lakehouse.autoloader.source import settled
from lakehouse.autoloader.stream import Stream
from lakehouse.errors import ConfigurationError, TerminalError
from lakehouse.storage.store import ObjectInfo, StoreEndpoint

_OF_FILES = (
    "inferColumnTypes",
    "schemaHints",
    "partitionColumns",
    "useStrictGlobber",
    "validateOptions",
    "schemaInference.sampleSize.numFiles",
    "schemaInference.sampleSize.numBytes",
    "profile",
    "roleArn",
    "roleExternalId",
    "roleSessionName",
    "stsEndpoint",
    "maxPartitionBytes",
    "maxDecompressedBytes",
    "maxLineBytes",
    "maxRecordBytes",
    "maxColumns",
)
"""Options of ``cloudFiles`` that are about files, and not about the stream of them."""

_FORMAT = "cloudFiles.format"


def _format_of_name(key: str) -> str:
    """The format that the ending of a name tells, also before that of a codec; "" for any other ending."""
    endings = key.lower().rsplit("/", 1)[-1].split(".")[1:]
    found = FORMATS.of_suffix(endings[-2 if compression_of(key) and len(endings) > 1 else -1]) if endings else None
    return found.name if found else ""


def versions_of(bucket: str, found: Sequence[ObjectInfo]) -> list[FileVersion]:
    """Files that no journal has numbered, numbered from 1 in their order."""
    now = utc_now()
    return [
        FileVersion(seq, bucket, info.key, info.e_tag, info.size_bytes, info.last_modified, now, True, "")
        for seq, info in enumerate(found, 1)
    ]


@dataclass
class Files:
    """The files that a path and options name at one moment.

    Attributes:
        options: Options of a ``cloudFiles`` stream.
        endpoint: The object store; None asks this process's environment.
    """

    options: CloudFilesOptions
    endpoint: StoreEndpoint | None = None

    @classmethod
    def of(cls, given: Mapping[str, str], endpoint: StoreEndpoint | None = None) -> Files:
        """The files of options as ``options_of_a_read`` gives them, without a format where the files' names tell it.

        Raises:
            ConfigurationError: an option is wrong, or the names tell no single format.
        """
        if any(name.lower() == _FORMAT.lower() for name in given):
            return cls(CloudFilesOptions.parse(given), endpoint)
        any_format = cls(CloudFilesOptions.parse({**given, _FORMAT: "binaryFile"}), endpoint)
        found = sorted({_format_of_name(file.key) for file in any_format.listed})
        if len(found) == 1 and found[0]:
            return cls(CloudFilesOptions.parse({**given, _FORMAT: found[0]}), endpoint)
        told = ", ".join(name or "none that is known" for name in found)
        raise ConfigurationError(
            f"the names of the files tell no single format: {told}" if found else "there is no file to tell the format",
            where=any_format.options.path,
            state="nothing was read",
            next_command="give the format, as json or csv; pathGlobFilter=*.json leaves other files out",
        )

    @cached_property
    def _source(self) -> Source:
        return Source(self.options, None, endpoint=self.endpoint)

    @cached_property
    def listed(self) -> list[FileVersion]:
        """All files in the order of their names. Empty files are left out, as by a stream.

        Raises:
            ConfigurationError: it is a local path, and there is nothing of that name.
        """
        source = self._source
        require_there(source.path, self.options.path)
        takes = FileFilter(source.path, self.options).takes
        found = [info for info in listed_files(source.store, source.path) if info.size_bytes and takes(info)]
        return versions_of(source.path.bucket, found)

    def schema(self) -> StructType:
        """The columns, inferred from the newest files. They are not stored.

        Raises:
            ConfigurationError: there is no file, or the files contradict each other.
        """
        newest = nlargest(self.options.sample_files, self.listed, key=lambda file: (file.last_modified, file.seq))
        if not newest:
            raise ConfigurationError(
                "there is no file to infer a schema from",
                where=self.options.path,
                state="nothing was read",
                next_command="correct the path, or give a schema",
            )
        return full_schema(self.options, self._source.first_version(newest))

    def parts(self) -> list[list[Span]]:
        """Parts of similar size."""
        return self._source.parts(self.listed)

    def rows(self, spans: list[Span], schema: StructType) -> Iterator[pa.RecordBatch]:
        """Arrow batches of one part.

        Raises:
            TerminalError: a file cannot be read, or has changed since it was listed.
        """
        receipts: list[Receipt] = []
        yield from Stream(settled(self.options, schema), None, endpoint=self.endpoint).rows(spans, schema, receipts)
        keys = {span.seq: span.key for span in spans}
        for receipt in receipts:
            if receipt.error and receipt.state in (State.QUARANTINED, State.INGESTED):
                raise TerminalError(
                    f"a file cannot be read: {receipt.error}",
                    where=key_uri(self._source.path.bucket, keys[receipt.seq]),
                    state="nothing was written",
                    next_command="correct the file, or leave it out: pathGlobFilter, ignoreCorruptFiles=true, "
                    "ignoreMissingFiles=true",
                )


class FilesOnce(DataSource):
    """``Files`` as a batch source of Spark."""

    @classmethod
    def name(cls) -> str:
        """The format's name."""
        return "lakehouseFiles"

    @property
    def _files(self) -> Files:
        return Files.of(dict(self.options))

    def schema(self) -> StructType:
        """See ``Files.schema``."""
        return self._files.schema()

    def reader(self, schema: StructType) -> DataSourceReader:
        """The batch read."""
        return _Reader(self._files.options, schema)


@dataclass
class _Part(InputPartition):
    spans: list[Span]


@dataclass
class _Reader(DataSourceReader):
    options: CloudFilesOptions
    columns: StructType

    def partitions(self) -> Sequence[InputPartition]:
        return [_Part(spans) for spans in Files(self.options).parts()] or [_Part([])]

    def read(self, partition: _Part) -> Iterator[Any]:  # type: ignore[override]
        if partition.spans:
            yield from Files(self.options).rows(partition.spans, self.columns)


def options_of_a_read(path: str, format_: str | None, options: Mapping[str, str]) -> dict[str, str]:
    """The options of a stream that reads the same, with the default of ``read_files``: types are inferred.

    Args:
        path: The folder or file.
        format_: The files' format; None leaves it to ``Files.of``.
        options: Their names are those of ``read_files``, as ``schemaHints``, or those of a stream.

    Raises:
        ConfigurationError: an option is for streams only.
    """
    own = {name.lower(): name for name in _OF_FILES}
    stream_options = {"path": path, "cloudFiles.inferColumnTypes": "true"}
    stream_options |= {} if format_ is None else {_FORMAT: format_}
    for name, value in options.items():
        lower = name.lower()
        bare = lower.removeprefix("cloudfiles.")
        if bare in own:
            stream_options[f"cloudFiles.{own[bare]}"] = value
        elif lower.startswith("cloudfiles.") or lower == "badrecordspath":
            raise ConfigurationError(
                f"{name} is an option of streams",
                where="read_files",
                state="nothing was read",
                next_command='leave it out, or use spark.readStream.format("cloudFiles")',
            )
        else:
            stream_options[name] = value
    return stream_options
