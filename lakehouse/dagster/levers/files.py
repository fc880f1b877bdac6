"""Levers on data files: small ones joined, old ones removed."""

from __future__ import annotations

from pydantic import Field

from lakehouse.dagster.levers.lever import LeverConfig, Pull, Pulled
from lakehouse.dagster.names import key_of
from lakehouse.plain_text import counted, sized


class OptimizeForm(LeverConfig):
    """Small data files that are joined where that pays; the rows stay the same, and streams go on beside it."""

    target_mb: int = Field(128, ge=1, description="how large a data file shall be, in megabytes")
    least_fewer: int = Field(8, ge=1, description="it pays when a table has so many files fewer then")
    z_order: list[str] = Field(default_factory=list, description="put rows together by the values of these columns")


class VacuumForm(LeverConfig):
    """Data files that nobody can need any more."""

    retention_hours: float = Field(
        168.0, ge=0, description="how long what is gone from a table stays; below 168 every reader has to be done"
    )


def optimize(pull: Pull) -> Pulled:
    """``lakehouse maintain optimize``."""
    from lakehouse.maintenance.optimize import Thresholds
    from lakehouse.upkeep import optimize_tables

    form = pull.config
    thresholds = Thresholds(form.target_mb * 1_000_000, form.least_fewer, tuple(form.z_order))
    found = optimize_tables(pull.lake, pull.tables, thresholds, really=pull.really)
    fewer = sum(result.files_before - result.files_after for result in found if not result.why_not)
    paying = counted(sum(not result.why_not for result in found), "table")
    about = counted(fewer, "file")
    lines = [f"{paying} with {about} fewer" if pull.really else f"would leave {paying} with about {about} fewer"]
    numbers = {
        key_of(result.table): {
            "table_files_before": result.files_before,
            "table_files_after": result.files_after,
            "small_files": result.small_files,
        }
        for result in found
    }
    rows = [
        {
            **{"table": result.table, "files": result.files_before, "size": sized(result.bytes_before)},
            **{"small files": result.small_files, "files then": result.files_after, "version": result.version},
            "why not": result.why_not,
        }
        for result in found
    ]
    arguments = [*pull.tables, "--target-mb", f"{form.target_mb}", "--least-fewer", f"{form.least_fewer}"]
    arguments += [word for column in form.z_order for word in ("--z-order", column)]
    return Pulled(lines, any(result.done for result in found), [*arguments, *pull.yes], numbers, rows)


def vacuum(pull: Pull) -> Pulled:
    """``lakehouse maintain vacuum``."""
    from lakehouse.upkeep import vacuum_tables

    hours = pull.config.retention_hours
    found = vacuum_tables(pull.lake, pull.tables, retention_hours=hours, really=pull.really)
    files = sum(result.files_before - result.files_after for result in found)
    size = sum(result.bytes_before - result.bytes_after for result in found)
    amount = f"{counted(files, 'file')}, {sized(size)}"
    lines = [f"removed {amount}" if pull.really else f"would remove {amount}"]
    lines += [f"{result.table}: more is kept for {reason}" for result in found for reason in result.kept_for]
    lines += [f"{result.table}: {result.refused}" for result in found if result.refused]
    numbers = {
        key_of(result.table): {
            "stored_files_before": result.files_before,
            "stored_files_after": result.files_after,
            "stored_bytes_before": result.bytes_before,
            "stored_bytes_after": result.bytes_after,
        }
        for result in found
    }
    rows = [
        {
            **{"table": result.table, "files": result.files_before, "size": sized(result.bytes_before)},
            **{"of old versions": result.old_files, "never committed": result.unnamed_files},
            "readable from version": result.oldest_version,
        }
        for result in found
    ]
    done = any(result.done for result in found)
    return Pulled(lines, done, [*pull.tables, "--retention-hours", f"{hours:g}", *pull.yes], numbers, rows)
