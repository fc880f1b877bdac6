"""Which tables a landing folder feeds, directly and through others."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from lakehouse.dagster.landing import Folder
from lakehouse.dagster.names import key_of
from lakehouse.table import Catalogue, Table


@dataclass(frozen=True)
class Readers:
    """The tables that a new file of one folder concerns.

    Attributes:
        keys: Their assets, in the order of the data.
        shared_with: The folders, this one too, that feed any of these tables.
        first: Whether the folder is the first that feeds tables.
        alone: Whether it is the only one.
    """

    keys: tuple[dg.AssetKey, ...]
    shared_with: frozenset[str]
    first: bool = True
    alone: bool = True


def ingested(catalogue: Catalogue) -> tuple[Table, ...]:
    """The tables that every run brings up to date, in the order of the data."""
    return tuple(table for table in catalogue if not table.on_demand)


def readers_of(folders: Sequence[Folder], catalogue: Catalogue) -> dict[str, Readers]:
    """For each folder that feeds a table, by its name, what it feeds."""
    below = {folder.name: _below(folder, catalogue) for folder in folders if folder.fed}
    first = next(iter(below), None)
    return {
        name: Readers(
            keys=tuple(key_of(table.name) for table in ingested(catalogue) if table.name in tables),
            shared_with=frozenset(other for other, its in below.items() if its & tables),
            first=name == first,
            alone=len(below) == 1,
        )
        for name, tables in below.items()
    }


def _below(folder: Folder, catalogue: Catalogue) -> set[str]:
    names = {table.name for table in folder.fed}
    for table in ingested(catalogue):  # in the order of the data: one pass reaches all
        if names & set(table.flow.reads):
            names.add(table.name)
    return names
