"""Loading files again: their rows are taken out, and the files are read as they are now.

A replay is an entry in the journal: the file under a new number, with the number whose rows it takes the place of. The
next run of the table takes out the old rows in the very commit that adds the new ones, see ``streams.replacing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from lakehouse import checkpoints
from lakehouse.autoloader.journal import Journal
from lakehouse.autoloader.location import split_uri, uri_key
from lakehouse.autoloader.receipts import State
from lakehouse.autoloader.state import FileState, file_states
from lakehouse.lake import Lake
from lakehouse.storage import ObjectInfo
from lakehouse.streams.replacing import replaced_by

_NOT_LOADED = (None, "PROCESSING", State.REPLACED, State.PASSED_OVER)


@dataclass(frozen=True)
class Replay:
    """What a replay takes.

    Attributes:
        files: The files, as they were loaded.
        gone: Those of them that are not in the bucket any more: left as they are.
        rows: Rows that are taken out.
        done: Whether it was asked for.
    """

    files: tuple[FileState, ...]
    gone: tuple[FileState, ...]
    rows: int
    done: bool


def replay(
    lake: Lake,
    table: str,
    *,
    files: Sequence[str] = (),
    since: datetime | None = None,
    batch: int | None = None,
    really: bool = False,
) -> Replay:
    """Asks for files to be loaded again; without ``really`` only says which.

    Args:
        lake: Where all of it is.
        table: A table that a ``cloudFiles`` stream writes.
        files: Paths, keys or names, globs allowed.
        since: Files that were found at this time or later.
        batch: Files of this micro-batch.
        really: Do it. Tables computed from this one notice, and are computed again.

    Raises:
        LeaseHeld: a stream writes the table now.
        ConfigurationError: the table has no checkpoint of a ``cloudFiles`` stream.
    """
    states = [
        one
        for one in file_states(lake.store, lake.settings.checkpoint_uri(table))
        if one.ingestion_state not in _NOT_LOADED
        and (not files or any(_names(one, pattern) for pattern in files))
        and (since is None or one.discovery_time >= since)
        and (batch is None or one.batch_id == batch)
    ]
    now: dict[str, ObjectInfo] = {}
    for one in states:
        current = lake.store.info(split_uri(one.path)[0], uri_key(one.path))
        if current is not None and current.size_bytes:
            now[one.path] = current
    chosen = [one for one in states if one.path in now]
    if really and chosen:
        by_bucket: dict[str, list[tuple[ObjectInfo, int]]] = {}
        for one in chosen:
            by_bucket.setdefault(split_uri(one.path)[0], []).append((now[one.path], one.sequence))
        # a run that goes on now looked for replays before it began
        with checkpoints.writer_of(lake, table):
            offset = checkpoints.newest_offset(lake, table) or {}
            journal = Journal.at(lake.store, offset["journal"])
            for bucket, again in by_bucket.items():
                journal.replay(bucket, again, offset["stream"])
    return Replay(
        tuple(chosen),
        tuple(one for one in states if one.path not in now),
        sum(one.rows or 0 for one in chosen),
        really and bool(chosen),
    )


def pending_replays(lake: Lake, table: str) -> bool:
    """Whether the next run will load a file whose old rows have to go."""
    offset = checkpoints.newest_offset(lake, table)
    if offset is None:
        return False
    journal = Journal.at(lake.store, offset["journal"])
    return bool(replaced_by(journal, offset["seq"], journal.high_water, overwrites=False))


def _names(one: FileState, pattern: str) -> bool:
    key = uri_key(one.path)
    return any(fnmatchcase(name, pattern) or name == pattern for name in (one.path, key, key.rsplit("/", 1)[-1]))
