"""The sensor: a hint that there is something to do. What was loaded, only the checkpoints know."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.dagster.arrivals import Look
from lakehouse.dagster.asked import Asked, look_for_asked
from lakehouse.dagster.cursor import Cursor
from lakehouse.dagster.dead_runs import end_dead_runs
from lakehouse.dagster.event_times import loss, readers_of, tags_of_request
from lakehouse.dagster.failures import Retries, Runs
from lakehouse.dagster.landing import Folder
from lakehouse.dagster.looking import Looked, look_around
from lakehouse.dagster.names import TRACE_PARENT
from lakehouse.dagster.notified import LISTED
from lakehouse.dagster.resources import LakeResource
from lakehouse.errors import LakehouseError
from lakehouse.plain_text import counted
from lakehouse.settings import Settings
from lakehouse.tracing import asked_for

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

SENSOR = "new_files"
_FILES_TAG = ".dagster/landed_files"  # of this prefix Dagster shows none: people read the list of runs
_NAMED = 5
_INTERVAL_SECONDS = 15
_INTERVAL_WITH_EVENTS_SECONDS = 3
"""A look into the inbox costs some milliseconds, and Dagster's daemon looks for due sensors every five seconds: with an
interval of five a sensor would be due in some of its looks alone."""


def sensor_of(
    name: str,
    folders: Sequence[Folder],
    job: "UnresolvedAssetJobDefinition",
    every: Sequence[dg.AssetKey],
    readers: Mapping[str, Collection[dg.AssetKey]],
    concerned: Callable[[str], Collection[dg.AssetKey]],
) -> dg.SensorDefinition:
    """The sensor of all landing folders.

    A tick asks for one run at most. It brings up to date the tables that new files concern, whatever folders those are
    in, tables of which somebody asked what a run does, and tables that failed and are to be tried again; it waits for
    no run that concerns none of these tables.

    Args:
        name: Its name.
        folders: Those that feed tables.
        job: What it asks for.
        every: The tables of the job, in the order of the data.
        readers: By name of a folder, which of them a new file concerns.
        concerned: By name of a table, which of them a run of it concerns.
    """
    by_events = all(folder.by_events for folder in folders)
    interval_seconds = _INTERVAL_WITH_EVENTS_SECONDS if by_events else _INTERVAL_SECONDS
    where = folders[0].uri if len(folders) == 1 else counted(len(folders), "folder")

    @dg.sensor(
        name=name,
        job=job,
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Asks for one run of all tables whose files have landed in {where} since it last asked, of which "
        "somebody asked what a run does (a replay), or that failed in the last run; else says why not.",
    )
    def sensor(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
        for dead in end_dead_runs(context.instance):
            context.log.warning(f"run {dead} was ended: its process is gone")
        runs, cursor, now = Runs(context.instance, job.name, every), Cursor.read(context.cursor), _now()
        opened = lake.open()
        looked = look_around(
            opened,
            folders,
            cursor,
            now=now,
            in_a_hurry=lambda folder: runs.under_way(readers[folder.name]) is not None,
        )
        for problem in looked.problems.values():
            context.log.error(str(problem))
        ready: list[tuple[Folder, Look]] = []
        held: list[tuple[Folder, Look, str]] = []
        for folder, found in looked.found:
            run = runs.under_way(readers[folder.name]) if found.new else None
            if run:  # what is remembered stays: these files are looked at again when that run has ended
                held.append((folder, found, run))
                continue
            if found.new:
                ready.append((folder, found))
            # also where nothing is new: files that went are taken off, or as many older ones could come in unnoticed,
            # and events of others are not read again
            cursor = cursor.after(folder, found.after)
        asked = look_for_asked(opened, context.instance, runs, cursor.asked, concerned)
        cursor = replace(cursor, first=looked.left[0].name if looked.left else "", asked=asked.after)
        retries = runs.retries(now)
        if not ready and not asked.due and not retries.due:
            reason = "; ".join([_nothing_new(looked, held, where, len(folders)), *asked.held]) + retries.why_not()
            return dg.SensorResult(skip_reason=reason, cursor=cursor.write())
        files = sum(found.new for _, found in ready)
        trace = asked_for(opened.settings, f"sensor {name}", now.timestamp(), {"lakehouse.new_files": files})
        wanted = {*retries.due}.union(*(readers[folder.name] for folder, _ in ready), *asked.due.values())
        tables = [key for key in every if key in wanted]
        return dg.SensorResult(
            run_requests=[_request(context, job.name, ready, asked, retries, tables, every, now, trace)],
            cursor=cursor.write(),
            asset_events=[_observation(found, folder, now, opened.settings) for folder, found in ready],
        )

    return sensor


def _request(
    context: dg.SensorEvaluationContext,
    job: str,
    ready: Sequence[tuple[Folder, Look]],
    asked: Asked,
    retries: Retries,
    wanted: Sequence[dg.AssetKey],
    every: Sequence[dg.AssetKey],
    now: datetime,
    trace_parent: str | None,
) -> dg.RunRequest:
    """A run for what was found.

    It is named after the files, the cursor that they were seen from, what somebody asked for, and what failed. A tick
    that crashed after asking asks with the same name while that run is unfinished, and Dagster knows it. Later the
    number of runs with this name tells a cursor that was set back: files that no table has do start a run again.
    """
    failed = [f"{run} {table.to_user_string()}" for table, run in sorted(retries.due.items())]
    tags = {"new_files": str(sum(found.new for _, found in ready))}
    if asked.due:
        tags["asked_of"] = _named(sorted(asked.due))
    if failed:
        tags["after_failed_run"] = " ".join(dict.fromkeys(retries.due.values()))
    if trace_parent:
        tags[TRACE_PARENT] = trace_parent
    others = [*asked.reasons(), *failed]
    key = f"after-{_digest(others)}"
    if ready:
        seen = [f"{folder.uri}\n{found.unnamed}\n{found.fresh.digest()}" for folder, found in ready]
        files = _digest([context.cursor or "", *seen, *others])
        earlier = context.instance.get_runs_count(dg.RunsFilter(job_name=job, tags={_FILES_TAG: files}))
        tags |= {"landing_folders": _named([folder.name for folder, _ in ready]), _FILES_TAG: files}
        key = f"{files}-{earlier}"
        by_events = [(folder, found) for folder, found in ready if folder.by_events]
        written = [at for _, found in by_events if not found.listed for at in found.fresh.written]
        tags |= tags_of_request(written, now)
        if listed := [folder.name for folder, found in by_events if found.listed]:
            tags[LISTED] = _named(listed)
    return dg.RunRequest(run_key=key, tags=tags, asset_selection=None if len(wanted) == len(every) else [*wanted])


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _now() -> datetime:
    return datetime.now(UTC)


def _nothing_new(looked: Looked, held: Sequence[tuple[Folder, Look, str]], where: str, folders: int) -> str:
    """Why there is no run, with numbers."""
    waiting = [
        f"{counted(found.new, 'new file')} in {folder.name}, held until run {run[:8]} ends"
        for folder, found, run in held
    ]
    reasons = ["; ".join(waiting[:_NAMED])] if waiting else [_quiet(looked.found, where, folders)]
    reasons += [f"{name} cannot be listed: {problem.what}" for name, problem in looked.problems.items()]
    if looked.left:
        reasons.append(f"{counted(len(looked.left), 'folder')} left for the next tick")
    return "; ".join(reasons)


def _quiet(found: Sequence[tuple[Folder, Look]], where: str, folders: int) -> str:
    looks = [look for _, look in found]
    newest = max((look.after.newest for look in looks), default="")
    ignored = sum(look.ignored for look in looks)
    listed = [look.after.listed_at for look in looks if not look.whole and look.after.listed_at]
    files = found[0][0].files if folders == 1 and found else "files"
    under = "under" if folders == 1 else "in"
    sentence = f"0 new of {sum(look.files for look in looks):,} {files} {under} {where}"
    sentence += f", newest {_time(newest)}" if newest else ""
    sentence += f", {ignored:,} other objects ignored" if ignored else ""
    return sentence + (f", all of them listed at {_time(min(listed))}" if listed else "")


def _time(iso: str) -> str:
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M:%SZ}"


def _observation(found: Look, folder: Folder, now: datetime, settings: Settings) -> dg.AssetObservation:
    metadata: dict[str, int | float] = {
        "new_files": found.new,
        "new_bytes": found.fresh.size_bytes,
        "known_files": found.files,
        "ignored_objects": found.ignored,
    }
    if found.fresh.oldest:
        metadata["oldest_new_age_seconds"] = round((now - found.fresh.oldest).total_seconds(), 1)
    if folder.by_events:
        with suppress(LakehouseError):  # without an inbox the folder was listed, and that was said
            metadata |= loss(readers_of(settings, folder))
    return dg.AssetObservation(folder.key, metadata=metadata)
