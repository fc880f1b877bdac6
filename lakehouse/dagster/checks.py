"""Checks of the tables' state: a step a table, whose checks can be run alone; a failed check stops what follows."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from lakehouse.dagster.alerts import tell_of_checks
from lakehouse.dagster.metadata import of_finding
from lakehouse.dagster.names import check_step_of, key_of, turn_tags
from lakehouse.dagster.resources import LakeResource, SparkResource
from lakehouse.dagster.schema_metadata import of_history, versions_of
from lakehouse.lake import Lake
from lakehouse.table import Finding, Table

_OF_SCHEMA = "schema_drift"


def checks_of(table: Table, turn: int = 0) -> dg.AssetChecksDefinition | None:
    """The step that checks a table, before tables of a lower turn; None when all its checks are off."""
    declared = [check for check in table.checks if check.on_failure != "off"]
    if not declared:
        return None
    key = key_of(table.name)
    kinds = {check.called: check.kind for check in declared}

    @dg.multi_asset_check(
        name=check_step_of(key),
        specs=[
            dg.AssetCheckSpec(check.called, asset=key, blocking=check.blocking, description=check.summary or None)
            for check in declared
        ],
        description=f"Examines {table.name} as it is.",
        can_subset=True,
        op_tags=turn_tags(turn),
    )
    def checks(
        context: dg.AssetCheckExecutionContext, lake: LakeResource, spark: SparkResource
    ) -> Iterator[dg.AssetCheckResult]:
        from lakehouse.pipeline import check_table

        opened = lake.open()
        names = {check_key.name for check_key in context.selected_asset_check_keys}
        chosen = None if names == kinds.keys() else sorted(names)
        findings = check_table(lambda: spark.spark_session, opened, table.name, names=chosen)
        tell_of_checks(context, opened, table.name, findings, chosen)
        for finding in findings:
            if finding.check not in names:
                continue
            context.log.info(finding.line())
            history = _history(opened, table) if kinds[finding.check] == _OF_SCHEMA else {}
            yield _result(finding, key, history)
        silent = names - {finding.check for finding in findings}
        for name in sorted(silent):  # a check without a result would count as passed without a word
            why = f"nothing of {table.name} to examine yet" if not findings else "nothing to examine, or switched off"
            yield dg.AssetCheckResult(passed=True, asset_key=key, check_name=name, description=why)

    return checks


def log_checks(context: dg.OpExecutionContext, lake: Lake, spark: SparkResource, table: Table) -> int:
    """Examines a table that a step has just written, and tells it on the pages of its checks.

    Returns:
        How many checks failed.
    """
    from lakehouse.pipeline import check_table

    shown = {check.called for check in table.checks if check.on_failure != "off"}
    findings = [found for found in check_table(lambda: spark.spark_session, lake, table.name) if found.check in shown]
    for finding in findings:
        context.log.info(finding.line())
        evaluation: Any = dg.AssetCheckEvaluation(  # the types of log_event leave out what it takes
            asset_key=key_of(table.name),
            check_name=finding.check,
            passed=finding.passed,
            severity=_severity(finding),
            metadata=of_finding(finding),
        )
        context.log_event(evaluation)
    return sum(not found.passed for found in findings)


def _severity(finding: Finding) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if finding.blocks else dg.AssetCheckSeverity.WARN


def _result(finding: Finding, key: dg.AssetKey, more: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=finding.passed,
        asset_key=key,
        check_name=finding.check,
        severity=_severity(finding),
        metadata=of_finding(finding) | more,
    )


def _history(lake: Lake, table: Table) -> dict[str, Any]:
    return of_history(versions_of(lake, table))
