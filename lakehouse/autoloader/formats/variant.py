"""``singleVariantColumn``: each JSON document whole, as one VARIANT in the bytes that Spark's own reader writes.

Differences from Spark's reader, all intended: what follows a document goes to the corrupt record or rescued column,
Spark drops it; half of a surrogate pair becomes ``?``, to Spark the record is malformed.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import types as T  # noqa: N812
from pyspark.sql.pandas.types import to_arrow_schema

from lakehouse.autoloader.formats.format import SINGLE_VARIANT, is_true
from lakehouse.autoloader.formats.json_text import (
    BLANK,
    MAX_DEPTH,
    NON_FINITE,
    Float,
    Integer,
    LineScanner,
    Malformed,
    Members,
    Spelling,
    check_options,
)
from lakehouse.autoloader.formats.rows import BadFile, PathAt, Rows, Target
from lakehouse.autoloader.lineage import CORRUPT_RECORD
from lakehouse.errors import ConfigurationError

SIZE_LIMIT = 128 << 20
"""Spark's limit for a value's bytes, and for those of its field names."""

Variant = tuple[bytes, bytes]
"""The bytes of a value, and of its field names."""

_NULL, _TRUE, _FALSE = b"\x00", b"\x04", b"\x08"
_SHORT = [bytes([size << 2 | 1]) for size in range(64)]
_LONG_STRING = b"\x40"
_DOUBLE = b"\x1c"
_INTEGERS = ((1, b"\x0c"), (2, b"\x10"), (4, b"\x14"), (8, b"\x18"))
_DECIMALS = ((9, 4, b"\x20"), (18, 8, b"\x24"), (38, 16, b"\x28"))


def parse_variant_lines(
    data: bytes,
    schema: T.StructType,
    *,
    reader: Mapping[str, str],
    path_at: PathAt,
    corrupt_column: str | None = None,
    rescued_column: str | None = None,
) -> Rows:
    """A row for each line that is not blank; with the reader option ``multiline`` one row. See ``parse_json_lines``.

    A line that is no JSON, has a name twice in an object, is nested more than 1,000 deep or grows past 128 MiB, is
    malformed: NULL, and its text in the corrupt record column, else in the rescued column.

    Raises:
        ConfigurationError: the schema has another column, or an option would be ignored.
        BadFile: in the mode FAILFAST a record is malformed.
    """
    check_options(reader)
    name = reader[SINGLE_VARIANT]
    require_variant(schema, name, corrupt_column, rescued_column)
    found = _Documents(reader, path_at)
    if is_true(reader, "multiline"):
        found.read(data, 0)
    else:
        for number, line in enumerate(data.split(b"\n")):
            for part in line.removesuffix(b"\r").split(b"\r"):
                found.read(part, number)
    texts = {corrupt_column: found.texts}
    if rescued_column and not corrupt_column:
        texts = {rescued_column: found.rescued(schema, rescued_column)}
    return Rows(table_of(schema, name, found.values, texts), np.array(found.records, np.int64))


def table_of(
    schema: T.StructType,
    name: str,
    values: Sequence[Variant | None],
    texts: Mapping[str | None, Sequence[str | None]],
) -> pa.Table:
    """Variants in the column ``name``; the other columns have ``texts``, or are NULL."""
    arrow = to_arrow_schema(schema, timezone="UTC")
    arrays = [
        _variants(values, column.type) if column.name == name else _texts(texts.get(column.name), len(values))
        for column in arrow
    ]
    return pa.Table.from_arrays(arrays, schema=arrow)


def require_variant(schema: T.StructType, name: str, corrupt: str | None, rescued: str | None) -> None:
    """Raises ``ConfigurationError`` where the schema has other columns of files than the VARIANT of a whole record."""
    wanted = [column for column in schema.fields if column.name not in (corrupt, rescued)]
    if [(column.name, column.dataType) for column in wanted] != [(name, T.VariantType())]:
        raise ConfigurationError(
            f"with singleVariantColumn the files fill one column, {name} VARIANT, not {schema.simpleString()}",
            where="the schema of the stream",
            state="the batch was not committed",
            next_command=f"give .schema('{name} VARIANT'), or leave .schema(...) and cloudFiles.schemaHints out",
        )


@dataclass
class _Documents:
    """The result of lines: for each row its variant, the text where a line became no variant, and its record."""

    reader: Mapping[str, str]
    path_at: PathAt
    values: list[Variant | None] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    records: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._scanner = LineScanner(self.reader)
        self._mode = self.reader.get("mode", "PERMISSIVE").upper()

    def read(self, data: bytes, record: int) -> None:
        """Takes in a document; a blank text is no document."""
        line = data.decode(errors="replace").removeprefix("\ufeff")
        text = line.lstrip(BLANK)
        if not text:
            return
        value, rest = None, False
        try:
            data.decode()
            # the quick scanner takes 01 for two values: that matters where a value stands alone
            document, end = self._scanner.scan(text, Spelling.NONE if text[0] in "{[" else Spelling.ALL)
            value, rest = encode(document), not self._scanner.ends(text, end)
        except (Malformed, UnicodeDecodeError) as error:
            if self._mode == "FAILFAST":
                detail = f"line {record + 1} of the input, in {self.path_at(record)}: {error}"
                raise BadFile("MALFORMED", detail) from error
            if self._mode == "DROPMALFORMED":
                return
        self.values.append(value)
        self.texts.append(line if value is None or (rest and self._mode == "PERMISSIVE") else None)
        self.records.append(record)

    def rescued(self, schema: T.StructType, column: str) -> list[str | None]:
        """The texts as rescued data."""
        targets = ((Target(schema, self.reader, self.path_at(record), None, column)) for record in self.records)
        return [
            None if text is None else target.rescued_json({CORRUPT_RECORD: text})
            for text, target in zip(self.texts, targets, strict=True)
        ]


def _variants(values: Sequence[Variant | None], type_: pa.StructType) -> pa.Array:
    mask = pa.array([value is None for value in values], pa.bool_())
    pairs = [value or (b"", b"") for value in values]
    parts = [pa.array([pair[index] for pair in pairs], pa.binary()) for index in range(2)]
    return pa.StructArray.from_arrays(parts, fields=list(type_), mask=mask)


def _texts(texts: Sequence[str | None] | None, rows: int) -> pa.Array:
    return pa.nulls(rows, pa.string()) if texts is None else pa.array(texts, pa.string())


def encode(document: Any) -> Variant:
    """The bytes of a document's value, and of its field names. A part in bytes is a value that has its form already.

    Raises:
        Malformed: Spark makes no variant of it.
    """
    ids: dict[str, int] = {}
    try:
        value = _value(document, ids)
    except RecursionError:
        ids, usual = {}, sys.getrecursionlimit()
        sys.setrecursionlimit(usual + 2 * MAX_DEPTH)
        try:
            value = _value(document, ids)
        finally:
            sys.setrecursionlimit(usual)
    metadata = _metadata(tuple(ids))
    if max(len(value), len(metadata)) > SIZE_LIMIT:
        raise Malformed(f"its variant is larger than {SIZE_LIMIT:,} bytes")
    return value, metadata


def _value(value: Any, ids: dict[str, int]) -> bytes:
    kind = type(value)
    if kind is str:
        data = value.encode()
        size = len(data)
        return _SHORT[size] + data if size < 64 else _LONG_STRING + size.to_bytes(4, "little") + data
    if kind is Integer or kind is Float:
        return _number(value, kind is Integer)
    if kind is Members:
        return _object(value, ids)
    if value is None:
        return _NULL
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is bytes:
        return value
    parts = [_value(part, ids) for part in value]
    starts = _starts(parts)
    width = _width(starts[-1])
    large = len(parts) > 255
    head = bytes([large << 4 | width - 1 << 2 | 3]) + len(parts).to_bytes(4 if large else 1, "little")
    return b"".join((head, _packed(starts, width), *parts))


def date_value(days: int) -> bytes:
    """A date, by its days since 1970."""
    return b"\x2c" + struct.pack("<i", days)


def timestamp_value(microseconds: int) -> bytes:
    """A timestamp, by its microseconds since 1970 in UTC."""
    return b"\x30" + struct.pack("<q", microseconds)


def _object(members: Members, ids: dict[str, int]) -> bytes:
    parts = []
    for name, part in members:
        ids.setdefault(name, len(ids))
        parts.append(_value(part, ids))
    names = tuple(name for name, _ in members)
    order, head, id_list = _layout(names, tuple(map(ids.__getitem__, names)))
    starts = _starts(parts)
    width = _width(starts[-1])
    offsets = _packed([*(starts[index] for index in order), starts[-1]], width)
    return b"".join((bytes([head[0] | width - 1 << 2]), head[1:], id_list, offsets, *parts))


@lru_cache(4096)
def _layout(names: tuple[str, ...], ids: tuple[int, ...]) -> tuple[list[int], bytes, bytes]:
    """Of an object with these fields: their order by name, the header, the numbers of the names.

    The names are in the order of UTF-16, as Java compares strings, and not in that of UTF-8, which Parquet asks for.
    The orders differ for characters beyond U+FFFF. Spark 4.2.0 halves its way to a field from 32 fields on and
    compares as Java does: of 20 such names and 20 from U+E000 on, in the order of UTF-8, it finds half.
    """
    if len(set(names)) < len(names):
        raise Malformed("an object has a name twice")
    order = sorted(range(len(names)), key=lambda index: names[index].encode("utf-16-be"))
    width = _width(max(ids, default=0))
    large = len(names) > 255
    head = bytes([large << 6 | width - 1 << 4 | 2]) + len(names).to_bytes(4 if large else 1, "little")
    return order, head, _packed([ids[index] for index in order], width)


@lru_cache(4096)
def _metadata(names: tuple[str, ...]) -> bytes:
    texts = [name.encode() for name in names]
    width = _width(max(sum(map(len, texts)), len(texts)))
    head = bytes([width - 1 << 6 | 1]) + len(texts).to_bytes(width, "little")
    return b"".join((head, _packed(_starts(texts), width), *texts))


@lru_cache(65_536)
def _number(text: str, whole: bool) -> bytes:
    if whole:
        number = int(text)
        for size, head in _INTEGERS:
            if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
                return head + number.to_bytes(size, "little", signed=True)
    if text in NON_FINITE:
        return _DOUBLE + struct.pack("<d", NON_FINITE[text])
    if not text.strip("-.0123456789"):  # a number with an exponent is a DOUBLE
        sign, digits, exponent = Decimal(text).as_tuple()
        assert isinstance(exponent, int)
        for most, size, head in _DECIMALS:
            if max(len(digits), -exponent) <= most:
                unscaled = int("".join(map(str, digits))) * (-1 if sign else 1)
                return head + bytes([-exponent]) + unscaled.to_bytes(size, "little", signed=True)
    return _DOUBLE + struct.pack("<d", float(text))


def _starts(parts: Sequence[bytes]) -> list[int]:
    """Where each part begins, and where the last ends."""
    return [0, *accumulate(map(len, parts))]


def _width(largest: int) -> int:
    return 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 3 if largest < 1 << 24 else 4


def _packed(numbers: Sequence[int], width: int) -> bytes:
    return bytes(numbers) if width == 1 else b"".join(number.to_bytes(width, "little") for number in numbers)
