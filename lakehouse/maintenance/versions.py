"""Taking a table of files back to an older version, with its stream: what came after that version is loaded again.

RESTORE alone keeps Delta's transactions, so that a stream would go on behind its last batch, and the rows in between
were missing. Here the checkpoint loses its id first, and is written anew behind the last file that has rows in the
older version. A crash in between leaves a table that the next run refuses, and that ``lakehouse checkpoint repair``
brings to the same end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow.compute as pc
from deltalake import CommitProperties
from deltalake.exceptions import DeltaError

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.outcomes.file_states import FileState, file_states, read_stream_log
from lakehouse.autoloader.outcomes.receipts import State
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.delta_commit import EMPTIED, FORGOTTEN, metadata_of
from lakehouse.errors import ConfigurationError
from lakehouse.lake import KEEPS_LOG, Lake, LakeTable, adds_of, paths_of
from lakehouse.maintenance.optimize import only_spark
from lakehouse.maintenance.repair import repair
from lakehouse.plain_text import cause_of, counted

Then = Literal["follow", "keep"]


@dataclass(frozen=True)
class TakenBack:
    """What taking a table back does, or would do.

    Attributes:
        table: The table.
        version: The older version.
        newest: The version before it was done.
        rows_before: Rows of the newest version.
        rows_after: Rows of the older version: the next run adds those of the files that came after it.
        again: Files that the next run loads again.
        again_rows: The rows that they gave.
        readers: Tables that are computed from it.
        delta_version: The commit that did it; None before.
        done: Whether it was done.
        undone: Files that were loaded again since the older version, which has their rows as they were before.
    """

    table: str
    version: int
    newest: int
    rows_before: int
    rows_after: int
    again: int
    again_rows: int
    readers: tuple[str, ...]
    delta_version: int | None = None
    done: bool = False
    undone: tuple[str, ...] = ()


def take_back(
    lake: Lake,
    table: str,
    version: int,
    options: CloudFilesOptions,
    *,
    readers: Sequence[str] = (),
    then: Then = "follow",
    really: bool = False,
) -> TakenBack:
    """Takes a table back to an older version, and its stream behind it; without ``really`` only says what that means.

    Args:
        lake: Where both are.
        table: A table of files whose rows say which file they are from.
        version: The older version.
        options: Of its stream.
        readers: Tables that are computed from it.
        then: What they do: follow (computed again), or keep what they have.
        really: Do it.

    Raises:
        LeaseHeld: a stream writes the table now.
        ConfigurationError: it cannot be done so that every file is in the table exactly once afterwards.
    """
    with checkpoints.writer_of(lake, table):
        checkpoints.verify(lake, table)
        opened, older = _versions(lake, table, version)
        _require_nothing_on_purpose(opened, version, table)
        again, undone = _again(lake, table, older, version)
        if then == "keep" and readers and again:
            raise not_taken_back(
                f"{', '.join(readers)} would keep what they have, and get {counted(len(again), 'file')} twice",
                f"lakehouse maintain restore-version {table} {version} --then follow",
            )
        rows = sum(file.rows or 0 for file in again)
        found = (table, version, opened.version(), _rows(opened), _rows(older), len(again), rows, tuple(readers))
        if not really:
            return TakenBack(*found, undone=undone)
        _restore(lake, table, opened, version, then)
    repair(lake, table, options, really=True)
    return TakenBack(*found, lake.version(table), done=True, undone=undone)


def _restore(lake: Lake, table: str, opened: LakeTable, version: int, then: Then) -> None:
    """First the checkpoint's id goes: whatever happens now, no run goes on behind the batches that go."""
    bucket, key = lake.settings.bucket, checkpoints.object_key(lake, table, "metadata")
    metadata, newest = lake.store.read(bucket, key), opened.version()
    custom_metadata = {"userMetadata": json.dumps({FORGOTTEN: then})}
    lake.store.delete(bucket, key)
    try:
        opened.restore(
            version,
            commit_properties=CommitProperties(custom_metadata=custom_metadata, max_commit_retries=0),
            post_commithook_properties=KEEPS_LOG,
        )
    except (DeltaError, OSError) as error:
        if _was_restored(lake, table, newest, version):  # the reply was lost, and the commit not
            return
        lake.store.write(bucket, key, metadata)
        raise not_taken_back(
            f"{table} was not taken back: {cause_of(error, 300)}", "run the same again, or RESTORE in Spark"
        ) from None


def _was_restored(lake: Lake, table: str, newest: int, version: int) -> bool:
    """Whether the commit behind ``newest`` is the one that takes the table back; somebody else may have been faster."""
    opened = lake.delta(table)
    since = [] if opened is None else opened.history(max(opened.version() - newest, 1))
    made = next((entry for entry in since if entry["version"] == newest + 1), {})
    restored_to = (made.get("operationParameters") or {}).get("version")
    return made.get("operation") == "RESTORE" and str(restored_to) == str(version)


def _versions(lake: Lake, table: str, version: int) -> tuple[LakeTable, LakeTable]:
    opened = lake.delta(table)
    if opened is None:
        raise not_taken_back(f"there is no table {table}", "lakehouse tables   (lists them)")
    if not 0 <= version < opened.version():
        raise not_taken_back(
            f"{table} has no older version {version}: its newest is {opened.version()}", f"lakehouse history {table}"
        )
    uri = lake.settings.table_uri(table)
    if reason := only_spark(opened):
        raise not_taken_back(
            f"{table} is not taken back here: {reason}", "RESTORE TABLE ... in Spark, and then: lakehouse check"
        )
    try:
        older = LakeTable(uri, lake.endpoint, version)
    except (DeltaError, OSError):
        lake.store.bucket_exists(lake.settings.bucket)  # which says it when the store is the reason
        raise not_taken_back(
            f"version {version} is not in the log of {table} any more", f"lakehouse history {table}"
        ) from None
    bucket, folder = split_uri(uri)
    there = {info.key.removeprefix(f"{folder}/") for info in lake.store.list(bucket, f"{folder}/")}
    if gone := [path for path in paths_of(older) if path not in there]:
        raise not_taken_back(
            f"version {version} lacks {counted(len(gone), 'data file')}: a vacuum removed what it needs",
            f"lakehouse history {table}   (a newer version may do)",
        )
    return opened, older


def _require_nothing_on_purpose(opened: LakeTable, version: int, table: str) -> None:
    """Makes sure that no rows come back that were removed on purpose.

    Raises:
        ConfigurationError: a commit after ``version`` did so.
    """
    for entry in opened.history(opened.version() - version):
        metadata = metadata_of(entry)
        if (FORGOTTEN in metadata and entry.get("operation") != "RESTORE") or EMPTIED in metadata:
            raise not_taken_back(
                f"version {entry['version']} removed rows of {table} on purpose; version {version} has them",
                f"name a version from {entry['version']} on",
            )


def _again(lake: Lake, table: str, older: LakeTable, version: int) -> tuple[list[FileState], tuple[str, ...]]:
    """The files that came after a version, which the stream will read again; and those that were loaded again since.

    Raises:
        ConfigurationError: a file is not in its bucket any more as it was loaded.
    """
    location = lake.settings.checkpoint_uri(table)
    log = read_stream_log(lake.store, *split_uri(location))
    if log is None:
        raise not_taken_back(f"{table} has no checkpoint of a cloudFiles stream", f"lakehouse checkpoint show {table}")
    last = _last_file(older)
    of_stream = [commit for commit in lake.commits_since(table, version) if commit.query_id == log.query_id]
    batches = {commit.batch_id for commit in of_stream if commit.batch_id is not None}
    states = [
        state
        for state in file_states(lake.store, location, log=log)
        if state.ingestion_state not in (None, State.REPLACED, State.PASSED_OVER)
    ]
    loaded = [state for state in states if state.sequence > last]
    undone = tuple(state.path for state in states if state.sequence <= last and state.batch_id in batches)
    journal = Journal.at(lake.store, log.journal)
    known = {entry.seq: entry for entry in journal.files(last, journal.high_water)}
    missing = []
    for state in loaded:
        file = known.get(state.sequence)
        now = None if file is None else lake.store.info(file.bucket, file.key)
        if state.rows and (file is None or now is None or now.e_tag != file.e_tag):
            missing.append(state)
    if missing:
        raise not_taken_back(
            f"the bucket does not have {counted(len(missing), 'later file')} any more as loaded, "
            f"{missing[0].path} among them: their rows would be lost",
            "put them back, or name a newer version",
        )
    return loaded, undone


def _last_file(older: LakeTable) -> int:
    """The highest number of a file that has rows in a version."""
    names = [field.name for field in older.schema().fields]
    if SEQUENCE not in names:
        return 0
    newest = 0
    for batch in older.to_pyarrow_dataset().to_batches(columns=[SEQUENCE]):
        newest = max(newest, pc.max(batch.column(0)).as_py() or 0)
    return newest


def _rows(opened: LakeTable) -> int:
    adds = adds_of(opened)
    return sum(count or 0 for count in adds["num_records"].to_pylist())


def not_taken_back(what: str, next_command: str) -> ConfigurationError:
    """The error for a version that a table cannot be taken back to."""
    return ConfigurationError(
        what, where="lakehouse maintain restore-version", state="nothing was changed", next_command=next_command
    )
