"""``checklist``: what a stream in production needs, looked at in the lake."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.output import Json, command, in_lake, require_declared


def checklist(
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLES]", callback=in_lake, help="layer.name of each; default: all but those on demand"
        ),
    ] = None,
    max_backup_age: Annotated[str, typer.Option(help="how old the newest backup of a table may be")] = "24 hours",
    as_json: bool = Json,
) -> None:
    """Go through what a stream needs in production, with evidence of each line; exit code 1 when one fails."""
    from lakehouse.checklist import checklist as lines_of
    from lakehouse.declaration import read_catalogue
    from lakehouse.durations import parse_duration
    from lakehouse.errors import CheckFailed, ConfigurationError
    from lakehouse.lake import Lake
    from lakehouse.plain_text import counted
    from lakehouse.settings import Settings

    with command(as_json) as out:
        try:
            age = parse_duration(max_backup_age)
        except ValueError as error:
            raise ConfigurationError(
                str(error),
                where="lakehouse checklist --max-backup-age",
                state="nothing was looked at",
                next_command="lakehouse checklist --max-backup-age '24 hours'",
            ) from None
        settings = Settings.load()
        names = [require_declared(settings, name).name for name in tables or ()]
        names = names or [table.name for table in read_catalogue(settings) if not table.on_demand]
        found = list(lines_of(Lake.open(settings, say=out.say), names, age))
        for line in found:
            out.line(f"{'PASS' if line.passed else 'FAIL'}  {line.table}  {line.item}: {line.evidence}")
            if line.next_command:
                out.line(f"      next: {line.next_command}", style="yellow")
        failed = [line for line in found if not line.passed]
        out.result(
            {"passed": len(found) - len(failed), "failed": len(failed), "lines": [line.as_dict() for line in found]}
        )
        if failed:
            raise CheckFailed(
                f"{len(failed)} of {counted(len(found), 'line')} of the list are not as they must be",
                where=settings.lake_uri,
                state="nothing was changed",
                next_command=failed[0].next_command,
            )
