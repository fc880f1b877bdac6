"""What is looked at: a ward is the whole lake, a patient one table of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import pyarrow as pa

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.journal_reader import JournalUnsettled
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.doctor.watching import WatchedLake, WatchingStore
from lakehouse.flows.files import Files
from lakehouse.lake import LakeTable, adds_of
from lakehouse.storage import ObjectInfo, ObjectMissing, ObjectStore
from lakehouse.storage.delta_paths import log_uri
from lakehouse.storage.lease_holder import Holder
from lakehouse.streams.services import Service, service_of
from lakehouse.table import Catalogue, Table


@dataclass
class Ward:
    """The whole lake.

    Attributes:
        lake: The lake, read only and remembered; see ``WatchedLake``.
        store: Its store, read only and remembered; see ``WatchingStore``.
        unwatched: The store itself, for what must be asked anew.
        catalogue: What is declared.
        named: Whether the user named tables, which are looked at in full then.
        now: The time, UTC.
    """

    lake: WatchedLake
    store: WatchingStore
    unwatched: ObjectStore
    catalogue: Catalogue
    named: bool = False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self._journals: dict[str, Journal] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def journal(self, uri: str) -> Journal:
        """The journal in that folder, opened once for all tables that read by it.

        Raises:
            SegmentUnreadable, JournalUnsettled: it is damaged.
        """
        with self._lock:
            lock = self._locks.setdefault(uri, threading.Lock())
        with lock:
            if uri not in self._journals:
                try:
                    self._journals[uri] = Journal.at(self.store, uri)
                except JournalUnsettled:  # another process may be merging it: read again, not from memory
                    self._journals[uri] = Journal.at(self.unwatched, uri)
            return self._journals[uri]


class Patient:
    """A declared table. Each thing is read once, and only when a probe asks for it.

    Args:
        ward: Where it is.
        table: Its declaration.
    """

    def __init__(self, ward: Ward, table: Table) -> None:
        self.ward, self.table, self.name = ward, table, table.name
        self.lake, self.store, self.settings = ward.lake, ward.store, ward.lake.settings
        self.files = table.flow if isinstance(table.flow, Files) else None
        self.streams = getattr(table.flow, "mode", "stream") == "stream"

    @cached_property
    def checkpoint(self) -> tuple[ObjectInfo, ...]:
        """The objects of its checkpoint; this one listing answers for every part of it."""
        return tuple(self.store.list(self.settings.bucket, checkpoints.object_key(self.lake, self.name, "")))

    @cached_property
    def opened(self) -> LakeTable | None:
        """The Delta table."""
        return self.lake.delta(self.name)

    @cached_property
    def state(self) -> checkpoints.CheckpointState | None:
        """Where its stream stands; None where that cannot be read."""
        _ = self.checkpoint
        with suppress(checkpoints.CheckpointMismatch):
            return checkpoints.read_checkpoint(self.lake, self.name)
        return None

    @cached_property
    def offset(self) -> dict[str, Any] | None:
        """Where the newest planned batch ends; None where nothing says it."""
        _ = self.checkpoint
        with suppress(ValueError):
            return checkpoints.newest_offset(self.lake, self.name)
        return None

    @cached_property
    def finished(self) -> dict[str, Any] | None:
        """Where the newest finished batch ends; None before the first."""
        if self.state is None or self.state.last_commit is None:
            return None
        if self.state.last_commit == self.state.last_offset:
            return self.offset
        with suppress(ValueError, ObjectMissing):
            return checkpoints.planned(self.lake, self.name, self.state.last_commit).offset
        return None

    @cached_property
    def adds(self) -> pa.Table:
        """The data files of the newest version, with their statistics; none without a table."""
        return adds_of(self.opened) if self.opened else pa.table({})

    @cached_property
    def log(self) -> tuple[ObjectInfo, ...]:
        """The newest objects of Delta's log: those of the last hundreds of versions."""
        if self.opened is None:
            return ()
        bucket, folder = split_uri(log_uri(self.settings.table_uri(self.name)))
        since = f"{folder}{max(self.opened.version() - _LOG_VERSIONS, 0):020d}"
        return tuple(self.store.list(bucket, folder, start_after=since))

    @cached_property
    def last_commit_at(self) -> datetime | None:
        """When the newest version was written, by the store's clock."""
        return max((info.last_modified for info in self.log if info.key.endswith(".json")), default=None)

    @cached_property
    def holder(self) -> Holder | None:
        """Who has the table's lease, or gave it back last; None where the object is missing, or is no lease."""
        with suppress(ObjectMissing):
            return Holder.decoded(self.store.read(self.settings.bucket, self.lease_key))
        return None

    @cached_property
    def service(self) -> Service | None:
        """The service that keeps it up to date, or that ended without being asked to."""
        return service_of(self.store, self.lake, self.name, self.ward.now)

    @property
    def lease_key(self) -> str:
        """The key of its lease."""
        return f"{self.settings.user}/_checkpoints/{self.name}.lease"

    @property
    def is_written_now(self) -> bool:
        """Whether a process of this machine that lives has the lease."""
        return self.holder is not None and not self.holder.released and self.holder.lives() is True

    @property
    def patience(self) -> timedelta:
        """How long files may wait: the table's ``freshness``, or an hour, which is what the schedule promises."""
        return self.table.freshness or _SCHEDULE

    @property
    def is_on_demand(self) -> bool:
        """Whether no schedule brings it up to date, and no freshness is promised: then its files may wait."""
        return self.table.on_demand and self.table.freshness is None

    def age(self, at: datetime) -> timedelta:
        """How long ago that was."""
        return self.ward.now - at

    def times(self, folder: str) -> dict[int, datetime]:
        """When each batch's object in a folder of the checkpoint was written."""
        prefix = checkpoints.object_key(self.lake, self.name, folder + "/")
        named = ((info.key.removeprefix(prefix), info) for info in self.checkpoint if info.key.startswith(prefix))
        return {int(name): info.last_modified for name, info in named if name.isdigit()}


_LOG_VERSIONS = 200
_SCHEDULE = timedelta(hours=1)


def in_seconds(length: timedelta) -> int:
    """Whole seconds, for evidence."""
    return round(length.total_seconds())


def some(names: Iterable[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most:,} more" if len(listed) > most else "")
