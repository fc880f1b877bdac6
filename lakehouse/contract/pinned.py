"""The file of a contract: read, written, and made of the file of an older release."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pyspark.sql.types import StructType

from lakehouse.autoloader.schema.hints import parse_hints, with_hints
from lakehouse.autoloader.schema.versions import SchemaVersion
from lakehouse.contract.columns import Difference, differences, fields_of, types, types_of_table
from lakehouse.contract.reading import EXTRA_COLUMNS, ContractInvalid, Pinned, read
from lakehouse.contract.writing import as_odcs, text_of
from lakehouse.errors import ConfigurationError
from lakehouse.settings import Settings


def accept(table: str) -> str:
    """The command that pins the present schema of a table."""
    return f"lakehouse schema contract --write --table {table}"


@dataclass(frozen=True)
class Contract:
    """What is pinned.

    Attributes:
        table: Whose columns, ``layer.name``.
        path: The file.
        pinned: What the file says of the table.
    """

    table: str
    path: Path
    pinned: Pinned

    @property
    def columns(self) -> dict[str, str]:
        """Name to type; ``a.b`` is a field of a struct, ``a[].b`` of an array's structs, ``a{}.b`` of a map's."""
        return self.pinned.columns

    @property
    def extra_columns(self) -> str:
        """``allow`` or ``refuse``: whether the schema may have more columns than these."""
        return self.pinned.extra_columns

    def broken_by(self, present: SchemaVersion | StructType) -> list[Difference]:
        """What a schema lacks or has otherwise; also what it has beside it, where that is refused."""
        has = types(present) if isinstance(present, SchemaVersion) else types_of_table(present)
        found = differences(self.columns, has)
        return [difference for difference in found if difference.pinned is not None or self.extra_columns == "refuse"]


def read_contract(settings: Settings, table: str) -> Contract | None:
    """The pinned contract of ``table``, or None.

    Raises:
        ConfigurationError: the file is no contract, or there is only a contract of an older release.
    """
    path = settings.contract_path(table)
    text = _text(path)
    if text is None:
        if old_path(settings, table).exists():
            raise ConfigurationError(
                f"the contract of {table} is in the form of an older release",
                where=str(old_path(settings, table)),
                state="nothing was compared",
                next_command=f"lakehouse schema contract --convert --table {table}   (writes {path.name})",
            )
        return None
    try:
        return Contract(table, path, read(text, table))
    except ContractInvalid as error:
        line, what = error.problems[0]
        more = f"; and {len(error.problems) - 1} more" if len(error.problems) > 1 else ""
        raise ConfigurationError(
            f"this is no contract of {table}: {what}{more}",
            where=f"{path}:{line}",
            state="nothing was compared",
            next_command=f"correct the file; or remove it and pin the present schema: {accept(table)}",
        ) from None


def pin(settings: Settings, table: str, version: SchemaVersion, description: str = "") -> Contract:
    """Pins the columns of ``version``; what people wrote of columns that stay is kept, comments are not.

    Raises:
        ConfigurationError: the file cannot be written, or is no contract.
    """
    path, known = settings.contract_path(table), read_contract(settings, table)
    before = yaml.safe_load(path.read_text()) if known else None
    at = known.pinned.place if known else 0
    return _write(settings, table, as_odcs(table, fields_of(version), description=description, before=before, at=at))


def convert(settings: Settings, table: str) -> Contract:
    """Writes the contract of an older release anew, and removes its file.

    Raises:
        ConfigurationError: there is none, it cannot be read, or the new file cannot be written.
    """
    old, path = old_path(settings, table), settings.contract_path(table)
    text = None if path.exists() else _text(old)
    if text is None:
        raise ConfigurationError(
            "there is a contract already" if path.exists() else f"there is no contract of an older release for {table}",
            where=str(path if path.exists() else old),
            state="nothing was written",
            next_command=f"lakehouse schema contract --table {table}",
        )
    try:
        content = json.loads(text)
        document = as_odcs(table, _nested(content["columns"]))
        extra = content.get("extra_columns", "allow")
    except (ValueError, KeyError, TypeError, AttributeError, ConfigurationError) as error:
        raise ConfigurationError(
            f"this is no contract: {error}",
            where=str(old),
            state="nothing was written",
            next_command=f"correct the file; or remove it and pin the present schema: {accept(table)}",
        ) from None
    if extra != "allow":
        document["schema"][0]["customProperties"] = [{"property": EXTRA_COLUMNS, "value": extra}]
    written = _write(settings, table, document)
    old.unlink()
    return written


def old_path(settings: Settings, table: str) -> Path:
    """Where an older release had the contract."""
    return settings.contract_path(table).with_name(f"{table}.json")


def _write(settings: Settings, table: str, document: Mapping[str, Any]) -> Contract:
    path = settings.contract_path(table)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(document))
    except OSError as error:
        raise ConfigurationError(
            f"the contract cannot be written: {error.strerror}",
            where=str(path),
            state="nothing was pinned",
            next_command="name a folder that can be written: LAKEHOUSE_CONTRACTS",
        ) from None
    written = read_contract(settings, table)
    assert written is not None
    return written


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the contract cannot be read: {error}", where=str(path), state="nothing was compared"
        ) from None


def _nested(columns: Mapping[str, str]) -> StructType:
    """``{"who": "struct", "who.name": "string"}`` as nested columns."""
    leaves = {name: type_ for name, type_ in columns.items() if not type_.rstrip(">").endswith("struct")}
    schema = StructType()
    for name, type_ in leaves.items():
        [(_, parsed)] = parse_hints(f"c {type_}")
        path = name.replace("[]", ".element").replace("{}", ".value").split(".")
        schema = with_hints(schema, [(tuple(path), parsed)])
    return schema
