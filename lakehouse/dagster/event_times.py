"""How soon files are noticed and loaded where events tell of them, and how many files no event told of."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np

from lakehouse.dagster.landing import Folder
from lakehouse.dagster.notified import readers_in
from lakehouse.events.address import InboxAddress
from lakehouse.events.inbox import Reader
from lakehouse.events.places import opened
from lakehouse.flows.files import Files
from lakehouse.settings import Settings
from lakehouse.streams.progress import StreamReport
from lakehouse.table import Table

REQUEST, COMMIT = "put_to_run_request", "put_to_commit"
AT, AFTER = "run_requested_at", "run_request_to_commit_seconds"


def of_request(written: Iterable[datetime], now: datetime) -> dict[str, float]:
    """From the writing of files, by the store's clock, to the request for their run; for its tags."""
    return _percentiles(REQUEST, [max((now - at).total_seconds(), 0.0) for at in written])


def tags_of_request(written: Iterable[datetime], now: datetime) -> dict[str, str]:
    """The same as tags, with the time of the request; none where no event told of a file."""
    asked = of_request(written, now)
    return {name: str(value) for name, value in asked.items()} | ({AT: now.isoformat()} if asked else {})


def of_report(table: Table, report: StreamReport, tags: Mapping[str, str], now: datetime) -> dict[str, float]:
    """The same, from the request to the table's commit, and from the writing of files to it.

    For a table of files they are the files of its batches. For a table behind it, silver or gold, they are those
    that the run was asked for. Nothing where no event told of a file.

    Args:
        table: Its declaration.
        report: What the run did.
        tags: Of the run.
        now: When the table was committed.
    """
    flow = table.flow
    if not report.batches or (isinstance(flow, Files) and not flow.by_events):
        return {}
    asked = {name: float(tags[name]) for name in _percentiles(REQUEST, [0.0]) if name in tags}
    after = round(max((now - datetime.fromisoformat(tags[AT])).total_seconds(), 0.0), 3) if AT in tags else None
    found = asked | ({} if after is None else {AFTER: after})
    if isinstance(flow, Files):
        return found | _percentiles(COMMIT, [delay for batch in report.batches for delay in batch.latencies_seconds])
    if after is None:
        return {}
    return found | {name.replace(REQUEST, COMMIT): round(value + after, 3) for name, value in asked.items()}


def readers_of(settings: Settings, folder: Folder) -> list[Reader]:
    """Who reads a folder's events from the inbox.

    Raises:
        ConfigurationError, TransientError: the inbox cannot be opened.
    """
    with opened(InboxAddress.of(settings)) as inbox:
        return readers_in(inbox, folder)


def loss(readers: Sequence[Reader]) -> dict[str, float]:
    """What events told of, and what they did not; of several readers of a folder the worst."""
    return {
        "loss_rate": max((reader.loss_rate for reader in readers), default=0.0),
        "files_by_events": max((reader.told_in_all for reader in readers), default=0),
        "files_not_told_of": max((reader.lost_in_all for reader in readers), default=0),
    }


def _percentiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    found = np.percentile(seconds, [50, 95]).tolist()
    return {f"{name}_p{part}_seconds": round(value, 3) for part, value in zip((50, 95), found, strict=True)}
