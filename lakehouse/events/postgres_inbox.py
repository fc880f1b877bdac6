"""The inbox in PostgreSQL: MinIO itself writes the rows, a trigger numbers them in the order of commits."""

from __future__ import annotations

import select
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

from lakehouse.errors import ConfigurationError, LakehouseError, TransientError
from lakehouse.events.address import InboxAddress
from lakehouse.events.event import Event, Malformed, events_of, record_of
from lakehouse.events.inbox import KEPT_AT_LEAST, KEPT_AT_MOST, MOST_EVENTS, InboxEvent, Reader
from lakehouse.events.postgres_schema import EVENTS, LOCK, SCHEMA, VERSION
from lakehouse.extras import needing

with needing("events", "an inbox in PostgreSQL"):
    import psycopg2
    from psycopg2.extras import execute_values

_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 60
_PRUNED_EVERY_SECONDS = 60
_READER = ", ".join(field.name for field in fields(Reader))
_MARK = "md5({} || E'\\n' || {})::uuid"


class PostgresInbox:
    """An ``Inbox``; safe for threads, and for processes on any machine.

    Args:
        address: The database.
        create: Whether the tables are made where they are missing.

    Raises:
        ConfigurationError: there are none, or they are of another release.
        TransientError: the server does not answer.
    """

    def __init__(self, address: InboxAddress, *, create: bool = False) -> None:
        self._address, self._lock, self._listens = address, threading.Lock(), False
        self._connection: Any = None
        if create:
            self._run(f"SELECT pg_advisory_xact_lock({LOCK}); {SCHEMA}")
        [(there,)] = self._rows("SELECT to_regclass('lakehouse_events_state')::text")
        if there is None:
            raise ConfigurationError(
                "there is no inbox of file events",
                where=address.public,
                state="nothing was read or written",
                next_command="lakehouse events enable, or leave cloudFiles.useNotifications out: then files are listed",
            )
        if (version := self._number("SELECT version FROM lakehouse_events_state")) != VERSION:
            raise ConfigurationError(
                f"the inbox of file events is of another release: {version}",
                where=address.public,
                state="nothing was read or written",
                next_command="name another database in LAKEHOUSE_EVENTS_INBOX: what events told is found by a listing",
            )

    def close(self) -> None:
        """See ``Inbox``."""
        with self._lock:
            self._disconnect()

    def put(self, events: Sequence[Event], now: datetime) -> int:
        """See ``Inbox``: rows as MinIO writes them."""
        rows = [(event.at, record_of(event), _milliseconds(event), now) for event in events]
        if not rows:
            return 0
        with self._running() as run:
            statement = (
                f"INSERT INTO {EVENTS} (event_time, event_data, modified_milliseconds, received) VALUES %s RETURNING 1"
            )
            return len(execute_values(run, statement, rows, page_size=len(rows), fetch=True))

    def gather(self, patience_seconds: float = 0.0) -> None:
        """See ``Inbox``: MinIO fills it."""

    def wait(self, beyond: int, seconds: float) -> bool:
        """See ``Inbox``."""
        with self._running() as run:
            if not self._listens:
                run.execute(f"LISTEN {EVENTS}")
                self._listens = True
            self._connection.notifies.clear()
        if self.last_number() > beyond:
            return True
        with self._running():
            if not self._connection.notifies and not select.select([self._connection], [], [], seconds)[0]:
                return False
            self._connection.poll()
        return self.last_number() > beyond

    def last_number(self) -> int:
        """See ``Inbox``."""
        return self._number(
            f"SELECT greatest(removed_upto, (SELECT max(number) FROM {EVENTS})) FROM lakehouse_events_state"
        )

    def forgotten_upto(self) -> int:
        """See ``Inbox``."""
        return self._number("SELECT forgotten_upto FROM lakehouse_events_state")

    def read(self, bucket: str, prefix: str, after: int, upto: int, most: int) -> list[InboxEvent]:
        """See ``Inbox``."""
        found: list[InboxEvent] = []
        while len(found) < most:
            rows = self._rows(
                f"SELECT number, received, event_data::text, modified_milliseconds FROM {EVENTS} WHERE number > %s "
                "AND number <= %s AND bucket = %s AND starts_with(key, %s) ORDER BY number LIMIT %s",
                (after, upto, bucket, quote_plus(prefix), left := most - len(found)),
            )
            found += [
                entry for row in rows if (entry := _event_of(*row)) is not None and entry.event.key.startswith(prefix)
            ]
            if len(rows) < left:
                break
            after = rows[-1][0]
        return found

    def has(self, bucket: str, keys: Collection[str]) -> set[str]:
        """See ``Inbox``."""
        by_name = {quote_plus(key): key for key in keys}
        rows = self._rows(
            f"SELECT DISTINCT wanted.key FROM unnest(%s::text[]) AS wanted(key) JOIN {EVENTS} AS one "
            f"ON one.place = {_MARK.format('%s', 'wanted.key')}",
            (list(by_name), bucket),
        )
        return {by_name[key] for (key,) in rows}

    def reader(self, name: str) -> Reader | None:
        """See ``Inbox``."""
        rows = self._rows(f"SELECT {_READER} FROM lakehouse_events_readers WHERE name = %s", (name,))
        return Reader(*rows[0]) if rows else None

    def readers(self) -> list[Reader]:
        """See ``Inbox``."""
        return [Reader(*row) for row in self._rows(f"SELECT {_READER} FROM lakehouse_events_readers ORDER BY name")]

    def advance(self, name: str, upto: int, seq: int, segment: str, notified_files: int) -> None:
        """See ``Inbox``."""
        self._run(
            "UPDATE lakehouse_events_readers SET upto = greatest(upto, %s), seq = %s, segment = %s, told = told + %s, "
            "told_in_all = told_in_all + %s WHERE name = %s",
            (upto, seq, segment, notified_files, notified_files, name),
        )
        self._prune_when_due()

    def listed(self, reader: Reader) -> None:
        """See ``Inbox``."""
        values = astuple(reader)
        changed = ", ".join(f"{field.name} = excluded.{field.name}" for field in fields(Reader) if field.name != "upto")
        self._run(
            f"INSERT INTO lakehouse_events_readers AS held ({_READER}) VALUES ({', '.join(['%s'] * len(values))}) "
            f"ON CONFLICT (name) DO UPDATE SET upto = greatest(held.upto, excluded.upto), {changed}",
            values,
        )
        self._prune_when_due()

    def prune(self, now: datetime) -> int:
        """See ``Inbox``."""
        with self._running() as run:
            run.execute(
                f"""
                WITH bounds AS (
                    SELECT coalesce((SELECT min(upto) FROM lakehouse_events_readers), 0) AS seen, greatest(
                        coalesce((SELECT max(number) FROM {EVENTS} WHERE received < %s), 0),
                        coalesce((SELECT number FROM {EVENTS} ORDER BY number DESC LIMIT 1 OFFSET %s), 0)) AS gone
                ), removed AS (
                    DELETE FROM {EVENTS} USING bounds
                    WHERE number <= gone OR (received < %s AND number <= seen) RETURNING number
                ), noted AS (
                    UPDATE lakehouse_events_state SET pruned_at = now(),
                        forgotten_upto = greatest(forgotten_upto, (SELECT gone FROM bounds)),
                        removed_upto = greatest(removed_upto, (SELECT max(number) FROM removed))
                ) SELECT count(*) FROM removed
                """,
                (now - KEPT_AT_MOST, MOST_EVENTS, now - KEPT_AT_LEAST),
            )
            return int(run.fetchone()[0])

    def size(self) -> tuple[int, datetime | None, int]:
        """See ``Inbox``."""
        [(count, newest, size)] = self._rows(
            f"SELECT count(*), max(event_time), pg_total_relation_size('{EVENTS}') FROM {EVENTS}"
        )
        return count, newest.astimezone(UTC) if newest else None, size

    def _prune_when_due(self) -> None:
        due = self._rows(
            "UPDATE lakehouse_events_state SET pruned_at = now() "
            f"WHERE pruned_at < now() - interval '{_PRUNED_EVERY_SECONDS} s' RETURNING 1"
        )
        if due:
            self.prune(datetime.now(UTC))

    def _number(self, query: str) -> int:
        return int(self._rows(query)[0][0] or 0)

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple]:
        with self._running() as run:
            run.execute(query, values)
            return run.fetchall()

    def _run(self, statement: str, values: Sequence[object] = ()) -> None:
        with self._running() as run:
            run.execute(statement, values)

    @contextmanager
    def _running(self) -> Iterator[Any]:
        with self._lock:
            try:
                if self._connection is None or self._connection.closed:
                    self._connect()
                with self._connection.cursor() as run:
                    yield run
            except psycopg2.Error as error:
                self._disconnect()
                raise self._explained(error) from None

    def _connect(self) -> None:
        self._listens = False
        self._connection = psycopg2.connect(
            self._address.secret.get_secret_value(), connect_timeout=_CONNECT_SECONDS, application_name="lakehouse"
        )
        self._connection.autocommit = True
        with self._connection.cursor() as run:
            # an event is acknowledged only when it is on the disk, whatever the database's own setting
            run.execute(f"SET synchronous_commit = on; SET statement_timeout = '{_STATEMENT_SECONDS}s'")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _explained(self, error: psycopg2.Error) -> LakehouseError:
        message = self._address.without_secrets(str(error).strip().partition("\n")[0])
        if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
            return TransientError(
                f"the inbox of file events cannot be used now: {message}",
                where=self._address.public,
                state="nothing was lost: what it has is read again",
                next_command="see whether the database answers, then run the same again",
            )
        return ConfigurationError(
            f"the inbox of file events cannot be used: {message}",
            where=self._address.public,
            state="nothing was read or written",
            next_command="correct LAKEHOUSE_EVENTS_INBOX or the rights in the database, then: lakehouse events enable",
        )


def _milliseconds(event: Event) -> int | None:
    return round(event.modified.timestamp() * 1000) if event.modified else None


def _event_of(number: int, received: datetime, data: str, milliseconds: int | None) -> InboxEvent | None:
    """The row's event; None where it is of no new file, or is not in MinIO's form."""
    try:
        events, _ = events_of(data.encode(), milliseconds)
    except Malformed:
        return None
    return InboxEvent(number, events[0], received.astimezone(UTC)) if len(events) == 1 else None
