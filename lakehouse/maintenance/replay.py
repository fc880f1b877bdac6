"""Loading files again: their rows are taken out, and the files are read as they are now.

A replay is an entry in the journal: the file under a new number, the number whose rows it replaces, and the stream that
asked for it. The next run of the table takes out the old rows in the commit that adds the new rows, see
``streams.replacing``. The new rows carry the file's old number: the file keeps its place in the order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.replays import replays_of
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.options.paths import split_uri, uri_key
from lakehouse.autoloader.outcomes.file_states import FileState, file_states, read_stream_log
from lakehouse.autoloader.outcomes.receipts import State
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.lake import Lake
from lakehouse.maintenance.asked import ask_for_run
from lakehouse.storage import ObjectInfo

_DATE = re.compile(
    r"(?<!\d)(?:year=)?(?P<year>\d{4})(?P<between>-|/)(?:month=)?(?P<month>\d{1,2})(?P=between)(?:day=)?(?P<day>\d{1,2})(?!\d)"
)
_NOT_LOADED = (None, "PROCESSING", State.REPLACED, State.PASSED_OVER)


@dataclass(frozen=True)
class Replay:
    """What a replay takes.

    Attributes:
        files: The files, as they were loaded.
        gone: Files whose version is not in the bucket any more: left as they are.
        waiting: Files that wait to be loaded again already: asked for twice is asked for once.
        rows: Rows that are taken out.
        done: Whether it was asked for.
        forgotten_rows: Rows of the files that were removed on purpose: they come again.
    """

    files: tuple[FileState, ...]
    gone: tuple[FileState, ...]
    waiting: tuple[FileState, ...]
    rows: int
    done: bool
    forgotten_rows: int = 0


def replay(
    lake: Lake,
    table: str,
    *,
    files: Sequence[str] = (),
    since: datetime | None = None,
    batch: int | None = None,
    chosen_by: Callable[[FileState], bool] = lambda file: True,
    overwrites: bool = False,
    really: bool = False,
) -> Replay:
    """Asks for files to be loaded again; without ``really`` only says which.

    Args:
        lake: Where all of it is.
        table: A table that a ``cloudFiles`` stream writes.
        files: Paths, keys or names, globs allowed.
        since: Files that were found at this time or later.
        batch: Files of this micro-batch.
        chosen_by: Tells which of those.
        overwrites: Whether the stream loads newer versions of files by itself.
        really: Do it. Tables computed from this table notice, and are computed again.

    Raises:
        LeaseHeld: a stream writes the table now.
        ConfigurationError: the table has no checkpoint of a ``cloudFiles`` stream.
    """

    def chosen() -> tuple[Replay, Journal | None, dict[int, ObjectInfo]]:
        return _choose(lake, table, files, since, batch, chosen_by, overwrites)

    if not really:
        return chosen()[0]
    # under the lease: what waits cannot change, and a run that goes on now looked for replays before it began
    with checkpoints.writer_of(lake, table):
        found, journal, now = chosen()
        log = read_stream_log(lake.store, *split_uri(lake.settings.checkpoint_uri(table)))
        by_bucket: dict[str, list[tuple[ObjectInfo, int]]] = {}
        for file in found.files:
            by_bucket.setdefault(split_uri(file.path)[0], []).append((now[file.sequence], file.sequence))
        for bucket, again in by_bucket.items():
            if journal is not None and log is not None:
                journal.replay(bucket, again, log.stream)
        if found.files or found.waiting:  # whoever asks twice waits for a run, too
            ask_for_run(lake, table, "replay")
    return replace(found, done=bool(by_bucket))


def _choose(
    lake: Lake,
    table: str,
    files: Sequence[str],
    since: datetime | None,
    batch: int | None,
    chosen_by: Callable[[FileState], bool],
    overwrites: bool,
) -> tuple[Replay, Journal | None, dict[int, ObjectInfo]]:
    """What a replay would take, the journal, and each file as it is now by its number."""
    from lakehouse.maintenance.file_rows import RemovedRows  # a tenth of a second that a run does not spend

    location = lake.settings.checkpoint_uri(table)
    log = read_stream_log(lake.store, *split_uri(location))
    states = [
        file
        for file in file_states(lake.store, location, log=log)
        if file.ingestion_state not in _NOT_LOADED
        and (not files or any(_names(file, pattern) for pattern in files))
        and (since is None or file.discovery_time >= since)
        and (batch is None or file.batch_id == batch)
        and chosen_by(file)
    ]
    if log is None:
        return Replay((), (), (), 0, False), None, {}
    journal = Journal.at(lake.store, log.journal)
    asked = {version.replaces for version in replays_of(journal, log.stream, log.committed_seq)}
    waiting = tuple(file for file in states if file.sequence in asked)
    overwritten = _overwritten(journal, states) if overwrites else set()
    now: dict[int, ObjectInfo] = {}
    for file in states:
        current = lake.store.info(split_uri(file.path)[0], uri_key(file.path))
        if current is not None and current.size_bytes and file.sequence not in overwritten:
            now[file.sequence] = current
    taken = tuple(file for file in states if file.sequence in now and file.sequence not in asked)
    gone = tuple(file for file in states if file.sequence not in now)
    removed = RemovedRows.of(lake, table)
    forgotten = sum(removed.rows(file) for file in taken)
    return Replay(taken, gone, waiting, sum(file.rows or 0 for file in taken), False, forgotten), journal, now


def of_day(day: date) -> Callable[[FileState], bool]:
    """Chooses the files of a day: of the date in their path, of their modification (UTC) where the path has none."""
    return lambda file: (day_in(uri_key(file.path)) or file.create_time.astimezone(UTC).date()) == day


def day_in(key: str) -> date | None:
    """The last date in a key, as ``2026-01-31``, as folders ``2026/01/31`` or as ``year=2026/month=1/day=31``."""
    for found in reversed([*_DATE.finditer(key)]):
        with suppress(ValueError):  # 2026-13-45 is no date
            return date(*(int(found[name]) for name in ("year", "month", "day")))
    return None


def quarantined(file: FileState) -> bool:
    """Chooses files in quarantine: none of their rows are in the table."""
    return file.ingestion_state == State.QUARANTINED


def _overwritten(journal: Journal, states: Sequence[FileState]) -> set[int]:
    """Numbers of files of which the journal has a newer version: a stream that loads such takes it anyway."""
    newest = {(split_uri(file.path)[0], uri_key(file.path)): 0 for file in states}
    for part in journal.tables(0, journal.high_water, ["bucket", "key", "replaces"]):
        names = ("seq", "bucket", "key", "replaces")
        for seq, bucket, key, replaces in zip(*(part[name].to_pylist() for name in names), strict=True):
            if (bucket, key) in newest and not replaces:
                newest[bucket, key] = seq
    return {file.sequence for file in states if newest[split_uri(file.path)[0], uri_key(file.path)] > file.sequence}


def waiting_replays(lake: Lake, table: str) -> list[FileVersion]:
    """The files that the next run will load again, in place of their old rows, for which somebody asked."""
    log = read_stream_log(lake.store, *split_uri(lake.settings.checkpoint_uri(table)))
    return [] if log is None else replays_of(Journal.at(lake.store, log.journal), log.stream, log.committed_seq)


def pending_replays(lake: Lake, table: str) -> bool:
    """Whether the next run will load a file whose old rows have to go.

    A batch that was planned and not finished still does: it is what the next run begins with.
    """
    newest = checkpoints.newest_offset(lake, table)
    if newest is None or "stream" not in newest:
        return False
    finished = checkpoints.last_finished(lake, table)  # not the whole log: that is a request for each of its batches
    after = finished.offset["seq"] if finished else 0
    return bool(replays_of(Journal.at(lake.store, newest["journal"]), newest["stream"], after))


def _names(file: FileState, pattern: str) -> bool:
    key = uri_key(file.path)
    return any(fnmatchcase(name, pattern) or name == pattern for name in (file.path, key, key.rsplit("/", 1)[-1]))
