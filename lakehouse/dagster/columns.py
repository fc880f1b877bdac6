"""What a declaration says of a table's columns: their meaning, and the columns that they come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import dagster as dg

from lakehouse.autoloader.lineage import PROCESSING_TIME
from lakehouse.dagster.names import key_of
from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.flows.judged import EVENT_TIME, Judged
from lakehouse.flows.latest import Latest
from lakehouse.flows.rollup import Rollup
from lakehouse.flows.windows import Windows
from lakehouse.settings import Settings
from lakehouse.table import Table

_ABOUT_THE_ROW = {
    "_rescued_data": "what did not fit its column, as JSON; NULL when all did",
    PROCESSING_TIME: "when the micro-batch that read the row began, UTC",
    "_source_file": "the row's file",
    "_source_sequence": "the file's number in the journal",
    "_source_record": "the record's number in its file",
}
_WINDOW = {
    "window_start": "first moment of the window, UTC",
    "window_end": "first moment after the window, UTC",
}
_COLUMN = re.compile(r"\s*`?([A-Za-z_][A-Za-z0-9_]*)`?\s*")


def meanings(table: Table) -> dict[str, str]:
    """By column, in words or as the expression that makes it; some columns have neither."""
    flow = table.flow
    by_column: dict[str, str] = {}
    if isinstance(flow, Files | Latest):
        by_column |= _ABOUT_THE_ROW
    if isinstance(flow, Latest) and flow.event_time is not None:
        by_column[EVENT_TIME] = f"{flow.event_time.column} as a moment, UTC"
    if isinstance(flow, Windows):
        by_column |= _WINDOW
    return by_column | {name: text for name, text in _expressions(table).items() if text != name}


def in_words(settings: Settings, table: Table) -> dict[str, str]:
    """By column what its contract says of it, else what its declaration means, else the contract of its source."""
    words = meanings(table) | _described(settings, table.name)
    if isinstance(table.flow, Latest | Rollup | Windows):
        source = _described(settings, table.flow.of)
        copied = _copied(table)
        if isinstance(table.flow, Latest):
            copied = {name: name for name in source} | copied
        words = {name: source[origin] for name, origin in copied.items() if origin in source} | words
    return words


def _described(settings: Settings, table: str) -> dict[str, str]:
    from lakehouse.contract.pinned import read_contract

    try:
        contract = read_contract(settings, table)
    except ConfigurationError:  # the check of the contract tells of it
        return {}
    return contract.pinned.descriptions if contract else {}


def lineage(table: Table, columns: Iterable[str]) -> dg.TableColumnLineage | None:
    """The columns of the source that each column is a copy of; None where the declaration tells of none.

    Args:
        table: As it is declared.
        columns: The columns that it has.
    """
    if not isinstance(table.flow, Latest | Rollup | Windows):
        return None
    copied = _copied(table)
    if isinstance(table.flow, Latest):  # what is not declared has its name from the source
        copied = {name: name for name in columns if name not in (EVENT_TIME, *table.flow.columns)} | copied
    source = key_of(table.flow.of)
    there = {name: origin for name, origin in copied.items() if name in set(columns)}
    if not there:
        return None
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(asset_key=source, column_name=origin)] for name, origin in there.items()}
    )


def _copied(table: Table) -> dict[str, str]:
    """Declared columns that are one column of the source under this name."""
    flow = table.flow
    time = flow.event_time.column if isinstance(flow, Judged) and flow.event_time is not None else None
    copied = {}
    for name, text in _expressions(table).items():
        found = _COLUMN.fullmatch(text)
        if found:
            copied[name] = time if time and found[1] == EVENT_TIME else found[1]
    if isinstance(flow, Latest) and time:
        copied[EVENT_TIME] = time
    if isinstance(flow, Windows):
        copied |= {name: name for name in flow.keys}
    return copied


def _expressions(table: Table) -> Mapping[str, str]:
    """The columns that the declaration makes, each with its expression."""
    flow = table.flow
    if isinstance(flow, Latest):
        return flow.columns
    if isinstance(flow, Windows):
        return flow.aggregates
    if isinstance(flow, Rollup):
        return {**flow.group, **flow.aggregates}
    return {}
