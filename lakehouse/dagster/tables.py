"""The tables as assets: a materialization is one run of the table's flow, with what it did as metadata."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import dagster as dg

from lakehouse.dagster.alerts import alerted_step
from lakehouse.dagster.event_times import of_report
from lakehouse.dagster.findings import examined_on_failure
from lakehouse.dagster.landing import Folder
from lakehouse.dagster.last_data import of_last_data
from lakehouse.dagster.metadata import Plotted, of_plots, of_run
from lakehouse.dagster.names import TRACE_PARENT, key_of, pool, turn_tags
from lakehouse.dagster.notified import LISTED
from lakehouse.dagster.receipts import has_receipt, place_of, receipt_of
from lakehouse.dagster.resources import LakeResource, SparkResource
from lakehouse.dagster.schema_metadata import versions_of
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.table import Table

Pictures = Callable[[Lake], Sequence[Plotted]]
"""Draws what a materialization shows of a table beside numbers."""

_SHORTEST_FRESHNESS = timedelta(minutes=1)  # Dagster looks no closer


def asset_of(
    table: Table, folders: Sequence[Folder], settings: Settings, pictures: Pictures | None = None, turn: int = 0
) -> dg.AssetsDefinition:
    """The asset of a table.

    Args:
        table: As it is declared.
        folders: All landing folders.
        settings: Say where the table lies.
        pictures: What its materializations show.
        turn: Of two tables that could be brought up to date, the table with the higher turn is first.
    """
    landed = [folder.key for folder in folders if any(reader.name == table.name for reader in folder.tables)]
    fresh = max(table.freshness, _SHORTEST_FRESHNESS) if table.freshness else None

    @dg.asset(
        key=key_of(table.name),
        deps=[*landed, *map(key_of, table.flow.reads)],
        group_name=table.layer,
        kinds={"pyspark" if table.flow.needs_spark(settings) else "python", "deltalake", table.layer},
        owners=list(table.owners),
        description=table.description or None,
        tags={"layer": table.layer, "flow": table.flow.kind},
        metadata={"dagster/table_name": table.name, "dagster/uri": settings.table_uri(table.name)},
        code_version=code_version(table),
        op_tags=turn_tags(turn),
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=fresh) if fresh else None,
        pool=pool(table.name),
    )
    def run(context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource) -> dg.MaterializeResult:
        return _materialize(context, lake, spark, table, pictures)

    return run


def code_version(table: Table) -> str:
    """Changes when the declaration of the table's flow does."""
    declared = {"kind": table.flow.kind, **table.flow.model_dump(mode="json")}
    return sha256(json.dumps(declared).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Loaded:
    """A run of a table.

    Attributes:
        metadata: What is shown of it.
        version: The table's version then, as text.
        rows_added: How many rows came.
    """

    metadata: dict[str, Any]
    version: str
    rows_added: int


def _materialize(
    context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource, table: Table, pictures: Pictures | None
) -> dg.MaterializeResult:
    loaded = brought_up_to_date(context, lake.open(), spark, table, pictures)
    return dg.MaterializeResult(metadata=loaded.metadata, data_version=dg.DataVersion(loaded.version))


def brought_up_to_date(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    lake: Lake,
    spark: SparkResource,
    table: Table,
    pictures: Pictures | None = None,
) -> Loaded:
    """Loads what is new and reports it; a run without anything new reports that.

    Args:
        context: Of the step.
        lake: Where the table is.
        spark: Opens the session, where one is needed.
        table: As it is declared.
        pictures: What is drawn of it.
    """
    from lakehouse.batches import Recorder
    from lakehouse.pipeline import run_table
    from lakehouse.streams.run import Run
    from lakehouse.tracing import span

    recorder = Recorder(lake, context.run.run_id)
    noted = recorder.noting(lambda batch: context.log.info(batch.line()))
    run = Run(on_batch=noted, listing=LISTED in context.run.tags)
    before = place_of(lake, table.name) if has_receipt(table) else None
    steps = alerted_step(context, lake, table.name), examined_on_failure(context, lake, table.name)
    step = {"dagster.run_id": context.run.run_id, "dagster.job": context.run.job_name}
    asked = context.run.tags.get(TRACE_PARENT)
    with steps[0], span(lake.settings, f"step {table.name}", step, parent=asked), recorder.flushing(), steps[1]:
        report = run_table(lambda: spark.spark_session, lake, table.name, run)
    context.log.info(report.line())
    last = _last(context.instance, table)
    receipt = receipt_of(lake, table, report, before) if has_receipt(table) else None
    metadata = of_last_data(report, receipt, last, context.run.run_id)  # first: of a quiet run it is what says anything
    metadata |= of_run(lake, table, report, versions_of(lake, table), _shown_schema_version(last), receipt)
    metadata |= of_report(table, report, context.run.tags, datetime.now(UTC))
    if pictures and report.batches:
        metadata |= of_plots(pictures(lake))  # a quiet run draws nothing
    version = "none" if report.delta_version is None else str(report.delta_version)
    return Loaded(metadata, version, report.rows_added)


def _last(instance: dg.DagsterInstance, table: Table) -> dg.AssetMaterialization | None:
    event = instance.get_latest_materialization_event(key_of(table.name))
    return event.asset_materialization if event else None


def _shown_schema_version(last: dg.AssetMaterialization | None) -> int | None:
    """What the last materialization said."""
    shown = last.metadata.get("schema_version") if last else None
    return shown.value if isinstance(shown, dg.IntMetadataValue) else None
