"""Avro's types and values as Arrow has them. A union of several types is a struct, as in Spark."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa

from lakehouse.autoloader.formats.format import Reader, is_true
from lakehouse.errors import ConfigurationError

_FLAT = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
    "fixed": pa.binary(),
}
_LOGICAL: dict[Any, pa.DataType] = {
    ("int", "date"): pa.date32(),
    ("long", "timestamp-millis"): pa.timestamp("us", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("us"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
    ("int", "time-millis"): pa.time64("us"),
    ("long", "time-micros"): pa.time64("us"),
    ("string", "uuid"): pa.string(),
}
_PYTHON: dict[str, type] = {
    **{"boolean": bool, "int": int, "long": int, "float": float, "double": float, "string": str, "enum": str},
    **{"bytes": bytes, "fixed": bytes, "array": list, "map": dict, "record": dict},
}
_PYTHON_LOGICAL: dict[Any, type] = dict.fromkeys(_LOGICAL, datetime) | {
    ("int", "date"): date,
    ("int", "time-millis"): time,
    ("long", "time-micros"): time,
    ("string", "uuid"): UUID,
}

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Column:
    """A column, or a part of a column.

    Attributes:
        type: Its type in Arrow.
        python: The type of Python that fastavro gives its values.
        convert: Makes Arrow's value of such a value; None where both are the same.
    """

    type: pa.DataType
    python: type | None = None
    convert: Convert | None = None


def columns_of(fields: Mapping[str, Any], reader: Reader, wanted: Container[str] | None = None) -> dict[str, Column]:
    """The columns of a record's fields; ``wanted`` names them, and None asks for all.

    Raises:
        ConfigurationError: a field has a type that no column holds.
    """
    types = _Types(reader)
    found = {}
    for name, type_ in fields.items():
        if wanted is None or name in wanted:
            found[name] = types.column(type_, name)
        else:
            types.note(type_)
    return found


@dataclass
class _Types:
    """The types of a schema; ``named`` holds those that names stand for."""

    reader: Reader
    named: dict[str, Any] = field(default_factory=dict)

    def note(self, type_: Any) -> None:
        """Notes the named types within a type: later types may refer to them."""
        if isinstance(type_, list):
            for branch in type_:
                self.note(branch)
        elif isinstance(type_, dict):
            if isinstance(type_.get("name"), str) and ("fields" in type_ or "symbols" in type_ or "size" in type_):
                self.named[type_["name"]] = type_
                self.named[type_["name"].rsplit(".", 1)[-1]] = type_
                self.named[f"{type_.get('namespace', '')}.{type_['name']}"] = type_
            for part in (type_.get("type"), type_.get("items"), type_.get("values"), *type_.get("fields", ())):
                self.note(part)

    def column(self, type_: Any, where: str, within: frozenset[str] = frozenset()) -> Column:
        """The column of a type; ``within`` has the named types around it."""
        if isinstance(type_, list):
            return self._union([branch for branch in type_ if branch != "null"], where, within)
        kind = type_.get("type") if isinstance(type_, dict) else type_
        if isinstance(kind, dict | list):
            return self.column(kind, where, within)
        self.note(type_)
        if kind == "record":
            return self._record(type_, where, within | {type_.get("name", "")})
        if kind == "array":
            inner = self.column(type_["items"], where, within)
            return Column(pa.list_(inner.type), list, _each(inner.convert))
        if kind == "map":
            inner = self.column(type_["values"], where, within)
            return Column(pa.map_(pa.string(), inner.type), dict, _values(inner.convert))
        logical = type_.get("logicalType") if isinstance(type_, dict) else None
        if logical == "decimal" and kind in ("bytes", "fixed"):
            if type_["precision"] > 76:
                raise _refused(f"the column {where} has decimals of {type_['precision']} digits, over 76")
            decimal = pa.decimal128 if type_["precision"] <= 38 else pa.decimal256
            return Column(decimal(type_["precision"], type_.get("scale", 0)), Decimal)
        if kind in _FLAT:  # as in Spark, an unknown logical type says nothing
            of_python = _PYTHON_LOGICAL.get((kind, logical)) or _PYTHON.get(kind)
            return Column(_LOGICAL.get((kind, logical), _FLAT[kind]), of_python)
        known = self.named.get(kind) if isinstance(kind, str) else None
        if known is not None and known["name"] not in within:  # a type that contains itself has no end
            return self.column(known, where, within)
        raise _refused(f"the column {where} has the Avro type {logical or kind}, which is not supported")

    def _record(self, type_: Any, where: str, within: frozenset[str]) -> Column:
        parts = {item["name"]: self.column(item["type"], f"{where}.{item['name']}", within) for item in type_["fields"]}
        struct = pa.struct([pa.field(name, part.type) for name, part in parts.items()])
        changed = {name: part.convert for name, part in parts.items() if part.convert}

        def convert(value: Any) -> Any:
            return value if value is None else value | {name: change(value[name]) for name, change in changed.items()}

        return Column(struct, dict, convert if changed else None)

    def _union(self, branches: list[Any], where: str, within: frozenset[str]) -> Column:
        parts = [self.column(branch, where, within) for branch in branches]
        types = {str(part.type) for part in parts}
        if types == {"int32", "int64"}:
            return Column(pa.int64(), int)
        if types == {"float", "double"}:
            return Column(pa.float64(), float)
        if len(parts) < 2:
            return parts[0] if parts else Column(pa.null())
        names = [self._member(number, branch) for number, branch in enumerate(branches)]
        by_type = {part.python: (name, part.convert) for name, part in zip(names, parts, strict=True)}
        if len(by_type) < len(parts) or len({name.lower() for name in names}) < len(names):
            raise _refused(
                f"the column {where} is a union of {', '.join(sorted(types))}, of which values are not told apart"
            )

        def convert(value: Any) -> Any:
            if value is None:
                return None
            name, change = by_type[type(value)]
            return {name: change(value) if change else value}

        return Column(
            pa.struct([pa.field(name, part.type) for name, part in zip(names, parts, strict=True)]), dict, convert
        )

    def _member(self, number: int, branch: Any) -> str:
        if not is_true(self.reader, "enablestableidentifiersforuniontype"):
            return f"member{number}"
        kind = branch.get("name") or branch["type"] if isinstance(branch, dict) else branch
        prefix = self.reader.get("stableidentifierprefixforuniontype", "member_")
        return f"{prefix}{kind.rsplit('.', 1)[-1].lower()}"


def _each(change: Convert | None) -> Convert | None:
    return change and (lambda value: value if value is None else [change(item) for item in value])


def _values(change: Convert | None) -> Convert | None:
    return change and (lambda value: value if value is None else {key: change(item) for key, item in value.items()})


def _refused(what: str) -> ConfigurationError:
    return ConfigurationError(what, next_command="give the other columns with .schema(...): what it lacks is not read")
