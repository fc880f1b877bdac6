"""What became of each file: written by the task that read it, before the batch that holds its rows is committed.

One small object a task, under the stream and the batch: empty from the task's first moment, filled at its end. So a
task that is done again can tell that an earlier attempt never ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from lakehouse.storage.contract import ObjectExists, ObjectStore


class State(StrEnum):
    """Auto Loader's ``ingestion_state``, and ours: in quarantine, replaced by a replay, not chosen by the stream."""

    INGESTED = "INGESTED"
    SKIPPED_MISSING = "SKIPPED_MISSING"
    SKIPPED_CORRUPTED = "SKIPPED_CORRUPTED"
    QUARANTINED = "QUARANTINED"
    REPLACED = "REPLACED"
    PASSED_OVER = "PASSED_OVER"


@dataclass(frozen=True)
class Receipt:
    """What one task made of one file, or of its part of a large one.

    Attributes:
        seq: The file's number in the journal.
        start: Where in the file the part begins, in bytes.
        rows: Rows handed to Spark.
        state: What became of it.
        error: Why it was not loaded, or what of it was left out; empty when all is well.
    """

    seq: int
    start: int
    rows: int
    state: State
    error: str = ""


def folder(journal_prefix: str, query_id: str) -> str:
    """Where the receipts of one stream are."""
    return f"{journal_prefix.rstrip('/')}/receipts/{query_id}/"


@dataclass(frozen=True)
class TaskReceipts:
    """The receipts of one task.

    Attributes:
        store: Where they are kept, as ``bucket`` and ``journal_prefix`` say.
        query_id: The stream.
        batch_id: The micro-batch.
        part: The task's name in it.
    """

    store: ObjectStore
    bucket: str
    journal_prefix: str
    query_id: str
    batch_id: int
    part: str

    def begin(self) -> bool:
        """Notes that the task has begun; False when an earlier attempt did so and never came to its end."""
        try:
            self.store.write(self.bucket, self._key, b"", if_absent=True)
        except ObjectExists:
            return bool(self.store.read(self.bucket, self._key))
        return True

    def finish(self, receipts: Iterable[Receipt]) -> None:
        """Makes the receipts durable."""
        lines = [json.dumps(asdict(one)) for one in receipts]
        self.store.write(self.bucket, self._key, "\n".join(lines).encode())

    @property
    def _key(self) -> str:
        return f"{folder(self.journal_prefix, self.query_id)}{self.batch_id:010d}/{self.part}.jsonl"


def query_ids(store: ObjectStore, bucket: str, journal_prefix: str) -> list[str]:
    """All streams that have receipts."""
    return list(store.folders(bucket, f"{journal_prefix.rstrip('/')}/receipts/"))


def read_receipts(
    store: ObjectStore, bucket: str, prefix: str, query_id: str, *, first_batch: int = 0
) -> Iterator[tuple[int, Receipt]]:
    """All receipts of a stream from ``first_batch`` on, each with its batch."""
    below = folder(prefix, query_id)
    after = f"{below}{first_batch:010d}" if first_batch else None
    for info in store.list(bucket, below, start_after=after):
        batch = int(info.key.removeprefix(below).split("/")[0])
        for line in store.read(bucket, info.key).decode().splitlines():
            said = json.loads(line)
            yield batch, Receipt(**{**said, "state": State(said["state"])})
