"""What keeps the tables in order between runs."""

import dagster as dg

from assets.metadata import records
from assets.names import BRONZE_KEY, OWNERS, PROMOTE_KEY, REPLAY_LATE_KEY, SILVER_KEY, pool
from lakehouse.checks.accounts_for_rows import windows_of
from lakehouse.declaration import read_catalogue
from lakehouse.late import replay_late
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.pipeline import rescued_data
from lakehouse.table import At
from resources.lake import LakeResource
from resources.spark import SparkResource


@dg.asset(
    key=PROMOTE_KEY,
    deps=[BRONZE_KEY],
    group_name="maintenance",
    kinds={"pyspark", "deltalake"},
    owners=OWNERS,
    code_version="1",
    pool=pool(BRONZE),
)
def promote_rescued_data(
    context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource
) -> dg.MaterializeResult:
    """Moves values from bronze's rescued data into columns that have joined the schema since."""
    opened = lake.open()
    if opened.version(BRONZE) is None:
        return dg.MaterializeResult(metadata={"values_promoted": 0})
    done = rescued_data(opened, BRONZE).promote(spark.spark_session, really=True)
    context.log.info(f"values promoted by column: {done.rows}" if done.rows else "nothing to promote")
    metadata: dict[str, dg.MetadataValue | int] = {"values_promoted": sum(done.rows.values())}
    if done.rows:
        metadata["columns"] = records([{"column": name, "rows": rows} for name, rows in done.rows.items()])
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(
    key=REPLAY_LATE_KEY,
    deps=[SILVER_KEY],
    group_name="maintenance",
    kinds={"pyspark", "deltalake"},
    owners=OWNERS,
    code_version="1",
    pool=pool(SILVER),
)
def replay_late_orders(
    context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource
) -> dg.MaterializeResult:
    """Brings late orders from quarantine into the closed windows that missed them."""
    opened = lake.open()
    if opened.version(SILVER) is None:
        return dg.MaterializeResult(metadata={"late_rows_replayed": 0, "windows_changed": 0})
    catalogue = read_catalogue(opened.settings)
    at = At(spark.spark_session, opened, catalogue[SILVER], catalogue)
    if windows_of(at).session_gap is not None:
        return dg.MaterializeResult(metadata={"late_rows_replayed": 0, "windows_changed": 0})
    done = replay_late(at, really=True)
    context.log.info(f"{done.late_rows:,} late rows, {done.windows_changed:,} windows written")
    return dg.MaterializeResult(
        metadata={"late_rows_replayed": done.late_rows, "windows_changed": done.windows_changed}
    )
