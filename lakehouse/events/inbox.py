"""The inbox: events in the order in which they were committed, and how far each reader has come.

Events are hints. The inbox may lose all of them, or have some twice: a reader then lists its folder.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from lakehouse.events.event import Event
from lakehouse.events.reader import InboxEvent, Reader

__all__ = ["KEPT_AT_LEAST", "KEPT_AT_MOST", "MOST_EVENTS", "Inbox", "InboxEvent", "Reader"]

KEPT_AT_LEAST = timedelta(hours=1)
"""How long an event stays after all readers have read it: sensors, which are no readers, see it in that time."""
KEPT_AT_MOST = timedelta(days=7)
MOST_EVENTS = 1_000_000
"""About 300 MB. Older events are removed, and a reader that has not read them lists its folder."""


class Inbox(Protocol):
    """What discovery, sensors and receiver need of an inbox; every call is a transaction of its own.

    Every call raises ``ConfigurationError`` where the inbox is damaged or none, and ``TransientError`` where it cannot
    be used now: its disk is full, it is locked, its server is away.
    """

    def put(self, events: Sequence[Event], now: datetime) -> int:
        """Keeps events durably before it returns; returns how many were not there yet."""
        ...

    def gather(self, patience_seconds: float = 0.0) -> None:
        """Takes in events that wait elsewhere, where the inbox is filled by its readers.

        Args:
            patience_seconds: How long an answer may take that nothing waits.
        """
        ...

    def wait(self, beyond: int, seconds: float) -> bool:
        """Waits for an event with a greater number, at most so long; returns whether there is such an event."""
        ...

    def last_number(self) -> int:
        """Number of the newest event ever put; 0 for none."""
        ...

    def forgotten_upto(self) -> int:
        """Number of the last event that was removed because of its age or of too many."""
        ...

    def read(self, bucket: str, prefix: str, after: int, upto: int, most: int) -> list[InboxEvent]:
        """Events with ``after`` < number <= ``upto`` below a prefix, in order; ``most`` at most."""
        ...

    def has(self, bucket: str, keys: Collection[str]) -> set[str]:
        """Those of the keys that have an event in the inbox."""
        ...

    def reader(self, name: str) -> Reader | None:
        """The position of a reader."""
        ...

    def readers(self) -> list[Reader]:
        """The positions of all readers."""
        ...

    def advance(self, name: str, upto: int, seq: int, segment: str, notified_files: int) -> None:
        """Stores that a reader's journal has all events up to ``upto``; the number never goes back."""
        ...

    def listed(self, reader: Reader) -> None:
        """Stores the position of a reader after a listing of its whole folder; ``upto`` never goes back."""
        ...

    def prune(self, now: datetime) -> int:
        """Removes events that all readers have read, that are too old, or too many; returns how many were removed."""
        ...

    def size(self) -> tuple[int, datetime | None, int]:
        """How many events it has, when the newest was made, and its bytes."""
        ...

    def close(self) -> None:
        """Ends its use; what was put stays."""
        ...
