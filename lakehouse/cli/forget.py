"""``lakehouse forget``: removing rows on purpose."""

from __future__ import annotations

from typing import Annotated

import typer

from lakehouse.cli.output import Json, Yes, command, open_table


def forget(
    table: Annotated[str, typer.Argument(help="layer.name of a table that files fill")],
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

    from lakehouse.checks.unique import Unique
    from lakehouse.engine import connect
    from lakehouse.engine.conf import TRANSACTION
    from lakehouse.errors import ConfigurationError
    from lakehouse.maintenance import forget as forgetting
    from lakehouse.pipeline import declared

    def refuse(what: str, next_command: str) -> ConfigurationError:
        return ConfigurationError(
            what, where="lakehouse forget", state="nothing was changed", next_command=next_command
        )

    with command(as_json) as out:
        if [where is not None, duplicates, already_removed].count(True) != 1:
            raise refuse("say which rows", "give one of --where CONDITION, --duplicates, --already-removed")
        lake, _ = open_table(out, table)
        table_ = declared(lake, table)
        if table_.flow.reads:
            raise refuse(
                f"{table} is computed from another table, and would have the rows again",
                "remove them from the bronze table, with --then follow",
            )
        choice = then or ("follow" if duplicates else None)
        choice = choice or lake.settings.after_removals
        if choice not in ("ask", "follow", "keep"):
            raise refuse(f"--then {choice} is no choice", "give one of ask, follow, keep")
        if already_removed:
            done = forgetting.accept_removals(lake, table, really=yes)
        else:
            spark = connect(lake, out.say)
            key = next((check.columns for check in table_.checks if isinstance(check, Unique)), ())
            done = forgetting.forget(spark, lake, table, where, TRANSACTION, then=choice, unique=key, really=yes)  # type: ignore[arg-type]
        what = f"{done.rows:,} rows" + (f" of {len(done.files):,} files" if done.files else "")
        verb = ("record", "recorded") if already_removed else ("remove", "removed")
        if done.done:
            version = (
                "" if done.version is None else f", in version {done.version}; version {done.version - 1} has them"
            )
            out.line(f"{verb[1]} {what} of {table}{version}")
        else:
            out.line(f"would {verb[0]} {what} of {table}; --yes does it")
        out.result({**asdict(done), "then": choice})
