"""Backups of the checkpoints: one asset for all tables; its job and its schedule are in ``jobs``."""

import dagster as dg
from pydantic import Field

from lakehouse.dagster.records import records
from lakehouse.dagster.resources import LakeResource
from lakehouse.table import Catalogue

BACKUPS = dg.AssetKey(["maintenance", "backup_checkpoints"])
_KEPT = 7


class BackupConfig(dg.Config):
    """What a run of the backups can be told.

    Attributes:
        keep: Complete backups of each table that are kept.
    """

    keep: int = Field(_KEPT, ge=1, description="complete backups of each table that are kept, with the new one")


def backups_of(catalogue: Catalogue) -> dg.AssetsDefinition:
    """The asset: a materialization is one backup of every stream that has begun."""
    from lakehouse.places import streams

    tables = streams(catalogue)

    @dg.asset(
        key=BACKUPS,
        group_name="maintenance",
        kinds={"deltalake", "s3"},
        description="Copies the checkpoint of each table, with the versions that belong to it, to _backups/ of the "
        "lake, and removes the oldest. A run that goes on meanwhile is not kept waiting.",
        code_version="1",
    )
    def backup_checkpoints(
        context: dg.AssetExecutionContext, config: BackupConfig, lake: LakeResource
    ) -> dg.MaterializeResult:
        from lakehouse.places import back_up_all

        done = back_up_all(lake.open(), tables, config.keep)
        for backup in done.made:
            context.log.info(f"{backup.table}: backup {backup.taken} at batch {backup.finished}")
        metadata: dict[str, dg.MetadataValue | int] = {
            "backups": len(done.made),
            "backup_bytes": sum(backup.size_bytes for backup in done.made),
            "backups_removed": len(done.removed),
            "tables_not_begun": len(done.without),
            "tables_failed": len(done.errors),
        }
        if done.made:
            rows = [
                {
                    "table": backup.table,
                    "backup": backup.taken,
                    "batch": "-" if backup.finished is None else backup.finished,
                    "delta_version": "-" if backup.delta_version is None else backup.delta_version,
                    "bytes": backup.size_bytes,
                }
                for backup in done.made
            ]
            metadata["taken"] = records(rows)
        if done.errors:
            failed = "; ".join(f"{name}: {error.what}" for name, error in done.errors.items())
            raise dg.Failure(f"no backup of {failed}", metadata=metadata)
        return dg.MaterializeResult(metadata=metadata)

    return backup_checkpoints
