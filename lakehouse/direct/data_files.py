"""Parquet files of a Delta table, written row group by row group straight to the object store."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.direct.partitions import Partition, partitions_of
from lakehouse.direct.statistics import columns_with_nan, statistics_of
from lakehouse.storage.fast_store import s3_bucket
from lakehouse.storage.store import StoreEndpoint

_GROUP_BYTES = 32 << 20
"""Size of a row group in Arrow's memory. With twice that, the reader of a packed file of 1.2 GB held 440 MB."""
_FILE_BYTES = 128 << 20
"""Size of a Parquet file after which the next one begins."""
_UPLOAD_BYTES = 8 << 20
_UPLOADS = 2
"""Pieces of a file that are on their way at once. obstore's own 12 held 96 MB in front of a slow store."""


@dataclass(frozen=True)
class DataFile:
    """A file that is written and in no commit yet.

    Attributes:
        path: Below the table's folder.
        size_bytes: Its size.
        rows: How many it has.
        partition: Values of the partition columns, as Delta's log spells them.
        written_milliseconds: When it was written, since 1970.
        statistics: See ``statistics_of``.
    """

    path: str
    size_bytes: int
    rows: int
    partition: dict[str, str | None]
    written_milliseconds: int
    statistics: str


@dataclass
class DataFiles:
    """Writes rows as files of a table; nobody sees them before a commit names them.

    Memory holds one row group, whatever the number of rows, of files and of partitions.

    Args:
        endpoint: The store.
        table_uri: The table's folder.
        partition_by: The partition columns; they are not in the files.
    """

    endpoint: StoreEndpoint
    table_uri: str
    partition_by: tuple[str, ...] = ()
    written: list[DataFile] = field(default_factory=list)
    _waiting: list[pa.RecordBatch] = field(default_factory=list)
    _bytes: int = 0
    _open: _OpenFile | None = None

    def __post_init__(self) -> None:
        """Opens the bucket."""
        bucket, self._folder = split_uri(self.table_uri.rstrip("/"))
        self._store = s3_bucket(self.endpoint, bucket)

    def add(self, rows: pa.RecordBatch) -> None:
        """Takes rows, and writes when there are enough of them."""
        self._waiting.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= _GROUP_BYTES:
            self._write()

    def keep(self, rows: pa.Table, partition: Partition) -> None:
        """Writes rows of one partition, without the partition columns, to a file of their own."""
        if rows.num_rows:
            self._close()
            self._append(rows, partition)
            self._close()

    def finish(self) -> list[DataFile]:
        """Writes the rest, and returns all files."""
        if self._waiting:
            self._write()
        self._close()
        return self.written

    def _write(self) -> None:
        table = pa.Table.from_batches(self._waiting)
        self._waiting, self._bytes = [], 0
        if self.partition_by:  # a file for each partition at once: none stays open, however many there are
            for partition, rows in partitions_of(table, self.partition_by):
                self._append(rows, partition)
                self._close()
            return
        self._append(table, Partition({}, ""))
        if self._open is not None and self._open.size_bytes >= _FILE_BYTES:
            self._close()

    def _append(self, table: pa.Table, partition: Partition) -> None:
        if self._open is None:
            name = f"{partition.folder}part-{uuid.uuid4()}.zstd.parquet"
            self._open = _OpenFile(self._store, self._folder, name, partition, table.schema)
        self._open.write(table)

    def _close(self) -> None:
        if self._open is not None:
            self.written.append(self._open.close())
            self._open = None


class _OpenFile:
    def __init__(self, store: Any, folder: str, path: str, partition: Partition, schema: pa.Schema) -> None:
        self._path, self._partition = path, partition
        self._nan: set[str] = set()
        self._metadata: list[pq.FileMetaData] = []
        self._upload = _Upload(
            obstore.open_writer(store, f"{folder}/{path}", buffer_size=_UPLOAD_BYTES, max_concurrency=_UPLOADS)
        )
        self._parquet = pq.ParquetWriter(
            self._upload, schema, compression="zstd", metadata_collector=self._metadata, store_schema=False
        )

    @property
    def size_bytes(self) -> int:
        return self._upload.size_bytes

    def write(self, table: pa.Table) -> None:
        self._nan.update(columns_with_nan(table))
        self._parquet.write_table(table, row_group_size=max(table.num_rows, 1))

    def close(self) -> DataFile:
        self._parquet.close()
        self._upload.complete()
        [metadata] = self._metadata
        now = int(time.time() * 1000)
        statistics = statistics_of(metadata, self._nan)
        return DataFile(self._path, self.size_bytes, metadata.num_rows, self._partition.values, now, statistics)


class _Upload:
    """An upload that Arrow writes to as to a file. The object is not there before ``complete``."""

    closed = False

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self.size_bytes = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        for at in range(0, len(view), _UPLOAD_BYTES):  # of more at once, obstore sends all pieces whatever its limit
            self._writer.write(view[at : at + _UPLOAD_BYTES])
        self.size_bytes += len(view)
        return len(view)

    def flush(self) -> None:
        """Nothing: parts go up when they are full."""

    def complete(self) -> None:
        self._writer.close()
