"""Checks of the tables' state, each a step of its own that can be run alone; a failed one stops what comes after."""

from collections.abc import Iterator

import dagster as dg

from assets.metadata import of_finding
from assets.names import AVAILABLE_NOW_KEY, BASIC_KEY, BRONZE_KEY, DAILY_REVENUE_KEY, ORDERS_KEY, SILVER_KEY
from assets.schema_metadata import of_history
from lakehouse.lake import Lake
from lakehouse.orders.tables import AVAILABLE_NOW_TABLE, BASIC, BRONZE, DAILY_REVENUE, ORDERS, SILVER
from lakehouse.pipeline import BLOCKING, BLOCKING_BY_CHOICE, blocking, check_table, schemas
from resources.lake import LakeResource
from resources.spark import SparkResource


def _spec(name: str, key: dg.AssetKey, description: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=key, blocking=name in BLOCKING | BLOCKING_BY_CHOICE, description=description)


def _evaluate(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, spark: SparkResource, table: str, key: dg.AssetKey
) -> Iterator[dg.AssetCheckResult]:
    opened = lake.open()
    findings = check_table(spark.spark_session, opened, table)
    stops = blocking(opened.settings)
    for finding in findings:
        context.log.info(finding.line())
        yield dg.AssetCheckResult(
            passed=finding.passed,
            asset_key=key,
            check_name=finding.check,
            severity=dg.AssetCheckSeverity.ERROR if finding.check in stops else dg.AssetCheckSeverity.WARN,
            metadata=of_finding(finding) | (_history(opened, table) if finding.check == "schema_drift" else {}),
        )
    silent = {spec.name for spec in context.check_specs} - {finding.check for finding in findings}
    for name in sorted(silent):  # a check without a result would count as passed without a word
        why = f"nothing of {table} to examine yet" if not findings else "nothing to examine, or switched off"
        yield dg.AssetCheckResult(passed=True, asset_key=key, check_name=name, description=why)


def _history(lake: Lake, table: str) -> dict[str, dg.TableMetadataValue]:
    return of_history(schemas(lake, table).history())


_ORDERS = {
    "no_duplicate_orders": "Each order stands in the table once; shows the rows that do not.",
    "no_corrupt_records": "Lines that are no valid order: kept, counted, left out of silver.",
}
_CLOUD_FILES = {
    "no_file_loaded_twice": "No file has more rows in the table than it gave, nor rows under two numbers.",
    "every_file_loaded": "Files journalled are files committed; rows read are rows in the table.",
    "no_quarantined_files": "Files that could not be read, with the reason; the others were loaded.",
    "rescue_rate": "Rows with a value that did not fit its column: within the share that is allowed.",
    "schema_contract": "Every pinned column is there with its type; blocks with LAKEHOUSE_SCHEMA_CONTRACT=block.",
    "schema_drift": "No column came that the pinned contract does not name; shows the files that brought them.",
}


@dg.multi_asset_check(
    name="bronze_checks",
    specs=[_spec(name, BRONZE_KEY, text) for name, text in {**_ORDERS, **_CLOUD_FILES}.items()],
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
    name="bronze_trigger_checks",
    specs=[
        _spec(name, AVAILABLE_NOW_KEY, text)
        for name, text in {**_ORDERS, "rescue_rate": _CLOUD_FILES["rescue_rate"]}.items()
    ],
)
def bronze_trigger_checks(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, spark: SparkResource
) -> Iterator[dg.AssetCheckResult]:
    """Examines the table of cloudFiles' defaults."""
    yield from _evaluate(context, lake, spark, AVAILABLE_NOW_TABLE, AVAILABLE_NOW_KEY)


@dg.multi_asset_check(
    name="silver_checks",
    specs=[
        _spec(
            "windows_account_for_orders",
            SILVER_KEY,
            "Every order of bronze is counted in its closed window once, or is in quarantine with the reason.",
        )
    ],
)
def silver_checks(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, spark: SparkResource
) -> Iterator[dg.AssetCheckResult]:
    """Holds bronze, the closed windows and the quarantine together."""
    yield from _evaluate(context, lake, spark, SILVER, SILVER_KEY)


_KEYED = {
    "orders_match_bronze": "Each order of bronze once, with the values of its latest version, and no other.",
    "every_order_has_an_id": "Valid orders without an id: counted, left out of silver.orders.",
}


@dg.multi_asset_check(name="orders_checks", specs=[_spec(name, ORDERS_KEY, text) for name, text in _KEYED.items()])
def orders_checks(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, spark: SparkResource
) -> Iterator[dg.AssetCheckResult]:
    """Compares every order with bronze."""
    yield from _evaluate(context, lake, spark, ORDERS, ORDERS_KEY)


@dg.multi_asset_check(
    name="gold_checks",
    specs=[_spec("revenue_matches_orders", DAILY_REVENUE_KEY, "Every group is what all orders of silver.orders give.")],
)
def gold_checks(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, spark: SparkResource
) -> Iterator[dg.AssetCheckResult]:
    """Computes every group again."""
    yield from _evaluate(context, lake, spark, DAILY_REVENUE, DAILY_REVENUE_KEY)
