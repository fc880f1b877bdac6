"""Bronze: the order files, each line once."""

import dagster as dg

from assets.names import BRONZE_KEY, LANDING_KEY, OWNERS, pool
from assets.tables import materialize
from lakehouse.pipeline import BRONZE
from resources.lake import LakeResource
from resources.spark import SparkResource


@dg.asset(
    key=BRONZE_KEY,
    deps=[LANDING_KEY],
    group_name="bronze",
    kinds={"pyspark", "deltalake", "bronze"},
    owners=OWNERS,
    tags={"layer": "bronze"},
    code_version="1",
    pool=pool(BRONZE),
)
def orders_streaming_basic(
    context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource
) -> dg.MaterializeResult:
    """Order files, appended exactly once by Spark's file source; two files a micro-batch."""
    return materialize(context, lake, spark, BRONZE)
