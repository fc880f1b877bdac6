"""Rows that are older than a table keeps them: removed on purpose, and recorded as what ``forget`` removes.

A stream that only adds batches goes on meanwhile. The removal is one conditional commit: when a batch came first, the
next version is tried, as long as the data files that are to go are still there. Nobody else can ask for a file to be
loaded again, remove rows or take the table back meanwhile.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import CommitFailedError, DeltaError

from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.counting.data_files import DataFiles, OnlySpark
from lakehouse.direct.commit import TableAt, commit_removal, has_all, remove_unnamed
from lakehouse.direct.data_files import DataFiles as NewFiles
from lakehouse.direct.reasons import NotDirect
from lakehouse.direct.rewriting import rewrite_without_rows
from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.lake import Lake
from lakehouse.maintenance.file_rows import counted_sequences, removes_on_purpose
from lakehouse.maintenance.forget import (
    Then,
    append_only,
    drop_unfinished,
    files_that_wait,
    noted,
    only_spark_removes,
    removed_rows,
    said_of_waiting,
)
from lakehouse.plain_text import cause_of
from lakehouse.storage import Lease

_LOOKS, _COMMITS = 3, 20
"""How often the rows are looked for, and how often a version is tried for what was found: batches may come first."""


@dataclass(frozen=True)
class Expired:
    """The old rows of a table.

    Attributes:
        table: The table.
        column: Their time is in it.
        before: Rows before this moment, UTC, are old; ISO 8601.
        rows_before: Rows in the table.
        rows: How many rows are old.
        files: How many of them by the number of their file in the journal; empty where rows do not say it.
        timeless_rows: Rows without a time: they stay.
        refused: Why they cannot be removed; empty when they can.
        put_off: Whether that is so for now only: the same can be done later.
        version: The commit that removed them; None before, and where there was nothing to remove.
        done: Whether they were removed.
    """

    table: str
    column: str
    before: str
    rows_before: int = 0
    rows: int = 0
    files: dict[int, int] | None = None
    timeless_rows: int = 0
    refused: str = ""
    put_off: bool = False
    version: int | None = None
    done: bool = False


@dataclass(frozen=True)
class _Old:
    """The old rows of a version: BOOLEAN for each row of a data file that has some, by the file's path."""

    found: Expired
    files: DataFiles
    gone: dict[str, pa.ChunkedArray]


def expire(
    lake: Lake,
    table: str,
    column: str,
    before: datetime,
    *,
    then: Then = "keep",
    rewritten: bool = True,
    really: bool = False,
) -> Expired | None:
    """Removes the rows whose time is before a moment; None when there is no table.

    Args:
        lake: Where the table is.
        table: A table that is not computed from another table.
        column: A TIMESTAMP, which is in UTC where it names no zone; or a DATE, whose day has to be over by then.
        before: The moment.
        then: What tables computed from it do: stop and ask, follow (computed again), keep what they have.
        rewritten: Whether batches do more than add files in a conditional commit: then no stream may write meanwhile.
        really: Do it; otherwise only count them.

    Raises:
        LeaseHeld: a stream that has to be kept out writes the table now, or somebody removes rows of it.
        ConfigurationError: the table has no such column, or it has no times.
        TransientError: somebody else wrote the table meanwhile; nothing was changed.
    """
    before = before.replace(microsecond=0)
    if not really or lake.version(table) is None:
        looked = _look(lake, table, column, before)
        return _unless_files_wait(lake, looked.found) if isinstance(looked, _Old) else looked
    with (checkpoints.writer_of if rewritten else checkpoints.rewriter_of)(lake, table) as lease:
        drop_unfinished(lake, table)
        for _ in range(_LOOKS):
            old = _look(lake, table, column, before)
            if not isinstance(old, _Old):
                return old
            found = _unless_files_wait(lake, old.found)
            if found.refused or not found.rows:
                return found
            try:
                done = _remove(lake, old, then, lease)
            except NotDirect as reason:
                return _refused(found, str(reason))
            except (DeltaError, OSError) as error:
                raise _not_removed(found, old.files.uri, error) from None
            if done is not None:
                return done
    uri = lake.settings.table_uri(table)
    raise _not_removed(found, uri, CommitFailedError("its data files or its versions changed each time"))


def _look(lake: Lake, table: str, column: str, before: datetime) -> _Old | Expired | None:
    """The old rows; why they cannot be removed; None when there is no table."""
    found = Expired(table, column, before.astimezone(UTC).isoformat(timespec="seconds"))
    try:
        files = DataFiles.of(lake, table)
    except OnlySpark as reason:
        return _refused(found, str(reason))
    if files is None:
        return None
    if why := only_spark_removes(files.opened):
        return _refused(found, why)
    if why := append_only(files.opened):
        return replace(found, refused=f"rows are not to be removed: {why}")
    moment = _moment(files.schema, table, column, before)
    numbered = SEQUENCE in files.schema.names
    masks, numbers = defaultdict[str, list[pa.Array]](list), Counter[int]()
    candidates = files.that_may_be_below(column, moment)
    for path, batch in files.batches(candidates, [column, *([SEQUENCE] if numbered else [])]):
        mask = pc.fill_null(pc.less(batch.column(column), moment), False)
        masks[path].append(mask)
        if numbered:
            numbers.update(counted_sequences(batch.column(SEQUENCE).filter(mask)))
    whole = {path: pa.chunked_array(parts, pa.bool_()) for path, parts in masks.items()}
    gone = {path: mask for path, mask in whole.items() if pc.any(mask).as_py()}
    rows = Lake.rows_of(files.opened)
    found = replace(
        found,
        rows_before=rows.count_rows(),
        rows=sum(pc.sum(mask).as_py() for mask in gone.values()),
        files=dict(numbers),
        timeless_rows=rows.count_rows(filter=pc.field(column).is_null()),
    )
    return _Old(found, files, gone)


def _refused(found: Expired, why: str) -> Expired:
    return replace(found, refused=f"{why}: lakehouse forget {found.table} --where CONDITION does it there")


def _unless_files_wait(lake: Lake, found: Expired) -> Expired:
    """The same; put off while a file could bring such rows back."""
    if found.refused or not found.rows or not (waiting := files_that_wait(lake, found.table)):
        return found
    why = f"{said_of_waiting(found.table, waiting)}; first: lakehouse ingest {found.table}"
    return replace(found, refused=why, put_off=True)


def _moment(schema: pa.Schema, table: str, column: str, before: datetime) -> pa.Scalar:
    """The moment in the column's type. A day is old when all of it is: it is compared with the day of the moment."""
    times = [field.name for field in schema if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)]
    if column not in times:
        wrong = "has no times" if column in schema.names else "is not there"
        raise ConfigurationError(
            f"column {column} of {table} {wrong}: nothing says how old its rows are",
            where=f"retention of {table}",
            state="nothing was changed",
            next_command=f"name one of: {', '.join(times)}" if times else f"give {column} a type, with the key hints",
        )
    type_ = schema.field(column).type
    utc = before.astimezone(UTC)
    return pa.scalar(utc.date() if pa.types.is_date(type_) else utc.replace(tzinfo=None), _plain(type_)).cast(type_)


def _plain(type_: pa.DataType) -> pa.DataType:
    return type_ if pa.types.is_date(type_) else pa.timestamp("us")


def _remove(lake: Lake, old: _Old, then: Then, lease: Lease) -> Expired | None:
    """Removes the rows in one commit; None where it has to be looked again: data files are not there any more.

    The record names the version that the commit makes. So each try has a record of its own, and makes that version or
    none.
    """
    table, opened = old.found.table, old.files.opened
    record = removed_rows(lake, table, old.found.files or {})
    new = NewFiles(lake.endpoint, old.files.uri, tuple(opened.metadata().partition_columns))
    removed = rewrite_without_rows(opened, old.gone, new)
    written = new.finish()
    for _ in range(_COMMITS):
        if not has_all(opened, removed) or only_spark_removes(opened) or append_only(opened):
            break
        made = opened.version() + 1
        user_metadata = noted(lake, table, made, record, then)
        lease.check()
        try:
            commit_removal(opened, written, removed, user_metadata)
        except (DeltaError, OSError) as error:
            if (lake.version(table) or 0) < made:  # it may still come: then it needs its record, and its files
                raise _not_removed(old.found, old.files.uri, error) from None
            if not removes_on_purpose(lake, table, made):
                drop_unfinished(lake, table)
                opened.update_incremental()
                continue
        return replace(old.found, version=made, done=True)
    remove_unnamed(TableAt(table, old.files.uri, lake.endpoint), written)
    return None


def _not_removed(found: Expired, uri: str, error: Exception) -> TransientError:
    faster = "somebody else wrote it meanwhile" if isinstance(error, CommitFailedError) else "it was not taken"
    return TransientError(
        f"old rows of {found.table} are not removed: {faster}: {cause_of(error)}",
        where=uri,
        state="nothing was changed",
        next_command=f"lakehouse maintain retention {found.table} --yes",
    )
