"""The sensor: a hint that there is something to do. What was loaded, only the checkpoint knows.

A tick lists the landing folder and compares it with the cursor: the newest modification time it has asked a run for,
and the keys at that time, so that files of the same second are told apart. Files that come in later with an older
time (restored, mirrored) are found by their number: the cursor also has how many there were up to its time. An older
file that comes in the very tick in which another goes is left to the schedule, and so is a run that keeps failing.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import dagster as dg

from assets.jobs import ingest_orders
from assets.names import LANDING_KEY
from lakehouse.orders.landing import Landing, look_at_landing
from lakehouse.storage import ObjectInfo
from resources.lake import LakeResource

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


_RETRY_AFTER_MINUTES = (1, 4, 16)
_FILES_TAG = "order_files"


@dataclass(frozen=True)
class _Seen:
    """The cursor: newest time asked for, the marks of the files at that time, how many files there were up to it."""

    high: str = ""
    at_high: tuple[str, ...] = ()
    known: int = 0
    v: int = 1

    @classmethod
    def read(cls, cursor: str | None) -> "_Seen":
        """A cursor that cannot be read (typed by hand, another version) counts as none: that costs one run."""
        try:
            seen = json.loads(cursor or "{}")
            return cls(str(seen["high"]), tuple(seen["at_high"]), int(seen["known"])) if seen["v"] == cls.v else cls()
        except (ValueError, KeyError, TypeError):
            return cls()

    @classmethod
    def of(cls, orders: Sequence[ObjectInfo]) -> "_Seen":
        high = max(map(_time, orders))
        return cls(high, tuple(sorted(_mark(one) for one in orders if _time(one) == high)), len(orders))

    def write(self) -> str:
        return json.dumps(asdict(self))


@dg.sensor(job=ingest_orders, minimum_interval_seconds=15, default_status=dg.DefaultSensorStatus.RUNNING)
def new_order_files(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult:
    """Asks for one run when order files have landed since it last asked, or the last run failed; else says why not."""
    landing = look_at_landing(lake.open())
    seen = _Seen.read(context.cursor)
    newer, older = _new(landing.orders, seen)
    runs = _runs(context.instance)
    if not newer and older <= 0:
        # fewer than before: the number must follow, or as many older files could come in unnoticed
        cursor = replace(seen, known=seen.known + older).write() if older < 0 else context.cursor
        again, why_not = _again(runs)
        if again:
            return dg.SensorResult(run_requests=[again], cursor=cursor)
        return dg.SensorResult(skip_reason=_nothing_new(landing, lake.settings().landing_uri) + why_not, cursor=cursor)
    count = len(newer) + max(older, 0)
    if runs and not runs[0].dagster_run.is_finished:
        # the cursor stays: these files are looked at again when that run has ended
        return dg.SensorResult(
            skip_reason=f"{count:,} new files wait for run {runs[0].dagster_run.run_id[:8]} to end",
            cursor=context.cursor,
        )
    files = _digest(landing.orders, context.cursor)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{files}-{_asked(context.instance, files)}", tags={"new_files": str(count), _FILES_TAG: files}
            )
        ],
        cursor=_Seen.of(landing.orders).write(),
        asset_events=[_observation(count, newer, landing)],
    )


def _new(orders: Sequence[ObjectInfo], seen: _Seen) -> tuple[list[ObjectInfo], int]:
    """The files above the cursor, and how many more (or fewer) there are below it than it says.

    Which ones came in with an old time cannot be told from their number; the checkpoint sorts them out.
    """
    at_high = set(seen.at_high)
    newer = [o for o in orders if _time(o) > seen.high or (_time(o) == seen.high and _mark(o) not in at_high)]
    return newer, len(orders) - len(newer) - seen.known


def _runs(instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    """The job's unfinished run alone, else its last few, newest first."""
    name = ingest_orders.name
    unfinished = instance.get_run_records(dg.RunsFilter(job_name=name, statuses=_UNFINISHED), limit=1)
    return unfinished or instance.get_run_records(dg.RunsFilter(job_name=name), limit=len(_RETRY_AFTER_MINUTES) + 1)


def _again(runs: Sequence[dg.RunRecord]) -> tuple[dg.RunRequest | None, str]:
    """A second try of a run that failed, or why there is none: what was asked for need not have happened.

    Its name is the failed run's, so that one failure is never tried again twice.
    """
    failed = list(takewhile(lambda record: record.dagster_run.status == dg.DagsterRunStatus.FAILURE, runs))
    if not failed:
        return None, ""
    run_id = failed[0].dagster_run.run_id
    if len(failed) > len(_RETRY_AFTER_MINUTES):
        return None, f"; run {run_id[:8]} failed like those before it: left to the schedule"
    ended = datetime.fromtimestamp(failed[0].end_time or failed[0].update_timestamp.timestamp(), UTC)
    due = ended + timedelta(minutes=_RETRY_AFTER_MINUTES[len(failed) - 1])
    if datetime.now(UTC) < due:
        return None, f"; run {run_id[:8]} failed, is tried again at {due:%H:%M:%SZ}"
    return dg.RunRequest(run_key=f"after-{run_id}", tags={"new_files": "0", "after_failed_run": run_id}), ""


def _asked(instance: dg.DagsterInstance, files: str) -> int:
    """How many runs were asked for in the name of these files."""
    return instance.get_runs_count(dg.RunsFilter(job_name=ingest_orders.name, tags={_FILES_TAG: files}))


def _digest(orders: Sequence[ObjectInfo], cursor: str | None) -> str:
    """Names the set of files and the cursor it was seen from.

    A tick that crashed after asking asks with the same name while that run is unfinished, and Dagster knows it. Later
    the number of runs with this name tells a cursor that was set back: a reset does start a run.
    """
    marks = "\n".join(sorted(_mark(one) for one in orders))
    return hashlib.sha256(f"{cursor}\n{marks}".encode()).hexdigest()[:32]


def _mark(one: ObjectInfo) -> str:
    return hashlib.sha256(f"{one.key}\n{one.e_tag}".encode()).hexdigest()[:16]


def _time(one: ObjectInfo) -> str:
    return one.last_modified.astimezone(UTC).isoformat(timespec="microseconds")


def _nothing_new(landing: Landing, where: str) -> str:
    newest = max((one.last_modified for one in landing.orders), default=None)
    ignored = f", {len(landing.ignored):,} other objects ignored" if landing.ignored else ""
    suffix = f", newest {newest:%H:%M:%SZ}" if newest else ""
    return f"0 new of {len(landing.orders):,} order files under {where}{suffix}{ignored}"


def _observation(count: int, newer: Sequence[ObjectInfo], landing: Landing) -> dg.AssetObservation:
    metadata: dict[str, int | float] = {
        "new_files": count,
        "new_bytes": sum(one.size_bytes for one in newer),
        "order_files": len(landing.orders),
        "ignored_objects": len(landing.ignored),
    }
    if newer:
        oldest = min(one.last_modified for one in newer)
        metadata["oldest_new_age_seconds"] = round((datetime.now(UTC) - oldest).total_seconds(), 1)
    return dg.AssetObservation(LANDING_KEY, metadata=metadata)
