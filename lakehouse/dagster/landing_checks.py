"""The check of a landing folder that events tell of: whether listings find files that no event had told of."""

from datetime import UTC, datetime

import dagster as dg

from lakehouse.autoloader.context import Source
from lakehouse.autoloader.files.reconcile import Reconciled, reconcile
from lakehouse.dagster.event_times import loss
from lakehouse.dagster.landing import Folder
from lakehouse.dagster.notified import readers_in
from lakehouse.dagster.resources import LakeResource
from lakehouse.errors import LakehouseError
from lakehouse.events.address import InboxAddress
from lakehouse.events.inbox import Inbox
from lakehouse.events.places import opened
from lakehouse.flows.files import Files
from lakehouse.lake import Lake
from lakehouse.settings import Settings

CHECK = "events_told_of_every_file"


def check_of(folder: Folder, ingest: str) -> dg.AssetChecksDefinition:
    """The check of a folder.

    Args:
        folder: What is examined.
        ingest: Name of the job whose runs only look at what the streams' own listings found; any other run, as of the
            check alone, lists.
    """

    @dg.asset_check(
        name=CHECK,
        asset=folder.key,
        description="The last listing behind the events found no file that no event had told of. Run alone, the check "
        "lists the folder and holds all files against journal and inbox; it writes nothing.",
    )
    def check(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
        listing = context.run.job_name != ingest
        return examined(lake.settings(), folder, datetime.now(UTC), lake.open() if listing else None)

    return check


def examined(settings: Settings, folder: Folder, now: datetime, lake: Lake | None = None) -> dg.AssetCheckResult:
    """What the last listings behind the events found; with a lake the folder is listed, too."""
    try:
        with opened(InboxAddress.of(settings)) as inbox:
            numbers = loss(readers_in(inbox, folder))
            found = _reconciled(lake, folder, inbox, now) if lake is not None else None
    except LakehouseError as error:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=error.what)
    said = None
    if found is not None:
        numbers |= {"files_listed": found.listed, "files_in_no_journal": found.in_no_journal}
        numbers["of_these_not_told_of"] = found.not_told_of
        if found.not_told_of:
            said = f"{found.not_told_of:,} files wait for the next listing, as no event tells of them"
    passed = numbers["loss_rate"] == 0 and said is None
    return dg.AssetCheckResult(passed=passed, severity=dg.AssetCheckSeverity.WARN, metadata=numbers, description=said)


def _reconciled(lake: Lake, folder: Folder, inbox: Inbox, now: datetime) -> Reconciled:
    sources = [
        Source(table.flow.cloud_files(lake.settings, table.name), None, endpoint=lake.endpoint)
        for table in folder.fed
        if isinstance(table.flow, Files)
    ]
    begun = {source.journal_uri: source.journal for source in sources if source.journal.high_water}
    return reconcile(sources[0].store, sources[0].path, [*begun.values()], inbox, folder.takes(), now)
