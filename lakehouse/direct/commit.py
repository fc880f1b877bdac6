"""One Delta commit for a batch: it adds the rows, the batch's number and its offsets, or none of them.

The commit is conditional. Of two writers of a batch one wins, whatever their leases and clocks say: ``deltalake``
refuses a second commit of a transaction that another writer has committed since the table was read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
from pyspark.sql.types import StructType

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints.agreement import require_not_taken_back
from lakehouse.delta_commit import PLACE, REPLACES, batch_of
from lakehouse.delta_log import CHECKPOINT_INTERVAL
from lakehouse.direct.data_files import DataFile
from lakehouse.direct.own_commits import OwnCommits
from lakehouse.direct.reasons import require_direct
from lakehouse.direct.rewriting import Removed
from lakehouse.errors import TransientError
from lakehouse.lake import KEEPS_LOG, LakeTable, open_table, paths_of
from lakehouse.plain_text import cause_of
from lakehouse.storage.delta_paths import deltalake_uri
from lakehouse.storage.fast_store import FastStore
from lakehouse.storage.store import StoreEndpoint

Offset = dict[str, Any]


@dataclass(frozen=True)
class TableAt:
    """A table by its URI. A worker of Spark has no ``Lake`` in which to look up its name.

    Attributes:
        name: ``layer.name``, for messages.
        uri: Its folder.
        endpoint: The store.
    """

    name: str
    uri: str
    endpoint: StoreEndpoint

    def opened(self) -> LakeTable | None:
        """The table at its newest version, or None when there is none."""
        return open_table(self.uri, self.endpoint)


@dataclass(frozen=True)
class Batch:
    """A batch as its commit names it.

    Attributes:
        query_id: The checkpoint's own id; Delta keeps the number of the last batch under it.
        number: Of the batch.
        start: The source's offset before it; None for the first.
        end: The source's offset after it.
    """

    query_id: str
    number: int
    start: Offset | None
    end: Offset

    def user_metadata(self, removes: bool) -> str:
        """The commit's ``userMetadata``."""
        place = {"start": self.start, "end": self.end}
        metadata = {"epochId": self.number, "queryId": self.query_id, PLACE: place}
        return json.dumps({**metadata, REPLACES: True} if removes else metadata)

    def require_held(self, opened: LakeTable, table: TableAt) -> None:
        """Makes sure that the table has the rows of the batches before it: see ``require_not_taken_back``."""
        require_not_taken_back(opened, self.query_id, table.name, table.uri)


def is_committed(table: DeltaTable | None, batch: Batch, own: OwnCommits | None = None) -> bool:
    """Whether the table has the batch, or a later batch; ``own`` are commits that this run knows."""
    last = own.last(table, batch.query_id) if own and table is not None else None
    if last is None and table is not None:
        last = table.transaction_version(batch.query_id)
    return last is not None and last >= batch.number


@dataclass(frozen=True)
class Change:
    """What a commit does to a table.

    Attributes:
        files: Data files that come.
        removed: Data files that go: what stays of their rows is in ``files``.
        schema: The columns of the rows that come.
        partition_by: Columns that make the folders of a new table.
    """

    files: Sequence[DataFile]
    removed: Sequence[Removed]
    schema: StructType
    partition_by: tuple[str, ...] = ()


def commit(
    table: TableAt,
    opened: LakeTable | None,
    batch: Batch,
    change: Change,
    own: OwnCommits | None = None,
    *,
    begins: Callable[[], None] = lambda: None,
) -> bool:
    """Makes a batch visible; a table is made when there is none, and gets its new columns first.

    Args:
        table: Where.
        opened: The table, at the version from which removed files were chosen. It is updated when none are removed.
        batch: The batch.
        change: What it does.
        own: Commits of the run that keeps the table open.
        begins: Called before a table is made: makes sure that there was none.

    Returns:
        False when the table has the batch already: the new files are deleted then.

    Raises:
        TransientError: other writers were faster, or the store did not say whether it took the commit.
        CheckpointMismatch: somebody took the table back to an older version while the stream ran, or removed it.
        NotDirect: the table was changed since the batch began, and only Spark can write it now.
    """
    files = change.files
    try:
        done = _commit(table, opened, batch, change, own or OwnCommits(), begins)
    except (DeltaError, OSError) as error:
        if not is_committed(table.opened(), batch):  # the reply may be lost, and the commit not
            raise _failed(table, error) from None
        done = _is_ours(table, batch, files)
    if not done:
        remove_unnamed(table, files)
    return done


def remove_unnamed(table: TableAt, files: Sequence[DataFile]) -> None:
    """Deletes data files that no commit names."""
    bucket, folder = split_uri(table.uri)
    store = FastStore(table.endpoint)
    for file in files:
        store.delete(bucket, f"{folder.rstrip('/')}/{file.path}")


def _commit(
    table: TableAt, opened: LakeTable | None, batch: Batch, change: Change, own: OwnCommits, begins: Callable[[], None]
) -> bool:
    removed, folders = change.removed, list(change.partition_by) or None
    if opened is None:
        opened = table.opened()
    elif not removed:
        opened.update_incremental()  # what others added meanwhile is no conflict
    adds, goes = _actions(change.files, removed)
    properties = CommitProperties(
        custom_metadata=_metadata(batch.user_metadata(bool(removed)), change.files, removed),
        # no retry where there is no table yet: it would add a version to a table that somebody else has made. Nor where
        # files are removed: deltalake would accept it when an OPTIMIZE has moved their rows to other files meanwhile
        max_commit_retries=0 if opened is None or removed else None,
        app_transactions=[Transaction(batch.query_id, batch.number)],
    )
    wanted = Schema.from_json(change.schema.json())
    if opened is None:
        begins()
        options = table.endpoint.deltalake_options()
        create_table_with_add_actions(
            deltalake_uri(table.uri),
            wanted,
            adds,
            mode="error",
            partition_by=folders,
            storage_options=options,
            configuration=CHECKPOINT_INTERVAL,
            commit_properties=properties,
        )
        return True
    if is_committed(opened, batch, own):
        return False
    if own.last(opened, batch.query_id) is None:
        batch.require_held(opened, table)
    # somebody may have changed the table while the batch was read
    require_direct(opened, change.schema, change.partition_by)
    known = {field.name.lower() for field in opened.schema().fields}
    new = [field for field in wanted.fields if field.name.lower() not in known]
    if new:  # a commit of its own: columns without rows harm nobody when the commit below fails
        opened.alter.add_columns(new)
        opened.update_incremental()
    if goes and not has_all(opened, removed):
        raise CommitFailedError("data files that had to be rewritten are not in the table any more")
    before = opened.version()
    opened.create_write_transaction([*adds, *goes], "append", opened.schema(), folders, commit_properties=properties)
    own.note(opened, before, batch.query_id, batch.number)
    return True


def commit_removal(opened: LakeTable, files: Sequence[DataFile], removed: Sequence[Removed], metadata: str) -> None:
    """Removes rows in the version after that of the opened table, or not at all.

    Args:
        opened: The table, at a version that has the removed files.
        files: Their other rows.
        removed: Data files that go.
        metadata: The commit's ``userMetadata``.

    Raises:
        DeltaError, OSError: somebody else was faster, or the store did not take the commit.
    """
    adds, goes = _actions(files, removed)
    properties = CommitProperties(custom_metadata=_metadata(metadata, files, removed), max_commit_retries=0)
    folders = list(opened.metadata().partition_columns) or None
    opened.create_write_transaction(
        [*adds, *goes],
        "append",
        opened.schema(),
        folders,
        commit_properties=properties,
        post_commithook_properties=KEEPS_LOG,
    )


def _actions(files: Sequence[DataFile], removed: Sequence[Removed]) -> tuple[list[AddAction], list[RemoveAction]]:
    now = int(time.time() * 1000)
    adds = [
        AddAction(file.path, file.size_bytes, file.partition, file.written_milliseconds, True, file.statistics)
        for file in files
    ]
    return adds, [RemoveAction(file.path, True, now, file.size_bytes, file.partition) for file in removed]


def _metadata(user_metadata: str, files: Sequence[DataFile], removed: Sequence[Removed]) -> dict[str, Any]:
    metrics = {
        "numFiles": len(files),
        "numOutputRows": sum(file.rows for file in files),
        "numOutputBytes": sum(file.size_bytes for file in files),
        "numRemovedFiles": len(removed),
        "numDeletedRows": sum(file.gone_rows for file in removed),
        "numCopiedRows": sum(file.rows - file.gone_rows for file in removed),
    }
    return {
        "userMetadata": user_metadata,
        "operationMetrics": {name: str(value) for name, value in metrics.items()},
    }


def has_all(opened: LakeTable, removed: Sequence[Removed]) -> bool:
    """Whether the version that is open has the data files that are to go."""
    return set(paths_of(opened)).issuperset(file.path for file in removed)


def _is_ours(table: TableAt, batch: Batch, files: Sequence[DataFile]) -> bool:
    """Whether the commit of the batch has these files; True where the log has no such commit any more."""
    opened = table.opened()
    assert opened is not None
    versions = (entry["version"] for entry in opened.history() if batch_of(entry) == (batch.query_id, batch.number))
    version = next(versions, None)
    if version is None or not files:
        return True
    path = files[0].path.rsplit("/", 1)[-1]  # the newest version may have the rows in other files by now
    return any(uri.endswith(path) for uri in LakeTable(table.uri, table.endpoint, version).file_uris())


def _failed(table: TableAt, error: Exception) -> TransientError:
    faster = isinstance(error, CommitFailedError)
    why = "another writer was faster" if faster else "the store did not take the commit"
    return TransientError(
        f"the batch of {table.name} is not committed: {why}: {cause_of(error, 300)}",
        where=table.uri,
        state="nothing of the batch is in the table; data files that it wrote are in no version, and vacuum removes "
        "them",
        next_command="run the same again: the batch is done again",
    )
