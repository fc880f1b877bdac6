"""``singleVariantColumn`` for CSV: each record whole, as the VARIANT that Spark makes of it.

A value is a whole number, a decimal, a date, a timestamp, a boolean or a text: the first of them that it can be. As in
Spark it is not tried as what an earlier value of its column in the file could not be: a number below a text is a text.

Differences from Spark's reader, all intended: names that a header has twice get their place at their end, and empty
names are called by it, as those of columns; to Spark each record of such a file is malformed. A time of day is a text;
Spark makes a timestamp of today of it. Spark tries all anew in each part of a large file, which is never cut here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
from pyspark.sql.types import LongType

from lakehouse.autoloader.formats.csv_records import Block, Dialect
from lakehouse.autoloader.formats.format import SINGLE_VARIANT
from lakehouse.autoloader.formats.json_text import Float, Integer, Malformed, Members
from lakehouse.autoloader.formats.rows import BadFile, Rows, Target
from lakehouse.autoloader.formats.text import DECIMAL, flag, parser_of
from lakehouse.autoloader.formats.times import date_parser, timestamp_parser
from lakehouse.autoloader.formats.variant import (
    Variant,
    date_value,
    encode,
    require_variant,
    table_of,
    timestamp_value,
)
from lakehouse.autoloader.lineage import CORRUPT_RECORD

_MOST_DIGITS = 38
_LONG, _, _ = parser_of(LongType(), {})


class VariantShape:
    """From the records of one file to variants."""

    def __init__(self, target: Target, dialect: Dialect) -> None:
        self._target, self._dialect = target, dialect
        self._name = target.reader[SINGLE_VARIANT]
        require_variant(target.schema, self._name, target.corrupt, target.rescued)
        self._columns: list[_Values] = []

    def rows(self, names: list[str], block: Block, first: int) -> Rows:
        """The block's rows; ``first`` is the number of its first record."""
        columns = [self._column(place).all(column.to_pylist()) for place, column in enumerate(block.columns)]
        mode, rescued = self._dialect.mode, self._target.rescued if not self._target.corrupt else None
        texts = cache(block.texts)  # few blocks have a malformed record, and some have nothing else
        values: list[Variant | None] = []
        kept: list[str | None] = []
        records: list[int] = []
        for row, count in enumerate(block.counts.tolist()):
            members = [(name, column[row]) for name, column in zip(names[:count], columns, strict=False)]
            if not self._dialect.header:
                beyond = enumerate(block.extra.get(row, ()), len(names))
                members += [(f"_c{place}", self._column(place).one(text)) for place, text in beyond]
            why = f"{count} values for {len(names)} names" if self._dialect.header and count != len(names) else ""
            value: Variant | None = None
            try:
                value = encode(Members(members))
            except Malformed as error:
                why = str(error)
            if why and mode == "FAILFAST":
                raise BadFile("MALFORMED", f"record {first + row:,} of {self._target.path}: {why}")
            if why and mode == "DROPMALFORMED":
                continue
            text = texts()[row] if why else None
            kept.append(self._target.rescued_json({CORRUPT_RECORD: text}) if text is not None and rescued else text)
            values.append(value)
            records.append(first + row)
        table = table_of(self._target.schema, self._name, values, {self._target.corrupt or rescued: kept})
        return Rows(table, np.array(records, np.int64))

    def _column(self, place: int) -> _Values:
        while place >= len(self._columns):
            self._columns.append(_Values(self._target.reader, self._dialect.null))
        return self._columns[place]


class _Values:
    """The values of one column of a file, in their order."""

    def __init__(self, reader: Mapping[str, str], null: str) -> None:
        self._null = null
        day = date_parser(reader.get("dateformat", "yyyy-MM-dd"))
        moment = timestamp_parser(reader.get("timestampformat"), reader.get("timezone", "UTC"))
        dates = [_made(day, date_value)] if flag(reader, "preferdate", True) else []
        self._kinds: list[Callable[[str], Any]] = [_whole, _decimal, *dates, _made(moment, timestamp_value), _boolean]

    def all(self, texts: list[str | None]) -> list[Any]:
        """What a variant has of these texts."""
        return [self.one(text) for text in texts]

    def one(self, text: str | None) -> Any:
        """The same of one text."""
        if text is None or text == self._null:
            return None
        while self._kinds:
            if (found := self._kinds[0](text)) is not None:
                return found
            del self._kinds[0]
        return text


def _whole(text: str) -> Integer | None:
    number = _LONG(text)
    return None if number is None else Integer(number)


def _decimal(text: str) -> Float | None:
    if not DECIMAL.fullmatch(bare := text.replace(",", "")):
        return None
    number = Decimal(bare)
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    precision = len(digits) + max(exponent, 0) if number else 1
    return Float(f"{number:f}") if max(precision, -exponent) <= _MOST_DIGITS else None


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _made(parse: Callable[[str], int | None], value: Callable[[int], bytes]) -> Callable[[str], bytes | None]:
    def made(text: str) -> bytes | None:
        number = parse(text)
        return None if number is None else value(number)

    return made
