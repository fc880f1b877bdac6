"""Marks of services in the lake: for each table of a service an object with its process, its start and its state.

A mark lies beside the table's lease, and is written once a minute. A service that is asked to end removes its marks.
So a mark without a living process is of a service that was killed, or that ended with an error.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.errors import LakehouseError, StoreUnavailable
from lakehouse.lake import Lake
from lakehouse.storage import ObjectMissing, ObjectStore
from lakehouse.storage.lease_holder import Holder, birth_of, this_host

_EVERY_SECONDS = 60.0
_MISSED = 3
_NOT_YET = ("starting",)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServiceMark:
    """The last mark of a service for a table.

    Attributes:
        table: The table.
        tables: All that the service keeps up to date.
        trigger: When it makes batches.
        holder: Its process.
        every_seconds: How often the mark is written.
        stale_after_seconds: How long its stream may neither work nor look for input.
        state: Of the stream: ``running``, ``waiting``, ``restarting``, ``failed``, ``stopped``.
        seconds_since_look: From the stream's last work, or look for input, to the writing of the mark.
        seconds_since_batch: From its last batch to the writing of the mark; None before the first.
        last_batch_id: Number of its last batch.
        batches, restarts: How many since the service began.
        last_error: What stopped the stream last; empty when it works.
        ended: The error that ended the service; empty while it runs.
    """

    table: str
    tables: tuple[str, ...]
    trigger: str
    holder: Holder
    every_seconds: float
    stale_after_seconds: float
    state: str
    seconds_since_look: float
    seconds_since_batch: float | None = None
    last_batch_id: int | None = None
    batches: int = 0
    restarts: int = 0
    last_error: str = ""
    ended: str = ""

    def encoded(self) -> bytes:
        """The mark as the object's content."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decoded(cls, content: bytes) -> ServiceMark | None:
        """The mark in an object's content; None when that is no mark."""
        try:
            record = dict(json.loads(content))
            holder = Holder.decoded(json.dumps(record["holder"]).encode())
            known = {field.name: record[field.name] for field in fields(cls) if field.name in record}
            mark = cls(**{**known, "tables": tuple(map(str, record["tables"])), "holder": holder})
            numbers = (mark.every_seconds, mark.stale_after_seconds, mark.seconds_since_look)
            return mark if holder is not None and sum(numbers) >= 0 else None
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True)
class Service:
    """A service of a table, as it looks from here.

    Attributes:
        mark: Its last mark.
        mark_age_seconds: How long ago that was written, by the store's clock.
    """

    mark: ServiceMark
    mark_age_seconds: float

    @property
    def look_seconds(self) -> float:
        """How long ago its stream had worked, or looked for input."""
        return self.mark_age_seconds + self.mark.seconds_since_look

    @property
    def batch_seconds(self) -> float | None:
        """How long ago its last batch was; None before the first."""
        since = self.mark.seconds_since_batch
        return None if since is None else self.mark_age_seconds + since

    @property
    def dead(self) -> bool:
        """Whether it ended without being asked to."""
        return bool(self.mark.ended) or self.mark.holder.lives() is False

    @property
    def silent(self) -> bool:
        """Whether it writes no mark, or its stream does nothing. Of a dead service elsewhere no more is known."""
        quiet = self.mark_age_seconds > _MISSED * self.mark.every_seconds
        return quiet or self.look_seconds > self.mark.stale_after_seconds

    @property
    def command(self) -> str:
        """What starts it again."""
        trigger = f" --trigger {self.mark.trigger}" if self.mark.trigger else ""
        return f"lakehouse stream {' '.join(self.mark.tables)}{trigger}"

    def described(self) -> str:
        """``pid 7 on lake1 since ..., looked 3 s ago, batch 41 12 s ago``."""
        batch = "no batch yet"
        if self.batch_seconds is not None:
            batch = f"batch {self.mark.last_batch_id} {self.batch_seconds:,.0f} s ago"
        return f"{self.mark.holder.described()}, looked {self.look_seconds:,.0f} s ago, {batch}"

    def evidence(self) -> dict[str, Any]:
        """Figures, with their units."""
        mark, since = self.mark, self.batch_seconds
        return {
            "pid": mark.holder.pid,
            "host": mark.holder.host.split("/")[0],
            "state": mark.state,
            "said_seconds": round(self.mark_age_seconds),
            "last_look_seconds": round(self.look_seconds),
            "last_batch": mark.last_batch_id,
            "last_batch_seconds": None if since is None else round(since),
            "batches": mark.batches,
            "restarts": mark.restarts,
            "last_error": mark.last_error[:200] or None,
        }


def service_of(store: ObjectStore, lake: Lake, table: str, now: datetime) -> Service | None:
    """The service that keeps a table up to date, or that ended without being asked to; None without one."""
    bucket, key = lake.settings.bucket, _key(lake, table)
    try:
        mark = ServiceMark.decoded(store.read(bucket, key))
    except ObjectMissing:
        return None
    # a listing knows milliseconds, a HEAD seconds
    info = next((listed for listed in store.list(bucket, key) if listed.key == key), None)
    return (
        None
        if mark is None or info is None
        else Service(mark, max((now - info.last_modified) / timedelta(seconds=1), 0.0))
    )


def forget_dead(lake: Lake, tables: Iterable[str], now: datetime) -> list[Service]:
    """Removes the marks of dead services for these tables, and of silent services on other machines; returns them."""
    found = [service for table in tables if (service := service_of(lake.store, lake, table, now)) is not None]
    gone = [service for service in found if service.dead or (service.silent and service.mark.holder.lives() is None)]
    for service in gone:
        lake.store.delete(lake.settings.bucket, _key(lake, service.mark.table))
    return gone


@contextmanager
def leaving_marks(
    lake: Lake,
    health: Callable[[], Sequence[Mapping[str, Any]]],
    trigger: str,
    stale_after: timedelta,
    *,
    every_seconds: float = _EVERY_SECONDS,
) -> Iterator[None]:
    """Writes marks while the body runs. An error in doing so never makes a service fail.

    Args:
        lake: Where the tables are.
        health: Gives ``StreamHealth.as_dict`` of each stream.
        trigger: When batches are made.
        stale_after: How long a stream may neither work nor look for input.
        every_seconds: How often marks are written.
    """
    end, pid = threading.Event(), os.getpid()
    holder = Holder(uuid.uuid4().hex, "", this_host(), pid, birth_of(pid) or "", time.time(), _MISSED * every_seconds)
    ours: set[str] = set()

    def say(ended: str = "") -> None:
        streams = health()
        for stream in streams:
            if stream["state"] in _NOT_YET or not (stream["begun"] or stream["table"] in ours):
                continue  # another service may have the table
            mark = ServiceMark(
                table=stream["table"],
                tables=tuple(record["table"] for record in streams),
                trigger=trigger,
                holder=replace(holder, owner=stream["table"]),
                every_seconds=every_seconds,
                stale_after_seconds=stale_after.total_seconds(),
                state=stream["state"],
                seconds_since_look=stream["seconds_since_progress"],
                seconds_since_batch=stream["seconds_since_batch"],
                last_batch_id=stream["last_batch_id"],
                batches=stream["batches"],
                restarts=stream["restarts"],
                last_error=stream["last_error"] or "",
                ended=ended,
            )
            lake.store.write(lake.settings.bucket, _key(lake, stream["table"]), mark.encoded())
            ours.add(stream["table"])

    def safely(do: Callable[[], None]) -> None:
        nonlocal lake
        try:
            do()
        except Exception as error:  # of whatever kind: the thread goes on, and the end of the service is its own
            what = error.what if isinstance(error, LakehouseError) else f"{type(error).__name__}: {error}"
            _log.warning("what this service is doing is not in the lake: %s", what)
            if isinstance(error, StoreUnavailable):
                with suppress(Exception):  # a store that was started again may have another address
                    lake = Lake.open(lake.settings)

    def run() -> None:
        pause = min(1.0, every_seconds)  # the first mark comes soon
        while not end.wait(pause):
            safely(say)
            pause = every_seconds if ours else pause

    def take_away() -> None:
        for table in ours:
            there = service_of(lake.store, lake, table, datetime.now(UTC))
            if there is not None and there.mark.holder.id == holder.id:  # not the mark of a service that came since
                lake.store.delete(lake.settings.bucket, _key(lake, table))

    thread = threading.Thread(target=run, name="service marks", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        why = error.what if isinstance(error, LakehouseError) else type(error).__name__
        end.set()
        thread.join(every_seconds)
        safely(lambda: say(why))
        raise
    else:
        end.set()
        thread.join(every_seconds)
        safely(take_away)
    finally:
        end.set()


def _key(lake: Lake, table: str) -> str:
    return f"{lake.settings.user}/_checkpoints/{table}.service"
