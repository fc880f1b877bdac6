"""Metrics of the inbox of events: what is unread, and how many files no event told of."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.events.address import InboxAddress
from lakehouse.events.places import opened
from lakehouse.service.families import counters, gauges
from lakehouse.settings import Settings

_COUNTERS = {
    "files": "Files that events told of",
    "lost_files": "Files that a listing found, and no event had told of",
}
_GAUGES = {
    "unread": "Events that the reader has not read",
    "loss_ratio": "Share of files that no event told of, as the last listing measured it",
    "listed_timestamp_seconds": "When the folder was listed whole",
}


def event_metrics(settings: Settings) -> Iterator[Metric]:
    """The readers of the inbox; nothing where the inbox is missing, or cannot be read now."""
    address = InboxAddress.of(settings)
    if address.file is not None and not address.file.is_file():
        return
    try:
        with opened(address) as inbox:
            readers, last = inbox.readers(), inbox.last_number()
    except (ConfigurationError, TransientError):
        return
    samples = [
        {
            "reader": reader.name,
            "files": reader.told_in_all,
            "lost_files": reader.lost_in_all,
            "unread": max(last - reader.upto, 0),
            "loss_ratio": reader.loss_rate,
            "listed_timestamp_seconds": reader.listed_at.timestamp(),
        }
        for reader in readers
    ]
    yield from counters("lakehouse_events", _COUNTERS, samples, ["reader"])
    yield from gauges("lakehouse_events", _GAUGES, samples, ["reader"])
