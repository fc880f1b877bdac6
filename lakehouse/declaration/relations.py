"""What tables are to each other: sources that exist, no cycles, and the order in which they are brought up to date."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from lakehouse.declaration.models import line_of
from lakehouse.declaration.problems import Problems, meant
from lakehouse.declaration.tables import Drafts
from lakehouse.declaration.values import Lines
from lakehouse.table import Table


def check_sources(drafts: Drafts, problems: Problems) -> None:
    """Notes sources that nobody declares, and those that cannot be what their reader needs."""
    known = {table.name: table for table in drafts.tables}
    names = {*known, *drafts.broken}
    for table in drafts.tables:
        for number, source in enumerate(table.flow.reads):
            line = source_line(drafts.lines[table.name], table, number)
            if source not in names:
                problems.add(line, f"{table.name} reads {source}, which is not declared{meant(source, sorted(names))}")
            elif source in known:
                _check_source(table, known[source], line, problems)


def _check_source(table: Table, source: Table, line: int, problems: Problems) -> None:
    kind = source.flow.kind
    if table.flow.kind == "rollup" and not getattr(source.flow, "change_data_feed", False):
        cure = "set change_data_feed: true there" if kind == "latest" else "a rollup reads a latest table"
        problems.add(line, f"{table.name} is a rollup of {source.name}, which has no change data feed: {cure}")
    if table.flow.kind == "windows" and getattr(table.flow, "source", "") == "files" and kind != "files":
        reason = f"{table.name} streams the files of {source.name}, which is made by {kind} and has none"
        problems.add(line, f"{reason}: write source: table")


def source_line(lines: Lines, table: Table, number: int) -> int:
    """Where a table names its source of that number."""
    return line_of(lines, (table.flow.kind, "of", number))


def in_order(tables: Sequence[Table]) -> list[Table]:
    """The tables, those that are read before their readers, else as they are in the file; without those in cycles."""
    places = {table.name: place for place, table in enumerate(tables)}
    waits = [{places[name] for name in table.flow.reads if name in places} for table in tables]
    readers: list[list[int]] = [[] for _ in tables]
    for reader, sources in enumerate(waits):
        for source in sources:
            readers[source].append(reader)
    ready = [place for place, sources in enumerate(waits) if not sources]
    heapify(ready)
    done: list[Table] = []
    while ready:
        place = heappop(ready)
        done.append(tables[place])
        for reader in readers[place]:
            waits[reader].discard(place)
            if not waits[reader]:
                heappush(ready, reader)
    return done


def check_cycles(drafts: Drafts, problems: Problems) -> None:
    """Notes each table that reads itself, however many tables are between."""
    ordered = {table.name for table in in_order(drafts.tables)}
    left = {table.name: table for table in drafts.tables if table.name not in ordered}
    visited: set[str] = set()
    for start in left:
        path = [start]
        while path[-1] in left and path[-1] not in visited:
            step = next(name for name in left[path[-1]].flow.reads if name in left)
            if step in path:
                cycle = path[path.index(step) :]
                problems.add(left[step].line, f"tables read each other in a cycle: {' -> '.join([*cycle, step])}")
                break
            path.append(step)
        visited.update(path)
