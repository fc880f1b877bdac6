"""The data files of a table and their rows, which Arrow reads in batches, each with the path of its file."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from lakehouse.counting.older_files import older_partitions
from lakehouse.errors import StoreUnavailable, TerminalError
from lakehouse.lake import Lake, LakeTable, adds_of, partitions_of
from lakehouse.plain_text import cause_of
from lakehouse.storage.s3_errors import arrow_says_gone

if TYPE_CHECKING:
    import pyarrow.dataset as pads

_READABLE = {"typeWidening", "timestampNtz", "variantType", "vacuumProtocolCheck"}
"""Table features that leave data files plain Parquet; any other may hide rows, or rename columns."""
_OF_TEXT = ("__CHAR_VARCHAR_TYPE_STRING", "__COLLATIONS")
"""Metadata of columns whose text Spark pads, or compares by a collation."""
_BATCH_ROWS, _LARGE_BYTES, _SMALL_FILES_AHEAD = 131_072, 4 << 20, 8
_ROW_BYTES = 32
_MICROSECONDS_LOST = 999
"""The log has times in whole milliseconds, rounded down: the highest of a file may be so much above its bound."""


class DataFileMissing(TerminalError):
    """A data file of this version of the table, or of an older version, is not in the store."""


class OnlySpark(Exception):
    """Only Spark can do it: without Spark the result could differ. The text says why."""


@dataclass(frozen=True)
class DataFiles:
    """A table's data files at one version.

    Attributes:
        uri: Where the table is.
        version: The version.
        table_id: Delta's id of the table, which changes when the table is made anew at the same place.
        schema: The columns, in the types of the table. Older files may have narrower types, or lack columns.
        sizes: Bytes of each file, by its path in the table's folder.
        about_rows: How many rows they have together, by the log; estimated by their size where the log has no counts.
    """

    uri: str
    version: int
    table_id: str
    schema: pa.Schema
    sizes: dict[str, int]
    about_rows: int
    _lake: Lake = field(repr=False, compare=False)
    _opened: LakeTable = field(repr=False, compare=False)
    _adds: pa.Table = field(repr=False, compare=False)

    @classmethod
    def of(cls, lake: Lake, table: str) -> DataFiles | None:
        """The data files of the newest version; None when the table does not exist.

        Raises:
            OnlySpark: its rows cannot be read from its data files alone.
        """
        return cls.at(lake, lake.settings.table_uri(table), table)

    @classmethod
    def at(cls, lake: Lake, uri: str, table: str) -> DataFiles | None:
        """Those of the table at ``uri``, which errors call ``table``; see ``of``."""
        opened = lake.delta_at(uri)
        if opened is None:
            return None
        protocol, metadata = opened.protocol(), opened.metadata()
        mapped = metadata.configuration.get("delta.columnMapping.mode", "none") != "none"
        if set(protocol.reader_features or ()) - _READABLE or mapped:
            raise OnlySpark(f"{table} has features of Delta that Arrow does not know")
        if any(key in (column.metadata or {}) for column in opened.schema().fields for key in _OF_TEXT):
            raise OnlySpark(f"{table} has text that Spark compares in its own way")
        adds = adds_of(opened)
        paths = [unquote(path) for path in adds["path"].to_pylist()]
        sizes = adds["size_bytes"].to_pylist()
        rows = adds["num_records"].to_pylist() if "num_records" in adds.column_names else []
        return cls(
            uri=uri,
            version=opened.version(),
            table_id=str(metadata.id),
            schema=pa.schema(opened.schema().to_arrow()),
            sizes=dict(zip(paths, sizes, strict=True)),
            about_rows=sum(count or 0 for count in rows) or sum(sizes) // _ROW_BYTES,
            _lake=lake,
            _opened=opened,
            _adds=adds,
        )

    def batches(self, paths: Collection[str], columns: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
        """The rows of some files, each batch with its file's path. Files of older versions can be read, too.

        Raises:
            DataFileMissing: somebody removed a file, or VACUUM removed a file of an older version; or the log does not
                say any more in which partition such a file was.
            OnlySpark: Arrow cannot cast a file's columns to those of the table.
            StoreUnavailable: the store does not answer.
        """
        import pyarrow.dataset as pads  # it imports pandas: see ``lakehouse.lake``

        format_ = pads.ParquetFileFormat()
        files, partitions = self._opened.data_files, self._partitions
        older = [path for path in paths if path not in self.sizes] if self._partitioned & set(columns) else []
        if older:
            partitions = partitions | older_partitions(self._lake, self.uri, self.version, older)
            if lost := next((path for path in older if path not in partitions), ""):
                raise self._missing(f"the log does not say any more in which partition {lost} was")
        made = [
            format_.make_fragment(path, files, partitions.get(path), file_size=self.sizes.get(path)) for path in paths
        ]
        if not made:
            return
        source = pads.FileSystemDataset(made, self.schema, format_, files)
        # what is read ahead takes memory; of small files several are read at once, since most of the time is latency
        large = sum(self.sizes.get(path, 0) for path in paths) > len(made) * _LARGE_BYTES
        ahead = {"batch_readahead": 1, "fragment_readahead": 1 if large else _SMALL_FILES_AHEAD}
        scanner = source.scanner(columns=list(columns), batch_size=_BATCH_ROWS, cache_metadata=False, **ahead)
        try:
            for tagged in scanner.scan_batches():
                yield tagged.fragment.path, tagged.record_batch
        except pa.ArrowException as error:
            raise OnlySpark(f"Arrow cannot read the table: {error}") from error
        except OSError as error:
            first_line = cause_of(error)
            if arrow_says_gone(error):
                raise self._missing(f"a data file is gone: {first_line}") from None
            raise StoreUnavailable(
                f"a data file cannot be read: {first_line}",
                where=self.uri,
                state="nothing was changed",
                next_command="see that the object store runs: lakehouse up",
            ) from None

    @property
    def opened(self) -> LakeTable:
        """The table at that version."""
        return self._opened

    def columns(self, names: Sequence[str]) -> pa.Schema:
        """Some of the columns."""
        return pa.schema([self.schema.field(name) for name in names])

    def that_may_have(self, column: str, values: pa.Array) -> list[str]:
        """Files that may have one of the values in the column, by their statistics; NULL may be among the values."""
        names = [f"{kind}.{column}" for kind in ("min", "max", "null_count")]
        if not set(names) <= set(self._adds.column_names):
            return list(self.sizes)
        wanted = sorted(_sortable(values.drop_null()))
        lowest, highest = (_sortable(self._adds[name].cast(values.type)) for name in names[:2])
        nulls = self._adds[names[2]].to_pylist()
        if pa.types.is_timestamp(values.type):
            highest = [None if most is None else most + _MICROSECONDS_LOST for most in highest]
        found = []
        for number, path in enumerate(self.sizes):
            least, most = lowest[number], highest[number]
            if least is None or most is None or (values.null_count and nulls[number] != 0):
                found.append(path)  # nothing is known of it, or all its values are NULL
                continue
            place = bisect_left(wanted, least)
            if place < len(wanted) and wanted[place] <= most:
                found.append(path)
        return found

    def that_may_be_below(self, column: str, value: pa.Scalar) -> list[str]:
        """Files that may have a value of the column below another, by their statistics."""
        name = f"min.{column}"
        if name not in self._adds.column_names:
            return list(self.sizes)
        [limit] = _sortable(pa.array([value]))
        lowest = _sortable(self._adds[name].cast(value.type))
        return [path for path, least in zip(self.sizes, lowest, strict=True) if least is None or least < limit]

    def _missing(self, what: str) -> DataFileMissing:
        return DataFileMissing(
            what,
            where=self.uri,
            state="nothing was changed; rows of the table cannot be read",
            next_command="bring the file back, or restore the table to a version without it",
        )

    @cached_property
    def _partitioned(self) -> set[str]:
        return set(self._opened.metadata().partition_columns)

    @cached_property
    def _partitions(self) -> dict[str, pads.Expression]:
        return partitions_of(self._opened, self._adds)


def _sortable(values: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The values; of days and microseconds the numbers, since Python has the years 1 to 9999 alone."""
    if pa.types.is_date(values.type):
        values = values.cast(pa.int32())
    elif pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    found: list[Any] = values.to_pylist()
    return found
