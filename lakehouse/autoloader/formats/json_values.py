"""From parsed JSON to the values of Arrow columns, by the rules of Spark's JacksonParser."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import types as T  # noqa: N812

from lakehouse.autoloader.formats.format import is_true
from lakehouse.autoloader.formats.json_text import (
    NON_FINITE,
    Float,
    Integer,
    Malformed,
    Members,
    SpellingNeeded,
    check_options,
)
from lakehouse.autoloader.formats.times import Parse, date_parser, timestamp_parser
from lakehouse.errors import ConfigurationError

BAD = object()
"""What a converter returns for a value that its type cannot take."""

TEXTS = {str, Integer, Float, type(None)}
"""Types whose values a string column takes as they are."""

Converter = Callable[[Any], Any]

_RANGES: dict[type[T.DataType], int] = {T.ByteType: 7, T.ShortType: 15, T.IntegerType: 31, T.LongType: 63}
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
_WIDE = Context(prec=1100, rounding=ROUND_HALF_UP)
_QUAD = rb"[\x00-\x20]*[A-Za-z0-9+/]{2}"
_BASE64 = re.compile(
    rb"(?:" + _QUAD + rb"[A-Za-z0-9+/]{2})*(?:" + _QUAD + rb"(?:[A-Za-z0-9+/]=|==))?[\x00-\x20]*", re.ASCII
)


class Converters:
    """Makes converters for columns. A value whose type is wrong gives ``BAD``.

    Attributes:
        partial: Set when a part of a returned value is missing because its type is wrong; the caller resets it.
        incomplete: Set when a returned value lacks fields that the input has; the caller resets it.
    """

    def __init__(self, reader: Mapping[str, str]) -> None:
        self.partial = self.incomplete = False
        self._reader = reader
        self._non_finite = is_true(reader, "allownonnumericnumbers", True)
        check_options(reader)

    def of(self, data_type: T.DataType, where: str) -> Converter:
        """The converter of a column or a part of it; raises ``ConfigurationError`` for a type it cannot give."""
        simple = _SIMPLE.get(type(data_type))
        if simple is not None:
            return simple
        if type(data_type) in _RANGES:
            return _integers(1 << _RANGES[type(data_type)])
        match data_type:
            case T.DoubleType():
                return self._number
            case T.FloatType():
                return self._single
            case T.StringType() if type(data_type) is T.StringType:
                return as_string
            case T.DecimalType():
                return _decimals(data_type.precision, data_type.scale)
            case T.TimestampType():
                return _timestamps(self.timestamps(ntz=False))
            case T.TimestampNTZType():
                return _texts(self.timestamps(ntz=True))
            case T.DateType():
                return _texts(date_parser(self._reader.get("dateformat")), _days)
            case T.VariantType():
                return _variant
            case T.StructType():
                return self._struct(data_type, where)
            case T.ArrayType():
                return self._array(self.of(data_type.elementType, f"{where}.element"))
            case T.MapType() if type(data_type.keyType) is T.StringType:
                return self._map(self.of(data_type.valueType, f"{where}.value"))
        raise ConfigurationError(
            f"The JSON reader gives no {data_type.simpleString()}",
            where=f"column {where}",
            next_command="read it as a string and convert it in a later step; what takes any value is VARIANT",
        )

    def timestamps(self, *, ntz: bool) -> Parse:
        """The parser of timestamps that the reader options ask for."""
        pattern = self._reader.get("timestampntzformat" if ntz else "timestampformat")
        return timestamp_parser(pattern, self._reader.get("timezone", "UTC"), ntz=ntz)

    def _number(self, value: Any) -> Any:
        kind = type(value)
        if kind is Integer:
            # -0 is the integer 0 to Jackson, and Python refuses integers that are too long for a float.
            return float(value) + 0.0
        if kind is Float:
            return NON_FINITE[value] if value in NON_FINITE else float(value)
        if value is None or (kind is str and self._non_finite and value in NON_FINITE):
            return None if value is None else NON_FINITE[value]
        return BAD

    def _single(self, value: Any) -> Any:
        number = self._number(value)
        # Java rounds the text once. A double half-way between two floats may have been rounded before.
        if type(number) is float and struct.unpack("<Q", struct.pack("<d", number))[0] & 0x1FFFFFFF == 0x10000000:
            return pc.cast(pa.scalar(str(value)), pa.float32()).as_py()
        return number

    def _struct(self, data_type: T.StructType, where: str) -> Converter:
        fields = {field.name: self.of(field.dataType, f"{where}.{field.name}") for field in data_type.fields}

        def convert(value: Any) -> Any:
            if type(value) is not Members:
                return None if value is None else BAD
            row: dict[str, Any] = {}
            for name, part in value:
                converter = fields.get(name)
                if converter is None or name in row:
                    self.incomplete = True
                if converter is None:
                    continue
                converted = converter(part)
                if converted is BAD:
                    self.partial = True
                else:
                    row[name] = converted
            return row

        return convert

    def _array(self, element: Converter) -> Converter:
        def convert(value: Any) -> Any:
            if not isinstance(value, list) or type(value) is Members:
                return None if value is None else BAD
            row = [element(part) for part in value]
            return BAD if any(part is BAD for part in row) else row

        return convert

    def _map(self, of_value: Converter) -> Converter:
        def convert(value: Any) -> Any:
            if type(value) is not Members:
                return None if value is None else BAD
            row = {name: of_value(part) for name, part in value}
            if len(row) < len(value):
                self.incomplete = True
            return BAD if any(part is BAD for part in row.values()) else list(row.items())

        return convert


def as_string(value: Any) -> Any:
    """What a string column takes of a value: the text of a string, the spelling of any other value."""
    kind = type(value)
    if kind is str or value is None:
        return value
    if isinstance(value, str):
        return value
    if kind is bool:
        return "true" if value else "false"
    spelled = getattr(value, "text", None)
    if spelled is None:
        raise SpellingNeeded
    return spelled


def _boolean(value: Any) -> Any:
    return value if value is None or type(value) is bool else BAD


def _variant(value: Any) -> Any:
    """Any value whole, also a null: as Spark's reader does, it is a VARIANT that is null, and no NULL."""
    from lakehouse.autoloader.formats.variant import encode  # few files have such a column

    try:
        return dict(zip(("value", "metadata"), encode(value), strict=True))
    except Malformed:
        return BAD


def _binary(value: Any) -> Any:
    if type(value) is not str:
        return None if value is None else BAD
    try:
        text = value.encode("ascii")
        return base64.b64decode(text) if _BASE64.fullmatch(text) else BAD
    except (ValueError, binascii.Error):
        return BAD


_SIMPLE: dict[type[T.DataType], Converter] = {T.BooleanType: _boolean, T.BinaryType: _binary}


def _integers(limit: int) -> Converter:
    def convert(value: Any) -> Any:
        if type(value) is Integer and len(value) < 21:
            number = int(value)
            return number if -limit <= number < limit else BAD
        return None if value is None else BAD

    return convert


def _decimals(precision: int, scale: int) -> Converter:
    unit = Decimal(1).scaleb(-scale)
    limit = Decimal(1).scaleb(precision - scale)

    def convert(value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, str) or not _DECIMAL.fullmatch(value) or len(value) > 1100:
            return BAD
        try:
            number = Decimal(value)
            if number.adjusted() > precision:
                return BAD if number else Decimal(0).quantize(unit)
            number = number.quantize(unit, context=_WIDE)
        except InvalidOperation:
            return BAD
        return number if abs(number) < limit else BAD

    return convert


def _texts(parse: Parse, otherwise: Parse = lambda text: None) -> Converter:
    def convert(value: Any) -> Any:
        if type(value) is not str:
            return None if value is None else BAD
        parsed = parse(value)
        if parsed is None:
            parsed = otherwise(value)
        return BAD if parsed is None else parsed

    return convert


def _days(text: str) -> int | None:
    """The number of a day in a string: Spark reads it where it is too short for a year."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,3}", text) else None


def _timestamps(parse: Parse) -> Converter:
    of_text = _texts(parse)

    def convert(value: Any) -> Any:
        if type(value) is Integer:
            # Spark multiplies without a look at the limits of a timestamp.
            seconds = int(value) if len(value) < 20 else 1 << 63
            return seconds * 1_000_000 if abs(seconds) < (1 << 63) // 1_000_000 else BAD
        return of_text(value)

    return convert
