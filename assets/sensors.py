"""The sensor: a hint that there is something to do. What was loaded, only the checkpoint knows.

A tick lists the landing folder and compares it with the cursor: the newest modification time it has asked a run for,
and the keys at that time, so that files of the same second are told apart. Files that come in later with an older
time (restored, mirrored) are found by their number: the cursor also has how many there were up to its time.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from assets.jobs import ingest_orders
from assets.names import LANDING_KEY
from lakehouse.pipeline import Landing, look_at_landing
from lakehouse.storage import ObjectInfo
from resources.lake import LakeResource

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.sensor(job=ingest_orders, minimum_interval_seconds=15, default_status=dg.DefaultSensorStatus.RUNNING)
def new_order_files(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
    """Asks for one run when order files have landed since it last asked; else says with numbers why not."""
    landing = look_at_landing(lake.open())
    new = _new(landing.orders, context.cursor)
    where = lake.settings().landing_uri
    if not new:
        return dg.SkipReason(_nothing_new(landing, where))
    unfinished = context.instance.get_run_records(
        dg.RunsFilter(job_name=ingest_orders.name, statuses=_UNFINISHED), limit=1
    )
    if unfinished:
        # the cursor stays: these files are looked at again when that run has ended
        return dg.SkipReason(f"{len(new):,} new files wait for run {unfinished[0].dagster_run.run_id[:8]} to end")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=_digest(landing.orders, context.cursor), tags={"new_files": str(len(new))})
        ],
        cursor=_cursor(landing.orders, context.cursor),
        asset_events=[_observation(new, landing)],
    )


def _new(orders: Sequence[ObjectInfo], cursor: str | None) -> list[ObjectInfo]:
    if not cursor:
        return list(orders)
    state = json.loads(cursor)
    high, at_high = state["high"], set(state["at_high"])
    newer = [one for one in orders if _time(one) > high or (_time(one) == high and _mark(one) not in at_high)]
    known = [one for one in orders if _time(one) < high]
    backdated = len(known) + len(at_high) > state["known"]
    # which ones came in with an old time cannot be told from their number; the checkpoint sorts them out
    return newer or (sorted(known, key=_time)[-1:] if backdated else [])


def _cursor(orders: Sequence[ObjectInfo], previous: str | None) -> str:
    high = max(map(_time, orders))
    at_high = sorted(_mark(one) for one in orders if _time(one) == high)
    asked = json.loads(previous)["asked"] + 1 if previous else 1
    return json.dumps({"v": 1, "high": high, "at_high": at_high, "known": len(orders), "asked": asked})


def _digest(orders: Sequence[ObjectInfo], cursor: str | None) -> str:
    """Names the set of files and the cursor it was seen from.

    A tick that crashed after asking asks with the same name, and Dagster knows it; a cursor that was set back gives
    other names, so that a reset does start a run.
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


def _observation(new: Sequence[ObjectInfo], landing: Landing) -> dg.AssetObservation:
    oldest = min(one.last_modified for one in new)
    return dg.AssetObservation(
        LANDING_KEY,
        metadata={
            "new_files": len(new),
            "new_bytes": sum(one.size_bytes for one in new),
            "oldest_new_age_seconds": round((datetime.now(UTC) - oldest).total_seconds(), 1),
            "order_files": len(landing.orders),
            "ignored_objects": len(landing.ignored),
        },
    )
