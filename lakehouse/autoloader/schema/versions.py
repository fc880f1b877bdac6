"""The schema location: numbered, immutable versions of a source's schema, and the first one by inference."""

from __future__ import annotations

import io
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import IO

from pyspark.sql.types import BooleanType, DateType, NumericType, StringType, StructField, StructType

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.formats.rows import BadFile, raise_if_environment
from lakehouse.autoloader.lineage import METADATA, RESCUED_DATA
from lakehouse.autoloader.options.parse import HEADER, INFERRED, CloudFilesOptions
from lakehouse.autoloader.options.paths import plain_uri
from lakehouse.autoloader.reading.choose import infer, reads_lines
from lakehouse.autoloader.reading.columns import METADATA_TYPE, partition_values
from lakehouse.autoloader.reading.decompress import compression_of, unpack
from lakehouse.autoloader.reading.fetch import Changed, Fetcher, Vanished
from lakehouse.autoloader.schema.evolve import changes, evolved, leaves, limit_note, limited, possible
from lakehouse.autoloader.schema.hints import parse_hints, with_hints
from lakehouse.errors import ConfigurationError, TerminalError
from lakehouse.storage.store import ObjectExists, ObjectMissing, ObjectStore

_THREADS = 8
_AHEAD_BYTES = 48 << 20
_PIECE_BYTES = 8 << 20


@dataclass(frozen=True)
class SchemaVersion:
    """One version.

    Attributes:
        version: Its number, from 0.
        data: Columns of the files.
        partitions: Columns of the path.
        introduced: For each column that is new in this version, or wider, the file and the record, from 0, where that
            was met.
        reason: Why it was made, when not by what the files have; or how many columns of the files it leaves out.
        written: When it was written; None before.
        header: For CSV, whether the files were read with a header; None in versions from before that was kept.
    """

    version: int
    data: StructType
    partitions: StructType
    introduced: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    reason: str = ""
    written: datetime | None = None
    header: bool | None = None

    @property
    def has_header(self) -> bool:
        """Whether CSV files are read with a header; without a header the first column was called ``_c0``."""
        return "_c0" not in self.data.names if self.header is None else self.header


class SchemaLocation:
    """``<schemaLocation>/_schemas/0, 1, 2 ...``: the line ``v1``, then one JSON object.

    The layout is that of Spark's versioned logs; the two fields hold schemas in Spark's JSON.
    """

    def __init__(self, store: ObjectStore, bucket: str, prefix: str) -> None:
        self._store, self._bucket = store, bucket
        self._folder = f"{prefix.rstrip('/')}/_schemas/"
        self._ahead = f"{prefix.rstrip('/')}/_looked_ahead"

    def latest(self) -> SchemaVersion | None:
        """The newest version, or None before the first.

        Raises:
            TerminalError: its file cannot be understood.
        """
        versions = self.numbers()
        return self.read(max(versions)) if versions else None

    @property
    def newest(self) -> int | None:
        """Number of the latest version; None before the first."""
        return max(self.numbers(), default=None)

    @property
    def looked_ahead(self) -> int:
        """Number of the last file whose columns the schema took in before the file was read."""
        try:
            return int(self._store.read(self._bucket, self._ahead))
        except ObjectMissing:
            return 0

    @looked_ahead.setter
    def looked_ahead(self, seq: int) -> None:
        self._store.write(self._bucket, self._ahead, str(seq).encode())

    def numbers(self) -> dict[int, datetime]:
        """All versions, each with the time when it was written."""
        found = [(info.key.removeprefix(self._folder), info) for info in self._store.list(self._bucket, self._folder)]
        return {int(name): info.last_modified for name, info in found if name.isdigit()}

    def history(self) -> list[SchemaVersion]:
        """All versions, oldest first."""
        return [replace(self.read(number), written=at) for number, at in sorted(self.numbers().items())]

    def grow(
        self,
        data: StructType,
        introduced: Mapping[str, tuple[str, int]],
        reason: str = "",
        *,
        max_columns: int | None = None,
    ) -> SchemaVersion:
        """Adds a version with the columns that only ``data`` has. Returns the latest version where there are none.

        Args:
            data: The columns.
            introduced: See ``SchemaVersion``.
            reason: See ``SchemaVersion``.
            max_columns: Leaf columns beyond this number are left out; None sets no limit.
        """

        def columns(latest: SchemaVersion) -> StructType:
            grown = evolved(latest.data, data, widens=lambda name: True)
            return grown if max_columns is None else limited(latest.data, grown, max_columns)

        return self._add(columns, introduced, reason)

    def roll_back(self, version: int) -> SchemaVersion:
        """Adds a version with the columns of an older version."""
        data = self.read(version).data
        return self._add(lambda latest: data, {}, f"rolled back to {version}")

    def _add(
        self, columns: Callable[[SchemaVersion], StructType], introduced: Mapping[str, tuple[str, int]], reason: str
    ) -> SchemaVersion:
        while True:
            latest = self.latest()
            if latest is None:
                raise TerminalError(
                    "the versions of the schema are gone",
                    where=plain_uri(self._bucket, self._folder),
                    state="nothing was read or written",
                    next_command="restore them; or start a new stream",
                )
            data = columns(latest)
            fresh = {name for name, _, _ in changes(latest.data, data)}
            if not fresh:
                return latest
            where = {name: place for name, place in introduced.items() if name in fresh}
            number = latest.version + 1
            wanted = SchemaVersion(number, data, latest.partitions, where, reason, header=latest.header)
            if self.write(wanted) is wanted:
                return wanted

    def read(self, version: int) -> SchemaVersion:
        """One version."""
        key = f"{self._folder}{version}"
        try:
            head, _, body = self._store.read(self._bucket, key).decode().partition("\n")
            if head != "v1":
                raise ValueError(f"unknown layout {head[:20]!r}")
            document = json.loads(body)
            data, partitions = (StructType.fromJson(json.loads(document[name])) for name in _FIELDS)
            introduced = {name: (path, record) for name, (path, record) in document.get("introduced", {}).items()}
        except (ValueError, KeyError, TypeError) as error:
            raise TerminalError(
                f"this is no schema version: {error}",
                where=plain_uri(self._bucket, key),
                state="nothing was read or written",
                next_command="restore the file; the files are never changed by the source itself",
            ) from None
        return SchemaVersion(
            version, data, partitions, introduced, document.get("reason", ""), header=document.get("header")
        )

    def write(self, version: SchemaVersion) -> SchemaVersion:
        """Adds a version. Returns the version of another writer that was faster."""
        schemas = (version.data, version.partitions)
        document: dict[str, object] = {name: schema.json() for name, schema in zip(_FIELDS, schemas, strict=True)}
        if version.introduced:
            document["introduced"] = dict(version.introduced)
        if version.reason:
            document["reason"] = version.reason
        if version.header is not None:
            document["header"] = version.header
        try:
            body = f"v1\n{json.dumps(document)}".encode()
            self._store.write(self._bucket, f"{self._folder}{version.version}", body, if_absent=True)
        except ObjectExists:
            return self.read(version.version)
        return version


_FIELDS = ("dataSchemaJson", "partitionSchemaJson")
_IN_A_FOLDER = (BooleanType, NumericType, StringType, DateType)
"""Types that the name of a folder can have."""


def full_schema(options: CloudFilesOptions, version: SchemaVersion) -> StructType:
    """All columns of a stream without an explicit schema: the files', the path's, the rescued data, ``_metadata``.

    In the mode ``none`` nothing is rescued unless ``rescuedDataColumn`` asks for it. A field of the files that has the
    name of a column from elsewhere is not among the columns.
    """
    rescues = options.schema_evolution_mode != "none" or options.rescued_data_column is not None
    format_ = FORMATS[options.format]
    added = [options.rescued_data_column or RESCUED_DATA] if rescues and format_.has_fields else []
    taken = {name.lower() for name in (*version.partitions.names, *added, METADATA)}
    schema = StructType([column for column in version.data.fields if column.name.lower() not in taken])
    for column in version.partitions.fields:
        schema.add(column)
    for name in added:
        schema.add(name, "string")
    header = {HEADER: version.has_header} if format_.has_header else {}
    return schema.add(METADATA, METADATA_TYPE, metadata={INFERRED: True, **header})


def infer_version(options: CloudFilesOptions, root: str, fetcher: Fetcher, newest: list[FileVersion]) -> SchemaVersion:
    """The first version, from a sample of files.

    Raises:
        ConfigurationError: the samples' types contradict each other; or they have more columns than
            ``cloudFiles.maxColumns``, or of a type that no column has, and nothing would rescue the rest.
    """
    inferred = infer(options, _samples(options, fetcher, newest))
    found = possible(inferred)
    if options.schema_evolution_mode == "none" and options.rescued_data_column is None:
        _require_columns(options, inferred, found)
    data = limited(StructType(), found, options.max_columns)
    beyond, reason = leaves(found) - leaves(data), ""
    if beyond:
        mode = options.schema_evolution_mode
        if mode == "failOnNewColumns" or (mode == "none" and options.rescued_data_column is None):
            raise ConfigurationError(
                f"the files have {leaves(found):,} columns, and with schemaEvolutionMode {mode} nothing rescues those "
                f"beyond {options.max_columns:,}",
                where=options.path,
                state="nothing was read or written",
                next_command="raise cloudFiles.maxColumns, or choose another cloudFiles.schemaEvolutionMode",
            )
        reason = f"{leaves(data):,} columns, inferred; {limit_note(beyond, options.max_columns)}"
    if options.schema_hints:
        data = with_hints(data, parse_hints(options.schema_hints))
    return SchemaVersion(0, data, partition_columns(options, root, [file.key for file in newest]), reason=reason)


def partition_columns(options: CloudFilesOptions, root: str, keys: Sequence[str]) -> StructType:
    """The columns of the path, as the keys of sample files and the hints have them."""
    hints = parse_hints(options.schema_hints) if options.schema_hints else []
    hinted = {path[0].lower(): type_ for path, type_ in hints if len(path) == 1 and isinstance(type_, _IN_A_FOLDER)}
    values = [partition_values(key, root) for key in keys]
    names = options.partition_columns
    if names is None:
        names = tuple(dict.fromkeys(name for of_key in values for name in of_key))
    columns = StructType()
    for name in names:
        texts = [text for of_key in values if (text := of_key.get(name)) is not None]
        columns.add(name, hinted.get(name.lower()) or _partition_type(texts, options))
    return columns


def _require_columns(options: CloudFilesOptions, inferred: StructType, found: StructType) -> None:
    """Raises where a column was left out for its type."""
    for name, _, type_ in changes(found, inferred):
        if type_ is not None and not possible(StructType([StructField("column", type_)])).fields:
            raise ConfigurationError(
                f"the column {name} ({type_.simpleString().upper()}) can be none of a Delta table, and with "
                "schemaEvolutionMode none nothing rescues it",
                where=options.path,
                state="nothing was read or written",
                next_command="set rescuedDataColumn, or choose another cloudFiles.schemaEvolutionMode",
            )


def _partition_type(values: list[str], options: CloudFilesOptions) -> str | StringType:
    if options.infer_column_types and values and all(value.lstrip("-").isdigit() for value in values):
        return "integer" if all(abs(int(value)) < 2**31 for value in values) else "long"
    return "string"


def _samples(options: CloudFilesOptions, fetcher: Fetcher, newest: list[FileVersion]) -> Iterator[IO[bytes]]:
    """What inference looks at, in the order of the files and up to the limits; some is fetched ahead, nothing twice."""
    left, ahead_bytes = options.sample_bytes, 0
    todo = deque(_sample_spans(options, newest[: options.sample_files]))
    queue: deque[tuple[Span, Future[Iterable[bytes]]]] = deque()
    pool = ThreadPoolExecutor(_THREADS)
    try:
        while left > 0 and (todo or queue):
            while todo and (not queue or ahead_bytes + todo[0].length <= min(left, _AHEAD_BYTES)):
                span = todo.popleft()
                ahead_bytes += span.length
                queue.append((span, pool.submit(_fetch_sample, options, fetcher, span)))
            span, fetched = queue.popleft()
            ahead_bytes -= span.length
            try:
                with _sample(options, span, fetched.result(), left) as file:
                    left -= file.seek(0, io.SEEK_END)
                    file.seek(0)
                    yield file
            except (Vanished, Changed, BadFile, OSError, MemoryError) as error:
                raise_if_environment(error, options.path)
                continue  # the stream itself will say so
    finally:
        pool.shutdown(cancel_futures=True)


def _sample_spans(options: CloudFilesOptions, files: list[FileVersion]) -> Iterator[Span]:
    """Large plain files of lines in pieces, of which the limit may leave some out; all else whole."""
    for file in files:
        plain = reads_lines(options) and compression_of(file.key) is None
        step = min(_PIECE_BYTES, options.sample_bytes) if plain else max(file.size_bytes, 1)
        for start in range(0, max(file.size_bytes, 1), step):
            length = min(step, file.size_bytes - start)
            yield Span(file.seq, file.key, file.e_tag, file.size_bytes, file.last_modified, start, length)


def _fetch_sample(options: CloudFilesOptions, fetcher: Fetcher, span: Span) -> Iterable[bytes]:
    """Fetches the bytes. A file that does not fit into memory is requested only when its turn has come."""
    if span.whole and span.length > _AHEAD_BYTES:
        return fetcher.stream(span)
    return [fetcher.lines(span, options.max_line_bytes)[0]]


def _sample(options: CloudFilesOptions, span: Span, fetched: Iterable[bytes], left: int) -> IO[bytes]:
    codec = compression_of(span.key)
    if not reads_lines(options):
        return unpack(fetched, codec or "none", options.max_decompressed_bytes)
    if codec is None:
        data = b"".join(fetched)
        end = data.find(b"\n", left - 1) + 1  # the line in which the limit is reached still counts
        return io.BytesIO(data[:end] if end else data)
    with unpack(fetched, codec, options.max_decompressed_bytes) as unpacked:
        data = unpacked.read(limit := min(left, _AHEAD_BYTES))
    return io.BytesIO(data[: data.rfind(b"\n") + 1] if len(data) == limit else data)
