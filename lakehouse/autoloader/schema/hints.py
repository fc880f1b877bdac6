"""``cloudFiles.schemaHints``: types that win over inferred ones. Parsed here, because a worker has no Spark parser."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    VariantType,
)

from lakehouse.errors import ConfigurationError
from lakehouse.spark_sql import quoted

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
    "timestamp_ltz": TimestampType,
    "timestamp_ntz": TimestampNTZType,
    "variant": VariantType,
}
_NAMES = r"(?:`(?:[^`]|``)+`|\w+)(?:\.(?:`(?:[^`]|``)+`|\w+))*"
_TEXTS = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_TOKEN = re.compile(rf"{_NAMES}|[<>(),:]|{_TEXTS}", re.DOTALL)
_BLANKS = re.compile(r"(?:\s|--[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
"""Blanks and the comments of Spark's SQL."""
_PART = re.compile(r"`((?:[^`]|``)+)`|(\w+)")

Hint = tuple[tuple[str, ...], DataType]
"""A column's place from the top down, and its type; below an array ``element``, below a map ``key`` or ``value``."""


def parse_hints(text: str) -> list[Hint]:
    """Hints from ``name TYPE, outer.inner TYPE, tags.element TYPE, ...`` with Spark's type names, nested ones included.

    Raises:
        ConfigurationError: it is no such list.
    """
    try:
        return _Parser(text).hints()
    except (ValueError, IndexError, KeyError) as error:
        raise ConfigurationError(
            f"cannot read the schema hints at {str(error)[:80]}",
            where="cloudFiles.schemaHints",
            state="nothing was read or written",
            next_command="write them as: id BIGINT, price DECIMAL(10,2), tags ARRAY<STRING>",
        ) from None


def with_hints(schema: StructType, hints: Sequence[Hint]) -> StructType:
    """The schema with hinted types; hinted columns that it lacks come last, because they are expected to appear.

    A hint also decides how a name is spelled.
    """
    for path, type_ in hints:
        schema = _put(schema, path, type_)
    return schema


def types_of(schema: StructType) -> dict[str, str]:
    """For each column, its name quoted, the type as ``parse_hints`` and Spark's SQL read it."""
    return {quoted(field.name): written(field.dataType) for field in schema.fields}


def written(type_: DataType) -> str:
    """A type as ``parse_hints`` and Spark's SQL read it, names quoted."""
    match type_:
        case StructType():
            return f"STRUCT<{', '.join(f'{quoted(field.name)}: {written(field.dataType)}' for field in type_.fields)}>"
        case ArrayType():
            return f"ARRAY<{written(type_.elementType)}>"
        case MapType():
            return f"MAP<{written(type_.keyType)}, {written(type_.valueType)}>"
    return type_.simpleString().upper()


def dotted(name: str) -> str:
    """A dotted name, as ``evolve.changes`` writes it, as Spark's SQL and the hints have it."""
    path = name.replace("[]", ".element").replace("{}", ".value")
    return ".".join(map(quoted, path.split(".")))


def hinted_names(hints: Sequence[Hint]) -> frozenset[str]:
    """Dotted names, as ``evolve.changes`` writes them, of all that the hints give a type."""
    return frozenset(name for path, type_ in hints for name in _leaves(with_hints(StructType(), [(path, type_)])))


def _put(schema: StructType, path: tuple[str, ...], type_: DataType) -> StructType:
    lower = [field.name.lower() for field in schema.fields]
    at = lower.index(path[0].lower()) if path[0].lower() in lower else len(lower)
    known = schema.fields[at].dataType if at < len(lower) else None
    fields = list(schema.fields)
    fields[at : at + 1] = [StructField(path[0], _typed(known, path[1:], type_))]
    return StructType(fields)


def _typed(known: DataType | None, path: tuple[str, ...], type_: DataType) -> DataType:
    if not path:
        return type_
    match path[0], known:
        case "element", ArrayType():
            return ArrayType(_typed(known.elementType, path[1:], type_))
        case "key", MapType():
            return MapType(_typed(known.keyType, path[1:], type_), known.valueType)
        case "value", MapType():
            return MapType(known.keyType, _typed(known.valueType, path[1:], type_))
        case _, StructType():
            return _put(known, path, type_)
        case "element", _:
            return ArrayType(_typed(None, path[1:], type_))
        case "value", _:
            return MapType(StringType(), _typed(None, path[1:], type_))
    return _put(StructType(), path, type_)


def _leaves(type_: DataType, name: str = "") -> list[str]:
    match type_:
        case StructType():
            dot = "." if name else ""
            return [leaf for field in type_.fields for leaf in _leaves(field.dataType, f"{name}{dot}{field.name}")]
        case ArrayType():
            return _leaves(type_.elementType, f"{name}[]")
        case MapType():
            return _leaves(type_.valueType, f"{name}{{}}")
    return [name]


def _end_of_blanks(text: str, position: int) -> int:
    found = _BLANKS.match(text, position)
    return found.end() if found else position


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position = _end_of_blanks(text, 0)
        while position < len(text):
            found = _TOKEN.match(text, position)
            if not found:
                raise ValueError(repr(text[position : position + 20]))
            self._tokens.append(found[0])
            position = _end_of_blanks(text, found.end())

    def hints(self, end: str | None = None) -> list[Hint]:
        found: list[Hint] = []
        while True:
            name = self._take()
            path = tuple(quoted.replace("``", "`") or plain for quoted, plain in _PART.findall(name))
            if not path:
                raise ValueError(repr(name))
            if self._peek() == ":":
                self._take()
            found.append((path, self._type()))
            self._leave_out_remarks()
            closing = self._take() if self._tokens else None
            if closing == end:
                return found
            if closing != ",":
                raise ValueError(repr(closing))

    def _leave_out_remarks(self) -> None:
        """Takes ``NOT NULL`` and ``COMMENT 'text'``: a column of files may always be NULL."""
        if (self._peek() or "").lower() == "not":
            self._take()
            if self._take().lower() != "null":
                raise ValueError("NOT")
        if (self._peek() or "").lower() == "comment":
            self._take()
            if (text := self._take())[0] not in "'\"":
                raise ValueError(repr(text))

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
            return StructType([StructField(path[-1], type_) for path, type_ in self.hints(end=">")])
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
        if name in ("char", "character", "varchar"):  # files have no such limit
            self._expect("(")
            int(self._take())
            self._expect(")")
            return StringType()
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


def columns_of(ddl: str) -> StructType:
    """The columns that ``name TYPE, ...`` says, read without a JVM.

    Raises:
        ConfigurationError: it is no list of columns.
    """
    return StructType([StructField(path[0], type_) for path, type_ in parse_hints(ddl)])
