"""Levers that examine tables: all rows counted again, and what a run that was killed leaves behind."""

from __future__ import annotations

from enum import Enum

from pydantic import Field

from lakehouse.dagster.levers.lever import LeverConfig, Pull, Pulled, of_table
from lakehouse.dagster.names import key_of
from lakehouse.plain_text import counted
from lakehouse.table import Finding


class CheckForm(LeverConfig):
    """Tables whose checks count all rows again, and hold what was kept of earlier counts against that."""


class Moment(Enum):
    """When a run is killed."""

    planned = "planned"
    committed = "committed"


class CrashForm(LeverConfig):
    """A run that is killed, and the run after it; put files into the folder first."""

    moment: Moment = Field(
        Moment.planned,
        description="planned: before the rows of a batch are in the table; committed: right after that, before the "
        "batch is noted as finished",
    )


def crash(pull: Pull) -> Pulled:
    """``lakehouse crash``."""
    from lakehouse.crashing import crash as crash_table

    moment = pull.config.moment.value
    done = crash_table(pull.session, pull.lake, pull.table, moment, really=pull.really)
    numbers = {"rows_before": done.rows_before, "rows_after_kill": done.rows_after_kill, "rows_after": done.rows_after}
    failed = {"checks_failed": sum(not found.passed for found in done.findings)}
    rows = [_row(finding) for finding in done.findings]
    arguments = [pull.table, "--moment", moment, *pull.yes]
    return Pulled(done.lines(), done.done, arguments, of_table(pull.table, **numbers, **failed), rows, done.error)


def check(pull: Pull) -> Pulled:
    """``lakehouse check --full``."""
    from lakehouse.pipeline import blocked_by, check_table, default_tables

    names = pull.tables or default_tables(pull.lake.settings)
    if not pull.really:
        on = {name: [item.called for item in pull.catalogue[name].checks if item.on_failure != "off"] for name in names}
        lines = [f"would count all rows of {counted(len(names), 'table')} for {sum(map(len, on.values()))} checks"]
        rows = [{"table": name, "checks": ", ".join(checks)} for name, checks in on.items()]
        return Pulled(lines, False, names, {key_of(name): {"checks": len(checks)} for name, checks in on.items()}, rows)
    found = {name: check_table(pull.session, pull.lake, name, full=True) for name in names}
    every = [finding for findings in found.values() for finding in findings]
    blocked = blocked_by(every, state="nothing was changed")
    failed = [finding for finding in every if not finding.passed]
    lines = [f"{counted(len(every), 'check')} of {counted(len(names), 'table')}, {len(failed)} failed"]
    numbers = {
        key_of(name): {"checks": len(findings), "checks_failed": sum(not result.passed for result in findings)}
        for name, findings in found.items()
    }
    return Pulled(lines, True, names, numbers, [_row(finding) for finding in every], blocked)


def _row(finding: Finding) -> dict[str, object]:
    verdict = "pass" if finding.passed else "FAIL" if finding.blocks else "warn"
    return {"table": finding.table, "check": finding.check, "verdict": verdict, "finding": finding.line()}
