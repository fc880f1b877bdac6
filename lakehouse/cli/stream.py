"""``lakehouse stream``: tables that are kept up to date by a service."""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.output import Json, Output, command, in_lake, require_declared
from lakehouse.durations import parse_duration
from lakehouse.errors import ConfigurationError
from lakehouse.extras import needing

if TYPE_CHECKING:
    from lakehouse.streams.queries import StopRequest

_FLUSH_SECONDS = 60.0
_TRIGGER = "processing-time=10s"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stream(
    tables: Annotated[list[str], typer.Argument(callback=in_lake, help="layer.name of each; one query each")],
    trigger: Annotated[
        str | None,
        typer.Option(
            help="processing-time=10s, or default: the next batch at once; without it processing-time=10s, and at once "
            "where an event tells the local engine of a file"
        ),
    ] = None,
    health_port: Annotated[
        int,
        typer.Option(
            *("--health-port", "--metrics-port"),
            min=0,
            max=65535,
            help="of /health and of /metrics for Prometheus, on 127.0.0.1; 0 = a free one",
        ),
    ] = 0,
    stale_after: Annotated[
        str,
        typer.Option(help="/health is 503 when a stream gives no sign of life for so long, beside the trigger's pause"),
    ] = "15 minutes",
    dead: Annotated[
        bool, typer.Option("--forget-dead", help="start nothing: remove what dead services of the tables left")
    ] = False,
    as_json: bool = Json,
) -> None:
    """Keep tables up to date until SIGTERM or Ctrl-C: the batch that runs is finished; a second one stops at once."""
    from lakehouse.alerts.alert import Round
    from lakehouse.alerts.hooks import alerted, watched
    from lakehouse.batches import Recorder
    from lakehouse.engine import connect, disconnect
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings
    from lakehouse.streams.services import forget_dead, leaving_marks
    from lakehouse.streams.trigger import Trigger

    faulthandler.register(signal.SIGUSR1, file=2)  # where every thread is: for a service that hangs
    with command(as_json) as out, ExitStack() as stack:
        with needing("engine", "lakehouse stream"):
            from lakehouse.service.health import serve
            from lakehouse.service.service import Service
        chosen, limit, settings = Trigger.parse(trigger or _TRIGGER), _limit(stale_after), Settings.load()
        for table in tables:
            require_declared(settings, table)
        if dead:
            gone = forget_dead(Lake.open(settings, say=out.say), tables, datetime.now(UTC))
            for process in gone:
                out.line(f"{process.mark.table}: {process.mark.holder.described()} is forgotten")
            out.line(f"{len(gone):,} dead services of {len(tables):,} tables")
            out.result({"forgotten": [process.mark.table for process in gone]})
            return
        watch = stack.enter_context(alerted(settings, out.warn))
        lake = watch.lake = Lake.open(settings, say=out.say)
        recorder = Recorder(lake)
        stack.enter_context(recorder.flushing(_FLUSH_SECONDS))
        listen = recorder.noting(lambda batch: out.line(batch.line()))
        woken = trigger is None
        service = Service(lake, tables, chosen, say=out.say, on_batch=listen, woken=woken, stale_after=limit)

        def health_of_tables() -> list[dict[str, Any]]:
            return list(service.health.as_dict()["tables"])

        with serve(service.health, health_port) as address:
            out.say(f"{chosen}: {', '.join(tables)}   health: {address}/health   metrics: {address}/metrics")
            if any(require_declared(settings, table).flow.needs_spark(settings) for table in tables):
                connect(lake, out.say)
            out.doing("")  # a service tells of its batches, and of its health where it is asked
            with _stopped_by_signals(service.stop, out):
                watch.find = lambda catalogue: Round()  # from here on its own watch tells
                try:
                    marks = leaving_marks(lake, health_of_tables, str(chosen), limit + (chosen.interval or timedelta()))
                    with watched(lake, health_of_tables, out.warn), marks:
                        service.run()
                finally:
                    disconnect()
                    _report(out, health_of_tables(), at_once=service.stop.at_once.is_set())


def _limit(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigurationError(
            str(error),
            where="lakehouse stream --stale-after",
            state="nothing was read or written",
            next_command="lakehouse stream TABLE --stale-after '15 minutes'",
        ) from None


@contextmanager
def _stopped_by_signals(stop: StopRequest, out: Output) -> Iterator[None]:
    def ask(number: int, frame: Any) -> None:
        if stop.asked.is_set():  # a third signal ends the process, whatever it does
            for signum in _SIGNALS:
                signal.signal(signum, signal.SIG_DFL)
        stop.ask()

    before = {signum: signal.signal(signum, ask) for signum in _SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _report(out: Output, tables: list[dict[str, Any]], *, at_once: bool) -> None:
    for row in tables:
        latency = ""
        if row["latency_p50_seconds"] is not None:
            latency = f", file to commit p50 {row['latency_p50_seconds']:.1f} s p95 {row['latency_p95_seconds']:.1f} s"
        out.line(
            f"{row['table']}: {row['state']} after {row['batches']:,} batches, {row['files']:,} files, "
            f"{row['rows']:,} rows, {row['restarts']} restarts{latency}"
        )
    out.result({"tables": tables, "stopped_at_once": at_once})
