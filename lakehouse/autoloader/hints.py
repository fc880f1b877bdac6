"""``cloudFiles.schemaHints``: types that win over inferred ones. Parsed here, because a worker has no Spark parser."""

from __future__ import annotations

import re

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from lakehouse.errors import ConfigurationError

_ATOMIC: dict[str, type[DataType]] = {
    "boolean": BooleanType,
    "tinyint": ByteType,
    "byte": ByteType,
    "smallint": ShortType,
    "short": ShortType,
    "int": IntegerType,
    "integer": IntegerType,
    "bigint": LongType,
    "long": LongType,
    "float": FloatType,
    "real": FloatType,
    "double": DoubleType,
    "string": StringType,
    "binary": BinaryType,
    "date": DateType,
    "timestamp": TimestampType,
    "timestamp_ntz": TimestampNTZType,
}
_TOKEN = re.compile(r"\s*(`(?:[^`]|``)+`|[\w.]+|[<>(),:])")


def parse_hints(text: str) -> StructType:
    """Columns from ``name TYPE, name TYPE, ...`` with Spark's type names, nested ones included.

    Raises:
        ConfigurationError: it is no such list.
    """
    try:
        parser = _Parser(text)
        return parser.fields(end=None)
    except (ValueError, IndexError, KeyError) as error:
        raise ConfigurationError(
            f"cannot read the schema hints at {str(error)[:80]}",
            where="cloudFiles.schemaHints",
            state="nothing was read or written",
            next_command="write them as: order_id STRING, total_amount DECIMAL(10,2), tags ARRAY<STRING>",
        ) from None


def with_hints(schema: StructType, hints: StructType) -> StructType:
    """The schema with hinted types; hinted columns that it lacks come last, because they are expected to appear."""
    hinted = {field.name: field for field in hints.fields}
    known = [hinted.pop(field.name, field) for field in schema.fields]
    return StructType([*known, *hinted.values()])


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position, text = 0, text.strip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if not found:
                raise ValueError(repr(text[position : position + 20]))
            self._tokens.append(found[1])
            position = found.end()

    def fields(self, end: str | None) -> StructType:
        schema = StructType()
        while True:
            name = self._take()
            if self._peek() == ":":
                self._take()
            schema.add(name[1:-1].replace("``", "`") if name.startswith("`") else name, self._type())
            closing = self._take() if self._tokens else None
            if closing == end:
                return schema
            if closing != ",":
                raise ValueError(repr(closing))

    def _type(self) -> DataType:
        name = self._take().lower()
        if name == "array":
            [element] = self._nested(1)
            return ArrayType(element)
        if name == "map":
            key, value = self._nested(2)
            return MapType(key, value)
        if name == "struct":
            self._expect("<")
            return self.fields(end=">")
        if name in ("decimal", "dec", "numeric"):
            if self._peek() != "(":
                return DecimalType(10, 0)
            self._take()
            precision, scale = int(self._take()), 0
            if self._peek() == ",":
                self._take()
                scale = int(self._take())
            self._expect(")")
            return DecimalType(precision, scale)
        if name not in _ATOMIC:
            raise ValueError(repr(name))
        return _ATOMIC[name]()

    def _nested(self, count: int) -> list[DataType]:
        self._expect("<")
        found = [self._type()]
        while len(found) < count:
            self._expect(",")
            found.append(self._type())
        self._expect(">")
        return found

    def _peek(self) -> str | None:
        return self._tokens[0] if self._tokens else None

    def _take(self) -> str:
        return self._tokens.pop(0)

    def _expect(self, token: str) -> None:
        found = self._take()
        if found != token:
            raise ValueError(repr(found))
