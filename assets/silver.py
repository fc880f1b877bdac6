"""Silver: orders in event-time windows, and each order in its latest version."""

from typing import Any

import dagster as dg

from assets.names import BRONZE_KEY, ORDERS_KEY, OWNERS, SILVER_KEY, pool
from assets.tables import materialize
from lakehouse.orders.tables import ORDERS, SILVER
from resources.lake import LakeResource
from resources.spark import SparkResource

_COMMON: dict[str, Any] = {
    "deps": [BRONZE_KEY],
    "group_name": "silver",
    "kinds": {"pyspark", "deltalake", "silver"},
    "owners": OWNERS,
    "tags": {"layer": "silver"},
}


@dg.asset(key=SILVER_KEY, code_version="1", pool=pool(SILVER), **_COMMON)
def orders_windowed_aggregates(
    context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource
) -> dg.MaterializeResult:
    """Orders and revenue by five-minute window and payment method; a window is written once, when it is closed."""
    return materialize(context, lake, spark, SILVER)


@dg.asset(key=ORDERS_KEY, code_version="1", pool=pool(ORDERS), **_COMMON)
def orders(context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource) -> dg.MaterializeResult:
    """Every order once, as it was sent last, with a change data feed."""
    return materialize(context, lake, spark, ORDERS)
