"""``lakehouse doctor`` and ``lakehouse explain``: what is wrong, and what an error means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import Json, Output, command, in_lake, require_declared

if TYPE_CHECKING:
    from lakehouse.doctor.examining import Examination

_STYLES = {"fail": "red", "warn": "yellow", "pass": ""}


def doctor(
    tables: Annotated[
        list[str] | None,
        typer.Argument(callback=in_lake, help="layer.name of each, looked at closely; default: all that are declared"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="show what is well, too")] = False,
    as_json: bool = Json,
) -> None:
    """Find what is wrong with tables and their store, and say what mends it. Writes nothing, needs no Spark.

    The exit code is 1 when something fails.
    """
    from lakehouse.declaration import read_catalogue
    from lakehouse.doctor.examining import examine, unreachable
    from lakehouse.errors import AccessDenied, StoreUnavailable
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings
    from lakehouse.storage import BucketMissing, find_store, open_store

    with command(as_json) as out:
        settings = Settings.load()
        for table in tables or ():
            require_declared(settings, table)
        catalogue = read_catalogue(settings)
        try:
            endpoint = find_store(settings)
            examined = examine(Lake(settings, endpoint, open_store(endpoint)), catalogue, tables or ())
        except (StoreUnavailable, AccessDenied, BucketMissing) as error:
            examined = unreachable(error)
        failed = _show(out, examined, everything)
    if failed:
        raise typer.Exit(1)


def _show(out: Output, examined: Examination, everything: bool) -> bool:
    """Prints what was found; whether something fails."""
    from lakehouse.doctor.finding import Verdict

    shown = [*examined.of(Verdict.FAIL), *examined.of(Verdict.WARN)]
    for finding in [*shown, *(examined.of(Verdict.PASS) if everything else ())]:
        for number, line in enumerate(finding.lines()):
            out.line(line, style="" if number else _STYLES[finding.verdict])
    counts = {verdict.value: len(examined.of(verdict)) for verdict in Verdict}
    summary = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    out.line(f"{examined.tables:,} tables looked at: {summary}" + ("" if everything else "; --all shows all"))
    findings = [entry.as_dict() for entry in examined.findings]
    out.result({"tables": examined.tables, "requests": examined.requests, "counts": counts, "findings": findings})
    return bool(counts["fail"])


def explain(
    named: Annotated[
        str | None, typer.Argument(metavar="[ERROR_CLASS]", help="class of an error, or condition of a file or check")
    ] = None,
    as_json: bool = Json,
) -> None:
    """Say what an error means, what causes it, and what to run; alone, list what can be asked."""
    from dataclasses import asdict

    from lakehouse.doctor.explained import EXPLAINED, explanation

    with command(as_json) as out:
        if named is None:
            out.table(["error or condition", "means"], [[name, entry.meaning] for name, entry in EXPLAINED.items()])
            out.result({"errors": {name: asdict(entry) for name, entry in EXPLAINED.items()}})
            return
        name, found = explanation(named)
        for label, text in (("means", found.meaning), ("cause", found.cause), ("run", found.command)):
            out.line(f"{label:6} {text}")
        out.result({"error": name, **asdict(found)})
