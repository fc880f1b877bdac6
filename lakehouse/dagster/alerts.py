"""How runs of Dagster tell what goes wrong: each step by itself, and a sensor for what no step could tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from lakehouse.alerts.alert import LAKE, Alert, Round
from lakehouse.alerts.hooks import tell_safely
from lakehouse.dagster.names import LEVER_TAG, key_of, step_of
from lakehouse.dagster.resources import LakeResource
from lakehouse.errors import LakehouseError
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.table import Catalogue, Finding

_Context = dg.AssetExecutionContext | dg.OpExecutionContext | dg.AssetCheckExecutionContext
SENSOR = "alerts_of_failed_runs"
_BLOCKED = "DagsterAssetCheckFailedError"  # its check has told what it found


@contextmanager
def alerted_step(context: dg.AssetExecutionContext | dg.OpExecutionContext, lake: Lake, table: str) -> Iterator[None]:
    """Tells of a table's run when it has ended; what cannot be told is a warning in the run's log."""
    from lakehouse.alerts.finding import QUICK, of_doctor, of_error, of_success

    try:
        yield
    except Exception as error:
        failed = error
        _tell(context, lake, lambda catalogue: of_error(failed, table))
        raise
    _tell(context, lake, lambda catalogue: of_success(table) + of_doctor(lake, catalogue, [table], QUICK))


def tell_of_checks(
    context: dg.AssetCheckExecutionContext,
    lake: Lake,
    table: str,
    findings: Sequence[Finding],
    names: Sequence[str] | None,
) -> None:
    """Tells of a table's checks: all of them, or those of ``names``."""
    from lakehouse.alerts.finding import of_checks

    _tell(context, lake, lambda catalogue: of_checks(catalogue, table, findings, names))


def _tell(context: _Context, lake: Lake, find: Callable[[Catalogue], Round]) -> None:
    for problem in tell_safely(lake.settings, find, lake).problems:
        context.log.warning(problem)


def failure_sensor(catalogue: Catalogue) -> dg.SensorDefinition:
    """Tells of failed runs of this code location; what a step has told already is not told twice."""

    @dg.run_failure_sensor(
        name=SENSOR,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the channels of alerts of runs that failed, also of those whose process was killed.",
    )
    def sensor(context: dg.RunFailureSensorContext, lake: LakeResource) -> None:
        if LEVER_TAG in context.dagster_run.tags:  # whoever pulled it sees why
            return
        settings = lake.settings()
        outcome = tell_safely(settings, lambda _: _of_failure(context, catalogue), _opened(settings))
        for problem in outcome.problems:
            context.log.warning(problem)

    return sensor


def _opened(settings: Settings) -> Lake | None:
    try:
        return Lake.open(settings)
    except LakehouseError:
        return None


def _of_failure(context: dg.RunFailureSensorContext, catalogue: Catalogue) -> Round:
    """An alert for each table whose step failed; for a run without such a step, an alert of the run."""
    steps = {step_of(key_of(name)): name for name in catalogue.names}
    run, alerts, already_sent = context.dagster_run, [], False
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        cause = error.cause if error is not None and error.cause else error
        kind = cause.cls_name or "" if cause else ""
        if kind == _BLOCKED:
            already_sent = True
            continue
        table = steps.get(event.step_key or "", LAKE)
        lines = (cause.message if cause else event.message or "").strip().splitlines() or [""]
        what = lines[0].partition(f"{kind}: ")[2] or lines[0] or f"step {event.step_key} failed"
        alerts.append(_alert(table, what, kind or "step", run))
    if not alerts and not already_sent:
        what = (context.failure_event.message or "it ended without a word").splitlines()[0]
        alerts.append(_alert(LAKE, what, "run", run))
    return Round.of(alerts, ())


def _alert(table: str, what: str, kind: str, run: dg.DagsterRun) -> Alert:
    where = f"run {run.run_id} of {run.job_name}"
    command = f"lakehouse doctor {table}".strip()
    return Alert("run failed", table, f"run:{table}:", what, kind, where, command=command)
