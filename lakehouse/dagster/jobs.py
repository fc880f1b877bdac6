"""The jobs and schedules: all tables up to date, and maintenance, each in one process on the warm engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.settings import Settings

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

INGEST = "ingest"


def ingest_job(
    name: str,
    keys: Sequence[dg.AssetKey],
    settings: Settings,
    folder_checks: Sequence[dg.AssetChecksDefinition] = (),
) -> UnresolvedAssetJobDefinition:
    """Brings tables up to date, each followed by its checks, and examines the landing folders by theirs.

    Its description says which lake that is: the resource shows only the fields that somebody set.
    """
    store = settings.s3_endpoint or f"the embedded store ({settings.store})"
    selection: dg.AssetSelection = dg.AssetSelection.assets(*keys)
    return dg.define_asset_job(
        name,
        selection=selection | dg.AssetSelection.checks(*folder_checks) if folder_checks else selection,
        executor_def=dg.in_process_executor,
        description="Loads new files into their tables, then brings up to date what is computed from them; each table "
        f"is checked before the next one reads it. The lake is {settings.lake_uri} on {store}, declared in "
        f"{settings.declaration}; tables that say nothing else run on the engine {settings.engine}.",
    )


def tour_job(name: str, keys: Sequence[dg.AssetKey]) -> UnresolvedAssetJobDefinition:
    """Brings tables up to date one after the other, those on demand, too; their turns say the order."""
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*keys),
        executor_def=dg.in_process_executor,
        description="One table after the other, each followed by its checks: "
        + ", ".join(".".join(k.path) for k in keys),
    )


def maintenance_job(keys: Sequence[dg.AssetKey]) -> UnresolvedAssetJobDefinition:
    """What keeps the tables in order between runs."""
    return dg.define_asset_job(
        "maintenance",
        selection=dg.AssetSelection.assets(*keys),
        executor_def=dg.in_process_executor,
        description="Fills columns that joined a schema from what was rescued, and closed windows from late rows; "
        "counts all rows again for the checks; joins small files, and removes those that nobody needs.",
    )


def backup_job(key: dg.AssetKey) -> UnresolvedAssetJobDefinition:
    """Backs up all checkpoints."""
    return dg.define_asset_job(
        "backup_checkpoints",
        selection=dg.AssetSelection.assets(key),
        executor_def=dg.in_process_executor,
        description="Copies the checkpoint of each table; lakehouse checkpoint restore puts one back.",
    )


def hourly(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """The safety net behind the sensors."""
    return dg.ScheduleDefinition(
        name="hourly_ingest",
        target=job,
        cron_schedule="0 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Runs whatever the sensors say: what a tick missed is loaded within the hour.",
    )


def nightly(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Maintenance while nobody waits for it."""
    return dg.ScheduleDefinition(
        name="nightly_maintenance",
        target=job,
        cron_schedule="30 3 * * *",
        description="Off until it is switched on: it changes rows of tables, and none is lost.",
    )


def nightly_backups(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Before the night's maintenance."""
    return dg.ScheduleDefinition(
        name="nightly_backups",
        target=job,
        cron_schedule="15 3 * * *",
        description="Off until it is switched on: backups take room in the lake.",
    )
