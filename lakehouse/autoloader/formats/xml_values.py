"""From elements to the values of columns, by the rules of Spark's StaxXmlParser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pyspark.sql import types as T  # noqa: N812

from lakehouse.autoloader.formats.format import is_true
from lakehouse.autoloader.formats.json_text import Items, Members
from lakehouse.autoloader.formats.json_values import BAD
from lakehouse.autoloader.formats.text import parser_of
from lakehouse.autoloader.formats.times import BLANKS
from lakehouse.autoloader.formats.xml_records import Element
from lakehouse.errors import ConfigurationError

"""The characters that Java's ``trim`` removes."""

DATES = "yyyy-MM-dd"
"""Dates of XML are read by a pattern where none is given, too; those of JSON may be shorter."""

_THOUSANDS = re.compile(r"[+-]?[0-9][0-9,]*(\.[0-9]*)?")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

Item = str | Element
"""What a name of an element stands for: the text of an attribute, text of its own, or an element within it."""


class Shape:
    """What the options say of elements.

    Attributes:
        value_tag: The name of an element's own text.
        null: The text that stands for NULL; None without such a text.
        trims: Whether blanks around texts are removed.
    """

    def __init__(self, reader: Mapping[str, str]) -> None:
        self.value_tag = reader.get("valuetag", "_VALUE")
        self.null = reader.get("nullvalue")
        self.trims = is_true(reader, "ignoresurroundingspaces", True)
        self._prefix = reader.get("attributeprefix", "_")
        self._attributes = not is_true(reader, "excludeattribute")
        self._any_namespace = is_true(reader, "ignorenamespace")

    def items(self, element: Element) -> Iterator[tuple[str, Item]]:
        """What an element holds by name: attributes, then texts and elements in their order."""
        if element.attributes and self._attributes:
            for name, value in zip(element.attributes[::2], element.attributes[1::2], strict=True):
                yield self._prefix + self._name(name), value
        for part in element.parts:
            if type(part) is Element:
                yield self._name(part.name), part
            elif part.strip(BLANKS):  # type: ignore[union-attr]
                yield self.value_tag, part

    def has_attributes(self, element: Element) -> bool:
        """Whether it has attributes, and attributes are read."""
        return bool(element.attributes) and self._attributes

    def trimmed(self, text: str) -> str | None:
        """The text, its blanks removed where the options say so; None where it stands for NULL."""
        if self.trims:
            text = text.strip(BLANKS)
        return None if text == self.null else text

    def document(self, item: Item, leaf: Callable[[str | None], Any] = lambda text: text) -> Any:
        """All that it holds, as JSON has it: text, an object, arrays for what is there several times."""
        if type(item) is str:
            return leaf(self.trimmed(item))
        assert type(item) is Element
        if not self.has_attributes(item) and all(type(part) is str for part in item.parts):
            return leaf(self.trimmed("".join(item.parts)))  # type: ignore[arg-type]
        found: dict[str, list[Any]] = {}
        for name, part in self.items(item):
            found.setdefault(name, []).append(self.document(part, leaf))
        return Members((name, values[0] if len(values) == 1 else Items(values)) for name, values in found.items())

    def _name(self, name: str) -> str:
        return name.rpartition(":")[2] if self._any_namespace else name


class Values:
    """Makes converters for columns. A value whose type is wrong gives ``BAD``.

    Attributes:
        partial: Set when a part of a returned value is missing because its type is wrong; the caller resets it.
        incomplete: Set when a returned value lacks something that the input has; the caller resets it.
    """

    def __init__(self, reader: Mapping[str, str], shape: Shape) -> None:
        self.partial = self.incomplete = False
        self._shape = shape
        self._reader = {"dateformat": DATES, **reader}
        self._any_case = not is_true(reader, "readercasesensitive", True)
        self._wildcard = reader.get("wildcardcolname", "xs_any")

    def of(self, data_type: T.DataType, where: str) -> Callable[[Item], Any]:
        """The converter of a column or a part of it; raises ``ConfigurationError`` for a type it cannot give."""
        match data_type:
            case T.StructType():
                return self._struct(data_type, where)
            case T.MapType() if type(data_type.keyType) is T.StringType:
                return self._map(self.of(data_type.valueType, f"{where}.value"))
            case T.StringType() if type(data_type) is T.StringType:
                return self._string
            case T.BinaryType():
                return self._binary
            case T.ArrayType() | T.MapType() | T.VariantType() | T.StringType():
                raise ConfigurationError(
                    f"The XML reader gives no {data_type.simpleString()}",
                    where=f"column {where}",
                    next_command="read it as a string and convert it in a later step; a record as a whole is a VARIANT "
                    "with singleVariantColumn",
                )
        return self._simple(self._parser(data_type))

    def _parser(self, data_type: T.DataType) -> Callable[[str], Any]:
        parse = parser_of(data_type, self._reader)[0]
        if isinstance(data_type, T.BooleanType):
            return lambda text: _BOOLEANS.get(text.lower())
        if isinstance(data_type, T.DoubleType | T.FloatType):
            return lambda text: parse(text.replace(",", "") if _THOUSANDS.fullmatch(text) else text)
        return parse

    def _simple(self, parse: Callable[[str], Any]) -> Callable[[Item], Any]:
        shape = self._shape

        def convert(item: Item) -> Any:
            if type(item) is Element:
                if shape.has_attributes(item):
                    self.incomplete = True
                parts = item.parts
                if len(parts) == 1 and type(parts[0]) is str:
                    item = parts[0]
                elif all(type(part) is str for part in parts):
                    return None
                else:
                    return BAD
            assert type(item) is str
            text = shape.trimmed(item)
            if text is None or not text.strip(BLANKS):
                return None
            try:
                value = parse(text)
            except (ValueError, ArithmeticError):
                return BAD
            return BAD if value is None else value

        return convert

    def _string(self, item: Item) -> str | None:
        if type(item) is Element:
            if item.attributes and self._shape.has_attributes(item):
                self.incomplete = True
            parts = item.parts
            item = parts[0] if len(parts) == 1 and type(parts[0]) is str else inner_xml(item)
        return self._shape.trimmed(item)  # type: ignore[arg-type]

    def _binary(self, item: Item) -> bytes | None:
        text = self._string(item)
        return None if text is None else text.encode()

    def columns(self, schema: T.StructType, where: str = "") -> Columns:
        """The fields of a struct, or of all that a record holds."""
        fields = []
        for field in schema.fields:
            several = isinstance(field.dataType, T.ArrayType)
            of = field.dataType.elementType if isinstance(field.dataType, T.ArrayType) else field.dataType
            fields.append(Column(field.name, several, self.of(of, f"{where}{field.name}")))
        return Columns(fields, self._any_case, self._wildcard)

    def _struct(self, data_type: T.StructType, where: str) -> Callable[[Item], Any]:
        columns, shape = self.columns(data_type, f"{where}."), self._shape

        def convert(item: Item) -> Any:
            row: dict[str, Any] = {}
            bad: set[str] = set()
            for name, part in shape.items(item) if type(item) is Element else [(shape.value_tag, item)]:
                column = columns.of(name, part)
                if column is None:
                    self.incomplete = True
                    continue
                value = column.convert(part)
                if value is BAD:
                    bad.add(column.name)
                elif column.several:
                    row.setdefault(column.name, []).append(value)
                else:
                    if column.name in row:
                        self.incomplete = True
                    row[column.name] = value
            if bad:
                self.partial = True
                row = {name: value for name, value in row.items() if name not in bad}
            return row

        return convert

    def _map(self, of_value: Callable[[Item], Any]) -> Callable[[Item], Any]:
        shape = self._shape

        def convert(item: Item) -> Any:
            if type(item) is not Element:
                return BAD
            row: dict[str, Any] = {}
            for name, part in shape.items(item):
                if name in row:
                    self.incomplete = True
                row[name] = of_value(part)
            if any(value is BAD for value in row.values()):
                return BAD
            return list(row.items()) or None

        return convert


class Column:
    """One field: its name, whether it is an array, and what makes a value (for an array an element) of an item."""

    __slots__ = ("convert", "name", "several")

    def __init__(self, name: str, several: bool, convert: Callable[[Item], Any]) -> None:
        self.name, self.several, self.convert = name, several, convert


class Columns:
    """Fields by their names."""

    def __init__(self, fields: list[Column], any_case: bool, wildcard: str) -> None:
        self._by_name = {field.name: field for field in fields}
        self._by_lower_case = {field.name.lower(): field for field in fields} if any_case else {}
        self._wildcard = self._by_name.get(wildcard)

    def of(self, name: str, item: Item) -> Column | None:
        """The field that something of this name fills; elements of which there is no field have the wildcard's."""
        found = self._by_name.get(name) or self._by_lower_case.get(name.lower())
        return self._wildcard if found is None and type(item) is Element else found


def inner_xml(element: Element) -> str:
    """What stands between its tags, as Spark writes it: texts without escapes."""
    written: list[str] = []
    todo: list[Item] = [*reversed(element.parts)]
    while todo:
        part = todo.pop()
        if type(part) is str:
            written.append(part)
            continue
        assert type(part) is Element
        pairs = zip(part.attributes[::2], part.attributes[1::2], strict=True)
        written += ["<", part.name, *(f' {name}="{value}"' for name, value in pairs), ">"]
        todo += [f"</{part.name}>", *reversed(part.parts)]
    return "".join(written)
