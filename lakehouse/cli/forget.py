"""``lakehouse forget``: removing rows on purpose."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.output import Json, Yes, command, in_lake, open_table

_NAMED_FILES = 20


def forget(
    table: Annotated[str, typer.Argument(callback=in_lake, help="layer.name of a table that files fill")],
    where: Annotated[str | None, typer.Option(help="SQL condition: the rows that it names are removed")] = None,
    duplicates: Annotated[bool, typer.Option("--duplicates", help="all but the newest copy of each key")] = False,
    already_removed: Annotated[
        bool, typer.Option("--already-removed", help="record what an SQL DELETE has removed, and remove nothing")
    ] = False,
    then: Annotated[
        str | None,
        typer.Option(help="tables computed from it: ask (stop), follow (computed again), keep (as they are)"),
    ] = None,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Remove rows on purpose, and record it: no check takes them for lost.

    The rows stay in the table's older versions until VACUUM removes those.
    """
    from dataclasses import asdict

    from lakehouse.engine import connect
    from lakehouse.forgetting import forget_rows, require_named_rows

    with command(as_json) as out:
        require_named_rows(where, duplicates, already_removed)
        lake, _ = open_table(out, table)
        done, choice = forget_rows(
            *(lambda: connect(lake, out.say), lake, table),
            where=where,
            duplicates=duplicates,
            already_removed=already_removed,
            then=then,
            really=yes,
        )
        what = f"{done.rows:,} rows" + (f" of {len(done.files):,} files" if done.files else "")
        verb = ("record", "recorded") if already_removed else ("remove", "removed")
        if done.done:
            version = (
                "" if done.version is None else f", in version {done.version}; version {done.version - 1} has them"
            )
            out.line(f"{verb[1]} {what} of {table}{version}")
        else:
            out.line(f"would {verb[0]} {what} of {table}; --yes does it")
        if done.waiting:
            out.line(f"files wait to be loaded again, and could bring such rows back ({len(done.waiting):,}):")
            for path in (*done.waiting[:_NAMED_FILES], *(["..."] if len(done.waiting) > _NAMED_FILES else [])):
                out.line(f"  {path}")
            out.line(f"first: lakehouse ingest {table}")
        for kept in done.quarantined:
            out.line(str(kept), style="yellow")
        out.result({**asdict(done), "then": choice})
