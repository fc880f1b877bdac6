"""A lever that examines tables as they are: all rows counted again."""

from __future__ import annotations

from lakehouse.dagster.levers.lever import LeverConfig, Pull, Pulled
from lakehouse.dagster.names import key_of
from lakehouse.plain_text import counted
from lakehouse.table import Finding


class CheckForm(LeverConfig):
    """Tables whose checks count all rows again, and hold what was kept of earlier counts against that."""


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
