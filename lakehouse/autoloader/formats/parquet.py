"""Reads Parquet: columns by name, and values only where the column takes every value of the file's type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from pyspark.sql.types import StructType

from lakehouse.autoloader.formats.arrow_columns import CHUNK_BYTES, CHUNK_ROWS, UNREADABLE, rows_of_batch
from lakehouse.autoloader.formats.rows import BadFile, Rows, Target


def parse_parquet(file: BinaryIO, target: Target) -> Iterator[Rows]:
    """Rows of a Parquet file; columns by name.

    Raises:
        BadFile: the file is not Parquet, is truncated or damaged, or has dates of the old calendar.
    """
    opened = _opened(file)
    names = target.source(opened.schema_arrow.names)
    new = frozenset(name for name, goal in names.items() if goal is None)
    read = list(names) if target.rescued else [name for name in names if name not in new]
    meta = opened.metadata
    if not read:  # rows of NULL only
        blank = pa.array(np.zeros(meta.num_rows, bool))
        yield rows_of_batch(target, pa.RecordBatch.from_arrays([blank], ["\0"]), 0, new)
        return
    size = sum(meta.row_group(group).total_byte_size for group in range(meta.num_row_groups))
    per_chunk = max(1, min(CHUNK_ROWS, CHUNK_BYTES * meta.num_rows // max(size, 1)))
    done = 0
    try:
        for batch in opened.iter_batches(per_chunk, columns=read, use_threads=False):
            yield rows_of_batch(target, batch, done, new)
            done += batch.num_rows
    except UNREADABLE as error:
        raise BadFile("DAMAGED_PARQUET", f"after {done:,} rows: {error}") from error


def _opened(file: BinaryIO) -> parquet.ParquetFile:
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(4)
    file.seek(max(0, size - 4))
    end = file.read(4)
    file.seek(0)
    if start != b"PAR1" or size < 12:
        detail = "the file is encrypted" if start == b"PARE" else f"it begins with {start!r}" if size else "it is empty"
        raise BadFile("NOT_PARQUET", detail)
    if end != b"PAR1":
        raise BadFile("TRUNCATED", "the end of the file, where Parquet has its footer, is missing")
    try:
        opened = parquet.ParquetFile(file, coerce_int96_timestamp_unit="us", arrow_extensions_enabled=False)
    except UNREADABLE as error:
        raise BadFile("DAMAGED_PARQUET", str(error)) from error
    written = opened.metadata.metadata or {}
    if b"org.apache.spark.legacyDateTime" in written or b"org.apache.spark.legacyINT96" in written:
        raise BadFile("LEGACY_CALENDAR", "Spark wrote its dates in the old calendar: write them again without LEGACY")
    return opened


def infer_parquet(files: Iterable[BinaryIO], *, reader: Mapping[str, str], infer_column_types: bool) -> StructType:
    """The columns of all files; Parquet has types, so ``infer_column_types`` changes nothing.

    Raises:
        ConfigurationError: a column has types that do not go together.
    """
    from lakehouse.autoloader.formats.orc import merged  # which needs this module

    return merged(files, _schema_of)


def _schema_of(file: BinaryIO) -> pa.Schema:
    opened = _opened(file)
    schema = opened.schema_arrow
    leaves = (opened.schema.column(n) for n in range(len(opened.schema)))
    instants = {leaf.path for leaf in leaves if leaf.physical_type == "INT96"}
    for n, field in enumerate(schema):
        if field.name in instants:  # the type before Parquet had timestamps: it means instants
            schema = schema.set(n, field.with_type(pa.timestamp("us", "UTC")))
    return schema
