"""``lakehouse check``: the checks of tables, without a run."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.arrow_alone import keep_pandas_out
from lakehouse.cli.output import Json, Output, command, in_lake, require_declared

if TYPE_CHECKING:
    from lakehouse.table import Finding


def check(
    tables: Annotated[
        list[str] | None, typer.Argument(callback=in_lake, help="layer.name of each; default: all but those on demand")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="count all rows again, and hold what was kept of earlier counts against it")
    ] = False,
    as_json: bool = Json,
) -> None:
    """Examine tables as they are, and load nothing. A blocking check that fails makes the exit code 1."""
    keep_pandas_out()
    from lakehouse import pipeline
    from lakehouse.alerts.hooks import alerted, checks_and_doctor
    from lakehouse.engine import connect
    from lakehouse.errors import AccessDenied, EngineUnavailable, LakehouseError, StoreUnavailable
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings

    with command(as_json) as out, ExitStack() as stack:
        settings = Settings.load()
        watch = stack.enter_context(alerted(settings, out.warn))
        chosen = tables or list(pipeline.default_tables(settings))
        for table in chosen:
            require_declared(settings, table)  # a wrong name is told before anything is started
        lake = watch.lake = Lake.open(settings, say=out.say)
        spark = cache(lambda: connect(lake, out.say))
        findings: list[Finding] = []
        errors: dict[str, LakehouseError] = {}
        for table in chosen:
            try:
                found = pipeline.check_table(spark, lake, table, full=full)
            except (EngineUnavailable, StoreUnavailable, AccessDenied):
                raise
            except LakehouseError as error:
                errors[table] = error
                continue
            if not found and lake.version(table) is None:
                out.line(f"{table} is declared, and no run has filled it yet: lakehouse ingest {table}")
            for finding in found:
                show_finding(out, finding)
            findings += found
            blocked = pipeline.blocked_by(found, state="nothing was changed")
            if blocked is not None:
                errors[table] = blocked
        watch.find = lambda catalogue: checks_and_doctor(lake, catalogue, chosen, findings, errors)
        for table, why in list(errors.items())[1:]:
            out.line(f"{table}: {why}", style="red")
        out.result({"full": full, "checks": [finding.as_dict() for finding in findings]})
        out.result({"failed": {table: why.as_dict() for table, why in errors.items()}})
        for why in errors.values():
            raise why


def show_finding(out: Output, finding: Finding) -> None:
    """A line for a finding, and its sample as a table."""
    out.line(finding.line(), style="" if finding.passed else "red" if finding.blocks else "yellow")
    if finding.sample:
        out.table(list(finding.sample[0]), [list(row.values()) for row in finding.sample])
