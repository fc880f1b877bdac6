"""How a schema grows: new columns last, at every depth; what is there keeps its place and its type.

Modes and semantics are Auto Loader's ``cloudFiles.schemaEvolutionMode``.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
from pyspark.sql.types import ArrayType, DataType, MapType, StructField, StructType

from lakehouse.autoloader.formats.choose import infer
from lakehouse.autoloader.formats.rows import Rows
from lakehouse.autoloader.options import CloudFilesOptions

EVOLVING = ("addNewColumns", "failOnNewColumns")
"""Modes in which a new column is an event. Otherwise it is rescued, or left out where no column rescues."""

_SAMPLE_ROWS = 10_000
_TOP = re.compile(r"\.|\[\]|\{\}")

Place = tuple[str, int]
"""A file's path, and the number of a record in it, from 0."""


class Learner:
    """Watches what is rescued while files are read, and learns the columns that it would need.

    Attributes:
        grown: The files' columns, with all that was learned.
        introduced: Where each new column was met first.
    """

    def __init__(self, options: CloudFilesOptions, known: StructType, others: frozenset[str], rescued: str) -> None:
        self._options, self._rescued = options, rescued
        self._others = frozenset(map(str.lower, others))
        self.grown = self._known = known
        self.introduced: dict[str, Place] = {}

    def look(self, rows: Rows, place_of: Callable[[int], Place], sample: Callable[[list[int]], IO[bytes]]) -> None:
        """Takes in parsed rows.

        Args:
            rows: With the rescued column.
            place_of: Says where a row comes from.
            sample: The input of some rows, or of more than them.
        """
        if self._rescued not in rows.table.column_names:
            if rows.table.num_rows:
                self.introduced.update({name: place_of(0) for name in sorted(rows.new_fields)})
            return
        nested = {one.name for one in self._known.fields if isinstance(one.dataType, StructType | ArrayType | MapType)}
        if not (rows.new_fields or nested):
            return
        texts = rows.table[self._rescued]
        first: dict[str, int] = {}
        hits = []
        for row in np.flatnonzero(texts.is_valid().to_numpy()).tolist():
            names = [name for name in json.loads(texts[row].as_py()) if self._may_be_new(name, nested)]
            if names:
                hits.append(row)
                for name in names:
                    first.setdefault(name, row)
        if not hits:
            return
        found = infer(self._options, [sample(hits[:_SAMPLE_ROWS])])
        found = StructType([one for one in found.fields if one.name.lower() not in self._others])
        grown = evolved(self.grown, found)
        for name in new_columns(self.grown, grown):
            self.introduced[name] = place_of(first.get(_TOP.split(name, maxsplit=1)[0], hits[0]))
        self.grown = grown

    def _may_be_new(self, name: str, nested: set[str]) -> bool:
        if name in nested:
            return True
        return name.lower() not in self._others and name.lower() not in {one.lower() for one in self._known.names}


def lines_of(data: bytes, numbers: list[int]) -> IO[bytes]:
    """Some lines of many."""
    lines = data.split(b"\n")
    return io.BytesIO(b"\n".join(lines[number] for number in sorted(set(numbers))))


def evolved(known: StructType, found: StructType) -> StructType:
    """``known`` with what ``found`` has beside it.

    A name that is there in another case is the same column: its values are rescued, not loaded into a second one.
    """
    by_name = {one.name.lower(): one for one in found.fields}
    have = {one.name.lower() for one in known.fields}
    kept = [
        StructField(one.name, _grown(one.dataType, by_name[one.name.lower()].dataType), one.nullable, one.metadata)
        if one.name in found.names
        else one
        for one in known.fields
    ]
    new = [StructField(one.name, one.dataType) for key, one in by_name.items() if key not in have]
    return StructType([*kept, *new])


def new_columns(known: StructType, grown: StructType, below: str = "") -> Iterator[str]:
    """Dotted names of the columns that ``grown`` has and ``known`` lacks; ``[]`` and ``{}`` stand for elements."""
    old = {one.name: one.dataType for one in known.fields}
    for one in grown.fields:
        if one.name not in old:
            yield below + one.name
        else:
            yield from _new_below(old[one.name], one.dataType, below + one.name)


def _new_below(known: DataType, grown: DataType, name: str) -> Iterator[str]:
    if isinstance(known, StructType) and isinstance(grown, StructType):
        yield from new_columns(known, grown, f"{name}.")
    elif isinstance(known, ArrayType) and isinstance(grown, ArrayType):
        yield from _new_below(known.elementType, grown.elementType, f"{name}[]")
    elif isinstance(known, MapType) and isinstance(grown, MapType):
        yield from _new_below(known.valueType, grown.valueType, f"{name}{{}}")


def _grown(known: DataType, found: DataType) -> DataType:
    if isinstance(known, StructType) and isinstance(found, StructType):
        return evolved(known, found)
    if isinstance(known, ArrayType) and isinstance(found, ArrayType):
        return ArrayType(_grown(known.elementType, found.elementType), known.containsNull)
    if isinstance(known, MapType) and isinstance(found, MapType):
        return MapType(known.keyType, _grown(known.valueType, found.valueType), known.valueContainsNull)
    return known
