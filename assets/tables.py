"""How every streamed table is materialized: one run of its stream, then what it did as metadata."""

import dagster as dg

from assets.metadata import of_run
from lakehouse.orders.tables import AVAILABLE_NOW_TABLE, BRONZE
from lakehouse.pipeline import run_table, schemas
from lakehouse.streams.run import Run
from resources.lake import LakeResource
from resources.spark import SparkResource


def materialize(
    context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource, table: str
) -> dg.MaterializeResult:
    """Loads what is new and reports it; a run without anything new reports that."""
    opened = lake.open()
    report = run_table(spark.spark_session, opened, table, Run(on_batch=lambda batch: context.log.info(batch.line())))
    context.log.info(report.line())
    versions = schemas(opened, table).history() if table in (AVAILABLE_NOW_TABLE, BRONZE) else []
    metadata = of_run(opened, report, versions, _shown_schema_version(context))
    version = "none" if report.delta_version is None else str(report.delta_version)
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(version))


def _shown_schema_version(context: dg.AssetExecutionContext) -> int | None:
    """What the last materialization said."""
    last = context.instance.get_latest_materialization_event(context.asset_key)
    said = last.asset_materialization.metadata.get("schema_version") if last and last.asset_materialization else None
    return said.value if isinstance(said, dg.IntMetadataValue) else None
