"""Removing rows on purpose: what is forgotten is recorded, so that no check takes it for a loss.

A record says of each file how many of its rows went, and in which load they had come: loaded again they come again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lakehouse.autoloader.lineage import RECORD, SEQUENCE
from lakehouse.autoloader.options.paths import key_uri, split_uri
from lakehouse.autoloader.outcomes.file_states import FileState, file_states, read_stream_log
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.delta_commit import FORGOTTEN
from lakehouse.errors import ConfigurationError
from lakehouse.lake import Lake, LakeTable
from lakehouse.maintenance.file_rows import (
    RemovedRows,
    damaged_records,
    record_folder,
    rows_by_sequence,
    unfinished_records,
)
from lakehouse.maintenance.optimize import only_spark
from lakehouse.maintenance.replay import waiting_replays
from lakehouse.plain_text import counted
from lakehouse.streams.transaction import merge

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Then = Literal["ask", "follow", "keep"]
_NAMED_FILES = 5
NO_ROW = "no row fits: there is nothing to forget"


@dataclass(frozen=True)
class Quarantined:
    """Rows of a table that are kept in a quarantine.

    Attributes:
        table: Whose quarantine it is.
        where: Its place.
        rows: How many of its rows fit; None where a condition tells nothing of them.
        cure: The command that removes them.
    """

    table: str
    where: str
    rows: int | None
    cure: str

    def __str__(self) -> str:
        has = "may have such rows" if self.rows is None else f"has {counted(self.rows, 'such row')}"
        return f"the quarantine of {self.table}, {self.where}, {has}; to remove them: {self.cure}"


@dataclass(frozen=True)
class Forgotten:
    """What ``forget`` removed, or would remove.

    Attributes:
        table: The table.
        rows: How many rows.
        files: How many of them by the number of their file in the journal; empty where rows do not say it.
        version: The commit that removed them; None before, and for what was removed by somebody else.
        done: Whether it was done.
        waiting: Files that wait to be loaded again, and could bring such rows back.
        quarantined: Where such rows are, or may be, beside the table.
    """

    table: str
    rows: int
    files: dict[int, int]
    version: int | None = None
    done: bool = False
    waiting: tuple[str, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()


def forget(
    spark: SparkSession,
    lake: Lake,
    table: str,
    where: str | None,
    keys: dict[str, str],
    *,
    unique: Sequence[str] = (),
    then: Then = "ask",
    really: bool = False,
) -> Forgotten:
    """Removes the rows that a condition names; without a condition, all but the newest copy of each key.

    Args:
        spark: A session.
        lake: Where the table is.
        table: A table that is not computed from another table.
        where: SQL's condition.
        keys: The session's key for each option of a write, ``engine.conf.TRANSACTION``.
        unique: Columns of the key, where there is no condition.
        then: What tables computed from this table do: stop and ask, follow (computed again), keep what they have.
        really: Do it.

    Raises:
        LeaseHeld: a stream writes the table now.
        ConfigurationError: there is no such table, no such column, or no row that fits; or files wait to be loaded
            again.
    """
    with checkpoints.writer_of(lake, table):
        waiting = begin_forgetting(lake, table, really=really)
        version = lake.version(table)
        if version is None:
            raise no_forgetting(f"there is no table {table}", "lakehouse tables lists them")
        uri = lake.settings.table_uri(table)
        rows = spark.read.format("delta").load(uri)
        doomed = _surplus(rows, table, list(unique)) if where is None else _matching(rows, where)
        files: dict[int, int] = {}
        if SEQUENCE in rows.columns:
            files = {int(seq or 0): n for seq, n in doomed.groupBy(SEQUENCE).count().collect()}
        count = sum(files.values()) if SEQUENCE in rows.columns else doomed.count()
        found = Forgotten(table, count, files, waiting=waiting)
        if not found.rows:
            raise no_forgetting(NO_ROW, "look at the rows first, then name them")
        if not really:
            return found
        removed = removed_rows(lake, table, files)
        user_metadata = noted(lake, table, version + 1, removed, then)
        try:
            if where is None:
                place = " AND ".join(f"t.{name} = s.{name}" for name in (SEQUENCE, RECORD))
                merge(doomed, uri, f"ON {place} WHEN MATCHED THEN DELETE", {"userMetadata": user_metadata}, keys)
            else:
                spark.conf.set(keys["userMetadata"], user_metadata)
                try:
                    spark.sql(f"DELETE FROM delta.`{uri}` WHERE {where}").collect()
                finally:
                    spark.conf.unset(keys["userMetadata"])
        except Exception:
            made = _removal_since(lake, table, version)
            if made is None:
                raise
        else:
            made = _removal_since(lake, table, version)
        if made not in (None, version + 1):  # Spark commits behind whoever was faster, such as an OPTIMIZE
            noted(lake, table, made, removed, then)
            drop_unfinished(lake, table)
        return Forgotten(table, found.rows, files, made or lake.version(table), done=True)


def begin_forgetting(lake: Lake, table: str, *, really: bool) -> tuple[str, ...]:
    """Clears what a killed command left; the files that wait to be loaded again. The caller holds the table's lease.

    Raises:
        ConfigurationError: rows are to be removed, and such a file could bring them back.
    """
    drop_unfinished(lake, table)
    waiting = files_that_wait(lake, table)
    if waiting and really:
        raise no_forgetting(said_of_waiting(table, waiting), f"lakehouse ingest {table}   (then run the same again)")
    return waiting


def files_that_wait(lake: Lake, table: str) -> tuple[str, ...]:
    """Paths of the files that the next run loads again, in place of their rows."""
    return tuple(key_uri(file.bucket, file.key) for file in waiting_replays(lake, table))


def said_of_waiting(table: str, waiting: Sequence[str]) -> str:
    """Why rows of ``table`` are not removed while such files wait."""
    named = ", ".join(waiting[:_NAMED_FILES]) + (", ..." if len(waiting) > _NAMED_FILES else "")
    return f"files of {table} wait to be loaded again, and could bring such rows back ({len(waiting):,}): {named}"


def removed_rows(lake: Lake, table: str, files: dict[int, int]) -> bytes:
    """What a record says of rows: how many of each file, by its number, and in which load they had come.

    The batch of a file counts from its commit on, when the checkpoint may not have it as finished yet.
    """
    stream, states = _files_of_stream(lake, table)
    batches = {state.sequence: state.batch_id for state in states}
    entries = [
        {"sequence": seq, "rows": rows, "batch_id": batches.get(seq), "stream": stream}
        for seq, rows in sorted(files.items())
    ]
    return json.dumps(entries).encode()


def noted(lake: Lake, table: str, version: int, removed: bytes, then: Then) -> str:
    """Records rows that the commit of that version is to remove; the caller keeps others that remove rows out.

    The record comes first, so that a row that is gone is never taken for lost. It counts when that commit is there.

    Args:
        lake: Where the table is.
        table: Its name.
        version: Which the commit makes.
        removed: See ``removed_rows``.
        then: What tables computed from it do.

    Returns:
        What the commit has to say as its ``userMetadata``.
    """
    _record(lake, table, f"{version:020d}", removed)
    return json.dumps({FORGOTTEN: then})


def _removal_since(lake: Lake, table: str, version: int) -> int | None:
    """The commit after ``version`` that removed rows on purpose; None when there is none."""
    commits = lake.commits_since(table, version)
    return next((commit.version for commit in commits if commit.forgotten and commit.operation != "RESTORE"), None)


def accept_removals(lake: Lake, table: str, *, really: bool = False) -> Forgotten:
    """Records that the rows which are missing now were removed on purpose, by somebody else's DELETE.

    Raises:
        LeaseHeld: a stream writes the table now.
        ConfigurationError: no row is missing.
    """
    with checkpoints.writer_of(lake, table):
        drop_unfinished(lake, table)
        present, gone = rows_by_sequence(lake, table), RemovedRows.of(lake, table, readable_only=True).rows
        missing = {}
        for file in _files_of_stream(lake, table)[1]:
            if file.commit_time is None:
                continue
            short = (file.rows or 0) - gone(file) - present.get(file.sequence, 0)
            if short > 0:
                missing[file.sequence] = short
        if not missing:
            raise no_forgetting("no row is missing: there is nothing to record", "lakehouse ingest checks the table")
        if really:
            _record(lake, table, f"{lake.version(table) or 0:020d}-accepted", removed_rows(lake, table, missing))
            for key in damaged_records(lake, table):  # what they said is in the new record
                lake.store.delete(lake.settings.bucket, key)
        return Forgotten(table, sum(missing.values()), missing, done=really)


def _files_of_stream(lake: Lake, table: str) -> tuple[str | None, list[FileState]]:
    """The name of the stream into a table, None without one; and the files that it knows."""
    location = lake.settings.checkpoint_uri(table)
    log = read_stream_log(lake.store, *split_uri(location))
    if log is None:
        return None, []
    return log.stream, list(file_states(lake.store, location, log=log))


def drop_unfinished(lake: Lake, table: str) -> None:
    """Removes what a killed command noted and did not do: who keeps others out knows that it will not be done."""
    bucket, folder = record_folder(lake, table)
    for key in unfinished_records(lake, table, [info.key for info in lake.store.list(bucket, folder)]):
        lake.store.delete(bucket, key)


def _record(lake: Lake, table: str, name: str, removed: bytes) -> None:
    bucket, folder = record_folder(lake, table)
    lake.store.write(bucket, f"{folder}{name}.json", removed)


def _matching(rows: DataFrame, where: str) -> DataFrame:
    from pyspark.errors import AnalysisException, ParseException

    try:
        found = rows.where(where)
        _ = found.schema  # over Connect a condition is looked at only now
    except (AnalysisException, ParseException) as error:
        reason = str(error).strip().split("\n")[0]
        raise no_forgetting(f"the condition is none for this table: {reason}", "correct --where") from None
    return found


def count_rows(spark: SparkSession, uri: str, where: str) -> int | None:
    """How many rows of the table at ``uri`` a condition names; None where it is no condition for that table."""
    from pyspark.errors import AnalysisException

    try:
        return spark.read.format("delta").load(uri).where(where).count()
    except AnalysisException:
        return None


def _surplus(rows: DataFrame, table: str, key: list[str]) -> DataFrame:
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812

    require_places(table, key, rows.columns)
    place = F.struct(SEQUENCE, RECORD)
    newest = F.max(place).over(Window.partitionBy(*key))
    marked = rows.select(*key, SEQUENCE, RECORD, place.alias("place"), newest.alias("newest"))
    named = [F.col(name).isNotNull() for name in key]
    surplus = F.col("place") < F.col("newest")
    for condition in named:
        surplus = surplus & condition
    return marked.where(surplus).select(SEQUENCE, RECORD).distinct()


def only_spark_removes(opened: LakeTable) -> str:
    """Why rows of a table are removed by Spark alone; empty where its data files can be written again without them."""
    feed = opened.metadata().configuration.get("delta.enableChangeDataFeed") == "true"
    return only_spark(opened) or ("only Spark writes the change data feed of single rows" if feed else "")


def append_only(opened: LakeTable) -> str:
    """Why no row may be removed from a table; empty where rows may."""
    return "delta.appendOnly is true" if opened.metadata().configuration.get("delta.appendOnly") == "true" else ""


def require_places(table: str, key: Sequence[str], columns: Collection[str]) -> None:
    """Makes sure that it is known which copy of a row is the newest.

    Raises:
        ConfigurationError: it is not.
    """
    if not key:
        raise no_forgetting(
            f"nothing says what a row of {table} is known by", "declare a check of it: unique: ...; or use --where"
        )
    if not {SEQUENCE, RECORD} <= set(columns):
        raise no_forgetting(
            f"rows of {table} do not say which file and record they are from",
            f"lakehouse checkpoint restart {table}   (after the files were corrected)",
        )


def no_forgetting(what: str, next_command: str) -> ConfigurationError:
    """The error of a command that names no rows, or rows that cannot be forgotten."""
    return ConfigurationError(what, where="lakehouse forget", state="nothing was changed", next_command=next_command)
