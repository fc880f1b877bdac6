"""Checks of the tables' state, as steps of their own: each can be run again alone, and a failed one stops silver."""

from collections.abc import Iterator

import dagster as dg

from assets.metadata import of_finding
from assets.names import BASIC_KEY, BRONZE_KEY, SILVER_KEY
from lakehouse.pipeline import BASIC, BLOCKING, BRONZE, SILVER, check_table
from resources.lake import LakeResource
from resources.spark import SparkResource


def _spec(name: str, key: dg.AssetKey, description: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=key, blocking=name in BLOCKING, description=description)


def _evaluate(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, spark: SparkResource, table: str, key: dg.AssetKey
) -> Iterator[dg.AssetCheckResult]:
    findings = check_table(spark.spark_session, lake.open(), table)
    for finding in findings:
        context.log.info(finding.line())
        yield dg.AssetCheckResult(
            passed=finding.passed,
            asset_key=key,
            check_name=finding.check,
            severity=dg.AssetCheckSeverity.ERROR if finding.check in BLOCKING else dg.AssetCheckSeverity.WARN,
            metadata=of_finding(finding),
        )
    if not findings:  # a check without a result would count as passed without a word
        for spec in context.check_specs:
            yield dg.AssetCheckResult(
                passed=True, asset_key=key, check_name=spec.name, description=f"{table} does not exist yet"
            )


_ORDERS = {
    "no_duplicate_orders": "Each order stands in the table once; shows the rows that do not.",
    "no_corrupt_records": "Lines that are no valid order: kept, counted, left out of silver.",
}
_FILES = {
    "no_file_loaded_twice": "No file has more rows in the table than it gave, nor rows under two numbers.",
    "every_file_loaded": "Files journalled are files committed; rows read are rows in the table.",
    "no_quarantined_files": "Files that could not be read, with the reason; the others were loaded.",
}


@dg.multi_asset_check(
    name="bronze_checks", specs=[_spec(name, BRONZE_KEY, text) for name, text in {**_FILES, **_ORDERS}.items()]
)
def bronze_checks(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, spark: SparkResource
) -> Iterator[dg.AssetCheckResult]:
    """Examines the whole bronze table, and holds it against the journal of files."""
    yield from _evaluate(context, lake, spark, BRONZE, BRONZE_KEY)


@dg.multi_asset_check(
    name="bronze_basic_checks", specs=[_spec(name, BASIC_KEY, text) for name, text in _ORDERS.items()]
)
def bronze_basic_checks(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, spark: SparkResource
) -> Iterator[dg.AssetCheckResult]:
    """Examines the table of Spark's own file source."""
    yield from _evaluate(context, lake, spark, BASIC, BASIC_KEY)


@dg.multi_asset_check(
    name="silver_checks",
    specs=[
        _spec(
            "windows_account_for_orders",
            SILVER_KEY,
            "Every order of a closed window is counted in it once, or came too late and is counted as late.",
        )
    ],
)
def silver_checks(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, spark: SparkResource
) -> Iterator[dg.AssetCheckResult]:
    """Compares the closed windows with bronze."""
    yield from _evaluate(context, lake, spark, SILVER, SILVER_KEY)
