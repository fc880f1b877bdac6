"""The schema that Spark infers from XML."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import InvalidOperation

from pyspark.sql import types as T  # noqa: N812

from lakehouse.autoloader.formats.format import is_true
from lakehouse.autoloader.formats.json_infer import Inference, decimal_of, struct_of
from lakehouse.autoloader.formats.text import parser_of
from lakehouse.autoloader.formats.times import BLANKS
from lakehouse.autoloader.formats.xml_records import Element
from lakehouse.autoloader.formats.xml_values import DATES, Item, Shape

_LEVELS = 30  # as for JSON
_LONG_DIGITS = 40


class XmlInference(Inference):
    """Types of elements, and the narrowest for several."""

    def __init__(self, reader: Mapping[str, str], shape: Shape, *, infer_column_types: bool) -> None:
        super().__init__({name: value for name, value in reader.items() if name == "prefersdecimal"})
        self._shape, self._typed = shape, infer_column_types
        times = [T.DateType()] if is_true(reader, "preferdate", True) else []
        patterns = {"dateformat": DATES, **reader}
        self._times = [(type_, parser_of(type_, patterns)[0]) for type_ in (*times, T.TimestampType())]
        self._any_moment = "timestampformat" in reader

    def record(self, element: Element) -> T.StructType:
        """The columns of a record; without types each is a string, or an array of strings where it is repeated."""
        if self._typed:
            return self._members(element, 0)
        found: dict[str, T.DataType] = {}
        for name, _ in self._shape.items(element):
            found[name] = T.ArrayType(T.StringType()) if name in found else T.StringType()
        return struct_of(found)

    def _members(self, element: Element, level: int) -> T.StructType:
        found: dict[str, T.DataType] = {}
        for name, part in self._shape.items(element):
            new = self._of(part, level + 1)
            if name in found and not isinstance(found[name], T.ArrayType):
                new = T.ArrayType(self.merge(found[name], new))
            elif name in found:
                new = self.merge(found[name], new)
            found[name] = new
        return struct_of(found)

    def _of(self, item: Item, level: int) -> T.DataType:
        if type(item) is str:
            return self._of_text(item)
        assert type(item) is Element
        if level > _LEVELS:
            return T.StringType()
        simple = all(type(part) is str for part in item.parts)
        if simple and not self._shape.has_attributes(item):
            text = "".join(item.parts)  # type: ignore[arg-type]
            return self._of_text(text) if text.strip(BLANKS) else T.NullType()
        return self._members(item, level)

    def _of_text(self, text: str) -> T.DataType:
        value = self._shape.trimmed(text)
        if not value:
            return T.NullType()
        if number := self._number(value, value[1:] if value[0] in "+-" else value):
            return number
        for of_time, parse in self._times:
            if of_time == T.TimestampType() and not self._any_moment and not value[:4].isdigit():
                continue  # Spark makes a time of day a timestamp of today
            try:
                if parse(value) is not None:
                    return of_time
            except (ValueError, ArithmeticError):
                continue
        return T.BooleanType() if value.lower() in ("true", "false") else T.StringType()

    def _number(self, value: str, digits: str) -> T.DataType | None:
        if not digits.isascii() or "_" in digits or not (digits[:1].isdigit() or digits[:1] == "."):
            return None
        if digits.isdigit() and int(digits[:_LONG_DIGITS]) < 1 << 63:
            return T.LongType()
        if self._prefers_decimal:
            try:
                if found := decimal_of(value.replace(",", "")):
                    return found
            except InvalidOperation:
                pass
        try:
            float(digits)
            return T.DoubleType()
        except ValueError:
            return None

    def merge(self, first: T.DataType, second: T.DataType) -> T.DataType:
        """See ``Inference``. A value counts as an array of one element, and as the text of an element that has more."""
        for left, right in ((first, second), (second, first)):
            if isinstance(left, T.ArrayType) and not isinstance(right, T.ArrayType | T.NullType):
                return T.ArrayType(self.merge(left.elementType, right))
        for left, right in ((first, second), (second, first)):
            if isinstance(left, T.StructType) and not isinstance(right, T.StructType | T.NullType):
                fields = {field.name: field.dataType for field in left.fields}
                if self._shape.value_tag in fields:
                    fields[self._shape.value_tag] = self.merge(fields[self._shape.value_tag], right)
                    return struct_of(fields)
        if {type(first), type(second)} == {T.DateType, T.TimestampType}:
            return T.TimestampType()
        return super().merge(first, second)
