"""How every streamed table is materialized: one run of its stream, then what it did as metadata."""

import dagster as dg

from assets.metadata import of_run
from lakehouse.pipeline import run_table
from resources.lake import LakeResource
from resources.spark import SparkResource


def materialize(
    context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource, table: str
) -> dg.MaterializeResult:
    """Loads what is new and reports it; a run without anything new reports that."""
    opened = lake.open()
    report = run_table(spark.spark_session, opened, table, on_batch=lambda batch: context.log.info(batch.line()))
    context.log.info(report.line())
    version = "none" if report.delta_version is None else str(report.delta_version)
    return dg.MaterializeResult(metadata=of_run(opened, report), data_version=dg.DataVersion(version))
