"""Late orders: ``replay-late`` brings them into closed windows, ``watermark`` foresees how many there will be."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.output import BRONZE, Json, Yes, command


def replay_late(yes: Yes = False, as_json: bool = Json) -> None:
    """Compute the closed windows that miss late orders again, from all of bronze that silver has read."""
    from lakehouse.engine import connect
    from lakehouse.lake import Lake
    from lakehouse.late import replay_late as replay

    with command(as_json) as out:
        lake = Lake.open(say=out.say)
        done = replay(connect(lake, out.say), lake, really=yes)
        rows = f"{done.late_rows:,} late rows of {done.windows:,} closed windows"
        if not done.late_rows:
            out.line("no late row waits in quarantine: nothing to do")
        elif done.done:
            out.line(f"{rows} are counted now; {done.windows_changed:,} windows were written")
        else:
            out.line(f"would count {rows}; nothing was changed, --yes does it")
        out.result(done.as_dict())


def watermark(
    delays: Annotated[list[str] | None, typer.Argument(help="such as '10 minutes'; none = 5, 10, 30, 60 min")] = None,
    as_json: bool = Json,
) -> None:
    """Tell how many rows each watermark would drop, from the event times in bronze and when they came."""
    from lakehouse.durations import parse_duration, spark_interval
    from lakehouse.engine import connect
    from lakehouse.errors import ConfigurationError
    from lakehouse.lake import Lake
    from lakehouse.late import DELAYS, forecast

    with command(as_json) as out:
        try:
            chosen = [parse_duration(text) for text in delays] if delays else DELAYS
        except ValueError as error:
            raise ConfigurationError(
                str(error),
                where="lakehouse watermark",
                state="nothing was read",
                next_command="lakehouse watermark '5 minutes' 1h",
            ) from None
        lake = Lake.open(say=out.say)
        if lake.version(BRONZE) is None:
            raise ConfigurationError(
                f"{BRONZE} is not there yet: no event times to look at",
                where=lake.settings.table_uri(BRONZE),
                state="nothing was read",
                next_command="lakehouse ingest",
            )
        found = forecast(connect(lake, out.say), lake, chosen)
        rows = [[one.watermark, one.late_rows, f"{one.share:.2%}", one.open_windows] for one in found]
        out.table(["watermark", "late rows", "share", "open windows"], rows)
        now = spark_interval(lake.settings.silver_watermark)
        out.line(f"if silver ran after each micro-batch of bronze; LAKEHOUSE_SILVER_WATERMARK is {now}")
        out.result({"watermarks": [one.as_dict() for one in found]})
