"""Old rows removed, small files joined and old ones removed: an asset each for a table, in the job ``maintenance``."""

from collections.abc import Iterator

import dagster as dg

from lakehouse.dagster.names import key_of, pool
from lakehouse.dagster.resources import LakeResource
from lakehouse.table import Catalogue, Table

UPKEEP, RETENTION = "join_and_remove_files", "remove_old_rows"


def upkeep_of(catalogue: Catalogue) -> Iterator[dg.AssetsDefinition]:
    """For each table that every run brings up to date; and for each that keeps its rows for some time only."""
    for table in catalogue:
        if table.retention:
            yield _retention(table)
        if not table.on_demand:
            yield _upkeep(table)


def _upkeep(table: Table) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(UPKEEP, table),
        deps=[_key(RETENTION, table) if table.retention else key_of(table.name)],
        group_name="maintenance",
        kinds={"deltalake"},
        owners=list(table.owners),
        description=f"Joins the small files of {table.name} where that pays, and removes those that no version of the "
        "last seven days, no reader and no running batch needs. No row changes.",
        code_version="1",
        pool=pool(table.name),
    )
    def upkeep(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        from lakehouse.upkeep import optimize_tables, vacuum_tables

        opened = lake.open()
        if opened.version(table.name) is None:
            return dg.MaterializeResult(metadata={"table_files_before": 0, "table_files_after": 0})
        [joined] = optimize_tables(opened, [table.name], really=True)
        [removed] = vacuum_tables(opened, [table.name], really=True)
        context.log.info(joined.why_not or f"joined {joined.files_before:,} files into {joined.files_after:,}")
        for reason in (*removed.kept_for, removed.refused):
            if reason:
                context.log.info(f"files are kept: {reason}")
        # names for ever: Dagster plots them over runs. "stored" is with the files of older versions
        return dg.MaterializeResult(
            metadata={
                "table_files_before": joined.files_before,
                "table_files_after": joined.files_after,
                "table_bytes_before": joined.bytes_before,
                "table_bytes_after": joined.bytes_after,
                "small_files": joined.small_files,
                "stored_files_before": removed.files_before,
                "stored_files_after": removed.files_after,
                "stored_bytes_before": removed.bytes_before,
                "stored_bytes_after": removed.bytes_after,
            }
        )

    return upkeep


def _retention(table: Table) -> dg.AssetsDefinition:
    assert table.retention is not None
    kept, days = table.retention, table.retention.keep.total_seconds() / 86_400

    @dg.asset(
        key=_key(RETENTION, table),
        deps=[key_of(table.name)],
        group_name="maintenance",
        kinds={"deltalake"},
        owners=list(table.owners),
        description=f"Removes rows of {table.name} whose {kept.column} is over {days:,g} days ago, and records it: "
        "no check takes them for lost.",
        code_version="1",
        pool=pool(table.name),
    )
    def retention(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:
        from lakehouse.upkeep import remove_old_rows

        for done in remove_old_rows(lake.open(), [table.name], really=True):
            if done.put_off:
                later = (
                    f"{done.refused}; the next night tries again, or: lakehouse maintain retention {table.name} --yes"
                )
                context.log.warning(f"old rows stay for now: {later}")
                return dg.MaterializeResult(metadata={"rows_expired": 0, "put_off": later})
            if done.refused:
                raise dg.Failure(done.refused)
            context.log.info(f"removed {done.rows:,} of {done.rows_before:,} rows: {done.column} before {done.before}")
            return dg.MaterializeResult(metadata={"rows_expired": done.rows, "rows_without_time": done.timeless_rows})
        return dg.MaterializeResult(metadata={"rows_expired": 0, "rows_without_time": 0})

    return retention


def _key(what: str, table: Table) -> dg.AssetKey:
    return dg.AssetKey(["maintenance", what, *table.name.split(".")])
