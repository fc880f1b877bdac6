"""What runs, checks, services and the doctor find, as rounds of alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lakehouse.alerts.alert import LAKE, Alert, Kind, Round
from lakehouse.doctor.examining import UNSEEN, examine
from lakehouse.doctor.explained import explanation_of
from lakehouse.doctor.finding import Finding as Seen
from lakehouse.doctor.finding import Verdict
from lakehouse.doctor.probes import backlog, following, leases, services
from lakehouse.errors import CheckFailed, LakehouseError, LeaseHeld
from lakehouse.lake import Lake
from lakehouse.table import Catalogue, Finding

if TYPE_CHECKING:
    from lakehouse.pipeline import Ingested

QUICK = ("log", "backlog", "following", "leases", "services")
"""Probes of the doctor that look for what no run tells: files that wait, and writers that are gone."""
_STALE = "fresh_within"
_MOST_EXAMINED, _MOST_SEEN = 10, 3
_KINDS: dict[str, Kind] = {
    backlog.WAITING.name: "stale",
    backlog.STUCK.name: "stale",
    backlog.STALE.name: "stale",
    following.BEHIND.name: "stale",
    backlog.GROWING.name: "backlog grows",
    leases.DEAD.name: "service down",
    leases.SILENT.name: "service down",
    services.DEAD.name: "service down",
    services.SILENT.name: "service down",
}


def of_error(error: Exception, table: str = LAKE, kind: Kind = "run failed") -> Round:
    """A run, or a look, that ended with an error. Where somebody else writes the table now, nothing is known of it."""
    if isinstance(error, LeaseHeld):
        return Round()
    known = explanation_of(error)
    details = error.as_dict() if isinstance(error, LakehouseError) else {}
    alert = Alert(
        kind,
        table,
        f"{'run' if kind == 'run failed' else 'checks'}:{table}:",
        details.get("what") or type(error).__name__,
        type(error).__name__,
        details.get("where", ""),
        known.meaning if known else "",
        details.get("next") or (known.command if known else "lakehouse doctor"),
    )
    return Round.of([alert], ())


def of_success(table: str) -> Round:
    """A run that brought a table up to date."""
    return Round.of((), [f"run:{table}:", f"run:{LAKE}:"])


def of_checks(
    catalogue: Catalogue, table: str, findings: Iterable[Finding], names: Iterable[str] | None = None
) -> Round:
    """The findings of a table's checks: of all of them, or of those of ``names``."""
    fresh = {check.called for check in catalogue[table].checks if check.kind == _STALE} if table in catalogue else set()
    alerts = []
    for finding in findings:
        if not finding.passed:
            numbers = ", ".join(f"{name} {value:,}" for name, value in finding.numbers.items())
            kind: Kind = "stale" if finding.check in fresh else "check failed"
            what, cure = f"{finding.check} on {table}: {numbers}", finding.next_command or f"lakehouse check {table}"
            group = _check(table, finding.check)
            alerts.append(Alert(kind, table, group, what, command=cure, blocks=finding.blocks))
    looked = [f"check:{table}:", f"checks:{table}:"] if names is None else [_check(table, name) for name in names]
    return Round.of(alerts, looked)


def _check(table: str, name: str) -> str:
    return f"check:{table}:{name}:"


def of_run(catalogue: Catalogue, done: Ingested) -> Round:
    """A run over several tables, with its checks."""
    found = Round.of((), [f"run:{LAKE}:"])
    for table in dict.fromkeys([*(report.table for report in done.reports), *done.errors]):
        error = done.errors.get(table)
        if error is not None and not isinstance(error, CheckFailed):
            found += of_error(error, table)
            continue
        found += of_success(table)
        found += of_checks(catalogue, table, [finding for finding in done.findings if finding.table == table])
    return found


def of_checking(
    catalogue: Catalogue,
    tables: Iterable[str],
    findings: Sequence[Finding],
    errors: Mapping[str, LakehouseError],
) -> Round:
    """The checks of several tables without a run."""
    found = Round()
    for table in tables:
        error = errors.get(table)
        if error is not None and not isinstance(error, CheckFailed):
            found += of_error(error, table, "check failed")
        else:
            found += of_checks(catalogue, table, [finding for finding in findings if finding.table == table])
    return found


def of_doctor(lake: Lake, catalogue: Catalogue, tables: Sequence[str] = (), only: Sequence[str] = QUICK) -> Round:
    """What the doctor finds: what fails, tables that are behind, backlogs that grow, writers that are gone."""
    found = examine(lake, catalogue, tables, shared=False, only=only).findings
    alerts, looked = [], []
    for finding in found:
        if finding.sign == UNSEEN.name:
            continue  # nothing is known
        group = f"doctor:{finding.table}:{finding.probe}:"
        looked.append(group)
        kind: Kind | None = _KINDS.get(finding.sign) or ("damaged" if finding.verdict is Verdict.FAIL else None)
        if kind is not None:
            details = (finding.what, finding.sign, finding.where, finding.why, finding.command)
            alerts.append(Alert(kind, finding.table, group, *details, blocks=finding.verdict is Verdict.FAIL))
    return Round.of(alerts, looked)


def with_doctor(lake: Lake, catalogue: Catalogue, found: Round) -> Round:
    """The same alerts, each with what else the doctor finds of its table."""
    own = [alert for alert in found.alerts if not alert.group.startswith("doctor:")]
    failed = dict.fromkeys(alert.table for alert in own if alert.table in catalogue)
    named = list(failed)[:_MOST_EXAMINED]
    if not named:
        return found
    seen = examine(lake, catalogue, named, shared=False).of(Verdict.FAIL, Verdict.WARN)
    alerts = [replace(alert, seen_by=_beside(alert, seen)) if alert in own else alert for alert in found.alerts]
    return Round(tuple(alerts), found.looked)


def _beside(alert: Alert, seen: Iterable[Seen]) -> tuple[str, ...]:
    findings = [finding for finding in seen if finding.table == alert.table and finding.sign != alert.detail]
    lines = tuple(f"the doctor finds: {finding.what}; run: {finding.command}" for finding in findings[:_MOST_SEEN])
    return lines or (f"the doctor finds nothing else that is wrong with {alert.table}",)


def of_stream(health: dict[str, Any], quiet_seconds: float) -> Round:
    """A stream of a service, as its health says.

    Args:
        health: Of ``StreamHealth.as_dict``.
        quiet_seconds: How long it may try again and again before that is told.
    """
    table, state, silent = health["table"], health["state"], health["seconds_since_progress"]
    down = state == "failed" or health["stale"] or (state == "restarting" and silent > quiet_seconds)
    if not down:
        return of_success(table) if state in ("running", "waiting") else Round()
    error = str(health["last_error"] or f"no sign of life for {silent:.0f} seconds").splitlines()[0]
    what = f"its service is {state}: {error}"
    why = "nothing loads the table now"
    alert = Alert("service down", table, f"run:{table}:", what, "service", "", why, f"lakehouse doctor {table}")
    return Round.of([alert], ())
