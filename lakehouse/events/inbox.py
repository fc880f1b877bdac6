"""The inbox: events in the order in which they were committed, and how far each reader has come.

Events are hints. The inbox may lose all of them, or have some twice: a reader then lists its folder.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from lakehouse.events.event import Event
from lakehouse.events.reader import Reader, Told

__all__ = ["KEPT_AT_LEAST", "KEPT_AT_MOST", "MOST_EVENTS", "Inbox", "Reader", "Told"]

KEPT_AT_LEAST = timedelta(hours=1)
"""An event that all readers have read stays so long: whoever only looks for new ones sees it, too."""
KEPT_AT_MOST = timedelta(days=7)
MOST_EVENTS = 1_000_000
"""About 300 MB; what is older goes, and a reader that has not read it lists its folder."""


class Inbox(Protocol):
    """What discovery, sensors and receiver need of an inbox; every call is a transaction of its own.

    Every call raises ``ConfigurationError`` where the inbox is damaged or none, and ``TransientError`` where it cannot
    be used now: its disk is full, it is locked, its server is away.
    """

    def put(self, events: Sequence[Event], now: datetime) -> int:
        """Keeps events durably before it returns; returns how many were not there yet."""
        ...

    def gather(self, patience_seconds: float = 0.0) -> None:
        """Takes in what waits elsewhere, where the inbox is filled by who reads it.

        Args:
            patience_seconds: How long an answer may take that nothing waits.
        """
        ...

    def wait(self, beyond: int, seconds: float) -> bool:
        """Waits for an event with a greater number, at most so long; returns whether there is one."""
        ...

    def last_number(self) -> int:
        """Number of the newest event ever put; 0 for none."""
        ...

    def forgotten_upto(self) -> int:
        """Number of the last event that was removed because of its age or of too many."""
        ...

    def read(self, bucket: str, prefix: str, after: int, upto: int, most: int) -> list[Told]:
        """Events ``after`` < number <= ``upto`` below a prefix, in order; at most so many."""
        ...

    def has(self, bucket: str, keys: Collection[str]) -> set[str]:
        """Those keys that an event in the inbox tells of."""
        ...

    def reader(self, name: str) -> Reader | None:
        """How far a reader has come."""
        ...

    def readers(self) -> list[Reader]:
        """All of them."""
        ...

    def advance(self, name: str, upto: int, seq: int, segment: str, told: int) -> None:
        """Makes durable that a reader's journal has all events up to ``upto``; it never goes back."""
        ...

    def listed(self, reader: Reader) -> None:
        """Makes durable what a reader knows after a listing of its whole folder; ``upto`` never goes back."""
        ...

    def prune(self, now: datetime) -> int:
        """Removes what all readers have read, what is too old, and what is too much; returns how many events."""
        ...

    def size(self) -> tuple[int, datetime | None, int]:
        """How many events it has, when the newest was made, and its bytes."""
        ...

    def close(self) -> None:
        """Ends its use; what was put stays."""
        ...
