"""What keeps the tables in order between runs: an asset for each table that something can be done for."""

from collections.abc import Iterator

import dagster as dg

from lakehouse.dagster.names import key_of, pool
from lakehouse.dagster.records import records
from lakehouse.dagster.resources import LakeResource, SparkResource
from lakehouse.flows.files import Files
from lakehouse.flows.windows import Windows
from lakehouse.table import Catalogue, Table

PROMOTE, REPLAY_LATE, CHECK = "promote_rescued_data", "replay_late_rows", "check_all_rows"


def maintenance_of(catalogue: Catalogue) -> Iterator[dg.AssetsDefinition]:
    """For each table of files what fills its newer columns, of windows what brings in late rows; and all its checks."""
    for table in catalogue:
        if table.on_demand:
            continue
        if isinstance(table.flow, Files) and table.flow.replaces:
            yield _promotion(table)
        if isinstance(table.flow, Windows) and table.flow.session_gap is None:  # a late row can join two sessions
            yield _replay(table)
        if any(check.on_failure != "off" for check in table.checks):
            yield _full_check(table)


def _promotion(table: Table) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(PROMOTE, table),
        deps=[key_of(table.name)],
        group_name="maintenance",
        kinds={"pyspark", "deltalake"},
        owners=list(table.owners),
        description=f"Moves values from the rescued data of {table.name} into columns that have joined its schema "
        "since.",
        code_version="1",
        pool=pool(table.name),
    )
    def promote(context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource) -> dg.MaterializeResult:
        from lakehouse.pipeline import rescued_data

        opened = lake.open()
        if opened.version(table.name) is None:
            return dg.MaterializeResult(metadata={"values_promoted": 0})
        done = rescued_data(opened, table.name).promote(spark.spark_session, really=True)
        context.log.info(f"values promoted by column: {done.rows}" if done.rows else "nothing to promote")
        metadata: dict[str, dg.MetadataValue | int] = {"values_promoted": sum(done.rows.values())}
        if done.rows:
            metadata["columns"] = records([{"column": name, "rows": rows} for name, rows in done.rows.items()])
        return dg.MaterializeResult(metadata=metadata)

    return promote


def _replay(table: Table) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(REPLAY_LATE, table),
        deps=[key_of(table.name)],
        group_name="maintenance",
        kinds={"pyspark", "deltalake"},
        owners=list(table.owners),
        description=f"Brings late rows from quarantine into the closed windows of {table.name} that missed them.",
        code_version="1",
        pool=pool(table.name),
    )
    def replay(context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource) -> dg.MaterializeResult:
        from lakehouse.declaration import read_catalogue
        from lakehouse.late import replay_late
        from lakehouse.table import At

        opened = lake.open()
        if opened.version(table.name) is None:
            return dg.MaterializeResult(metadata={"late_rows_replayed": 0, "windows_changed": 0})
        catalogue = read_catalogue(opened.settings)
        done = replay_late(At(spark.spark_session, opened, catalogue[table.name], catalogue), really=True)
        context.log.info(f"{done.late_rows:,} late rows, {done.windows_changed:,} windows written")
        return dg.MaterializeResult(
            metadata={"late_rows_replayed": done.late_rows, "windows_changed": done.windows_changed}
        )

    return replay


def _full_check(table: Table) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(CHECK, table),
        deps=[key_of(table.name)],
        group_name="maintenance",
        kinds={"deltalake"},
        owners=list(table.owners),
        description=f"Counts all rows of {table.name} for its checks again, and holds what they kept of earlier counts "
        "against that.",
        code_version="1",
    )
    def check_all_rows(
        context: dg.AssetExecutionContext, lake: LakeResource, spark: SparkResource
    ) -> dg.MaterializeResult:
        from lakehouse.pipeline import blocked_by, check_table

        findings = check_table(lambda: spark.spark_session, lake.open(), table.name, full=True)
        for finding in findings:
            context.log.info(finding.line())
        failed = [finding for finding in findings if not finding.passed]
        metadata: dict[str, dg.MetadataValue | int] = {"checks": len(findings), "checks_failed": len(failed)}
        if failed:
            metadata["failed"] = records([{"check": failure.check, "finding": failure.line()} for failure in failed])
        blocked = blocked_by(failed, state="nothing was changed")
        if blocked is not None:
            raise dg.Failure(str(blocked), metadata=metadata)
        return dg.MaterializeResult(metadata=metadata)

    return check_all_rows


def _key(what: str, table: Table) -> dg.AssetKey:
    return dg.AssetKey(["maintenance", what, *table.name.split(".")])
