"""Gold: revenue by day and payment method."""

import dagster as dg

from assets.names import DAILY_REVENUE_KEY, ORDERS_KEY, OWNERS, pool
from assets.tables import materialize
from lakehouse.orders.tables import DAILY_REVENUE
from resources.lake import LakeResource
from resources.spark import SparkResource


@dg.asset(
    key=DAILY_REVENUE_KEY,
    deps=[ORDERS_KEY],
    group_name="gold",
    kinds={"pyspark", "deltalake", "gold"},
    owners=OWNERS,
    tags={"layer": "gold"},
    code_version="1",
    pool=pool(DAILY_REVENUE),
)
def daily_revenue(context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource) -> dg.MaterializeResult:
    """Orders, revenue, average and distinct customers by day and payment method; changed groups are computed anew."""
    return materialize(context, lake, spark, DAILY_REVENUE)
