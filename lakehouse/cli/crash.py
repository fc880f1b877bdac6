"""``lakehouse crash``: a run that is killed on purpose, and the run after it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lakehouse.cli.output import FilesArgument, Json, Yes, command, open_table

if TYPE_CHECKING:
    from lakehouse.crashing import Moment


class At(StrEnum):
    """When the run is killed."""

    planned = "planned"
    committed = "committed"


def crash(
    named: FilesArgument = None,
    moment: Annotated[
        At, typer.Option(help="planned: before the rows of a batch are in the table; committed: right after that")
    ] = At.planned,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Kill a run of a table at a moment, run it again, and check that no file is loaded twice, and none is missing."""
    from lakehouse.crashing import crash as crash_table
    from lakehouse.engine import connect

    with command(as_json) as out:
        lake, table = open_table(out, named)
        chosen = cast("Moment", moment.value)
        done = crash_table(lambda: connect(lake, out.say), lake, table, chosen, really=yes)
        for line in done.lines():
            out.line(line)
        if not done.done:
            out.line(f"nothing was started; to do it: lakehouse crash {table} --moment {moment.value} --yes")
        numbers = {name: value for name, value in vars(done).items() if name != "findings"}
        out.result({**numbers, "checks": [finding.as_dict() for finding in done.findings]})
        if done.error is not None:
            raise done.error
