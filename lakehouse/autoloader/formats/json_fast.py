"""JSON lines through pyarrow's reader, for those parts of the input where it gives the values that Spark gives."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from pyspark.sql import types as T  # noqa: N812
from pyspark.sql.pandas.types import to_arrow_schema

from lakehouse.autoloader.formats.format import is_true
from lakehouse.autoloader.formats.json_text import MAX_DEPTH

_TYPES = (
    *(T.StringType, T.BooleanType, T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.FloatType, T.DoubleType),
)
_FROM_TEXT: dict[type[T.DataType], str] = {
    T.TimestampType: r"^[12]\d{3}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?$",
    T.TimestampNTZType: r"^[12]\d{3}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?$",
    T.DateType: r"^[12]\d{3}-\d{2}-\d{2}$",
}
_WINDOW = MAX_DEPTH
_LIMIT = 1 << 30
_FEW_MISFITS = 32
_ROW = re.compile(r" in row (\d+)$")
_ESCAPED = re.compile(rb"\\.")
_STRING = re.compile(rb'"[^"]*"')


class FastReader:
    """Reads parts of the input with pyarrow.

    Attributes:
        new_fields: Top-level names met that no column has in any spelling.
    """

    def __init__(
        self, schema: T.StructType, reader: Mapping[str, str], corrupt_column: str | None, rescued_column: str | None
    ) -> None:
        self.new_fields: set[str] = set()
        self._schema = to_arrow_schema(schema, timezone="UTC")
        self._special = {corrupt_column, rescued_column}
        self._rescues = rescued_column is not None
        self._known = {name.lower() for name in schema.fieldNames()}
        self._any_case = not is_true(reader, "readercasesensitive", True)
        columns = [field for field in schema.fields if field.name not in self._special]
        self._texts = {field.name: _FROM_TEXT[type(field.dataType)] for field in columns if _from_text(field, reader)}
        self._possible = all(field.name in self._texts or _possible(field.dataType) for field in columns)
        fields = [self._schema.field(field.name) for field in columns]
        self._explicit = pa.schema([f.with_type(pa.string()) if f.name in self._texts else f for f in fields])
        self._parse_options = pj.ParseOptions(explicit_schema=self._explicit, unexpected_field_behavior="infer")

    def worth_trying(self, data: bytes) -> bool:
        """Whether smaller parts of an unreadable part may be readable: a sample of its lines is."""
        if not self._possible:
            return False
        for start in range(0, len(data), len(data) // 4 + 1):
            begin = data.find(b"\n", start) + 1 if start else 0
            end = data.find(b"\n", begin)
            if self.read(data[begin : end if end >= 0 else len(data)], 0) is not None:
                return True
        return False

    def read(self, data: bytes, line: int) -> tuple[pa.Table, np.ndarray, np.ndarray] | None:
        """The rows of a part, their line numbers, and which rows must be read again by Spark's rules.

        ``None`` if pyarrow may not read this part. That is the result for every part that pyarrow reads otherwise than
        Spark. Each line must begin and end as an object does: top-level ``null`` crashes pyarrow, as does very deep
        nesting, and it would read a document over two lines and two on one.
        """
        data = data.removesuffix(b"\n")
        breaks = data.count(b"\n")
        if not self._is_plain(data, breaks):
            return None
        try:
            table = self._table(pa.py_buffer(data))
            if table.num_rows != breaks + 1 or not all(_same_numbers(column) for column in table.columns):
                return None
        except (pa.ArrowException, UnicodeDecodeError, RecursionError):
            return None
        return self._columns(table.combine_chunks(), line)

    def misfits(self, data: bytes) -> list[int]:
        """Numbers of the lines that make ``read`` refuse a part; empty when they are many, or cannot be told."""
        data = data.removesuffix(b"\n")
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
        if not self._is_plain(data, len(ends)):
            return []
        found: list[int] = []
        first = start = 0
        while len(found) <= len(ends) // _FEW_MISFITS:
            try:
                self._table(pa.py_buffer(data).slice(start))
                return found
            except (pa.ArrowException, UnicodeDecodeError, RecursionError) as error:
                if not (row := _ROW.search(str(error))):
                    return []
            found.append(first + int(row[1]))
            if found[-1] >= len(ends):  # a row beyond the last line: some line has two documents
                return found if found[-1] == len(ends) else []
            first, start = found[-1] + 1, int(ends[found[-1]]) + 1
        return []

    def _is_plain(self, data: bytes, breaks: int) -> bool:
        return (
            self._possible
            and len(data) <= _LIMIT
            and data.startswith(b"{")
            and data.endswith(b"}")
            and data.count(b"}\n{") == breaks
            and b"\r" not in data
            and _is_text(data)
            and not _is_deep(data)
        )

    def _table(self, data: pa.Buffer) -> pa.Table:
        options = pj.ReadOptions(use_threads=False, block_size=data.size + 1)
        return pj.read_json(pa.BufferReader(data), read_options=options, parse_options=self._parse_options)

    def _columns(self, table: pa.Table, line: int) -> tuple[pa.Table, np.ndarray, np.ndarray] | None:
        exact = np.zeros(table.num_rows, dtype=bool)
        unknown = table.schema.names[len(self._explicit) :]
        if self._any_case and any(name.lower() in self._known for name in unknown):
            return None
        self.new_fields.update(name for name in unknown if name.lower() not in self._known)
        if self._rescues:
            for name in unknown:
                exact |= table.column(name).is_valid().to_numpy()
        arrays = []
        for field in self._schema:
            if field.name in self._special:
                arrays.append(pa.nulls(table.num_rows, field.type))
                continue
            column = table.column(field.name)
            array = column.chunk(0) if column.num_chunks else pa.nulls(0, column.type)
            if field.name in self._texts:
                good = pc.match_substring_regex(array, self._texts[field.name])
                exact |= pc.fill_null(pc.invert(good), False).to_numpy(zero_copy_only=False)
                try:
                    array = pc.if_else(good, array, None).cast(_without_zone(field.type)).cast(field.type)
                except pa.ArrowInvalid:
                    return None
            elif array.type != field.type:
                if self._rescues:
                    exact |= array.is_valid().to_numpy(zero_copy_only=False)
                array = _project(array, field.type)
            arrays.append(array)
        result = pa.Table.from_arrays(arrays, schema=self._schema)
        return result, np.arange(line, line + table.num_rows), np.flatnonzero(exact)


def _possible(data_type: T.DataType) -> bool:
    """Whether pyarrow reads the type as Spark does, or refuses."""
    if isinstance(data_type, T.ArrayType):
        return _possible(data_type.elementType)
    if isinstance(data_type, T.StructType):
        return bool(data_type.fields) and all(_possible(field.dataType) for field in data_type.fields)
    return type(data_type) in _TYPES


def _from_text(field: T.StructField, reader: Mapping[str, str]) -> bool:
    """Whether the column is a time that has a spelling which Arrow and Spark read alike."""
    kind = type(field.dataType)
    if kind is T.TimestampType:
        return "timestampformat" not in reader and reader.get("timezone", "UTC") in ("UTC", "Etc/UTC", "Z")
    return kind in _FROM_TEXT and ("dateformat" if kind is T.DateType else "timestampntzformat") not in reader


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_deep(data: bytes) -> bool:
    """Whether a line may be nested deeper than Jackson's limit: then it is at least that long."""
    for start in range(0, len(data) - _WINDOW, _WINDOW):
        if data.find(b"\n", start, start + _WINDOW) < 0:
            return any(_depth(line) > MAX_DEPTH for line in data.split(b"\n") if len(line) > _WINDOW)
    return False


def _depth(line: bytes) -> int:
    openings = line.count(b"{") + line.count(b"[")
    if openings <= MAX_DEPTH:
        return openings
    codes = np.frombuffer(_STRING.sub(b"", _ESCAPED.sub(b"", line)), dtype=np.uint8)
    steps = ((codes == ord("{")) | (codes == ord("["))).astype(np.int32)
    steps -= (codes == ord("}")) | (codes == ord("]"))
    return int(np.cumsum(steps).max())


def _same_numbers(column: pa.ChunkedArray | pa.Array) -> bool:
    """Whether pyarrow and Spark read all floats alike: none is NaN, infinite or minus zero."""
    for array in column.chunks if isinstance(column, pa.ChunkedArray) else (column,):
        kind = array.type
        if pa.types.is_floating(kind):
            values = np.frombuffer(array.buffers()[1], dtype=kind.to_pandas_dtype())[array.offset :][: len(array)]
            bits = values.view(f"u{values.itemsize}")
            if not np.isfinite(values).all() or (bits == 1 << (8 * values.itemsize - 1)).any():
                return False
        elif pa.types.is_struct(kind):
            if not all(_same_numbers(array.field(index)) for index in range(kind.num_fields)):
                return False
        elif pa.types.is_list(kind) and not _same_numbers(array.values):
            return False
    return True


def _without_zone(data_type: pa.DataType) -> pa.DataType:
    return pa.timestamp("us") if pa.types.is_timestamp(data_type) else data_type


def _project(array: pa.Array, data_type: pa.DataType) -> pa.Array:
    """The fields of structs that were asked for."""
    if array.type == data_type:
        return array
    mask = array.is_null()
    if pa.types.is_struct(data_type):
        parts = [_project(array.field(field.name), field.type) for field in data_type]
        return pa.StructArray.from_arrays(parts, fields=list(data_type), mask=mask)
    if pa.types.is_list(data_type):
        values = _project(array.values, data_type.value_type)
        return pa.ListArray.from_arrays(array.offsets, values, type=data_type, mask=mask)
    return array.cast(data_type)
