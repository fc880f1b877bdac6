"""How soon files are noticed and loaded where events tell of them, and how many files no event told of."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import dagster as dg
import numpy as np

from lakehouse.dagster.landing import Folder
from lakehouse.dagster.resources import LakeResource
from lakehouse.errors import LakehouseError
from lakehouse.events.address import InboxAddress
from lakehouse.events.inbox import Reader
from lakehouse.events.places import opened
from lakehouse.flows.files import Files
from lakehouse.settings import Settings
from lakehouse.streams.progress import StreamReport
from lakehouse.table import Table

REQUEST, COMMIT = "put_to_run_request", "put_to_commit"
CHECK = "events_told_of_every_file"


def of_request(written: Iterable[datetime], now: datetime) -> dict[str, float]:
    """From the writing of files, by the store's clock, to the request for their run; for its tags."""
    return _percentiles(REQUEST, [max((now - at).total_seconds(), 0.0) for at in written])


def of_report(table: Table, report: StreamReport, tags: Mapping[str, str]) -> dict[str, float]:
    """The same, and from the writing of files to the end of their batch; nothing where no event told of a file.

    Args:
        table: Its declaration.
        report: What the run did.
        tags: Of the run.
    """
    if not isinstance(table.flow, Files) or not table.flow.by_events or not report.batches:
        return {}
    asked = {name: float(tags[name]) for name in _percentiles(REQUEST, [0.0]) if name in tags}
    return asked | _percentiles(COMMIT, [one for batch in report.batches for one in batch.latencies_seconds])


def check_of(folder: Folder) -> dg.AssetChecksDefinition:
    """The check of a landing folder whose files events tell of: whether its last listing found others."""

    @dg.asset_check(
        name=CHECK,
        asset=folder.key,
        description="The last listing behind the events found no file that no event had told of.",
    )
    def check(lake: LakeResource) -> dg.AssetCheckResult:
        try:
            readers = readers_of(lake.settings(), folder)
        except LakehouseError as error:
            return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=error.what)
        numbers = loss(readers)
        return dg.AssetCheckResult(
            passed=numbers["loss_rate"] == 0, severity=dg.AssetCheckSeverity.WARN, metadata=numbers
        )

    return check


def readers_of(settings: Settings, folder: Folder) -> list[Reader]:
    """Who reads a folder's events from the inbox.

    Raises:
        ConfigurationError, TransientError: the inbox cannot be opened.
    """
    with opened(InboxAddress.of(settings)) as inbox:
        return [one for one in inbox.readers() if one.name.rpartition(" ")[0] == folder.uri]


def loss(readers: Sequence[Reader]) -> dict[str, float]:
    """What events told of, and what they did not; of several readers of a folder the worst."""
    return {
        "loss_rate": max((one.loss_rate for one in readers), default=0.0),
        "files_by_events": max((one.told_in_all for one in readers), default=0),
        "files_not_told_of": max((one.lost_in_all for one in readers), default=0),
    }


def _percentiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    found = np.percentile(seconds, [50, 95]).tolist()
    return {f"{name}_p{part}_seconds": round(value, 3) for part, value in zip((50, 95), found, strict=True)}
