"""``lakehouse cleanup``: removing what a user has in the lake."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.output import Json, Yes, command
from lakehouse.plain_text import counted, sized


def cleanup(
    tables: Annotated[bool, typer.Option("--tables", help="the tables, and the rows that they do not count")] = False,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="checkpoints, journals, schemas, counts: all else below your folder")
    ] = False,
    landing: Annotated[
        bool,
        typer.Option(
            "--landing", help="in the landing bucket the files of declared tables, and those that your streams found"
        ),
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="all three")] = False,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Remove what you have in the lake, for good, below your own folder alone; refused while a table is written."""
    from dataclasses import asdict

    from lakehouse.errors import ConfigurationError
    from lakehouse.lake import Lake
    from lakehouse.upkeep import clean_up

    with command(as_json) as out:
        if not (tables or checkpoints or landing or everything):
            raise ConfigurationError(
                "nothing was named that shall go",
                where="lakehouse cleanup",
                state="nothing was removed",
                next_command="give some of --tables, --checkpoints, --landing; or --all",
            )
        lake = Lake.open(say=out.say)
        done = clean_up(
            lake,
            tables=tables or everything,
            checkpoints=checkpoints or everything,
            landing=landing or everything,
            really=yes,
        )
        out.table(["folder", "objects", "MB"], [[row.uri, row.objects, row.size_bytes / 1e6] for row in done.folders])
        for text in done.left:
            out.line(f"stays: {text}", style="yellow")
        objects, size = (sum(getattr(folder, name) for folder in done.folders) for name in ("objects", "size_bytes"))
        amount = f"{counted(objects, 'object')}, {sized(size)}"
        if yes:
            out.line(f"removed {amount}")
        else:
            out.line(f"would remove {amount}, for good" + ("; --yes does it" if objects else ""))
        out.result({**asdict(done), "objects": objects, "size_bytes": size})
