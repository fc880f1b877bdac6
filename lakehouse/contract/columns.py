"""Columns at every depth with their types, and how two sets of them differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from lakehouse.autoloader.lineage import CORRUPT_RECORD, LINEAGE, RESCUED_DATA
from lakehouse.autoloader.schema.evolve import changes
from lakehouse.autoloader.schema.versions import SchemaVersion

SIGNS = {"added": "+", "removed": "-", "retyped": "~"}
"""What may become of a column, and the sign for it."""

ANY = "any"
"""The type of a pinned column of which only the name is pinned."""

_OWN = frozenset({*LINEAGE, RESCUED_DATA, CORRUPT_RECORD})
_WHOLE = ("tinyint", "smallint", "int", "bigint")
_LOGICAL = {
    "integer": _WHOLE,
    "number": (*_WHOLE, "float", "double", "decimal"),
    "timestamp": ("timestamp", "timestamp_ntz"),
    "time": ("string",),
    "object": ("struct",),
    "vector": ("array",),
}
_LOOSE = re.compile(r"(?:.*[<,])?(?:any|object|array|vector|map)>*")  # such a column may have any fields


@dataclass(frozen=True)
class Difference:
    """A column that two schemas do not share; its type is None where it is missing."""

    column: str
    pinned: str | None
    present: str | None


def schema_changes(versions: Sequence[SchemaVersion]) -> list[dict[str, Any]]:
    """What each version after the first changed, oldest first: one row a column, with the file that brought it."""
    rows = []
    for before, after in pairwise(versions):
        for name, old, new in changes(before.data, after.data):
            types_ = [type_.simpleString() for type_ in (old, new) if type_ is not None]
            change = "added" if old is None else "removed" if new is None else "retyped"
            path, record = after.introduced.get(name, ("", None))
            row = {"column": name, "type": " to ".join(types_), "change": change, "version": after.version}
            rows.append({**row, "record": record, "file": path, "written": after.written})
    return rows


def differences(pinned: Mapping[str, str], present: Mapping[str, str]) -> list[Difference]:
    """What differs, in the order of the columns; a column that differs stands for everything below it."""
    names = [*pinned, *(name for name in present if name not in pinned)]
    wrong = [name for name in names if not _fits(pinned.get(name), present.get(name))]
    loose = [name for name, type_ in pinned.items() if _LOOSE.fullmatch(type_) and name in present]
    below = tuple(name + mark for name in {*wrong, *loose} for mark in (".", "[]", "{}"))
    return [Difference(name, pinned.get(name), present.get(name)) for name in wrong if not name.startswith(below)]


def types(version: SchemaVersion) -> dict[str, str]:
    """Every column of the files and the path, at every depth, with its type; fields stand for themselves."""
    return {name: shape(type_) for name, type_ in columns_of(fields_of(version))}


def fields_of(version: SchemaVersion) -> StructType:
    """The columns of the files, then those of the path."""
    partitions = set(version.partitions.names)
    return StructType(
        [*(field for field in version.data.fields if field.name not in partitions), *version.partitions.fields]
    )


def types_of_table(table: StructType) -> dict[str, str]:
    """The same of a table, without the columns that a stream adds of its own."""
    return {name: shape(type_) for name, type_ in columns_of(own_columns(table))}


def own_columns(table: StructType) -> StructType:
    """A table's columns but those that a stream adds: lineage, and what was rescued."""
    return StructType([field for field in table.fields if field.name not in _OWN])


def columns_of(type_: DataType, name: str = "") -> Iterator[tuple[str, DataType]]:
    """``a.b`` is a field of a struct, ``a[].b`` of an array's structs, ``a{}.b`` of a map's."""
    if isinstance(type_, StructType):
        for field in type_.fields:
            full = f"{name}.{field.name}" if name else field.name
            yield full, field.dataType
            yield from columns_of(field.dataType, full)
    elif isinstance(type_, ArrayType):
        yield from columns_of(type_.elementType, f"{name}[]")
    elif isinstance(type_, MapType):
        yield from columns_of(type_.valueType, f"{name}{{}}")


def shape(type_: DataType) -> str:
    """A type without the fields of its structs."""
    if isinstance(type_, StructType):
        return "struct"
    if isinstance(type_, ArrayType):
        return f"array<{shape(type_.elementType)}>"
    if isinstance(type_, MapType):
        return f"map<{type_.keyType.simpleString()},{shape(type_.valueType)}>"
    return type_.simpleString()


def _fits(pinned: str | None, present: str | None) -> bool:
    """Whether a column has its pinned type; a logical type takes any type that holds such values."""
    if pinned == present:
        return True
    if pinned is None or present is None:
        return False
    if pinned == ANY:
        return True
    wanted, _, of = pinned.partition("<")
    had, _, its = present.partition("<")
    if of and its and wanted == had:  # array<integer> of array<bigint>
        parts, theirs = of[:-1].split(",", 1), its[:-1].split(",", 1)
        return len(parts) == len(theirs) and all(map(_fits, parts, theirs))
    return not of and had.split("(")[0] in _LOGICAL.get(wanted, (wanted,)) and wanted in (*_LOGICAL, "array", "map")
