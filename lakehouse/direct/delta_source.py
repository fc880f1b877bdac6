"""A Delta table as the source of a stream, without Spark.

The order of files and the form of offsets are those of Delta's own streaming source. So the local engine and Spark can
take turns on a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints.delta_offsets import Listed, Place, files_between, files_of_commit, files_of_snapshot
from lakehouse.counting.data_files import DataFileMissing, DataFiles
from lakehouse.lake import Lake
from lakehouse.storage.delta_paths import commit_uri
from lakehouse.streams.failures import SourceChanged

Offset = dict[str, Any]

_MOST_FILES, _MOST_BYTES = 1_000, 64 << 20
"""Limits of a batch: Delta's own number of files, and bytes of Parquet that take some hundred megabytes in Arrow."""


_OFFSET_AGE_LIMIT = timedelta(days=1)
"""How long an offset may stay before commits without rows."""


class DeltaSource:
    """A table as a source, up to its newest version when this was made.

    Args:
        lake: Where it is.
        table: Its name.
        reader: The table that is computed from it, for messages.
        leaves_out: Whether a commit that removes rows is skipped, by its version.

    Raises:
        OnlySpark: its rows cannot be read from its data files alone.
    """

    def __init__(self, lake: Lake, table: str, *, reader: str, leaves_out: Callable[[int], bool]) -> None:
        files = DataFiles.of(lake, table)
        assert files is not None
        self._files, self._lake, self._table = files, lake, table
        self._reader, self._leaves_out = reader, leaves_out

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self._files.schema

    def next_end(self, start: Offset | None, *, once: bool = False) -> Offset | None:
        """Where the batch after ``start`` ends; None when nothing is new.

        Commits without new rows, such as OPTIMIZE, are skipped. When an offset before them is a day old, it moves on by
        a batch without rows: some day the log loses those commits, and the stream could not go on.

        Args:
            start: Where the stream stands; None before its first batch.
            once: Whether the batch may have any size.

        Raises:
            SourceChanged: rows were changed or removed, or another table is in its place.
        """
        if start is not None:
            require_same_table(self._files, start, self._table, self._reader)
        newest, room = self._files.version, _Room(once)
        place = Place(newest, -1, snapshot=True) if start is None else Place.of(start)
        if place.snapshot:
            taken = room.take(files_of_snapshot(self._lake, self._table, place.version), place.index + 1)
            if not taken.whole:
                return self._offset(place.version, taken.last, snapshot=True)
            place = Place(place.version + 1, -1, snapshot=False)
        for version in range(place.version, newest + 1):
            added = files_of_commit(self._lake, self._table, version)
            if added is None and not self._leaves_out(version):
                if room.files:
                    return self._offset(version, -1)
                raise self._changed(f"was changed in version {version}")
            taken = room.take(added or [], place.index + 1 if version == place.version else 0)
            if not taken.whole:
                return self._offset(version, taken.last)
        if room.files or (place.version <= newest and self._is_old(place.version)):
            return self._offset(newest + 1, -1)
        return None

    def rows(self, start: Offset | None, end: Offset, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows between two offsets, in the types of the table.

        Raises:
            OnlySpark: Arrow cannot read them.
            DataFileMissing, StoreUnavailable: see ``DataFiles.batches``.
        """
        begin = None if start is None else Place.of(start)
        folder = self._files.uri.rstrip("/") + "/"
        paths = [uri.removeprefix(folder) for uri in files_between(self._lake, self._table, begin, Place.of(end))]
        try:
            for _, batch in self._files.batches(paths, columns):
                yield batch
        except DataFileMissing as error:
            raise DataFileMissing(
                f"{error.what}; {self._reader} has not read it yet",
                where=error.where,
                state="batches committed before stay committed",
                next_command=f"lakehouse doctor {self._reader}",
            ) from None

    def _is_old(self, version: int) -> bool:
        bucket, key = split_uri(commit_uri(self._files.uri, version))
        written = self._lake.store.info(bucket, key)
        return written is not None and datetime.now(UTC) - written.last_modified >= _OFFSET_AGE_LIMIT

    def _offset(self, version: int, index: int, *, snapshot: bool = False) -> Offset:
        return offset_at(self._files, version, index, snapshot=snapshot)

    def _changed(self, what: str) -> SourceChanged:
        return source_changed(self._files, self._table, what, self._reader)


def offset_at(files: DataFiles, version: int, index: int = -1, *, snapshot: bool = False) -> Offset:
    """An offset in the form of Delta's source. The index -1 stands before a commit's first file."""
    return {
        "sourceVersion": 1,
        "reservoirId": files.table_id,
        "reservoirVersion": version,
        "index": index,
        "isStartingVersion": snapshot,
    }


def require_same_table(files: DataFiles, start: Offset, table: str, reader: str) -> None:
    """Makes sure that an offset is of this table.

    Raises:
        SourceChanged: another table is in its place.
    """
    if start["reservoirId"] != files.table_id:
        raise source_changed(files, table, "is another table now", reader)


def source_changed(files: DataFiles, table: str, what: str, reader: str) -> SourceChanged:
    """The error that rows which were read are not in the source any more."""
    return SourceChanged(
        f"{table} {what}, and {reader} is computed from it",
        where=files.uri,
        state="batches committed before stay committed",
        next_command="run the same again: it begins anew where that is needed",
    )


class _Taken:
    def __init__(self, last: int, whole: bool) -> None:
        self.last, self.whole = last, whole


class _Room:
    """How many more files a batch takes. The first file always fits."""

    def __init__(self, once: bool) -> None:
        self._once, self.files, self._bytes = once, 0, 0

    def take(self, listed: Sequence[Listed], first: int) -> _Taken:
        for number in range(max(first, 0), len(listed)):
            more = self._bytes + listed[number].size_bytes
            if self.files and not self._once and (self.files == _MOST_FILES or more > _MOST_BYTES):
                return _Taken(number - 1, whole=False)
            self.files, self._bytes = self.files + 1, more
        return _Taken(len(listed) - 1, whole=True)
