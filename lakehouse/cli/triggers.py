"""Triggers on the command line: ``lakehouse triggers``, and what ``lakehouse ingest --trigger`` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.output import Json, command
from lakehouse.errors import ConfigurationError

if TYPE_CHECKING:
    from lakehouse.streams.trigger import Trigger

triggers = typer.Typer(help="When streams make their batches.", no_args_is_help=True)

_USE = {
    "availableNow": ("runs by schedule", "yes"),
    "once": ("older form", "use availableNow"),
    "processing-time": ("rows in seconds", "yes"),
    "default": ("rows at once", "rarely worth it"),
    "continuous": ("Kafka to Kafka", "no: experimental"),
}


def trigger_that_ends(text: str, tables: Sequence[str], say: Callable[[str], None]) -> Trigger:
    """The trigger of a run that ends by itself.

    Raises:
        ConfigurationError: there is no such trigger, or a run with it does not end.
    """
    from lakehouse.streams.trigger import Trigger

    chosen = Trigger.parse(text)
    if not chosen.ends:
        raise ConfigurationError(
            f"a run with {chosen} does not end",
            where="lakehouse ingest",
            state="nothing was read or written",
            next_command=f"use lakehouse stream {' '.join(tables)} --trigger {chosen}",
        )
    if chosen.advice:
        say(chosen.advice)
    return chosen


@triggers.callback()
def _group() -> None:
    """When streams make their batches."""


@triggers.command("compare")
def compare(
    files: Annotated[int, typer.Option(min=1, help="order files that wait when a run begins")] = 12,
    rows: Annotated[int, typer.Option(min=1, help="orders in each")] = 250,
    interval: Annotated[str, typer.Option(help="of processing-time")] = "5s",
    idle_seconds: Annotated[float, typer.Option(min=1, help="how long idle cost is measured, twice")] = 20,
    as_json: bool = Json,
) -> None:
    """Load the same sample with availableNow, once and processing-time, and compare: no table of yours is touched."""
    from lakehouse.extras import needing
    from lakehouse.lake import Lake
    from lakehouse.streams.trigger import Trigger

    with command(as_json) as out:
        with needing("engine", "lakehouse triggers compare"):
            from lakehouse.orders.trigger_comparison import Comparison
        every = Trigger.parse(f"processing-time={interval}").interval
        assert every is not None
        lake = Lake.open(say=out.say)
        measured = Comparison(lake, files, rows, every, idle_seconds, out.say).run()
        lines = [{**run.as_dict(), **_use(run.trigger)} for run in measured]
        not_measured = [{"trigger": name, **_use(name)} for name in ("default", "continuous")]
        out.table(list(_COLUMNS), [[line.get(name) for name in _COLUMNS.values()] for line in lines + not_measured])
        for row in lines:
            out.line(f"{row['trigger']}: latency of {row['latency_of']}")
        out.line("idle: engine and command in a minute without files; between runs that end there is only the engine")
        out.result({"files": files, "rows_per_file": rows, "expected_rows": files * rows, "triggers": lines})


_COLUMNS = {
    "trigger": "trigger",
    "seconds": "seconds",
    "batches": "batches",
    "rows": "rows",
    "p50 s": "latency_p50_seconds",
    "p95 s": "latency_p95_seconds",
    "idle CPU s": "idle_cpu_seconds",
    "idle S3": "idle_s3_requests",
    "empty run s": "empty_run_seconds",
    "its CPU s": "empty_run_cpu_seconds",
    "its S3": "empty_run_s3_requests",
    "use case": "use_case",
    "for production": "production_ready",
}


def _use(trigger: str) -> dict[str, Any]:
    use_case, ready = _USE[trigger.split("=")[0]]
    return {"use_case": use_case, "production_ready": ready}
