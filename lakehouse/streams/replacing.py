"""Adding a batch to a Delta table and removing, in the same commit, the rows that its files replace.

A file replaces an earlier load of it after a replay, and with ``cloudFiles.allowOverwrites=replace`` when a newer
version of it has arrived. Rows are removed only when their replacement was read: a broken file removes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.outcomes.file_states import StreamLog, read_stream_log
from lakehouse.autoloader.outcomes.receipt_log import read_receipts
from lakehouse.autoloader.outcomes.receipts import CORRECTIONS, Receipt, State, TaskReceipts
from lakehouse.storage.environment import endpoint_from_environment
from lakehouse.storage.fast_store import FastStore
from lakehouse.storage.store import ObjectStore

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class ReplacingWriter:
    """For ``foreachBatch`` of a ``cloudFiles`` stream: exactly once, one commit for each batch.

    Attributes:
        table_uri: The Delta table; its column ``_source_sequence`` is ``_metadata.sequence``.
        checkpoint_uri: The stream's checkpoint.
        overwrites: Whether a newer version of a file replaces the older versions.
        profile: Named profile of the credentials file, as ``cloudFiles.profile``.
        partition_by: Partition columns of a new table.
    """

    table_uri: str
    checkpoint_uri: str
    overwrites: bool = True
    profile: str | None = None
    partition_by: tuple[str, ...] = ()

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Commits the batch; a batch that the table has already is skipped."""
        store = FastStore(endpoint_from_environment(self.profile))
        log = read_stream_log(store, *split_uri(self.checkpoint_uri))
        if log is None:
            raise ValueError(f"no checkpoint of a cloudFiles stream: {self.checkpoint_uri}")
        after = log.ends[batch_id - 1][0] if batch_id - 1 in log.ends else 0
        end = log.ends[batch_id][0]
        places = replaced_by(Journal.at(store, log.journal), log.stream, after, end, overwrites=self.overwrites)
        gone: set[int] = set()
        if places:
            if self._has(log.query_id, batch_id):
                return  # its files may have changed since they were read
            frame = frame.localCheckpoint()  # reads the files, once: their receipts decide which rows are removed
            gone, left_out = decide(store, log, end, places, batch_id)
            if left_out:
                frame = frame.where(~frame[SEQUENCE].isin(sorted(left_out)))
        writer = (
            frame.write.format("delta")
            .option("mergeSchema", "true")
            .option("txnAppId", log.query_id)
            .option("txnVersion", batch_id)
            .option("userMetadata", json.dumps({"epochId": batch_id, "queryId": log.query_id}))
        )
        if self.partition_by:
            writer = writer.partitionBy(*self.partition_by)
        if not gone:
            writer.mode("append").save(self.table_uri)
            return
        # the condition names the rows that are removed; rows that are added may have other numbers
        frame.sparkSession.conf.set("spark.databricks.delta.replaceWhere.constraintCheck.enabled", "false")
        numbers = ", ".join(map(str, sorted(gone)))
        writer.mode("overwrite").option("replaceWhere", f"{SEQUENCE} IN ({numbers})").save(self.table_uri)

    def _has(self, query_id: str, batch_id: int) -> bool:
        from lakehouse.lake import open_table

        table = open_table(self.table_uri, endpoint_from_environment(self.profile))
        last = None if table is None else table.transaction_version(query_id)
        return last is not None and last >= batch_id


@dataclass(frozen=True)
class Place:
    """An entry of the journal that replaces others.

    Attributes:
        seq: Its number.
        old: The numbers in the rows of the others.
        again: Whether it is a replay: its own rows have the old number, too.
    """

    seq: int
    old: frozenset[int]
    again: bool


def decide(
    store: ObjectStore, log: StreamLog, end: int, places: Sequence[Place], batch_id: int
) -> tuple[set[int], set[int]]:
    """Numbers of the files whose rows are removed, and of those whose rows were read and are left out.

    Rows are left out when their file could not be read whole. Receipts are corrected to what the table has then.
    """
    journal = split_uri(log.journal)
    read: dict[int, list[Receipt]] = {}
    for written in read_receipts(store, *journal, log.stream, first_end=end):
        if written.end == end and not written.corrects:
            read.setdefault(written.receipt.seq, []).append(written.receipt)
    gone: set[int] = set()
    left_out: set[int] = set()
    corrections: list[Receipt] = []
    for place in places:
        receipts = read.get(place.seq, [])
        bad = [receipt for receipt in receipts if receipt.state != State.INGESTED]
        if receipts and not bad:
            gone |= place.old
            if not place.again:
                corrections += [Receipt(seq, 0, 0, State.REPLACED, batch_id=batch_id) for seq in sorted(place.old)]
        else:
            left_out |= place.old if place.again else {place.seq}
            corrections += [replace(receipt, rows=0) for receipt in bad[:1]]
    TaskReceipts(store, *journal, log.stream, end, CORRECTIONS).finish(corrections)
    return gone, left_out


def replaced_by(journal: Journal, stream: str, after: int, upto: int, *, overwrites: bool) -> list[Place]:
    """The entries in (after, upto] that replace others.

    Args:
        journal: Where the files are numbered.
        stream: The stream whose replays count.
        after: Number of the last file before.
        upto: Number of the last file.
        overwrites: Whether a newer version of a file replaces the older versions.
    """
    again: list[Place] = []
    newest: dict[tuple[str, str], int] = {}
    for file in journal.files(after, upto):
        if file.replaces and file.stream == stream:
            again.append(Place(file.seq, frozenset({file.replaces}), again=True))
        elif overwrites and not file.first and not file.replaces:
            newest[file.bucket, file.key] = file.seq
    older: dict[int, set[int]] = {}
    if newest:
        for table in journal.tables(0, upto, ["bucket", "key", "replaces"]):
            names = ("seq", "bucket", "key", "replaces")
            for seq, bucket, key, replaces in zip(*(table[name].to_pylist() for name in names), strict=True):
                by = newest.get((bucket, key), 0)
                if seq < by and not replaces:
                    older.setdefault(by, set()).add(seq)
    return [*again, *(Place(seq, frozenset(old), again=False) for seq, old in older.items())]
