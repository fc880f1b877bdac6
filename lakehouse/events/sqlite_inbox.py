"""The inbox in a SQLite file: an event is on the disk before it is acknowledged to its sender."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.events.event import Event
from lakehouse.events.inbox import KEPT_AT_LEAST, KEPT_AT_MOST, MOST_EVENTS, InboxEvent, Reader
from lakehouse.processes import private_folder

_VERSION = 1
_BUSY_SECONDS = 30
_LOOK_SECONDS = 0.02
_KEYS = 500
_READER = ", ".join(field.name for field in fields(Reader))
_SCHEMA = """
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, key TEXT NOT NULL, e_tag TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, at REAL NOT NULL, sequencer TEXT NOT NULL, modified_milliseconds INTEGER,
    received REAL NOT NULL
);
CREATE UNIQUE INDEX each_once ON events (bucket, key, sequencer, e_tag);
CREATE TABLE readers (
    name TEXT PRIMARY KEY, upto INTEGER, seq INTEGER, segment TEXT, listed_at TEXT, interval_seconds REAL,
    told INTEGER, told_in_all INTEGER, lost_in_all INTEGER, told_before INTEGER, lost_before INTEGER
);
CREATE TABLE forgotten (upto INTEGER NOT NULL);
INSERT INTO forgotten VALUES (0);
"""


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise TransientError(
            f"the inbox of file events cannot be used now: {error}",
            where=str(path),
            state="nothing was lost: what it has is read again",
            next_command="see whether its disk is full, then run the same again",
        ) from None
    except sqlite3.Error as error:
        raise ConfigurationError(
            f"the inbox of file events is damaged: {error}",
            where=str(path),
            state="nothing was read or written",
            next_command="move the file away, then: lakehouse events enable; "
            "what events told is found by the listing that comes first",
        ) from None


class SqliteInbox:
    """An ``Inbox``; safe for threads, and for several processes on one machine.

    Args:
        path: The file.
        create: Whether a missing file is made.

    Raises:
        ConfigurationError: there is none, it is of another release, or damaged.
        TransientError: it is locked, or its disk is full.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        if not create and not path.is_file():
            raise ConfigurationError(
                "there is no inbox of file events",
                where=str(path),
                state="nothing was read or written",
                next_command="lakehouse events enable, or leave cloudFiles.useNotifications out: then files are listed",
            )
        if create:
            private_folder(path.parent)
            path.touch(mode=0o600)
        self._lock = threading.Lock()
        with _explained(path):
            self._opened = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._opened.execute("PRAGMA journal_mode=WAL")
                self._opened.execute("PRAGMA synchronous=FULL")
            except sqlite3.Error:
                self._opened.close()
                raise
        if (version := self._version()) == 0:
            with self._changing() as run:
                if self._opened.execute("PRAGMA user_version").fetchone() == (0,):
                    for statement in _SCHEMA.split(";"):
                        run.execute(statement)
                    run.execute(f"PRAGMA user_version={_VERSION}")
        if version not in (0, _VERSION):
            raise ConfigurationError(
                f"the inbox of file events is of another release: {version}",
                where=str(path),
                state="nothing was read or written",
                next_command="name another file in LAKEHOUSE_EVENTS_INBOX: what events told is found by a listing",
            )

    def close(self) -> None:
        """See ``Inbox``."""
        with self._lock:
            self._opened.close()

    def put(self, events: Sequence[Event], now: datetime) -> int:
        """See ``Inbox``."""
        identities = [(event.bucket, event.key, event.sequencer, event.e_tag) for event in events]
        rows = [(*_row(event), now.timestamp(), *known) for event, known in zip(events, identities, strict=True)]
        with self._changing() as run:
            before = run.total_changes
            run.executemany(
                "INSERT INTO events (bucket, key, e_tag, size_bytes, at, sequencer, modified_milliseconds, received) "
                # a conflict would use up a number, and wake those who wait for one
                "SELECT ?, ?, ?, ?, ?, ?, ?, ? WHERE NOT EXISTS "
                "(SELECT 1 FROM events WHERE bucket = ? AND key = ? AND sequencer = ? AND e_tag = ?)",
                rows,
            )
            return run.total_changes - before

    def gather(self, patience_seconds: float = 0.0) -> None:
        """See ``Inbox``: who receives fills it."""

    def wait(self, beyond: int, seconds: float) -> bool:
        """See ``Inbox``."""
        deadline = time.monotonic() + seconds
        while (there := SqliteInbox.last_number(self)) <= beyond and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(_LOOK_SECONDS, left))
        return there > beyond

    def last_number(self) -> int:
        """See ``Inbox``."""
        return self._number("SELECT seq FROM sqlite_sequence WHERE name = 'events'")

    def forgotten_upto(self) -> int:
        """See ``Inbox``."""
        return self._number("SELECT upto FROM forgotten")

    def read(self, bucket: str, prefix: str, after: int, upto: int, most: int) -> list[InboxEvent]:
        """See ``Inbox``."""
        found = self._rows(
            "SELECT number, received, bucket, key, e_tag, size_bytes, at, sequencer, modified_milliseconds FROM events "
            "WHERE number > ? AND number <= ? AND bucket = ? AND substr(key, 1, ?) = ? ORDER BY number LIMIT ?",
            (after, upto, bucket, len(prefix), prefix, most),
        )
        return [InboxEvent(row[0], _event(row[2:]), datetime.fromtimestamp(row[1], UTC)) for row in found]

    def has(self, bucket: str, keys: Collection[str]) -> set[str]:
        """See ``Inbox``."""
        wanted, there = list(keys), set()
        for start in range(0, len(wanted), _KEYS):
            part = wanted[start : start + _KEYS]
            marks = ", ".join("?" * len(part))
            rows = self._rows(f"SELECT DISTINCT key FROM events WHERE bucket = ? AND key IN ({marks})", (bucket, *part))
            there |= {key for (key,) in rows}
        return there

    def reader(self, name: str) -> Reader | None:
        """See ``Inbox``."""
        return next((entry for entry in self.readers() if entry.name == name), None)

    def readers(self) -> list[Reader]:
        """See ``Inbox``."""
        rows = self._rows(f"SELECT {_READER} FROM readers ORDER BY name", ())
        return [_reader(row) for row in rows]

    def advance(self, name: str, upto: int, seq: int, segment: str, notified_files: int) -> None:
        """See ``Inbox``."""
        with self._changing() as run:
            run.execute(
                "UPDATE readers SET upto = max(upto, ?), seq = ?, segment = ?, told = told + ?, "
                "told_in_all = told_in_all + ? WHERE name = ?",
                (upto, seq, segment, notified_files, notified_files, name),
            )

    def listed(self, reader: Reader) -> None:
        """See ``Inbox``."""
        values = [value.isoformat() if isinstance(value, datetime) else value for value in astuple(reader)]
        changed = ", ".join(f"{field.name} = excluded.{field.name}" for field in fields(Reader) if field.name != "upto")
        with self._changing() as run:
            run.execute(
                f"INSERT INTO readers ({_READER}) VALUES ({', '.join('?' * len(values))}) "
                f"ON CONFLICT (name) DO UPDATE SET upto = max(readers.upto, excluded.upto), {changed}",
                values,
            )

    def prune(self, now: datetime) -> int:
        """See ``Inbox``."""
        seen_before = (now - KEPT_AT_LEAST).timestamp()
        too_old = (now - KEPT_AT_MOST).timestamp()
        with self._changing() as run:
            before = run.total_changes
            run.execute(
                "DELETE FROM events WHERE received < ? AND number <= (SELECT coalesce(min(upto), 0) FROM readers)",
                (seen_before,),
            )
            [(gone,)] = run.execute(
                "SELECT max(coalesce((SELECT max(number) FROM events WHERE received < ?), 0), "
                "coalesce((SELECT number FROM events ORDER BY number DESC LIMIT 1 OFFSET ?), 0))",
                (too_old, MOST_EVENTS),
            ).fetchall()
            if gone:
                run.execute("DELETE FROM events WHERE number <= ?", (gone,))
            removed = run.total_changes - before
            if gone:
                run.execute("UPDATE forgotten SET upto = max(upto, ?)", (gone,))
            return removed

    def size(self) -> tuple[int, datetime | None, int]:
        """See ``Inbox``."""
        [(count, newest)] = self._rows("SELECT count(*), max(at) FROM events", ())
        return count, datetime.fromtimestamp(newest, UTC) if newest else None, self.path.stat().st_size

    def _version(self) -> int:
        return self._number("PRAGMA user_version")

    def _number(self, query: str) -> int:
        return int(next(iter(self._rows(query, ())), (0,))[0])

    def _rows(self, query: str, values: Sequence[object]) -> list[tuple]:
        with _explained(self.path), self._lock, closing(self._opened.execute(query, values)) as found:
            return found.fetchall()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with _explained(self.path), self._lock:
            self._opened.execute("BEGIN IMMEDIATE")
            try:
                yield self._opened
                self._opened.execute("COMMIT")
            finally:
                if self._opened.in_transaction:  # a disk that is full has ended it already
                    self._opened.execute("ROLLBACK")


def _reader(row: Sequence) -> Reader:
    name, upto, seq, segment, listed_at, *rest = row
    return Reader(name, upto, seq, segment, datetime.fromisoformat(listed_at), *rest)


def _row(event: Event) -> tuple:
    modified = round(event.modified.timestamp() * 1000) if event.modified else None
    return event.bucket, event.key, event.e_tag, event.size_bytes, event.at.timestamp(), event.sequencer, modified


def _event(row: Sequence) -> Event:
    bucket, key, e_tag, size, at, sequencer, milliseconds = row
    modified = None
    if milliseconds is not None:
        modified = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return Event(bucket, key, e_tag, size, datetime.fromtimestamp(at, UTC), sequencer, modified)
