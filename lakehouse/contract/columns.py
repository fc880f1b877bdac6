"""The contract of a table: the columns its readers count on, pinned in a file and held against the stream's schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from lakehouse.autoloader.schema.evolve import changes
from lakehouse.autoloader.schema.versions import SchemaVersion
from lakehouse.errors import ConfigurationError
from lakehouse.settings import Settings

SIGNS = {"added": "+", "removed": "-", "retyped": "~"}
"""What may become of a column, and the sign for it."""


def accept(table: str) -> str:
    """The command that pins the present schema of a table."""
    return f"lakehouse schema contract --write --table {table}"


class Contract(BaseModel):
    """What is pinned.

    Attributes:
        table: Whose columns, ``layer.name``.
        extra_columns: Whether the schema may have more columns than these.
        columns: Name to type; ``a.b`` is a field of a struct, ``a[].b`` of an array's structs, ``a{}.b`` of a map's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    extra_columns: Literal["allow", "refuse"] = "allow"
    columns: dict[str, str]

    def broken_by(self, version: SchemaVersion) -> list[Difference]:
        """What ``version`` lacks or has otherwise; also what it has beside it, where that is refused."""
        found = differences(self.columns, types(version))
        return [one for one in found if one.pinned is not None or self.extra_columns == "refuse"]


@dataclass(frozen=True)
class Difference:
    """A column that two schemas do not share; its type is None where it is missing."""

    column: str
    pinned: str | None
    present: str | None


def read_contract(settings: Settings, table: str) -> Contract | None:
    """The pinned contract of ``table``, or None.

    Raises:
        ConfigurationError: the file is no contract.
    """
    path = settings.contract_path(table)
    try:
        return Contract.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigurationError(
            f"this is no contract: {problem}",
            where=str(path),
            state="nothing was compared",
            next_command=f"correct the file; or remove it and pin the present schema: {accept(table)}",
        ) from None


def pin(settings: Settings, table: str, version: SchemaVersion) -> Contract:
    """Pins the columns of ``version``; whether more are allowed stays as it was.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    path = settings.contract_path(table)
    before = read_contract(settings, table)
    contract = Contract(table=table, extra_columns=before.extra_columns if before else "allow", columns=types(version))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(contract.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise ConfigurationError(
            f"the contract cannot be written: {error.strerror}",
            where=str(path),
            state="nothing was pinned",
            next_command="name a folder that can be written: LAKEHOUSE_CONTRACTS",
        ) from None
    return contract


def schema_changes(versions: Sequence[SchemaVersion]) -> list[dict[str, Any]]:
    """What each version after the first changed, oldest first: one row a column, with the file that brought it."""
    rows = []
    for before, after in pairwise(versions):
        for name, old, new in changes(before.data, after.data):
            types_ = [one.simpleString() for one in (old, new) if one is not None]
            change = "added" if old is None else "removed" if new is None else "retyped"
            path, record = after.introduced.get(name, ("", None))
            row = {"column": name, "type": " to ".join(types_), "change": change, "version": after.version}
            rows.append({**row, "record": record, "file": path, "written": after.written})
    return rows


def differences(pinned: Mapping[str, str], present: Mapping[str, str]) -> list[Difference]:
    """What differs, in the order of the columns; a column that differs stands for everything below it."""
    names = [*pinned, *(name for name in present if name not in pinned)]
    wrong = [name for name in names if pinned.get(name) != present.get(name)]
    below = tuple(name + mark for name in wrong for mark in (".", "[]", "{}"))
    return [Difference(name, pinned.get(name), present.get(name)) for name in wrong if not name.startswith(below)]


def types(version: SchemaVersion) -> dict[str, str]:
    """Every column of the files and the path, at every depth, with its type; fields stand for themselves."""
    partitions = set(version.partitions.names)
    own = StructType([one for one in version.data.fields if one.name not in partitions])
    every = [*_columns(own, ""), *_columns(version.partitions, "")]
    return {name: _shape(type_) for name, type_ in every}


def _columns(type_: DataType, name: str) -> Iterator[tuple[str, DataType]]:
    if isinstance(type_, StructType):
        for one in type_.fields:
            full = f"{name}.{one.name}" if name else one.name
            yield full, one.dataType
            yield from _columns(one.dataType, full)
    elif isinstance(type_, ArrayType):
        yield from _columns(type_.elementType, f"{name}[]")
    elif isinstance(type_, MapType):
        yield from _columns(type_.valueType, f"{name}{{}}")


def _shape(type_: DataType) -> str:
    if isinstance(type_, StructType):
        return "struct"
    if isinstance(type_, ArrayType):
        return f"array<{_shape(type_.elementType)}>"
    if isinstance(type_, MapType):
        return f"map<{type_.keyType.simpleString()},{_shape(type_.valueType)}>"
    return type_.simpleString()
