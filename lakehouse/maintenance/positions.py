"""Where the streams stand that read Delta tables of this lake: which older versions they still need.

Checkpoints are read here as objects; nothing of Spark is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import TerminalError
from lakehouse.lake import Lake
from lakehouse.storage import Takeover, hold_lease
from lakehouse.storage.lease_holder import Holder
from lakehouse.storage.store import ObjectMissing

_THREADS = 16


@dataclass(frozen=True)
class StreamPlace:
    """The newest batches of a stream.

    Attributes:
        table: What it writes.
        planned: Newest batch that was planned; None before the first.
        finished: Newest batch that is done; None before the first.
        sources: For each Delta table that it reads, by the table's id, the version whose files it needs: those of that
            version, and of all commits after it.
        offset: What the newest finished batch says of its first source; empty where nothing was asked.
        damaged: Whether what it says of its sources cannot be read.
    """

    table: str
    planned: int | None
    finished: int | None
    sources: dict[str, int] = field(default_factory=dict)
    offset: dict[str, Any] = field(default_factory=dict)
    damaged: bool = False


def place_of(lake: Lake, table: str, *, sources: bool = True) -> StreamPlace:
    """Where the stream into ``table`` stands.

    Args:
        lake: Where its checkpoint is.
        table: ``layer.name``.
        sources: Whether to read what it says of its sources.
    """
    offsets, commits = (checkpoints.batch_numbers(lake, table, folder) for folder in ("offsets", "commits"))
    planned, finished = (max(numbers, default=None) for numbers in (offsets, commits))
    needs: dict[str, int] = {}
    source_offsets: list[dict[str, Any]] | None = []
    if sources and offsets:
        # a planned batch is read again from where the finished batch before it ended
        source_offsets = _sources(lake, table, finished if finished in offsets else min(offsets[-2:]))
        for offset in source_offsets or ():
            if "reservoirId" in offset:
                version = int(offset["reservoirVersion"]) - (0 if offset.get("isStartingVersion") else 1)
                needs[str(offset["reservoirId"])] = version
    first = source_offsets[0] if source_offsets else {}
    return StreamPlace(table, planned, finished, needs, first, damaged=source_offsets is None)


def readers(lake: Lake) -> dict[str, dict[str, int]]:
    """The streams that read each Delta table, by the table's id; each stream with the version that it still needs.

    Raises:
        TerminalError: a stream's checkpoint is damaged, so that what it needs is not known.
    """
    names = lake.store.folders(lake.settings.bucket, f"{lake.settings.user}/_checkpoints/")
    found: dict[str, dict[str, int]] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for place in pool.map(lambda name: place_of(lake, name), names):
            if place.damaged:
                raise TerminalError(
                    f"the newest batch of the stream into {place.table} cannot be read: which versions of which tables "
                    "it still needs is not known",
                    where=f"{lake.settings.checkpoint_uri(place.table)}/offsets/",
                    state="nothing was changed",
                    next_command="lakehouse doctor   (of a table that is not declared: lakehouse maintain orphans)",
                )
            for table_id, version in place.sources.items():
                found.setdefault(table_id, {})[place.table] = version
    return found


def holder_of(lake: Lake, table: str) -> Holder | None:
    """Who writes the table now, by its lease; None when nobody does, or whoever did is known to be dead.

    A dead client whose Spark engine may go on counts as a writer.
    """
    return _holder_by(lake, checkpoints.lease_key(lake, table))


def oldest_holder_of(lake: Lake, table: str) -> Holder | None:
    """Who of those that may be about to commit data files took a lease first: a writer, or who writes files again."""
    keys = (checkpoints.lease_key(lake, table), checkpoints.rewriter_lease_key(lake, table))
    found = [holder for key in keys if (holder := _holder_by(lake, key)) is not None]
    return min(found, key=lambda holder: holder.acquired_at, default=None)


def _holder_by(lake: Lake, lease_key: str) -> Holder | None:
    try:
        content = lake.store.read(lake.settings.bucket, lease_key)
    except ObjectMissing:
        return None
    holder = Holder.decoded(content)
    if holder is None or holder.released or (holder.lives() is False and holder.engine is None):
        return None
    return holder


def holders(lake: Lake, tables: Iterable[str]) -> dict[str, Holder]:
    """The tables that are written now, with their writers."""
    names = list(tables)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = zip(names, pool.map(lambda name: holder_of(lake, name), names), strict=True)
        return {name: holder for name, holder in found if holder is not None}


@contextmanager
def alone(lake: Lake, table: str) -> Iterator[None]:
    """Holds the lease of a table, as a run would. What a dead run left in an engine is waited for, and not ended."""
    takeover = Takeover(
        end_writes=lambda holder: holder.engine is None,
        signs_of_life=lambda: place_of(lake, table, sources=False),
    )
    key = checkpoints.lease_key(lake, table)
    with (
        hold_lease(lake.store, lake.settings.bucket, key, owner=table, takeover=takeover),
        checkpoints.rewriter_of(lake, table),
    ):
        yield


def remove_leases(lake: Lake, tables: Iterable[str]) -> None:
    """Removes the leases that nobody holds. A writer that takes its lease meanwhile keeps it."""
    for table in tables:
        for key in (checkpoints.lease_key(lake, table), checkpoints.rewriter_lease_key(lake, table)):
            if _holder_by(lake, key) is None:
                lake.store.delete(lake.settings.bucket, key)


def _sources(lake: Lake, table: str, batch: int) -> list[dict[str, Any]] | None:
    """What a batch says of its sources; None where that cannot be read."""
    key = checkpoints.object_key(lake, table, f"offsets/{batch}")
    try:
        lines = lake.store.read(lake.settings.bucket, key).decode().splitlines()[2:]
        entries = [json.loads(line) for line in lines if line.strip() not in ("", "-")]
    except ObjectMissing:  # the stream went on meanwhile, and removed its oldest batch
        return []
    except ValueError:
        return None
    return [entry for entry in entries if isinstance(entry, dict)] if lines else None
