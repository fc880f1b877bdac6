"""Levers on checkpoints: copied, put back, mended, begun anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, cast

from pydantic import Field

from lakehouse.dagster.levers.lever import LeverConfig, Pull, Pulled, of_table
from lakehouse.dagster.names import key_of
from lakehouse.plain_text import counted, sized

if TYPE_CHECKING:
    from lakehouse.maintenance.backup import Backup


class BackupForm(LeverConfig):
    """Checkpoints that are copied; without apply the backups that there are are listed."""

    keep: int | None = Field(
        None, ge=1, description="remove the oldest backups of each table but so many, with the new one; null keeps all"
    )


class RestoreForm(LeverConfig):
    """A backup that is put back."""

    taken: str | None = Field(None, description="name of the backup, or its beginning; null is the newest")
    with_table: bool = Field(False, description="take the table back, too, where the checkpoint alone would do")


class RepairForm(LeverConfig):
    """Checkpoint, journal and table that are brought together again after one of them was lost or restored."""


class Rows(Enum):
    """What becomes of the rows that are there when a stream begins anew."""

    what_loses_none = ""
    empty = "empty"
    replace = "replace"
    keep = "keep"


class ResetForm(LeverConfig):
    """A stream that begins anew."""

    rows: Rows = Field(
        Rows.what_loses_none,
        description="those that are there: empty (taken out), replace (each file again in place of its rows), keep; "
        "default: what loses and doubles none",
    )


def backup(pull: Pull) -> Pulled:
    """``lakehouse checkpoint backup``."""
    from lakehouse.maintenance.backup import backups
    from lakehouse.places import back_up_all, streams

    names = pull.tables or streams(pull.catalogue)
    keep = pull.config.keep
    if not pull.really:
        there = [copy for name in names for copy in backups(pull.lake, name)]
        lines = [f"would back up {counted(len(names), 'table')}; {counted(len(there), 'backup')} of them are there"]
        return Pulled(
            lines, False, [*names, "--list"], {key_of(name): {} for name in names}, [_row(copy) for copy in there]
        )
    done = back_up_all(pull.lake, names, keep)
    lines = [f"{counted(len(done.made), 'backup')} made, {counted(len(done.removed), 'older one')} removed"]
    lines += [f"{name} has no checkpoint yet" for name in done.without]
    lines += [f"{name}: {error.what}" for name, error in done.errors.items()]
    failed = next(iter(done.errors.values()), None)
    made: dict[str, list[Backup]] = {name: [copy for copy in done.made if copy.table == name] for name in names}
    numbers = {
        key_of(name): {"backups": len(copies), "backup_bytes": sum(copy.size_bytes for copy in copies)}
        for name, copies in made.items()
        if copies
    }
    arguments = [*names, *(["--keep", f"{keep}"] if keep else [])]
    return Pulled(lines, True, arguments, numbers, [_row(copy) for copy in done.made], failed)


def restore(pull: Pull) -> Pulled:
    """``lakehouse checkpoint restore``."""
    from lakehouse.places import restore_table

    form = pull.config
    done = restore_table(pull.lake, pull.table, form.taken, with_table=form.with_table, really=pull.really)
    arguments = [pull.table, "--from", done.taken, *(["--with-table"] if form.with_table else []), *pull.yes]
    return _steps(pull, done.steps, done.done, done.kept_as, arguments)


def repair(pull: Pull) -> Pulled:
    """``lakehouse checkpoint repair``."""
    from lakehouse.pipeline import repair_table

    done = repair_table(pull.lake, pull.table, really=pull.really)
    arguments = [pull.table, *pull.yes]
    if not done.reason:
        return Pulled(done.steps, False, arguments, of_table(pull.table, steps=0))
    pulled = _steps(pull, done.steps, done.done, "", arguments)
    return replace(pulled, lines=[done.reason, *pulled.lines])


def reset(pull: Pull) -> Pulled:
    """``lakehouse checkpoint reset``."""
    from lakehouse.maintenance.reset import Rows as Known
    from lakehouse.places import reset_table

    rows = cast("Known | None", pull.config.rows.value or None)
    done = reset_table(pull.lake, pull.table, rows, really=pull.really)
    return _steps(pull, done.steps, done.done, done.kept_as, [pull.table, "--rows", done.rows, *pull.yes], done.gone)


def _steps(
    pull: Pull, steps: Sequence[str], done: bool, kept_as: str, arguments: Sequence[str], gone: Sequence[str] = ()
) -> Pulled:
    lines = [f"{'done' if done else 'would'}: {step}" for step in steps]
    if kept_as:
        lines.append(f"what was there before: backup {kept_as}")
    if done:
        lines.append(f"the next run of {pull.table} goes on from there")
    numbers = {"steps": len(steps), "files_gone": len(gone)}
    rows = [{"not there any more": file} for file in gone]
    return Pulled(lines, done, arguments, of_table(pull.table, **numbers), rows)


def _row(copy: Backup) -> dict[str, object]:
    known = {"table": copy.table, "backup": copy.taken, "batch": copy.finished, "delta_version": copy.delta_version}
    return {**known, "size": sized(copy.size_bytes)}
