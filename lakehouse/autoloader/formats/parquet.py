"""Parquet, and what it shares with ORC and Avro: Arrow columns of a file made columns of the schema."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds
from pyarrow import parquet
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from lakehouse.autoloader.formats.rows import BadFile, Rows
from lakehouse.autoloader.formats.text import flag

CHUNK_ROWS = 65_536
CHUNK_BYTES = 16 << 20
UNREADABLE = (pa.ArrowException, OSError, ValueError)
_DIGITS = {"int8": 3, "int16": 5, "int32": 10, "int64": 19, "uint8": 3, "uint16": 5, "uint32": 10, "uint64": 20}
_WIDER = {
    "int8": ("int16", "int32", "int64", "float", "double"),
    "int16": ("int32", "int64", "float", "double"),
    "int32": ("int64", "double"),
    "int64": (),
    "uint8": ("int16", "int32", "int64", "float", "double"),
    "uint16": ("int32", "int64", "float", "double"),
    "uint32": ("int64", "double"),
    "uint64": (),
    "halffloat": ("float", "double"),
    "float": ("double",),
    "string": ("binary",),
    "large_string": ("string", "binary"),
    "string_view": ("string", "binary"),
    "binary": ("string",),
    "large_binary": ("binary", "string"),
    "binary_view": ("binary", "string"),
}


def castable(have: pa.DataType, want: pa.DataType) -> bool:
    """Whether every value of a flat type is one of the other: only then are values taken over."""
    if have == want or kinds.is_null(have) or str(want) in _WIDER.get(str(have), ()):
        return True
    if kinds.is_decimal(want) and (kinds.is_decimal(have) or str(have) in _DIGITS):
        digits, scale = (have.precision, have.scale) if kinds.is_decimal(have) else (_DIGITS[str(have)], 0)
        return want.scale >= scale and want.precision - want.scale >= digits - scale
    if kinds.is_timestamp(want) and kinds.is_timestamp(have):
        return want.tz is not None or have.tz is None
    if kinds.is_timestamp(want):
        return kinds.is_date(have) and want.tz is None
    return (kinds.is_fixed_size_binary(have) and kinds.is_binary(want)) or (kinds.is_date(have) and kinds.is_date(want))


def converted(array: pa.Array, want: pa.DataType) -> pa.Array:
    """The array as another type: fields of structs by name, NULL for what is missing or does not fit."""
    have = array.type
    if have == want:
        return array
    if kinds.is_dictionary(have):
        return converted(array.dictionary_decode(), want)
    gone = pc.is_null(array)
    if kinds.is_struct(have) and kinds.is_struct(want):
        names = [field.name for field in have]
        parts = [
            converted(pc.struct_field(array, [names.index(one.name)]), one.type)
            if one.name in names
            else pa.nulls(len(array), one.type)
            for one in want
        ]
        return pa.StructArray.from_arrays(parts, fields=list(want), mask=gone)
    if kinds.is_map(have) and kinds.is_map(want):
        ends = array.offsets.to_numpy()
        keys, items = (part.slice(ends[0], ends[-1] - ends[0]) for part in (array.keys, array.items))
        keys = converted(keys, want.key_type)
        if keys.null_count:
            return pa.nulls(len(array), want)  # a key cannot be NULL
        offsets = pa.array(ends - ends[0], pa.int32())
        return pa.MapArray.from_arrays(offsets, keys, converted(items, want.item_type), want, mask=gone)
    if (kinds.is_list(have) or kinds.is_large_list(have) or kinds.is_fixed_size_list(have)) and kinds.is_list(want):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        return pa.ListArray.from_arrays(offsets, converted(array.flatten(), want.value_type), want, mask=gone)
    if kinds.is_nested(have) or not castable(have, want):
        return pa.nulls(len(array), want)
    try:
        return pc.cast(array, want)
    except pa.ArrowInvalid:  # text that is no UTF-8, or a time with nanoseconds
        values = [_one(value, want) for value in array]
        return pa.array(values, want)


def _one(value: pa.Scalar, want: pa.DataType) -> Any:
    try:
        return value.cast(want).as_py()
    except pa.ArrowInvalid:
        return None


def _fits(have: pa.DataType, want: pa.DataType) -> bool:
    """Whether all of a column is read: then no row needs to be looked at."""
    if kinds.is_struct(have) and kinds.is_struct(want):
        names = [field.name for field in want]
        return all(one.name in names and _fits(one.type, want.field(one.name).type) for one in have)
    if kinds.is_map(have) and kinds.is_map(want):
        return _fits(have.key_type, want.key_type) and _fits(have.item_type, want.item_type)
    if kinds.is_list(have) and kinds.is_list(want):
        return _fits(have.value_type, want.value_type)
    return not kinds.is_nested(have) and castable(have, want)


def _unread(value: Any, have: pa.DataType, want: pa.DataType) -> Any:
    """The part of a value that its column does not hold; None for nothing."""
    if value is None or _fits(have, want):
        return None
    if kinds.is_struct(have) and kinds.is_struct(want):
        names = [field.name for field in want]
        kept = {
            one.name: _unread(value[one.name], one.type, want.field(one.name).type)
            if one.name in names
            else value[one.name]
            for one in have
        }
        return {name: part for name, part in kept.items() if part is not None} or None
    return value


@dataclass(frozen=True)
class Shape:
    """Makes rows of the schema from Arrow columns of a file."""

    schema: StructType
    reader: Mapping[str, str]
    path: str
    corrupt: str | None
    rescued: str | None

    def source(self, names: Iterable[str]) -> dict[str, str | None]:
        """For each column of a file the column of the schema that it fills."""
        key = str if flag(self.reader, "readercasesensitive", True) else str.lower
        known = {key(name): name for name in self.schema.names if name not in (self.corrupt, self.rescued)}
        return {name: known.get(key(name)) for name in names}

    def rows(self, batch: pa.RecordBatch, first: int, new: frozenset[str]) -> Rows:
        """Rows of a batch whose first has this number; ``new`` are the file's columns that the schema lacks."""
        arrow = to_arrow_schema(self.schema, timezone="UTC")
        columns = {one.name: pa.nulls(batch.num_rows, one.type) for one in arrow}
        left: dict[int, dict[str, Any]] = {}
        for (name, target), array in zip(self.source(batch.schema.names).items(), batch.columns, strict=True):
            if target is not None:
                columns[target] = converted(array, arrow.field(target).type)
            if self.rescued:
                for row, value in self._lost(array, columns[target] if target else None):
                    left.setdefault(row, {})[name] = value
        if self.rescued:
            texts = [self._json(left[row]) if row in left else None for row in range(batch.num_rows)]
            columns[self.rescued] = pa.array(texts, pa.string())
        table = pa.Table.from_arrays(list(columns.values()), schema=arrow)
        return Rows(table, np.arange(first, first + batch.num_rows), new)

    def _lost(self, array: pa.Array, column: pa.Array | None) -> Iterator[tuple[int, Any]]:
        if column is not None and _fits(array.type, column.type) and array.null_count == column.null_count:
            return
        for row, value in enumerate(array.to_pylist()):
            part = value if column is None else _unread(value, array.type, column.type)
            if part is None and value is not None and column is not None and not column[row].is_valid:
                part = value
            if part is not None:
                yield row, part

    def _json(self, values: dict[str, Any]) -> str:
        return json.dumps(
            {**values, "_file_path": self.path}, ensure_ascii=False, separators=(",", ":"), default=_plain
        )


def _plain(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def parse_parquet(
    file: BinaryIO,
    schema: StructType,
    *,
    reader: Mapping[str, str],
    path: str,
    corrupt_column: str | None = None,
    rescued_column: str | None = None,
) -> Iterator[Rows]:
    """Rows of a Parquet file; columns by name.

    Raises:
        BadFile: the file is not Parquet, is truncated or damaged, or has dates of the old calendar.
    """
    opened = _opened(file)
    shape = Shape(schema, reader, path, corrupt_column, rescued_column)
    names = shape.source(opened.schema_arrow.names)
    new = frozenset(name for name, target in names.items() if target is None)
    read = list(names) if rescued_column else [name for name in names if name not in new]
    meta = opened.metadata
    if not read:  # rows of NULL only
        blank = pa.array(np.zeros(meta.num_rows, bool))
        yield shape.rows(pa.RecordBatch.from_arrays([blank], ["\0"]), 0, new)
        return
    size = sum(meta.row_group(one).total_byte_size for one in range(meta.num_row_groups))
    per_chunk = max(1, min(CHUNK_ROWS, CHUNK_BYTES * meta.num_rows // max(size, 1)))
    done = 0
    try:
        for batch in opened.iter_batches(per_chunk, columns=read, use_threads=False):
            yield shape.rows(batch, done, new)
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
    for n, one in enumerate(schema):
        if one.name in instants:  # the type before Parquet had timestamps: it means instants
            schema = schema.set(n, one.with_type(pa.timestamp("us", "UTC")))
    return schema
