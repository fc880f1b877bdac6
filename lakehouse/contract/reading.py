"""A file of the Open Data Contract Standard, read: its columns, keys and what is wrong with it, each with its line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

from lakehouse.autoloader.schema.hints import parse_hints
from lakehouse.contract.columns import ANY, columns_of, shape
from lakehouse.errors import ConfigurationError

if TYPE_CHECKING:
    from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, SchemaProperty

EXTRA_COLUMNS = "extraColumns"
"""The custom property of a schema that says whether more columns are allowed."""

_KINDS = ("struct", "array", "map", "object")
_Place = tuple[str | int, ...]


class ContractInvalid(Exception):
    """What is wrong with a contract, each problem with the line that it is in."""

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        self.problems = sorted(problems)
        super().__init__("; ".join(f"line {line}: {what}" for line, what in self.problems))


@dataclass
class Pinned:
    """What a schema of a contract says of a table.

    Attributes:
        columns: Name to type, see ``columns_of``; a type may be a logical type of the standard.
        required: Columns that may not be NULL.
        unique: Columns each of which has no value twice.
        key: The columns of the primary key.
        extra_columns: ``allow`` or ``refuse``.
        descriptions: What people wrote of columns, by name.
        place: Of the schema in the document.
    """

    columns: dict[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    extra_columns: str = "allow"
    descriptions: dict[str, str] = field(default_factory=dict)
    place: int = 0


def read(text: str, table: str) -> Pinned:
    """What the document says of ``layer.name``.

    Raises:
        ContractInvalid: it is no contract of version 3, has no schema of that table, or a type that no table has.
    """
    return _Reader(text).pinned(table)


class _Reader:
    def __init__(self, text: str) -> None:
        try:
            self._node = yaml.compose(text, Loader=yaml.SafeLoader)
            self._content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            reason = getattr(error, "problem", None) or str(error)
            raise ContractInvalid([(mark.line + 1 if mark else 1, f"this is no YAML: {reason}")]) from None
        if not isinstance(self._content, dict):
            raise ContractInvalid([(1, "this is no contract: it has no keys")])
        self._problems: list[tuple[int, str]] = []

    def pinned(self, table: str) -> Pinned:
        from open_data_contract_standard.model import OpenDataContractStandard

        for name in ("apiVersion", "kind", "id", "version"):
            if name not in self._content:
                self._wrong((), f"the key {name} is missing")
        if self._content.get("kind", "DataContract") != "DataContract":
            self._wrong(("kind",), f"kind is {self._content['kind']!r}, not DataContract")
        if not str(self._content.get("apiVersion", "v3")).startswith("v3."):
            self._wrong(("apiVersion",), f"apiVersion is {self._content['apiVersion']}: versions v3.* are read")
        try:
            document = OpenDataContractStandard.model_validate(self._content)
        except ValidationError as error:
            for problem in error.errors():
                self._wrong(problem["loc"], f"{_dotted(problem['loc'])}: {problem['msg']}")
            raise ContractInvalid(self._problems) from None
        found = self._schema_of(document, table)
        if self._problems or found is None:
            raise ContractInvalid(self._problems)
        return found

    def _schema_of(self, document: OpenDataContractStandard, table: str) -> Pinned | None:
        schemas = document.schema_ or []
        names = {name: at for at, schema in enumerate(schemas) for name in (schema.name, schema.physicalName) if name}
        at = names.get(table, names.get(table.split(".", 1)[1]))
        if at is None:
            has = f": it has {', '.join(names)}" if names else ""
            self._wrong(("schema",), f"no schema has the name or physicalName {table}{has}")
            return None
        return self._of(schemas[at], at)

    def _of(self, schema: SchemaObject, at: int) -> Pinned:
        place: _Place = ("schema", at)
        self._unknown(schema, place)
        found = Pinned(place=at)
        custom = {entry.property: entry.value for entry in schema.customProperties or ()}
        found.extra_columns = str(custom.get(EXTRA_COLUMNS, "allow"))
        if found.extra_columns not in ("allow", "refuse"):
            self._wrong((*place, "customProperties"), f"{EXTRA_COLUMNS} is allow or refuse")
        if not schema.properties:
            self._wrong(place, "the schema has no properties: no column is pinned")
        keys: list[tuple[int, str]] = []
        for name, column, where in self._properties(schema.properties or (), (*place, "properties"), ""):
            if name in found.columns:
                self._wrong(where, f"{name} is there twice")
            type_, below = self._type_of(column, name, where)
            found.columns |= {name: type_, **below}
            if column.description:
                found.descriptions[name] = " ".join(column.description.split())
            plain = "[]" not in name and "{}" not in name  # of a value in an array no row is unique or NULL
            found.required += (name,) if column.required and plain else ()
            found.unique += (name,) if column.unique and "." not in name and plain else ()
            if column.primaryKey and "." not in name and plain:
                keys.append((column.primaryKeyPosition if column.primaryKeyPosition is not None else -1, name))
        found.key = tuple(name for _, name in sorted(keys, key=lambda key: key[0]))
        return found

    def _properties(
        self, given: Sequence[SchemaProperty], place: _Place, above: str
    ) -> Iterator[tuple[str, SchemaProperty, _Place]]:
        """Each column, and those below it, with its full name and place."""
        for at, column in enumerate(given):
            where = (*place, at)
            self._unknown(column, where)
            own = column.physicalName or column.name
            if not own:
                self._wrong(where, "this property has no name")
                continue
            name = f"{above}.{own}" if above else own
            yield name, column, where
            yield from self._below(column, where, name)

    def _below(self, column: SchemaProperty, where: _Place, name: str) -> Iterator[tuple[str, SchemaProperty, _Place]]:
        yield from self._properties(column.properties or (), (*where, "properties"), name)
        if column.items:
            self._unknown(column.items, (*where, "items"))
            yield from self._below(column.items, (*where, "items"), f"{name}[]")
        if column.map and column.map.value:
            self._unknown(column.map.value, (*where, "map", "value"))
            yield from self._below(column.map.value, (*where, "map", "value"), f"{name}{{}}")

    def _type_of(self, column: SchemaProperty, name: str, where: _Place) -> tuple[str, dict[str, str]]:
        """The type, and what a physical type of Spark alone says of the columns below."""
        physical, logical = (column.physicalType or "").strip(), column.logicalType or ""
        if physical and physical.lower() not in _KINDS:
            try:
                [(path, type_)] = parse_hints(f"c {physical}")
            except (ConfigurationError, ValueError):
                path = ()
            if path != ("c",):
                self._wrong((*where, "physicalType"), f"{name}: physicalType {physical!r} is no type of Spark")
                return ANY, {}
            described = column.properties or column.items or column.map
            return shape(type_), {} if described else {below: shape(its) for below, its in columns_of(type_, name)}
        kind = physical.lower() if physical else logical
        if kind in ("struct", "object"):
            return "struct" if column.properties else "object", {}
        if kind == "array" and column.items:
            return f"array<{self._type_of(column.items, name, (*where, 'items'))[0]}>", {}
        if kind == "map" and column.map and column.map.key and column.map.value:
            key = self._type_of(column.map.key, name, (*where, "map", "key"))[0]
            return f"map<{key},{self._type_of(column.map.value, name, (*where, 'map', 'value'))[0]}>", {}
        if kind and kind not in _LOGICAL_TYPES:
            self._wrong((*where, "logicalType"), f"{name}: logicalType {kind!r} is none of {', '.join(_LOGICAL_TYPES)}")
        return kind or ANY, {}

    def _unknown(self, model: BaseModel, place: _Place) -> None:
        """A key that the standard does not have would be read by nobody."""
        fields = type(model).model_fields
        known = {info.alias or name for name, info in fields.items()}
        given = _at(self._content, place)
        for name in given if isinstance(given, Mapping) else ():
            if name not in known:
                close = difflib.get_close_matches(str(name), known, 1)
                hint = f"; did you mean {close[0]}?" if close else ""
                self._wrong((*place, name), f"the standard has no key {name} here{hint}")

    def _wrong(self, place: Sequence[Any], what: str) -> None:
        self._problems.append((_line(self._node, place), what))


_LOGICAL_TYPES = (
    "string",
    "date",
    "timestamp",
    "time",
    "number",
    "integer",
    "boolean",
    "object",
    "array",
    "map",
    "vector",
)


def _at(value: Any, place: Sequence[Any]) -> Any:
    for step in place:
        value = value[step]
    return value


def _dotted(place: Sequence[Any]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")


def _line(node: Any, place: Sequence[Any]) -> int:
    """The line of a place, or of the deepest part of it that is written."""
    line = node.start_mark.line + 1 if node is not None else 1
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = (node.value[step], node.value[step])
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
