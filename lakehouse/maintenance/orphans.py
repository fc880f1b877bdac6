"""Folders that were kept for tables which are neither declared nor there: listed, and removed by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from lakehouse.errors import ConfigurationError
from lakehouse.lake import Lake
from lakehouse.maintenance.journals_in_use import JournalsOfCheckpoints
from lakehouse.maintenance.positions import alone, remove_leases
from lakehouse.maintenance.table_files import size_of

_OF_TABLES = ("_checkpoints", "_schemas", "_checks", "_forgotten", "_quarantine")
_SCRATCH = ("_triggers", "_probe")
_QUIET = timedelta(days=7)
"""A stream that has loaded nothing for so long has ended."""


@dataclass(frozen=True)
class Orphan:
    """A folder that belongs to nothing.

    Attributes:
        name: Its place below the user's folder: what it is removed by.
        why: Whose it was.
        objects: How many objects.
        size_bytes: Their size.
        last_written: When the newest of them was written.
        in_doubt: Who may still use it, so that it is not removed; empty for nobody.
    """

    name: str
    why: str
    objects: int
    size_bytes: int
    last_written: datetime
    in_doubt: str = ""


def orphans(
    lake: Lake, declared: Collection[str], journals: Collection[str], *, now: datetime | None = None
) -> list[Orphan]:
    """Checkpoints, schemas, counts, records, quarantines and journals of no table.

    Args:
        lake: Where they are.
        declared: Names of the declared tables.
        journals: The journals that declared tables use, as URIs.
        now: The time.
    """
    known, of_checkpoints = {*declared, *lake.table_names()}, JournalsOfCheckpoints(lake)
    in_use = {uri.rstrip("/").rsplit("/", 1)[-1] for uri in (*journals, *of_checkpoints.uris)}
    return list(_found(lake, known, in_use, of_checkpoints.unreadable, now or datetime.now(UTC)))


def remove(lake: Lake, found: Sequence[Orphan], names: Sequence[str]) -> list[Orphan]:
    """Removes the orphans of these names.

    Raises:
        ConfigurationError: there is none of a name, or a journal may be in use.
        LeaseHeld: somebody writes by a checkpoint now; nothing was removed.
    """
    by_name = {orphan.name: orphan for orphan in found}
    if unknown := [name for name in names if name not in by_name]:
        raise _refused(
            f"{', '.join(unknown)} is no orphan: a table that is declared or there has it, or there is no such folder",
            "lakehouse maintain orphans   (lists them)",
        )
    chosen = [by_name[name] for name in dict.fromkeys(names)]
    for orphan in chosen:
        if orphan.in_doubt:
            raise _refused(
                f"{orphan.name} may be in use: {orphan.in_doubt}", "lakehouse maintain orphans   (lists the others)"
            )
    bucket, user = lake.settings.bucket, lake.settings.user
    tables = [orphan.name.partition("/")[2] for orphan in chosen if orphan.name.startswith("_checkpoints/")]
    with ExitStack() as held:
        for table in tables:
            held.enter_context(alone(lake, table))
        for orphan in chosen:
            lake.store.delete_prefix(bucket, f"{user}/{orphan.name}/")
        for table in tables:
            for suffix in (".service", ".kept.json"):
                lake.store.delete(bucket, f"{user}/_checkpoints/{table}{suffix}")
    remove_leases(lake, tables)
    return chosen


def _found(lake: Lake, known: set[str], in_use: set[str], unreadable: Sequence[str], now: datetime) -> Iterator[Orphan]:
    for area in _OF_TABLES:
        for name in _folders(lake, area):
            if name not in known:
                yield from _sized(lake, f"{area}/{name}", f"{name} is neither declared nor there")
    for name in _folders(lake, "_journal"):
        if name not in in_use:
            for orphan in _sized(lake, f"_journal/{name}", "no declared table and no checkpoint of this lake uses it"):
                yield replace(orphan, in_doubt=_doubt(lake, orphan, unreadable, now))
    for area in _SCRATCH:
        for name in _folders(lake, area):
            yield from _sized(lake, f"{area}/{name}", "left by a comparison or a probe")


def _folders(lake: Lake, area: str) -> list[str]:
    return sorted(lake.store.folders(lake.settings.bucket, f"{lake.settings.user}/{area}/"))


def _sized(lake: Lake, name: str, why: str) -> Iterator[Orphan]:
    infos = list(lake.store.list(lake.settings.bucket, f"{lake.settings.user}/{name}/"))
    if infos:
        yield Orphan(name, why, len(infos), size_of(infos), max(info.last_modified for info in infos))


def _doubt(lake: Lake, journal: Orphan, unreadable: Sequence[str], now: datetime) -> str:
    """Who may use a journal that nobody here is known to use: a stream's checkpoint may be anywhere."""
    if unreadable:
        return f"the checkpoint of {unreadable[0]} cannot be read, and may name it"
    bucket, prefix = lake.settings.bucket, f"{lake.settings.user}/{journal.name}/streams/"
    places = [info.last_modified for info in lake.store.list(bucket, prefix)]
    if places and max(places) > now - _QUIET:
        return (
            f"a stream whose checkpoint is elsewhere, or gone, loaded files by it at {max(places):%Y-%m-%d %H:%M}Z; "
            f"it counts as ended after {_QUIET.days} days"
        )
    return ""


def _refused(what: str, next_command: str) -> ConfigurationError:
    return ConfigurationError(
        what, where="lakehouse maintain orphans", state="nothing was removed", next_command=next_command
    )
