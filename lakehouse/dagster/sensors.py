"""The sensors: a hint that there is something to do. What was loaded, only the checkpoint knows."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.dagster import arrivals
from lakehouse.dagster.arrivals import Look, Seen
from lakehouse.dagster.landing import Folder
from lakehouse.dagster.resources import LakeResource
from lakehouse.dagster.selection import Readers

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_RETRY_AFTER_MINUTES = (1, 4, 16)
_FILES_TAG = "landed_files"
_FOLDER_TAG = "landing_folder"
_MOST_RUNS = 100


def sensor_of(folder: Folder, job: "UnresolvedAssetJobDefinition", readers: Readers) -> dg.SensorDefinition:
    """The sensor of one landing folder.

    Args:
        folder: Where it looks.
        job: What it asks for.
        readers: Which tables a new file concerns.
    """
    asks = _Asks(folder, job.name, readers)

    @dg.sensor(
        name=folder.sensor,
        job=job,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Asks for one run when {folder.files} have landed under {folder.uri} since it last asked, "
        "or the last run failed; else says why not.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        runs = asks.runs(context.instance)
        seen = Seen.read(context.cursor)
        unfinished = runs[0].dagster_run if runs and not runs[0].dagster_run.is_finished else None
        found = arrivals.look(
            lake.open().store,
            folder.bucket,
            folder.root,
            folder.takes(),
            seen,
            now=_now(),
            interval_seconds=folder.listing_interval_seconds(),
            in_a_hurry=unfinished is not None,
        )
        if not found.new:
            again, why_not = asks.again(runs)
            # files that went must be taken off, or as many older ones could come in unnoticed
            cursor = found.after.write() if found.whole else context.cursor
            if again:
                return dg.SensorResult(run_requests=[again], cursor=cursor)
            return dg.SensorResult(skip_reason=_nothing_new(found, folder) + why_not, cursor=cursor)
        if unfinished:
            # the cursor stays: these files are looked at again when that run has ended
            return dg.SensorResult(
                skip_reason=f"{found.new:,} new files wait for run {unfinished.run_id[:8]} to end",
                cursor=context.cursor,
            )
        return dg.SensorResult(
            run_requests=[asks.request(context, found)],
            cursor=found.after.write(),
            asset_events=[_observation(found, folder)],
        )

    return sensor


class _Asks:
    """What a sensor knows of the runs, and how it asks for one.

    Where there are several folders, a run brings up to date what a new file of this one changes, and nothing else; it
    waits for no run that concerns none of these tables.
    """

    def __init__(self, folder: Folder, job: str, readers: Readers) -> None:
        self._folder, self._job = folder, job
        self._selection = None if readers.alone else [*readers.keys]
        self._concerned = readers.shared_with
        self._first = readers.first

    def runs(self, instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
        """An unfinished run of these tables, else their last few, newest first."""
        limit = len(_RETRY_AFTER_MINUTES) + 1 if self._selection is None else _MOST_RUNS
        waiting = self._ours(instance, dg.RunsFilter(job_name=self._job, statuses=_UNFINISHED), limit)
        return waiting or self._ours(instance, dg.RunsFilter(job_name=self._job), limit)

    def again(self, runs: Sequence[dg.RunRecord]) -> tuple[dg.RunRequest | None, str]:
        """A second try of a run that failed, or why there is none: what was asked for need not have happened.

        Its name is the failed run's, so that one failure is never tried again twice. A run that no sensor asked for is
        tried again by the first one.
        """
        failed = list(takewhile(lambda record: record.dagster_run.status == dg.DagsterRunStatus.FAILURE, runs))
        if not failed:
            return None, ""
        run = failed[0].dagster_run
        asked_by = run.tags.get(_FOLDER_TAG)
        if asked_by != self._folder.name and not (asked_by is None and self._first):
            return None, ""
        if len(failed) > len(_RETRY_AFTER_MINUTES):
            return None, f"; run {run.run_id[:8]} failed like those before it: left to the schedule"
        ended = datetime.fromtimestamp(failed[0].end_time or failed[0].update_timestamp.timestamp(), UTC)
        due = ended + timedelta(minutes=_RETRY_AFTER_MINUTES[len(failed) - 1])
        if _now() < due:
            return None, f"; run {run.run_id[:8]} failed, is tried again at {due:%H:%M:%SZ}"
        tags = {"new_files": "0", "after_failed_run": run.run_id, _FOLDER_TAG: self._folder.name}
        # a run of all tables is tried again as a whole
        selection = None if asked_by is None else self._selection
        return dg.RunRequest(run_key=f"after-{run.run_id}", tags=tags, asset_selection=selection), ""

    def request(self, context: dg.SensorEvaluationContext, found: Look) -> dg.RunRequest:
        """A run for what was found.

        It is named after the files and the cursor that they were seen from. A tick that crashed after asking asks with
        the same name while that run is unfinished, and Dagster knows it. Later the number of runs with this name tells
        a cursor that was set back: a reset does start a run.
        """
        said = f"{self._folder.uri}\n{context.cursor}\n{found.unnamed}\n{found.fresh.digest()}"
        files = hashlib.sha256(said.encode()).hexdigest()[:32]
        asked = context.instance.get_runs_count(dg.RunsFilter(job_name=self._job, tags={_FILES_TAG: files}))
        tags = {"new_files": str(found.new), _FILES_TAG: files, _FOLDER_TAG: self._folder.name}
        return dg.RunRequest(run_key=f"{files}-{asked}", tags=tags, asset_selection=self._selection)

    def _ours(self, instance: dg.DagsterInstance, which: dg.RunsFilter, limit: int) -> list[dg.RunRecord]:
        found = instance.get_run_records(which, limit=limit)
        return [one for one in found if one.dagster_run.tags.get(_FOLDER_TAG) in {None, *self._concerned}]


def _now() -> datetime:
    return datetime.now(UTC)


def _nothing_new(found: Look, folder: Folder) -> str:
    seen = found.after
    newest = f", newest {datetime.fromisoformat(seen.newest):%H:%M:%SZ}" if seen.newest else ""
    ignored = f", {found.ignored:,} other objects ignored" if found.ignored else ""
    whole = "" if found.whole else f", all of them listed at {datetime.fromisoformat(seen.listed_at):%H:%M:%SZ}"
    return f"0 new of {found.files:,} {folder.files} under {folder.uri}{newest}{ignored}{whole}"


def _observation(found: Look, folder: Folder) -> dg.AssetObservation:
    metadata: dict[str, int | float] = {
        "new_files": found.new,
        "new_bytes": found.fresh.size_bytes,
        "known_files": found.files,
        "ignored_objects": found.ignored,
    }
    if found.fresh.oldest:
        metadata["oldest_new_age_seconds"] = round((_now() - found.fresh.oldest).total_seconds(), 1)
    return dg.AssetObservation(folder.key, metadata=metadata)
