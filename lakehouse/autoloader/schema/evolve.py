"""How a schema grows: new columns last, at every depth; what is there keeps its place, and its type unless that widens.

Modes and semantics are Auto Loader's ``cloudFiles.schemaEvolutionMode``.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO

import numpy as np
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DayTimeIntervalType,
    DecimalType,
    MapType,
    StructField,
    StructType,
    TimeType,
)

from lakehouse.autoloader.formats.rows import NOTES, Rows
from lakehouse.autoloader.options.parse import WIDENING, CloudFilesOptions
from lakehouse.autoloader.reading.choose import infer
from lakehouse.autoloader.schema.hints import hinted_names, parse_hints
from lakehouse.autoloader.schema.wider import MOST_DIGITS, wider

EVOLVING = ("addNewColumns", WIDENING, "inline", "failOnNewColumns")
"""Modes in which a new column is an event. Otherwise it is rescued, or left out where no column rescues."""

FORBIDDEN = re.compile(r"[ ,;{}()\n\t=]")
"""Characters that no name of a column in a Delta table without column mapping may have."""

_SAMPLE_ROWS = 10_000
_TOP = re.compile(r"\.|\[\]|\{\}")

Place = tuple[str, int]
"""A file's path, and the number of a record in it, from 0."""

Change = tuple[str, DataType | None, DataType | None]
"""A column's dotted name (``[]`` and ``{}`` stand for elements), its former type and its present type."""

_never: Callable[[str], bool] = lambda name: False  # noqa: E731


class Learner:
    """Watches what is rescued while files are read, and learns the columns, or the wider types, that it would need.

    Attributes:
        known: The files' columns, as the stream has them.
        grown: The same, with all that was learned.
        introduced: Where each new column or wider type was met first.
        beyond: How many leaf columns were met that ``cloudFiles.maxColumns`` leaves in the rescued column.
    """

    def __init__(self, options: CloudFilesOptions, known: StructType, others: frozenset[str], rescued: str) -> None:
        self._options, self._rescued = options, rescued
        self._others = frozenset(map(str.lower, others))
        self.grown = self.known = known
        self.introduced: dict[str, Place] = {}
        self._widening = options.schema_evolution_mode == WIDENING
        hints = parse_hints(options.schema_hints) if options.schema_hints else []
        self._pinned = hinted_names(hints)
        self._taken = self._others | frozenset(map(str.lower, known.names))
        # where a new column stops the stream, a column beyond the limit stops it, too
        self._most = None if options.schema_evolution_mode == "failOnNewColumns" else options.max_columns
        self._full = self._most is not None and leaves(known) >= self._most and not self._widening
        self.beyond = 0

    def look(self, rows: Rows, place_of: Callable[[int], Place], sample: Callable[[list[int]], IO[bytes]]) -> None:
        """Takes in parsed rows.

        Args:
            rows: With the rescued column.
            place_of: Says where a row comes from.
            sample: The input of the rows with these numbers; it may have more rows.
        """
        if self._rescued not in rows.table.column_names:
            if rows.table.num_rows:
                self.introduced.update({name: place_of(0) for name in sorted(rows.new_fields)})
            return
        nested = {
            field.name
            for field in self.known.fields
            if self._widening or isinstance(field.dataType, StructType | ArrayType | MapType)
        }
        if self._full or not (rows.new_fields or nested):
            return
        texts = rows.table[self._rescued]
        first: dict[str, int] = {}
        hits = []
        for row in np.flatnonzero(texts.is_valid().to_numpy()).tolist():
            keys = (name for name in json.loads(texts[row].as_py()) if name not in NOTES or name in rows.new_fields)
            names = [name for name in keys if self._may_be_new(name, nested)]
            if names:
                hits.append(row)
                for name in names:
                    first.setdefault(name, row)
        if not hits:
            return
        found = infer(self._options, [sample(hits[:_SAMPLE_ROWS])])
        found = StructType([field for field in found.fields if field.name.lower() not in self._others])
        grown = self._within_limit(evolved(self.grown, found, widens=self._widens if self._widening else _never))
        for name, _, _ in changes(self.grown, grown):
            self.introduced[name] = place_of(first.get(_TOP.split(name, maxsplit=1)[0], hits[0]))
        self.grown = grown

    def take_over(self, learner: Learner, order: Mapping[str, int]) -> None:
        """Joins what ``learner`` learned. Each place is that in the earlier file, by the numbers in ``order``."""
        before = self.grown
        grown = evolved(before, learner.grown, widens=self._widens if self._widening else _never)
        self.grown = self._within_limit(grown)
        self.beyond += learner.beyond
        left_out = {name for name, old, _ in changes(before, grown) if old is None}
        left_out -= {name for name, old, _ in changes(before, self.grown) if old is None}
        for name, place in learner.introduced.items():
            if name in left_out:
                continue
            known = self.introduced.get(name)
            if known is None or (order[place[0]], place[1]) < (order[known[0]], known[1]):
                self.introduced[name] = place

    @property
    def note(self) -> str:
        """For people: how many columns were left out, and why; empty without any."""
        return limit_note(self.beyond, self._most) if self.beyond and self._most else ""

    def _within_limit(self, grown: StructType) -> StructType:
        if self._most is None:
            return grown
        kept = limited(self.grown, grown, self._most)
        self.beyond = max(self.beyond, leaves(grown) - leaves(kept))
        return kept

    def _widens(self, name: str) -> bool:
        return name not in self._pinned

    def _may_be_new(self, name: str, nested: set[str]) -> bool:
        if name in nested:
            return True
        return name.lower() not in self._taken


def lines_of(data: bytes, numbers: list[int]) -> IO[bytes]:
    """These lines of many."""
    lines = data.split(b"\n")
    return io.BytesIO(b"\n".join(lines[number] for number in sorted(set(numbers))))


def evolved(
    known: StructType, found: StructType, *, widens: Callable[[str], bool] = _never, below: str = ""
) -> StructType:
    """``known`` with the columns that only ``found`` has.

    A name that is there in another case is the same column: its values are rescued, not loaded into a second column.

    Args:
        known: The columns that there are.
        found: The columns of these records.
        widens: Whether the type of a column with this dotted name may widen.
        below: Dotted name, with its dot, of the column whose fields these are.
    """
    by_name = {field.name: field.dataType for field in found.fields}
    had = {field.name.lower() for field in known.fields}
    kept = []
    for field in known.fields:
        type_ = field.dataType
        if field.name in by_name:
            type_ = _grown(type_, by_name[field.name], widens, below + field.name)
        kept.append(StructField(field.name, type_, field.nullable, field.metadata))
    new = [StructField(field.name, field.dataType) for field in possible(found).fields if field.name.lower() not in had]
    return StructType([*kept, *new])


def possible(found: StructType) -> StructType:
    """Columns that a Delta table can have, at every depth; the rest of what was found is rescued.

    Of names that differ only by case the first counts, unless a hint spells another. A name with a blank or any of
    ``,;{}()=`` needs column mapping, so it is a column only where a hint names it. Delta has no TIME, no intervals and
    no DECIMAL of more than 38 digits.
    """
    first: dict[str, StructField] = {}
    for field in found.fields:
        type_ = _possible(field.dataType)
        if type_ is not None and not FORBIDDEN.search(field.name):
            first.setdefault(field.name.lower(), StructField(field.name, type_, field.nullable, field.metadata))
    return StructType([*first.values()])


def _possible(found: DataType) -> DataType | None:
    """None where nothing is left of a struct."""
    if isinstance(found, StructType):
        kept = possible(found)
        return kept if kept.fields or not found.fields else None
    if isinstance(found, ArrayType):
        element = _possible(found.elementType)
        return None if element is None else ArrayType(element, found.containsNull)
    if isinstance(found, MapType):
        value = _possible(found.valueType)
        return None if value is None else MapType(found.keyType, value, found.valueContainsNull)
    too_long = isinstance(found, DecimalType) and found.precision > MOST_DIGITS
    return None if too_long or isinstance(found, TimeType | DayTimeIntervalType) else found


def leaves(type_: DataType) -> int:
    """How many columns a type is in Parquet, where each leaf of a nested type is a column."""
    match type_:
        case StructType():
            return sum(leaves(field.dataType) for field in type_.fields) if type_.fields else 1
        case ArrayType():
            return leaves(type_.elementType)
        case MapType():
            return leaves(type_.keyType) + leaves(type_.valueType)
    return 1


def limited(known: StructType, grown: StructType, most: int) -> StructType:
    """``grown`` cut to at most ``most`` leaf columns: all of ``known``, and new columns while there is room."""
    room = [max(most - leaves(known), 0)] if known.fields else [most]
    return StructType(_fitting(known, grown, room))


def _fitting(known: DataType | None, grown: StructType, room: list[int]) -> list[StructField]:
    had = {field.name: field.dataType for field in known.fields} if isinstance(known, StructType) else {}
    fits = ((field, _fit(had.get(field.name), field.dataType, room)) for field in grown.fields)
    return [StructField(field.name, fit, field.nullable, field.metadata) for field, fit in fits if fit is not None]


def _fit(known: DataType | None, grown: DataType, room: list[int]) -> DataType | None:
    """The part of a type that fits into the room, which shrinks by it; None where nothing fits."""
    match grown:
        case StructType() if grown.fields:
            fields = _fitting(known, grown, room)
            return StructType(fields) if fields else None
        case ArrayType():
            element = _fit(known.elementType if isinstance(known, ArrayType) else None, grown.elementType, room)
            return None if element is None else ArrayType(element, grown.containsNull)
        case MapType():  # in part, it would be another map
            if isinstance(known, MapType):
                value = _fit(known.valueType, grown.valueType, room)
                return MapType(grown.keyType, value or known.valueType, grown.valueContainsNull)
    if known is None:
        if leaves(grown) > room[0]:
            return None
        room[0] -= leaves(grown)
    return grown


def limit_note(beyond: int, most: int | None) -> str:
    """The sentence about columns that the limit left out."""
    return f"{beyond:,} more columns are rescued: cloudFiles.maxColumns is {most:,}"


def changes(known: StructType, grown: StructType, below: str = "") -> Iterator[Change]:
    """What became of ``known``: columns that are new (no former type), gone (no present one), or of another type."""
    new = {field.name: field.dataType for field in grown.fields}
    for field in known.fields:
        if field.name in new:
            yield from _changes(field.dataType, new.pop(field.name), below + field.name)
        else:
            yield below + field.name, field.dataType, None
    for name, type_ in new.items():
        yield below + name, None, type_


def _changes(known: DataType, grown: DataType, name: str) -> Iterator[Change]:
    if isinstance(known, StructType) and isinstance(grown, StructType):
        yield from changes(known, grown, f"{name}.")
    elif isinstance(known, ArrayType) and isinstance(grown, ArrayType):
        yield from _changes(known.elementType, grown.elementType, f"{name}[]")
    elif isinstance(known, MapType) and isinstance(grown, MapType):
        yield from _changes(known.valueType, grown.valueType, f"{name}{{}}")
    elif known != grown:
        yield name, known, grown


def _grown(known: DataType, found: DataType, widens: Callable[[str], bool], name: str) -> DataType:
    if isinstance(known, StructType) and isinstance(found, StructType):
        return evolved(known, found, widens=widens, below=f"{name}.")
    if isinstance(known, ArrayType) and isinstance(found, ArrayType):
        return ArrayType(_grown(known.elementType, found.elementType, widens, f"{name}[]"), known.containsNull)
    if isinstance(known, MapType) and isinstance(found, MapType):
        value = _grown(known.valueType, found.valueType, widens, f"{name}{{}}")
        return MapType(known.keyType, value, known.valueContainsNull)
    return (wider(known, found) if widens(name) else None) or known
