"""The run of a table, its batches, their phases and commits as spans."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lakehouse.errors import LakehouseError
from lakehouse.streams.progress import BatchProgress, StreamReport
from lakehouse.tracing.sender import sender_to
from lakehouse.tracing.spans import span

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from lakehouse.delta_commit import Commit
    from lakehouse.lake import Lake
    from lakehouse.streams.run import Run

_COMMITS_LOOKED_AT = 3
_PHASES = ("latestOffset", "getOffset", "walCommit", "getBatch", "queryPlanning", "addBatch", "commitOffsets")
"""Of a batch, in their order; their sum, ``triggerExecution``, is the batch itself."""
_NUMBERS = (
    *("batch_id", "input_rows", "files", "rescued_rows", "corrupt_rows", "late_rows", "set_aside_rows"),
    *("state_rows", "backlog_files", "backlog_bytes", "watermark"),
)
_NANOSECONDS, _NANOSECONDS_OF_MILLISECOND = 1_000_000_000, 1_000_000


def traced(lake: Lake, table: str, run: Run, bring: Callable[[Run], StreamReport]) -> StreamReport:
    """Brings a table up to date in a span, with one for each batch.

    Args:
        lake: Where the table is.
        table: Its name.
        run: How its stream is run.
        bring: Does it.
    """
    if lake.settings.traces is None:
        return bring(run)
    tracer = sender_to(lake.settings.traces).tracer

    def listen(within: Any, batch: BatchProgress) -> None:
        _note(lake, tracer, within, batch)
        run.on_batch(batch)

    attributes = {"lakehouse.table": table, "lakehouse.lake": lake.settings.lake_uri}
    if not run.trigger.ends:  # its own span would come when the service ends: each batch is a trace
        return bring(replace(run, on_batch=partial(listen, None)))
    with span(lake.settings, f"run {table}", attributes) as made:
        assert made is not None
        from opentelemetry.trace import set_span_in_context

        report = bring(replace(run, on_batch=partial(listen, set_span_in_context(made))))
        numbers = {"batches": len(report.batches), "input_rows": report.input_rows, "rows_added": report.rows_added}
        versions = {"delta_version_before": report.delta_version_before, "delta_version": report.delta_version}
        made.set_attributes(_named({**numbers, **versions}))
        return report


def _note(lake: Lake, tracer: Tracer, within: Any, batch: BatchProgress) -> None:
    from opentelemetry.trace import set_span_in_context

    ended = time.time_ns()
    began = ended - int(batch.duration_seconds * _NANOSECONDS)
    numbers = {name: getattr(batch, name) for name in _NUMBERS}
    attributes = {"lakehouse.table": batch.table, **_named(numbers)}
    made = tracer.start_span(f"batch {batch.table}", within, start_time=began, attributes=attributes)
    inside, at, written = set_span_in_context(made), began, ended
    for name in _PHASES:
        took = batch.phases_milliseconds.get(name, 0) * _NANOSECONDS_OF_MILLISECOND
        if took:
            tracer.start_span(name, inside, start_time=at).end(min(at + took, ended))
            at = min(at + took, ended)
        if name == "addBatch" and took:
            written = at
    commit = _commit_of(lake, batch)
    if commit is not None:
        began_commit = written if commit.at is None else int(commit.at.timestamp() * _NANOSECONDS)
        began_commit = min(max(began_commit, began), written)  # the engine may have a clock of its own
        version = {"lakehouse.delta_version": commit.version}
        tracer.start_span("commit", inside, start_time=began_commit, attributes=version).end(written)
    made.end(ended)


def _commit_of(lake: Lake, batch: BatchProgress) -> Commit | None:
    """The batch's commit; None where it is not among the newest."""
    with suppress(LakehouseError):
        for commit in lake.commits_since(batch.table, None, last=_COMMITS_LOOKED_AT):
            if commit.batch_id == batch.batch_id:
                return commit
    return None


def _named(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {f"lakehouse.{name}": value for name, value in numbers.items() if value is not None}
