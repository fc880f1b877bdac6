"""The columns of the source: the files' own, partition values from the path, and where each row came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.lineage import METADATA
from lakehouse.autoloader.options.paths import key_uri
from lakehouse.autoloader.reading.loaded import Loaded
from lakehouse.errors import ConfigurationError

METADATA_TYPE = (
    StructType()
    .add("file_path", "string")
    .add("file_name", "string")
    .add("file_size", "long")
    .add("file_block_start", "long")
    .add("file_block_length", "long")
    .add("file_modification_time", "timestamp")
    .add("e_tag", "string")
    .add("record_index", "long")
    .add("sequence", "long")
)
"""Spark's fields, and ours. ``record_index`` counts the records of the file from 0; in a later block of a split file
it counts from the block's first byte, so that it grows through the file and is unique in it. ``sequence`` is the
file's number in the journal; a file that is loaded again, after a replay, keeps it."""

_BATCH_ROWS, _BATCH_BYTES = 20_000, 32 << 20
_PARTITION = re.compile(r"([^/=]+)=([^/]*)/")


def partition_values(key: str, root: str) -> dict[str, str | None]:
    """Hive's ``name=value`` folders below ``root``, as text."""
    found = _PARTITION.findall(key.removeprefix(root) if key.startswith(root) else "")
    return {name: None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value) for name, value in found}


class Columns:
    """Turns loaded rows into Arrow batches of the stream's schema.

    Args:
        schema: All columns, in order; a struct ``_metadata`` may have any of the fields of ``METADATA_TYPE``.
        partitions: Names of the columns that come from the path.
        bucket: The files' bucket.
        root: Folder below which partition folders are looked for.

    Raises:
        ConfigurationError: the schema has a type that Arrow does not have.
    """

    def __init__(self, schema: StructType, partitions: frozenset[str], bucket: str, root: str) -> None:
        self.bucket, self._root = bucket, root
        try:
            self._arrow = to_arrow_schema(schema, timezone="UTC")
        except PySparkException as error:  # which another process cannot unpickle
            raise ConfigurationError(
                f"the schema has a type that files cannot fill: {error}",
                where="the schema of the stream",
                state="nothing was read or written",
                next_command="give .schema(...) another type for that column",
            ) from None
        self._partitions = partitions & set(schema.names)
        self.data = StructType([field for field in schema.fields if not self._added(field.name)])

    def batches(self, loaded: Loaded) -> Iterator[pa.RecordBatch]:
        """Arrow batches of at most 20,000 rows, and of about 32 MB unless a single row is larger."""
        arrays = [self._column(field, loaded) for field in self._arrow]
        table = pa.Table.from_arrays(arrays, schema=self._arrow)
        rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES * table.num_rows // max(table.nbytes, 1)))
        yield from table.combine_chunks().to_batches(max_chunksize=rows)

    def _added(self, name: str) -> bool:
        return name == METADATA or name in self._partitions

    def _column(self, field: pa.Field, loaded: Loaded) -> pa.ChunkedArray | pa.Array:
        if field.name == METADATA and pa.types.is_struct(field.type):
            return self._metadata(field.type, loaded)
        if field.name in self._partitions:
            return _repeat([self._partition(field, span) for span in loaded.spans], field.type, loaded.owners)
        return loaded.table[field.name]

    def _partition(self, field: pa.Field, span: Span) -> Any:
        text = partition_values(span.key, self._root).get(field.name)
        try:
            return pa.scalar(text, pa.string()).cast(field.type).as_py()
        except pa.ArrowInvalid:
            return None

    def _metadata(self, type_: pa.StructType, loaded: Loaded) -> pa.Array:
        of_span: dict[str, Callable[[Span], Any]] = {
            "file_path": lambda span: key_uri(self.bucket, span.key),
            "file_name": lambda span: key_uri(self.bucket, span.key).rsplit("/", 1)[1],
            "file_size": lambda span: span.size_bytes,
            "file_block_start": lambda span: span.start,
            "file_block_length": lambda span: span.length,
            "file_modification_time": lambda span: span.last_modified,
            "e_tag": lambda span: span.e_tag,
            "sequence": lambda span: span.sequence,
        }
        children = [
            pa.array(loaded.records + np.array([span.start for span in loaded.spans])[loaded.owners], pa.int64())
            if child.name == "record_index"
            else _repeat([of_span[child.name](span) for span in loaded.spans], child.type, loaded.owners)
            for child in type_
        ]
        return pa.StructArray.from_arrays(children, fields=list(type_))


def _repeat(values: list[Any], type_: pa.DataType, owners: np.ndarray) -> pa.Array:
    """A value of each file, once for each of its rows."""
    if len(values) == 1:
        return pa.repeat(pa.scalar(values[0], type_), len(owners))
    return pa.array(values, type_).take(pa.array(owners))
