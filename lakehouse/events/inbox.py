"""The inbox: events in the order in which they were committed, and how far each reader has come.

Events are hints. The inbox may lose all of them, or have some twice: a reader then lists its folder.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lakehouse.events.event import Event


@dataclass(frozen=True)
class Told:
    """An event in the inbox: its number, which grows in the order of commits, and what it says."""

    number: int
    event: Event


@dataclass(frozen=True)
class Reader:
    """How far one journal has read one folder.

    Attributes:
        name: Names journal and folder.
        upto: Number of the last event that is in the journal.
        seq: Number of the journal's newest file then.
        segment: Id of the write that numbered it.
        listed_at: When the folder was listed whole.
        interval_seconds: How long until it is listed again; 0 for as long as the options say.
        told: Files that events brought since that listing.
        told_in_all: Files that events brought, ever.
        lost_in_all: Files that listings found and no event had told of, ever.
        told_before: Files that events had brought in the time that the last listing measured.
        lost_before: Files that it found and no event had told of.
    """

    name: str
    upto: int
    seq: int
    segment: str
    listed_at: datetime
    interval_seconds: float = 0.0
    told: int = 0
    told_in_all: int = 0
    lost_in_all: int = 0
    told_before: int = 0
    lost_before: int = 0

    @property
    def loss_rate(self) -> float:
        """Share of files that no event told of, as the last listing measured it."""
        return self.lost_before / max(self.lost_before + self.told_before, 1)


class Inbox(Protocol):
    """What discovery and receiver need of an inbox; every call is a transaction of its own."""

    def put(self, events: Sequence[Event], now: datetime) -> int:
        """Keeps events durably before it returns; returns how many were not there yet."""
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

    def advance(self, name: str, upto: int, seq: int, segment: str, told: int) -> None:
        """Makes durable that a reader's journal has all events up to ``upto``; it never goes back."""
        ...

    def listed(self, reader: Reader) -> None:
        """Makes durable what a reader knows after a listing of its whole folder; ``upto`` never goes back."""
        ...
