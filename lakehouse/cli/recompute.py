"""``lakehouse recompute``: a table computed from another one, computed again."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.output import Json, Yes, command
from lakehouse.errors import ConfigurationError
from lakehouse.settings import Settings


def recompute(
    table: Annotated[str, typer.Argument(help="a table of silver or gold")],
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Remove a silver or gold table and its checkpoint: the next ingest computes it again from its source."""
    from lakehouse import checkpoints, pipeline
    from lakehouse.lake import Lake
    from lakehouse.repair import start_over

    with command(as_json) as out:
        computed = [name for name in pipeline.TABLES if not name.startswith("bronze.")]
        if table not in computed:
            raise ConfigurationError(
                f"{table} is not computed from another table",
                where="lakehouse recompute",
                state="nothing was changed",
                next_command="name one of: " + ", ".join(computed) + "; files are loaded again by: lakehouse replay",
            )
        lake = Lake.open(Settings.load(), say=out.say)
        with checkpoints.writer_of(lake, table):
            found = lake.describe(table)
            if yes:
                start_over(lake, table)
        rows = found.rows if found else 0
        out.line(f"{'removed' if yes else 'would remove'} {table} ({rows:,} rows) and its checkpoint")
        out.line(
            "next: lakehouse ingest" if yes else f"nothing was changed; to do it: lakehouse recompute {table} --yes"
        )
        out.result({"table": table, "rows": rows, "done": yes})
