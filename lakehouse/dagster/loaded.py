"""Which files of a folder all its tables have loaded, whoever ran them: what their checkpoints and the journal say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lakehouse.autoloader.files.backlog import Backlog, FileFilter
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.paths import SourcePath
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.dagster.arrivals import Loaded
from lakehouse.dagster.landing import Folder
from lakehouse.errors import AccessDenied, LakehouseError, StoreUnavailable
from lakehouse.flows.files import Files
from lakehouse.lake import Lake
from lakehouse.storage.store import ObjectInfo
from lakehouse.table import Table

_Missing = Callable[[Sequence[ObjectInfo]], set[str]]
"""Tells the keys of those objects that one table has still to load."""


def loaded_by_all(lake: Lake, folder: Folder) -> Loaded:
    """What every table that the folder feeds has loaded; nothing is asked of the store before the first page.

    Args:
        lake: Where the tables are.
        folder: Whose files they read.
    """
    missing: list[_Missing] = []

    def loaded(page: Sequence[ObjectInfo]) -> set[str]:
        if page and not missing:
            journals: dict[str, Journal] = {}
            missing.extend(_missing_from(lake, table, journals) for table in folder.fed)
        keys = {info.key for info in page}
        for lacks in missing:
            if not keys:
                break
            keys -= lacks(page)
        return keys

    return loaded


def _missing_from(lake: Lake, table: Table, journals: dict[str, Journal]) -> _Missing:
    """Of a table that cannot be read all is missing: its run tells why."""
    try:
        flow = table.flow
        assert isinstance(flow, Files)
        return _unread(lake, table.name) if flow.source == "spark" else _unloaded(lake, table.name, flow, journals)
    except (StoreUnavailable, AccessDenied):
        raise
    except (LakehouseError, ValueError, KeyError, TypeError):
        return lambda page: {info.key for info in page}


def _unread(lake: Lake, table: str) -> _Missing:
    known = {key for keys in checkpoints.source_files(lake, table).values() for key in keys}
    return lambda page: {info.key for info in page} - known


def _unloaded(lake: Lake, table: str, flow: Files, journals: dict[str, Journal]) -> _Missing:
    finished = checkpoints.last_finished(lake, table)
    if finished is None:
        return lambda page: {info.key for info in page}
    offset, options = finished.offset, flow.cloud_files(lake.settings, table)
    uri, path = offset["journal"], SourcePath.parse(flow.path, strict=options.use_strict_globber)
    if uri not in journals:
        journals[uri] = Journal.at(lake.store, uri)
    journal = journals[uri]
    backlog = Backlog(journal, path, options, stream=offset["stream"])
    waiting = {file.key for file in backlog.files(offset["seq"], journal.high_water)}
    takes = FileFilter(path, options).takes

    def lacks(page: Sequence[ObjectInfo]) -> set[str]:
        own = [info for info in page if takes(info)]
        unseen = {info.key for info, first in journal.unseen(own) if first or options.allow_overwrites}
        return unseen | {info.key for info in own if info.key in waiting}

    return lacks
