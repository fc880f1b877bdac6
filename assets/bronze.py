"""Bronze: the order files, each line once."""

from typing import Any

import dagster as dg

from assets.names import AVAILABLE_NOW_KEY, BASIC_KEY, BRONZE_KEY, LANDING_KEY, OWNERS, pool
from assets.tables import materialize
from lakehouse.orders.tables import AVAILABLE_NOW_TABLE, BASIC, BRONZE
from resources.lake import LakeResource
from resources.spark import SparkResource

_COMMON: dict[str, Any] = {
    "deps": [LANDING_KEY],
    "group_name": "bronze",
    "kinds": {"pyspark", "deltalake", "bronze"},
    "owners": OWNERS,
    "tags": {"layer": "bronze"},
}


@dg.asset(key=BRONZE_KEY, code_version="1", pool=pool(BRONZE), **_COMMON)
def orders_autoloader(
    context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource
) -> dg.MaterializeResult:
    """Order files, loaded exactly once by cloudFiles: journal, inferred columns, quarantine, lineage of each row."""
    return materialize(context, lake, spark, BRONZE)


@dg.asset(key=BASIC_KEY, code_version="1", pool=pool(BASIC), **_COMMON)
def orders_streaming_basic(
    context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource
) -> dg.MaterializeResult:
    """The same files by Spark's own file source, two a micro-batch, to compare with; nothing else reads it."""
    return materialize(context, lake, spark, BASIC)


@dg.asset(key=AVAILABLE_NOW_KEY, code_version="1", pool=pool(AVAILABLE_NOW_TABLE), **_COMMON)
def orders_trigger_availablenow(
    context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource
) -> dg.MaterializeResult:
    """The same files by cloudFiles with nothing but its defaults: up to 1,000 files a micro-batch, all text."""
    return materialize(context, lake, spark, AVAILABLE_NOW_TABLE)
