"""What was kept for tables that are neither declared nor there any more: listed, and removed by name."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from lakehouse.errors import ConfigurationError
from lakehouse.lake import Lake
from lakehouse.maintenance.positions import holder_of
from lakehouse.maintenance.table_files import size_of

_OF_TABLES = ("_checkpoints", "_schemas", "_checks", "_forgotten", "_quarantine")
_SCRATCH = ("_triggers", "_probe")


@dataclass(frozen=True)
class Orphan:
    """A folder that belongs to nothing.

    Attributes:
        name: Its place below the user's folder: what it is removed by.
        why: Whose it was.
        objects: How many objects.
        size_bytes: Their size.
        last_written: When the newest of them was written.
    """

    name: str
    why: str
    objects: int
    size_bytes: int
    last_written: datetime


def orphans(lake: Lake, declared: Collection[str], journals: Collection[str]) -> list[Orphan]:
    """Checkpoints, schemas, counts, records, quarantines and journals of no table.

    Args:
        lake: Where they are.
        declared: Names of the declared tables.
        journals: The journals that declared tables use, as URIs.
    """
    known = {*declared, *lake.table_names()}
    in_use = {one.rstrip("/").rsplit("/", 1)[-1] for one in (*journals, *_journals_of_checkpoints(lake))}
    return list(_found(lake, known, in_use))


def remove(lake: Lake, found: Sequence[Orphan], names: Sequence[str]) -> list[Orphan]:
    """Removes those of that name.

    Raises:
        ConfigurationError: there is none of a name, or somebody writes by a checkpoint now.
    """
    by_name = {one.name: one for one in found}
    if unknown := [name for name in names if name not in by_name]:
        raise _refused(
            f"{', '.join(unknown)} is no orphan: a table that is declared or there has it, or there is no such folder",
            "lakehouse maintain orphans   (lists them)",
        )
    chosen = [by_name[name] for name in dict.fromkeys(names)]
    for one in chosen:
        area, _, table = one.name.partition("/")
        holder = holder_of(lake, table) if area == "_checkpoints" else None
        if holder is not None:
            raise _refused(f"{table} is being written by {holder.described()}", "wait until it ends, or end it")
    for one in chosen:
        lake.store.delete_prefix(lake.settings.bucket, f"{lake.settings.user}/{one.name}/")
        if one.name.startswith("_checkpoints/"):
            for suffix in (".lease", ".kept.json"):
                lake.store.delete(lake.settings.bucket, f"{lake.settings.user}/{one.name}{suffix}")
    return chosen


def _found(lake: Lake, known: set[str], in_use: set[str]) -> Iterator[Orphan]:
    for area in _OF_TABLES:
        for name in _folders(lake, area):
            if name not in known:
                yield from _sized(lake, f"{area}/{name}", f"{name} is neither declared nor there")
    for name in _folders(lake, "_journal"):
        if name not in in_use:
            yield from _sized(lake, f"_journal/{name}", "no declared table and no checkpoint uses it")
    for area in _SCRATCH:
        for name in _folders(lake, area):
            yield from _sized(lake, f"{area}/{name}", "left by a comparison or a probe")


def _folders(lake: Lake, area: str) -> list[str]:
    return sorted(lake.store.folders(lake.settings.bucket, f"{lake.settings.user}/{area}/"))


def _sized(lake: Lake, name: str, why: str) -> Iterator[Orphan]:
    infos = list(lake.store.list(lake.settings.bucket, f"{lake.settings.user}/{name}/"))
    if infos:
        yield Orphan(name, why, len(infos), size_of(infos), max(one.last_modified for one in infos))


def _journals_of_checkpoints(lake: Lake) -> Iterator[str]:
    bucket, base = lake.settings.bucket, f"{lake.settings.user}/_checkpoints/"
    for name in lake.store.folders(bucket, base):
        keys = [one.key for one in lake.store.list(bucket, f"{base}{name}/offsets/")]
        numbered = [key for key in keys if key.rsplit("/", 1)[-1].isdigit()]
        if numbered:
            newest = max(numbered, key=lambda key: int(key.rsplit("/", 1)[-1]))
            for line in lake.store.read(bucket, newest).decode().splitlines()[2:]:
                said = json.loads(line) if line.startswith("{") else {}
                if "journal" in said:
                    yield str(said["journal"])


def _refused(what: str, next_command: str) -> ConfigurationError:
    return ConfigurationError(
        what, where="lakehouse maintain orphans", state="nothing was removed", next_command=next_command
    )
