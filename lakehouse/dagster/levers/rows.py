"""Levers that load rows again, bring late ones in, or remove some on purpose."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from lakehouse.autoloader.outcomes.file_states import FileState
from lakehouse.dagster.levers.lever import LeverConfig, Pull, Pulled, of_table
from lakehouse.dagster.names import key_of
from lakehouse.errors import ConfigurationError, LakehouseError
from lakehouse.maintenance.replay import Replay
from lakehouse.plain_text import counted

if TYPE_CHECKING:
    from lakehouse.maintenance.retention import Expired

_When = TypeVar("_When", date, datetime)


class ReplayForm(LeverConfig):
    """Files that are loaded again: those that meet every condition which is given."""

    files: list[str] = Field(
        default_factory=list, description="path, key or name of each file; globs such as *.json are allowed"
    )
    since: str | None = Field(None, description="files found since then, UTC: 2026-01-31 or 2026-01-31T10:00:00")
    day: str | None = Field(
        None, description="files of this day, 2026-01-31: of the date in their path, else of their modification, UTC"
    )
    batch: int | None = Field(None, ge=0, description="files of this micro-batch, by its number")


class QuarantinedForm(LeverConfig):
    """Files in quarantine that are read again."""

    files: list[str] = Field(
        default_factory=list, description="path, key or name of each, globs allowed; none is all that are in quarantine"
    )


class ReplayLateForm(LeverConfig):
    """Late rows that are brought into closed windows."""


class Then(Enum):
    """What becomes of tables that are computed from a table whose rows are removed."""

    as_settings_say = ""
    ask = "ask"
    follow = "follow"
    keep = "keep"


class ForgetForm(LeverConfig):
    """Rows that are removed on purpose: give one of where, duplicates, already_removed."""

    where: str | None = Field(None, description="SQL condition, such as id = 7: the rows that it names are removed")
    duplicates: bool = Field(False, description="remove all but the newest copy of each key")
    already_removed: bool = Field(
        False, description="record what an SQL DELETE has removed, so that no check takes it for lost"
    )
    then: Then = Field(
        Then.as_settings_say,
        description="tables computed from it: ask (they stop), follow (computed again), keep (as they are)",
    )


class RetentionForm(LeverConfig):
    """Rows that are older than the retention of their table."""


def replay(pull: Pull) -> Pulled:
    """``lakehouse replay``."""
    from lakehouse.pipeline import replay_files

    form = pull.config
    if not form.files and form.batch is None and not (form.since or form.day):
        raise ConfigurationError(
            "replay of everything was not asked for",
            where="ops.replay.config",
            state="nothing was changed",
            next_command="name the files: files, since, day or batch",
        )
    since, day = _moment("since", form.since, datetime), _moment("day", form.day, date)
    if since and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    done = replay_files(
        *(pull.lake, pull.table), files=form.files, since=since, batch=form.batch, day=day, really=pull.really
    )
    arguments = [*_named(form.files), *(["--since", f"{since:%Y-%m-%dT%H:%M:%S}"] if since else [])]
    arguments += [
        *(["--day", f"{day}"] if day else []),
        *(["--batch", f"{form.batch}"] if form.batch is not None else []),
    ]
    return _replayed(pull, done, arguments)


def replay_quarantined(pull: Pull) -> Pulled:
    """``lakehouse replay --quarantined``."""
    from lakehouse.pipeline import replay_files

    files = pull.config.files
    done = replay_files(*(pull.lake, pull.table), files=files, only_quarantined=True, really=pull.really)
    return _replayed(pull, done, _named(files))


def replay_late(pull: Pull) -> Pulled:
    """``lakehouse replay-late``."""
    from lakehouse.late import replay_late as replay
    from lakehouse.late import table_of_windows
    from lakehouse.table import At

    at = At(pull.session(), pull.lake, table_of_windows(pull.catalogue, pull.table), pull.catalogue)
    done = replay(at, really=pull.really)
    rows = f"{counted(done.late_rows, 'late row')} of {counted(done.windows, 'closed window')}"
    if not done.late_rows:
        sentence = "no late row waits in quarantine: nothing to do"
    elif done.done:
        sentence = f"{rows} are counted now; {counted(done.windows_changed, 'window')} were written"
    else:
        sentence = f"would count {rows}"
    numbers = {"late_rows": done.late_rows, "windows": done.windows, "windows_changed": done.windows_changed}
    counted_now = done.done and bool(done.late_rows)
    return Pulled([sentence], counted_now, [pull.table, *pull.yes], of_table(pull.table, **numbers))


def forget(pull: Pull) -> Pulled:
    """``lakehouse forget``."""
    from lakehouse.forgetting import forget_rows

    form = pull.config
    then = form.then.value or None
    done, choice = forget_rows(
        *(pull.session, pull.lake, pull.table),
        where=form.where,
        duplicates=form.duplicates,
        already_removed=form.already_removed,
        then=then,
        really=pull.really,
    )
    what = f"{counted(done.rows, 'row')} of {pull.table}"
    verbs = ("record", "recorded") if form.already_removed else ("remove", "removed")
    lines = [f"{verbs[1]} {what}" if done.done else f"would {verbs[0]} {what}"]
    if done.version is not None:
        lines.append(f"in version {done.version}; version {done.version - 1} has them")
    lines.append(f"tables computed from it: {choice}")
    if done.waiting:
        waiting = counted(len(done.waiting), "file")
        lines.append(f"{waiting} could bring such rows back: load them again first: {', '.join(done.waiting[:5])}")
    lines += map(str, done.quarantined)
    arguments = [pull.table, *(["--where", form.where] if form.where is not None else [])]
    arguments += [f"--{name.replace('_', '-')}" for name in ("duplicates", "already_removed") if getattr(form, name)]
    arguments += [*(["--then", then] if then else []), *pull.yes]
    rows = [{"file_number": number, "rows": count} for number, count in sorted(done.files.items())]
    return Pulled(lines, done.done, arguments, of_table(pull.table, forgotten_rows=done.rows), rows)


def retention(pull: Pull) -> Pulled:
    """``lakehouse maintain retention``."""
    from lakehouse.upkeep import remove_old_rows

    found = remove_old_rows(pull.lake, pull.tables, really=pull.really)
    refused = [result for result in found if result.refused]
    count = f"{counted(sum(result.rows for result in found), 'row')} of {counted(len(found), 'table')}"
    lines = [f"removed {count}" if pull.really else f"would remove {count}"]
    lines += [f"{result.table}: {result.refused}" for result in refused]
    numbers = {
        key_of(result.table): {"rows_expired": result.rows, "rows_without_time": result.timeless_rows}
        for result in found
        if not result.refused
    }
    rows = [
        {
            **{"table": result.table, "column": result.column, "before": result.before, "rows": result.rows_before},
            **{"old": result.rows, "without a time": result.timeless_rows, "version": result.version},
        }
        for result in found
    ]
    return Pulled(
        lines,
        any(result.done for result in found),
        [*pull.tables, *pull.yes],
        numbers,
        rows,
        _left(refused) if pull.really else None,
    )


def _replayed(pull: Pull, done: Replay, arguments: list[str]) -> Pulled:
    what = f"{counted(len(done.files), 'file')} with {counted(done.rows, 'row')}"
    lines = [
        f"asked to load {what} again; the next run of {pull.table} does it" if done.done else f"would load {what} again"
    ]
    if done.waiting:
        lines.append(f"{counted(len(done.waiting), 'file')} wait to be loaded again already")
    if done.gone:
        lines.append(f"{counted(len(done.gone), 'file')} are not in the bucket any more: their rows stay")
    if done.forgotten_rows:
        lines.append(f"{counted(done.forgotten_rows, 'row')} of these files, removed on purpose, come again")
    if not (done.files or done.waiting or done.gone):
        lines = [f"{pull.table} knows no such file: nothing to do"]
    numbers = {
        "replayed_files": len(done.files),
        "replayed_rows": done.rows,
        "files_waiting": len(done.waiting),
        "files_gone": len(done.gone),
    }
    rows = [_row(file, what) for what, files in _kinds(done) for file in files]
    return Pulled(
        lines, done.done, [*arguments, "--table", pull.table, *pull.yes], of_table(pull.table, **numbers), rows
    )


def _kinds(done: Replay) -> list[tuple[str, tuple[FileState, ...]]]:
    return [("again", done.files), ("waits", done.waiting), ("gone", done.gone)]


def _row(file: FileState, what: str) -> dict[str, Any]:
    known = {"number": file.sequence, "state": file.ingestion_state, "rows": file.rows, "batch": file.batch_id}
    return {"what": what, **known, "file": file.path}


def _named(files: list[str]) -> list[str]:
    return [word for name in files for word in ("--files", name)]


def _moment(name: str, text: str | None, kind: type[_When]) -> _When | None:
    try:
        return kind.fromisoformat(text) if text else None
    except ValueError:
        example = "2026-01-31" if kind is date else "2026-01-31T10:00:00"
        raise ConfigurationError(
            f"{name} cannot be {text}",
            where=f"ops.replay.config.{name}",
            state="nothing was changed",
            next_command=f"write it as {example}",
        ) from None


def _left(refused: list[Expired]) -> LakehouseError | None:
    """Why tables keep their old rows; None where none does."""
    if not refused:
        return None
    names = " ".join(result.table for result in refused)
    return LakehouseError(
        "; ".join(f"{result.table}: {result.refused}" for result in refused),
        where=names,
        state="these tables were not changed",
        next_command=f"when they can be written: lakehouse maintain retention {names} --yes",
    )
