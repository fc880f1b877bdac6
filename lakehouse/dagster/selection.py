"""Which tables a landing folder or a table feeds, directly and through others."""

from collections.abc import Collection, Sequence

import dagster as dg

from lakehouse.dagster.landing import Folder
from lakehouse.dagster.names import key_of
from lakehouse.table import Catalogue, Table


def ingested(catalogue: Catalogue) -> tuple[Table, ...]:
    """The tables that every run brings up to date, in the order of the data."""
    return tuple(table for table in catalogue if not table.on_demand)


def readers_of(folders: Sequence[Folder], catalogue: Catalogue) -> dict[str, Collection[dg.AssetKey]]:
    """For each folder that feeds a table, by its name, the tables that a new file of it concerns."""
    return {
        folder.name: concerned_by(catalogue, *(table.name for table in folder.fed)) for folder in folders if folder.fed
    }


def concerned_by(catalogue: Catalogue, *tables: str) -> frozenset[dg.AssetKey]:
    """Those of these tables, and of those that read them, which every run brings up to date."""
    names = {*tables}
    for table in ingested(catalogue):  # in the order of the data: one pass reaches all
        if names & set(table.flow.reads):
            names.add(table.name)
    return frozenset(key_of(table.name) for table in ingested(catalogue) if table.name in names)
