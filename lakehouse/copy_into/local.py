"""``copy_into`` without Spark: this process reads the files, writes data files, and commits them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pyspark.sql.types import StructType

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.copy_into.ledger import APP_ID, Attempt
from lakehouse.copy_into.reader import CopyStream
from lakehouse.direct.commit import Batch, Change, TableAt, commit, remove_unnamed
from lakehouse.direct.data_files import DataFile, DataFiles
from lakehouse.direct.reasons import NotDirect, require_direct
from lakehouse.errors import CopyFailed
from lakehouse.lake import Lake, LakeTable


@dataclass(frozen=True)
class _Copied(Batch):
    """An attempt as its commit names it."""

    attempt: str

    def user_metadata(self, removes: bool) -> str:
        """See ``Batch.user_metadata``; as Spark's commit of a copy."""
        return json.dumps({"copyInto": {"number": self.number, "attempt": self.attempt}})

    def require_held(self, opened: LakeTable, table: TableAt) -> None:
        """Nothing: the list of copied files is held against the table before."""


def write_here(lake: Lake, table: str, columns: StructType, options: CloudFilesOptions, attempt: Attempt) -> None:
    """Loads what the attempt has planned, in one commit; of several attempts at one copy the table takes one.

    Args:
        lake: Where the table is.
        table: Its name.
        columns: All columns of the rows.
        options: As the reader takes them.
        attempt: What is read.

    Raises:
        CopyFailed: something does not fit, or only Spark can write this table.
    """
    opened = lake.delta(table)
    folders = tuple(opened.metadata().partition_columns) if opened else ()
    at = TableAt(table, lake.settings.table_uri(table), lake.endpoint)
    try:
        require_direct(opened, columns, folders)
        files = _read(lake, at, columns, options, folders)
        commit(at, opened, _Copied(APP_ID, attempt.number, None, {}, attempt.name), Change(files, (), columns, folders))
    except NotDirect as error:
        raise CopyFailed(
            f"{table} cannot be written without Spark: {error}",
            where=at.uri,
            state="nothing was loaded",
            next_command="LAKEHOUSE_ENGINE=spark, and the same again",
        ) from None


def _read(
    lake: Lake, at: TableAt, columns: StructType, options: CloudFilesOptions, folders: tuple[str, ...]
) -> list[DataFile]:
    """Data files of all rows; none stays where something does not fit."""
    made, stream = DataFiles(lake.endpoint, at.uri, folders), CopyStream(options, None, endpoint=lake.endpoint)
    try:
        for task in stream.tasks():
            for batch in stream.read(task, columns):
                made.add(batch)
        return made.finish()
    except BaseException:
        remove_unnamed(at, made.written)
        raise
