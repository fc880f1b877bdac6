"""Rows that are older than a table keeps them: removed on purpose, and recorded as what ``forget`` removes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError, DeltaError

from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.lake import KEEPS_LOG, Lake, LakeTable
from lakehouse.maintenance.file_rows import counted_sequences, was_removed
from lakehouse.maintenance.forget import (
    Then,
    append_only,
    drop_unfinished,
    files_that_wait,
    noted,
    said_of_waiting,
)
from lakehouse.maintenance.optimize import only_spark


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
    version: int | None = None
    done: bool = False


def expire(
    lake: Lake, table: str, column: str, before: datetime, *, then: Then = "keep", really: bool = False
) -> Expired | None:
    """Removes the rows whose time is before a moment; None when there is no table.

    Args:
        lake: Where the table is.
        table: A table that is not computed from another table.
        column: A TIMESTAMP, which is in UTC where it names no zone; or a DATE, whose day has to be over by then.
        before: The moment.
        then: What tables computed from it do: stop and ask, follow (computed again), keep what they have.
        really: Do it; otherwise only count them.

    Raises:
        LeaseHeld: a stream writes the table now.
        ConfigurationError: the table has no such column, or it has no times.
        TransientError: somebody else wrote the table meanwhile; nothing was changed.
    """
    opened, before = lake.delta(table), before.replace(microsecond=0)
    if opened is None:
        return None
    if not really:
        return _unless_files_wait(lake, _look(opened, table, column, before))
    with checkpoints.writer_of(lake, table):
        drop_unfinished(lake, table)
        opened.update_incremental()
        found = _unless_files_wait(lake, _look(opened, table, column, before))
        if found.refused or not found.rows:
            return found
        made = opened.version() + 1
        user_metadata = noted(lake, table, made, found.files or {}, then)
        try:
            _remove(opened, found, user_metadata)
        except (DeltaError, OSError) as error:
            if not was_removed(lake, table, made):
                raise _not_removed(opened, found, error) from None
        return replace(found, version=made, done=True)


def _look(opened: LakeTable, table: str, column: str, before: datetime) -> Expired:
    found = Expired(table, column, before.astimezone(UTC).isoformat(timespec="seconds"))
    if why := only_spark(opened):
        return replace(found, refused=f"{why}: lakehouse forget {table} --where CONDITION does it there")
    if why := append_only(opened):
        return replace(found, refused=f"rows are not to be removed: {why}")
    rows = Lake.rows_of(opened)
    time, moment = pc.field(column), _moment(pa.schema(opened.schema().to_arrow()), table, column, before)
    numbered = SEQUENCE in rows.schema.names
    number, counts = 0, Counter[int]()
    for batch in rows.to_batches(columns=[SEQUENCE if numbered else column], filter=time < moment):
        number += batch.num_rows
        if numbered:
            counts.update(counted_sequences(batch.column(0)))
    timeless = rows.count_rows(filter=time.is_null())
    return replace(found, rows_before=rows.count_rows(), rows=number, files=dict(counts), timeless_rows=timeless)


def _unless_files_wait(lake: Lake, found: Expired) -> Expired:
    """The same; refused while a file could bring such rows back."""
    if found.refused or not found.rows or not (waiting := files_that_wait(lake, found.table)):
        return found
    return replace(found, refused=f"{said_of_waiting(found.table, waiting)}; first: lakehouse ingest {found.table}")


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


def _remove(opened: LakeTable, found: Expired, user_metadata: str) -> None:
    """Removes the rows in the next version, or not at all: the record names that version."""
    name = found.column.replace('"', '""')
    type_ = next(field.type for field in pa.schema(opened.schema().to_arrow()) if field.name == found.column)
    zone = "Z" if getattr(type_, "tz", None) else ""
    moment = found.before[:10] if pa.types.is_date(type_) else f"{found.before[:19]}{zone}"
    opened.delete(
        f"\"{name}\" < '{moment}'",
        commit_properties=CommitProperties(custom_metadata={"userMetadata": user_metadata}, max_commit_retries=0),
        post_commithook_properties=KEEPS_LOG,
    )


def _not_removed(opened: LakeTable, found: Expired, error: Exception) -> TransientError:
    faster = "somebody else wrote it meanwhile" if isinstance(error, CommitFailedError) else "it was not taken"
    return TransientError(
        f"old rows of {found.table} are not removed: {faster}: {str(error).splitlines()[0][:200]}",
        where=opened.table_uri,
        state="nothing was changed",
        next_command=f"lakehouse maintain retention {found.table} --yes",
    )
