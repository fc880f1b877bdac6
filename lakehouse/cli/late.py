"""Late rows: ``replay-late`` brings them into closed windows, ``watermark`` foresees how many there will be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import Json, Output, Yes, command, require_declared

if TYPE_CHECKING:
    from lakehouse.table import At

WindowsTable = Annotated[str | None, typer.Argument(help="a table of windows; none = the only one that is declared")]


def replay_late(table: WindowsTable = None, yes: Yes = False, as_json: bool = Json) -> None:
    """Compute the closed windows that miss late rows again, from all that their table has read of its source."""
    from lakehouse.late import replay_late as replay

    with command(as_json) as out:
        done = replay(_place(out, table), really=yes)
        rows = f"{done.late_rows:,} late rows of {done.windows:,} closed windows"
        if not done.late_rows:
            out.line("no late row waits in quarantine: nothing to do")
        elif done.done:
            out.line(f"{rows} are counted now; {done.windows_changed:,} windows were written")
        else:
            out.line(f"would count {rows}; nothing was changed, --yes does it")
        out.result(done.as_dict())


def watermark(
    table: WindowsTable = None,
    delay: Annotated[list[str] | None, typer.Option(help="such as '10 minutes'; none = 5, 10, 30, 60 min")] = None,
    as_json: bool = Json,
) -> None:
    """Tell how many rows each watermark would drop, from the event times in the source and when they came."""
    from lakehouse.checks.accounts_for_rows import windows_of
    from lakehouse.durations import parse_duration, spark_interval
    from lakehouse.errors import ConfigurationError
    from lakehouse.late import DELAYS, forecast

    with command(as_json) as out:
        try:
            chosen = [parse_duration(text) for text in delay] if delay else DELAYS
        except ValueError as error:
            raise ConfigurationError(
                str(error),
                where="lakehouse watermark",
                state="nothing was read",
                next_command="lakehouse watermark --delay '5 minutes' --delay 1h",
            ) from None
        at = _place(out, table)
        found = forecast(at, chosen)
        rows = [[row.watermark, row.late_rows, f"{row.share:.2%}", row.open_windows] for row in found]
        out.table(["watermark", "late rows", "share", "open windows"], rows)
        flow, name = windows_of(at), at.table.name
        now = spark_interval(flow.watermark)
        out.line(f"if {name} ran after each micro-batch of {flow.of}; its watermark is {now}")
        out.result({"table": name, "watermarks": [row.as_dict() for row in found]})


def _place(out: Output, table: str | None) -> At:
    from lakehouse.declaration import read_catalogue
    from lakehouse.engine import connect
    from lakehouse.lake import Lake
    from lakehouse.late import table_of_windows
    from lakehouse.settings import Settings
    from lakehouse.table import At

    settings = Settings.load()
    if table is not None:
        require_declared(settings, table)
    catalogue = read_catalogue(settings)
    chosen = table_of_windows(catalogue, table)
    lake = Lake.open(settings, say=out.say)
    return At(connect(lake, out.say), lake, chosen, catalogue)
