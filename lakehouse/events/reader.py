"""The readers of an inbox, and the events that they read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lakehouse.events.event import Event


@dataclass(frozen=True)
class InboxEvent:
    """An event in the inbox.

    Attributes:
        number: Its number, which grows in the order of commits.
        event: What it says.
        received: When it was put, UTC.
    """

    number: int
    event: Event
    received: datetime


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
        told_in_all: New files that events told of, ever.
        lost_in_all: Files that listings found and no event had told of, ever.
        told_before: New files that events told of in the time that the last listing measured.
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
        """Share of files that had no event, as the last listing measured it."""
        return self.lost_before / max(self.lost_before + self.told_before, 1)
