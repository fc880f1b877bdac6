"""Silver: orders in event-time windows."""

import dagster as dg

from assets.names import BRONZE_KEY, OWNERS, SILVER_KEY, pool
from assets.tables import materialize
from lakehouse.pipeline import SILVER
from resources.lake import LakeResource
from resources.spark import SparkResource


@dg.asset(
    key=SILVER_KEY,
    deps=[BRONZE_KEY],
    group_name="silver",
    kinds={"pyspark", "deltalake", "silver"},
    owners=OWNERS,
    tags={"layer": "silver"},
    code_version="1",
    pool=pool(SILVER),
)
def orders_windowed_aggregates(
    context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource
) -> dg.MaterializeResult:
    """Orders and revenue by five-minute window and payment method; a window is written once, when it is closed."""
    return materialize(context, lake, spark, SILVER)
