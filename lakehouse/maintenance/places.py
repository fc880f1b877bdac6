"""How much lies below the user's folder in the lake's bucket, by purpose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deltalake.exceptions import DeltaError

from lakehouse.lake import Lake
from lakehouse.maintenance.table_files import TableFiles, size_of
from lakehouse.settings import LAYERS
from lakehouse.storage.store import ObjectInfo

_THREADS = 8
_MOST_COMMITS_READ = 5_000
_AREAS = {
    "_checkpoints": "checkpoints",
    "_journal": "journals",
    "_schemas": "schemas",
    "_quarantine": "quarantine",
    "_checks": "checks",
    "_backups": "backups",
    "ops": "batches that were kept",
    "_asked": "for which tables a run was asked",
    "_alerts": "what was told of alerts",
    "_forgotten": "records of rows removed on purpose",
}


@dataclass(frozen=True)
class Share:
    """A part of what is there.

    Attributes:
        what: What it is for.
        objects: How many.
        size_bytes: Their size.
    """

    what: str
    objects: int
    size_bytes: int


@dataclass(frozen=True)
class TableShare:
    """The objects below a table's folder.

    Attributes:
        name: The table.
        live: Data files of the newest version.
        old: Data files that only older versions need.
        unnamed: Data files that no commit names: a killed run wrote them, or a run that has not ended.
        log: Delta's log.
        other: What is none of these.
    """

    name: str
    live: Share
    old: Share
    unnamed: Share
    log: Share
    other: Share

    @property
    def parts(self) -> tuple[Share, ...]:
        """All of them."""
        return (self.live, self.old, self.unnamed, self.log, self.other)


@dataclass(frozen=True)
class Usage:
    """All that lies below the user's folder.

    Attributes:
        tables: By table.
        areas: All of it, by what it is for.
    """

    tables: tuple[TableShare, ...]
    areas: tuple[Share, ...]


def usage(lake: Lake) -> Usage:
    """Lists everything below the user's folder once, and reads the tables' logs."""
    prefix = f"{lake.settings.user}/"
    found: dict[str, list[ObjectInfo]] = defaultdict(list)
    for info in lake.store.list(lake.settings.bucket, prefix):
        found[area_of(info.key.removeprefix(prefix))].append(info)
    with ThreadPoolExecutor(_THREADS) as pool:
        tables = tuple(table for table in pool.map(lambda name: table_share(lake, name), lake.table_names()) if table)
    areas = [Share(what, len(infos), size_of(infos)) for what, infos in sorted(found.items()) if what != "tables"]
    totals = [_total(what, [table.parts[at] for table in tables]) for at, what in enumerate(_OF_TABLES)]
    left = _total("", [part for table in tables for part in table.parts])
    loose = Share(
        "folders that are no table", len(found["tables"]) - left.objects, size_of(found["tables"]) - left.size_bytes
    )
    return Usage(tables, tuple(share for share in (*totals, loose, *areas) if share.objects > 0))


_OF_TABLES = (
    "data files of tables",
    "data files of older versions",
    "data files that no commit names",
    "logs of tables",
    "other objects in tables",
)


def table_share(lake: Lake, table: str) -> TableShare | None:
    """What lies below a table's folder; None when there is no table that can be read."""
    try:
        files = TableFiles.of(lake, lake.settings.table_uri(table))
    except DeltaError:
        return None
    if files is None:
        return None
    spare = files.data.keys() - files.active
    old = spare
    if spare and len(files.commits) <= _MOST_COMMITS_READ:
        old = spare & files.named_by(files.commits)
    live = [info for path, info in files.data.items() if path in files.active]
    return TableShare(
        table,
        Share("live", len(live), size_of(live)),
        Share("old", len(old), size_of(files.data[path] for path in old)),
        Share("unnamed", len(spare - old), size_of(files.data[path] for path in spare - old)),
        Share("log", len(files.log), size_of(files.log)),
        Share("other", len(files.hidden) + len(files.other), size_of([*files.hidden, *files.other])),
    )


def area_of(key: str) -> str:
    """What an object is for, by its key below the user's folder."""
    first, _, rest = key.partition("/")
    if first in LAYERS:
        return "tables"
    if first == "_checkpoints" and key.endswith((".lease", ".service")):
        return "leases"
    if first == "_journal" and rest.partition("/")[2].startswith(("receipts/", "folded_receipts/")):
        return "receipts"
    return _AREAS.get(first, f"other: {first}")


def _total(what: str, shares: Iterable[Share]) -> Share:
    parts = list(shares)
    return Share(what, sum(part.objects for part in parts), sum(part.size_bytes for part in parts))
