"""The schema that Spark infers from JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from pyspark.sql import types as T  # noqa: N812

from lakehouse.autoloader.formats.format import is_true
from lakehouse.autoloader.formats.json_text import (
    BLANK,
    Float,
    Integer,
    LineScanner,
    Malformed,
    Members,
    Spelling,
)
from lakehouse.autoloader.formats.json_values import Converters

_LONG = T.DecimalType(20, 0)
_LEVELS = 30  # a client of Spark Connect reads messages nested 100 deep: a schema of 33 structs


def infer_json(samples: Iterable[bytes], *, reader: Mapping[str, str], infer_column_types: bool) -> T.StructType:
    """The columns of a sample, sorted by name as Spark sorts them. Malformed lines count for nothing.

    Args:
        samples: Whole lines, or with the reader option ``multiline`` one document each.
        reader: Options of Spark's JSON reader, keys in lower case.
        infer_column_types: Whether columns get types; otherwise each is a string, objects and arrays too.
    """
    inference = Inference(reader)
    scanner = LineScanner(reader)
    multi_line = is_true(reader, "multiline")
    merged: T.DataType = T.StructType([])
    names: set[str] = set()
    for sample in samples:
        for line in [sample] if multi_line else sample.replace(b"\r", b"\n").split(b"\n"):
            try:
                text = line.decode().removeprefix("\ufeff").lstrip(BLANK)
                if not text:
                    continue
                value, _ = scanner.scan(text, Spelling.NONE)
            except (UnicodeDecodeError, Malformed):
                continue
            documents = [value] if type(value) is Members or not isinstance(value, list) else value
            if not all(type(document) is Members for document in documents):
                continue
            for document in documents:
                if infer_column_types:
                    try:
                        merged = inference.merge(merged, inference.of(document))
                    except InvalidOperation:
                        continue
                else:
                    names.update(name for name, _ in document)
    if not infer_column_types:
        return T.StructType([T.StructField(name, T.StringType()) for name in _sorted(names) if name])
    final = inference.final(merged)
    return final if isinstance(final, T.StructType) else T.StructType([])


def _sorted(names: Iterable[str]) -> list[str]:
    """In the order of Java, which compares UTF-16 code units."""
    return sorted(names, key=lambda name: name.encode("utf-16-be"))


class Inference:
    """Types of values, and the narrowest for several."""

    def __init__(self, reader: Mapping[str, str]) -> None:
        self._primitives_as_string = is_true(reader, "primitivesasstring")
        self._prefers_decimal = is_true(reader, "prefersdecimal")
        self._drop_nulls = is_true(reader, "dropfieldifallnull")
        self._timestamps = None
        converters = Converters(reader)
        if is_true(reader, "infertimestamp"):
            self._timestamps = (converters.timestamps(ntz=True), converters.timestamps(ntz=False))

    def of(self, value: Any, level: int = 0) -> T.DataType:
        """The type of a value; a string where it is nested too deeply for a column."""
        kind = type(value)
        if level > _LEVELS and isinstance(value, list):
            return T.StringType()
        if value is None or value == "":
            return T.NullType()
        if kind is str:
            return self._of_text(value)
        if kind is Members:
            fields: dict[str, T.DataType] = {}
            for name, part in value:
                found = self.of(part, level + 1)
                fields[name] = self.merge(fields[name], found) if name in fields else found
            return struct_of(fields)
        if isinstance(value, list):
            element: T.DataType = T.NullType()
            for part in value:
                element = self.merge(element, self.of(part, level + 1))
            return T.ArrayType(element)
        if self._primitives_as_string:
            return T.StringType()
        if kind is bool:
            return T.BooleanType()
        if kind is Integer and len(value) < 21 and -(1 << 63) <= int(value) < 1 << 63:
            return T.LongType()
        if kind is Float and (not self._prefers_decimal or not value[-1:].isdigit()):
            return T.DoubleType()
        return decimal_of(value) or T.DoubleType()

    def _of_text(self, text: str) -> T.DataType:
        if self._prefers_decimal:
            try:
                found = decimal_of(text)
            except InvalidOperation:
                found = None
            if found:
                return found
        if self._timestamps and any(parse(text) is not None for parse in self._timestamps):
            return T.TimestampType()
        return T.StringType()

    def merge(self, first: T.DataType, second: T.DataType) -> T.DataType:
        """The narrowest type that takes the values of both types."""
        if first == second or isinstance(second, T.NullType):
            return first
        match first, second:
            case (T.NullType(), _):
                return second
            case (T.StructType(), T.StructType()):
                fields = {field.name: field.dataType for field in first.fields}
                for field in second.fields:
                    name = field.name
                    fields[name] = self.merge(fields[name], field.dataType) if name in fields else field.dataType
                return struct_of(fields)
            case (T.ArrayType(), T.ArrayType()):
                return T.ArrayType(self.merge(first.elementType, second.elementType))
            case (T.DoubleType(), T.LongType() | T.DecimalType()) | (T.LongType() | T.DecimalType(), T.DoubleType()):
                return T.DoubleType()
            case (T.LongType() | T.DecimalType(), T.LongType() | T.DecimalType()):
                left = _LONG if isinstance(first, T.LongType) else first
                right = _LONG if isinstance(second, T.LongType) else second
                assert isinstance(left, T.DecimalType) and isinstance(right, T.DecimalType)
                scale = max(left.scale, right.scale)
                whole = max(left.precision - left.scale, right.precision - right.scale)
                return T.DecimalType(whole + scale, scale) if whole + scale <= 38 else T.DoubleType()
        return T.StringType()

    def final(self, found: T.DataType) -> T.DataType | None:
        """The type without structs that have no field; what was always null is a string."""
        if isinstance(found, T.ArrayType):
            element = self.final(found.elementType)
            return None if element is None else T.ArrayType(element)
        if isinstance(found, T.StructType):
            fields = [(field.name, self.final(field.dataType)) for field in found.fields if field.name]
            kept = {name: data_type for name, data_type in fields if data_type is not None}
            return struct_of(kept) if kept else None
        if isinstance(found, T.NullType):
            return None if self._drop_nulls else T.StringType()
        return found


def struct_of(fields: Mapping[str, T.DataType]) -> T.StructType:
    """A struct of these fields, sorted by name as Spark sorts them."""
    return T.StructType([T.StructField(name, fields[name]) for name in _sorted(fields)])


def decimal_of(text: str) -> T.DecimalType | None:
    """The decimal that holds a number, unless it is too long for one; raises ``InvalidOperation`` for other text."""
    _, digits, exponent = Decimal(text).as_tuple()
    if not isinstance(exponent, int):
        raise InvalidOperation
    precision, scale = max(len(digits), -exponent), -exponent
    return T.DecimalType(precision, scale) if precision <= 38 and scale >= 0 else None
