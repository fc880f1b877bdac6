"""Adding a batch to a Delta table and taking out, in the same commit, the rows that its files take the place of.

A file takes another's place after a replay, and with ``cloudFiles.allowOverwrites=replace`` when a newer version of it
has arrived.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse.autoloader.journal import Journal
from lakehouse.autoloader.location import split_uri
from lakehouse.autoloader.receipts import Receipt, State, TaskReceipts
from lakehouse.autoloader.state import read_stream_log
from lakehouse.storage.environment import endpoint_from_environment
from lakehouse.storage.fast_store import FastStore
from lakehouse.streams.bronze import SEQUENCE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class ReplacingWriter:
    """For ``foreachBatch`` of a ``cloudFiles`` stream: exactly once, one commit a batch.

    Attributes:
        table_uri: The Delta table; its column ``_source_sequence`` is ``_metadata.sequence``.
        checkpoint_uri: The stream's checkpoint.
        overwrites: Whether a newer version of a file takes the place of the older ones.
        profile: Named profile of the credentials file, as ``cloudFiles.profile``.
    """

    table_uri: str
    checkpoint_uri: str
    overwrites: bool = True
    profile: str | None = None

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Commits the batch; a batch that the table has already is left out."""
        store = FastStore(endpoint_from_environment(self.profile))
        log = read_stream_log(store, *split_uri(self.checkpoint_uri))
        if log is None:
            raise ValueError(f"no checkpoint of a cloudFiles stream: {self.checkpoint_uri}")
        after = log.ends[batch_id - 1][0] if batch_id - 1 in log.ends else 0
        end = log.ends[batch_id][0]
        gone = replaced_by(Journal.at(store, log.journal), after, end, overwrites=self.overwrites)
        writer = (
            frame.write.format("delta")
            .option("mergeSchema", "true")
            .option("txnAppId", log.query_id)
            .option("txnVersion", batch_id)
            .option("userMetadata", json.dumps({"epochId": batch_id, "queryId": log.query_id}))
        )
        if not gone:
            writer.mode("append").save(self.table_uri)
            return
        receipts = [Receipt(seq, 0, 0, State.REPLACED, batch_id=batch_id) for seq in sorted(gone)]
        TaskReceipts(store, *split_uri(log.journal), log.stream, end, "replaced").finish(receipts)
        # the condition says what goes; what comes has other numbers
        frame.sparkSession.conf.set("spark.databricks.delta.replaceWhere.constraintCheck.enabled", "false")
        numbers = ", ".join(str(one.seq) for one in receipts)
        writer.mode("overwrite").option("replaceWhere", f"{SEQUENCE} IN ({numbers})").save(self.table_uri)


def replaced_by(journal: Journal, after: int, upto: int, *, overwrites: bool) -> set[int]:
    """Numbers of the entries whose place the files in (after, upto] take."""
    gone: set[int] = set()
    newest: dict[tuple[str, str], int] = {}
    for one in journal.files(after, upto):
        if one.replaces:
            gone.add(one.replaces)
        if overwrites and not one.first:
            newest[one.bucket, one.key] = one.seq
    if newest:
        for table in journal.tables(0, upto, ["bucket", "key"]):
            rows = zip(*(table[name].to_pylist() for name in ("seq", "bucket", "key")), strict=True)
            gone.update(seq for seq, *place in rows if seq < newest.get((place[0], place[1]), 0))
    return gone
