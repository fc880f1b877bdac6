"""Arrow columns of a file become columns of the schema. Parquet, ORC and Avro share this."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds
from pyspark.sql.pandas.types import to_arrow_schema

from lakehouse.autoloader.formats.rows import BadFile, Rows, Target
from lakehouse.python_values import listed

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
    """Whether every value of a flat type is a value of the other type, too: only then values are taken over."""
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


@dataclass
class Conversion:
    """Converts arrays to another type: fields of structs by name, NULL for what is missing or does not fit.

    Attributes:
        leaf: Changes every flat array first; None leaves them as they are.
        lost: A text for each conversion that made NULL of another value: what it is, and what it should be.
    """

    leaf: Callable[[pa.Array], pa.Array] | None = None
    lost: list[str] = field(default_factory=list)

    def __call__(self, array: pa.Array, want: pa.DataType) -> pa.Array:
        """The array as the other type.

        Raises:
            BadFile: it is a VARIANT whose values are spread over columns.
        """
        have = array.type
        if have == want and self.leaf is None:
            return array
        if kinds.is_dictionary(have):
            return self(array.dictionary_decode(), want)
        gone = pc.is_null(array)
        if kinds.is_struct(have) and kinds.is_struct(want):
            if is_variant(want):
                _refuse_shredded(array)
            names = [child.name for child in have]
            parts = [
                self(pc.struct_field(array, [names.index(child.name)]), child.type)
                if child.name in names
                else pa.nulls(len(array), child.type)
                for child in want
            ]
            return pa.StructArray.from_arrays(parts, fields=list(want), mask=gone)
        if kinds.is_map(have) and kinds.is_map(want):
            ends = array.offsets.to_numpy()
            keys, items = (part.slice(ends[0], ends[-1] - ends[0]) for part in (array.keys, array.items))
            keys = self(keys, want.key_type)
            if keys.null_count:
                return self._nothing(array, want)  # a key cannot be NULL
            offsets = pa.array(ends - ends[0], pa.int32())
            return pa.MapArray.from_arrays(offsets, keys, self(items, want.item_type), want, mask=gone)
        if (kinds.is_list(have) or kinds.is_large_list(have) or kinds.is_fixed_size_list(have)) and kinds.is_list(want):
            lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
            offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
            return pa.ListArray.from_arrays(offsets, self(array.flatten(), want.value_type), want, mask=gone)
        if kinds.is_nested(have) or not castable(have, want):
            return self._nothing(array, want)
        array = array if self.leaf is None else self.leaf(array)
        try:
            return pc.cast(array, want)
        except pa.ArrowInvalid:  # text that is no UTF-8, or a time with nanoseconds
            values = pa.array([_one(value, want) for value in array], want)
            if values.null_count > array.null_count:
                self.lost.append(f"a value of {have} is no {want}")
            return values

    def _nothing(self, array: pa.Array, want: pa.DataType) -> pa.Array:
        if array.null_count < len(array):
            self.lost.append(f"{_short(array.type)} is no {_short(want)}")
        return pa.nulls(len(array), want)


def converted(array: pa.Array, want: pa.DataType) -> pa.Array:
    """See ``Conversion``."""
    return Conversion()(array, want)


def _short(type_: pa.DataType) -> str:
    text = str(type_)
    return text if len(text) <= 100 else f"{text[:100]}..."


def is_variant(type_: pa.DataType) -> bool:
    """Whether a struct stands for Spark's VARIANT."""
    return any((child.metadata or {}).get(b"variant") == b"true" for child in type_)


def _refuse_shredded(array: pa.StructArray) -> None:
    """Raises where a VARIANT is shredded: a value, or a part of it, is in ``typed_value`` and not in ``value``."""
    names = [child.name for child in array.type]
    whole = {"metadata", "value"} <= set(names)
    for name in ("metadata", "value", "typed_value") if whole else ():
        if name in names:
            part = pc.struct_field(array, [names.index(name)])
            whole = whole and part.null_count == (len(array) if name == "typed_value" else array.null_count)
    if not whole:
        raise BadFile(
            "SHREDDED_VARIANT", "a VARIANT has values in columns of their own (typed_value): write it without shredding"
        )


def _one(value: pa.Scalar, want: pa.DataType) -> Any:
    try:
        return value.cast(want).as_py()
    except pa.ArrowInvalid:
        return None


def _fits(have: pa.DataType, want: pa.DataType) -> bool:
    """Whether the schema's column takes all of the file's column: then no row needs to be looked at."""
    if kinds.is_struct(have) and kinds.is_struct(want):
        names = [field.name for field in want]
        return all(child.name in names and _fits(child.type, want.field(child.name).type) for child in have)
    if kinds.is_map(have) and kinds.is_map(want):
        return _fits(have.key_type, want.key_type) and _fits(have.item_type, want.item_type)
    if kinds.is_list(have) and kinds.is_list(want):
        return _fits(have.value_type, want.value_type)
    return not kinds.is_nested(have) and castable(have, want)


def _unread(value: Any, kept: Any, have: pa.DataType, want: pa.DataType) -> Any:
    """The part of a value that its column does not hold; None where it holds all."""
    if value is None or kept is None:
        return value
    if kinds.is_struct(have) and kinds.is_struct(want):
        names = [child.name for child in want]
        left = {
            child.name: _unread(value[child.name], kept[child.name], child.type, want.field(child.name).type)
            if child.name in names
            else value[child.name]
            for child in have
        }
        return {name: part for name, part in left.items() if part is not None} or None
    if kinds.is_map(have):
        both = zip(value, kept, strict=True)
        whole = all(_unread(old[1], new[1], have.item_type, want.item_type) is None for old, new in both)
        return None if whole else value
    if isinstance(value, list):
        both = zip(value, kept, strict=True)
        return None if all(_unread(old, new, have.value_type, want.value_type) is None for old, new in both) else value
    return None


def rows_of_batch(
    target: Target,
    batch: pa.RecordBatch,
    first: int,
    new: frozenset[str],
    leaf: Callable[[pa.Array], pa.Array] | None = None,
) -> Rows:
    """Rows of a batch whose first has this number; ``new`` are the file's columns that the schema lacks.

    Raises:
        BadFile: a value does not fit its column, and no column rescues it.
    """
    arrow = to_arrow_schema(target.schema, timezone="UTC")
    columns = {column.name: pa.nulls(batch.num_rows, column.type) for column in arrow}
    left: dict[int, dict[str, Any]] = {}
    for (name, goal), array in zip(target.source(batch.schema.names).items(), batch.columns, strict=True):
        convert = Conversion(leaf)
        if goal is not None:
            columns[goal] = convert(array, arrow.field(goal).type)
        if convert.lost and not target.rescued:
            raise BadFile("WRONG_TYPE", f"the column {name}: {convert.lost[0]}, and no column rescues its values")
        if target.rescued and (goal is None or convert.lost or not _fits(array.type, columns[goal].type)):
            for row, value in _lost(array, columns[goal] if goal else None):
                left.setdefault(row, {})[name] = value
    if target.rescued:
        texts = [target.rescued_json(left[row]) if row in left else None for row in range(batch.num_rows)]
        columns[target.rescued] = pa.array(texts, pa.string())
    table = pa.Table.from_arrays(list(columns.values()), schema=arrow)
    return Rows(table, np.arange(first, first + batch.num_rows), new)


def _lost(array: pa.Array, column: pa.Array | None) -> Iterator[tuple[int, Any]]:
    values = listed(array)
    if column is None:
        yield from ((row, value) for row, value in enumerate(values) if value is not None)
        return
    for row, (value, kept) in enumerate(zip(values, listed(column), strict=True)):
        if (part := _unread(value, kept, array.type, column.type)) is not None:
            yield row, part
