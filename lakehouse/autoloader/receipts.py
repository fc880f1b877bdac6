"""What became of each file: written by the task that read it, before the batch that holds its rows is committed.

One small object a task, under the stream and the number of its batch's last file: empty from the task's first moment,
filled at its end. So a task that is done again can tell that an earlier attempt never ended.

Not under query and batch: a task of ``foreachBatch`` is not told either of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
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
        batch_id: The micro-batch, where the task was told.
        bad_records: Records that gave no row and are kept under ``badRecordsPath``.
    """

    seq: int
    start: int
    rows: int
    state: State
    error: str = ""
    batch_id: int | None = None
    bad_records: int = 0


@dataclass(frozen=True)
class Written:
    """A receipt, the number of the last file of its batch, and when it was written."""

    receipt: Receipt
    end: int
    at: datetime


@dataclass(frozen=True)
class TaskReceipts:
    """The receipts of one task.

    Attributes:
        store: Where they are kept, as ``bucket`` and ``journal_prefix`` say.
        stream: The stream.
        end: Number of the last file of the micro-batch.
        part: The task's name in it.
    """

    store: ObjectStore
    bucket: str
    journal_prefix: str
    stream: str
    end: int
    part: str

    def begin(self) -> bool:
        """Notes that the task has begun; False when an earlier attempt did so and never came to its end."""
        try:
            self.store.write(self.bucket, self._key, b"", if_absent=True)
        except ObjectExists:
            return bool(self.store.read(self.bucket, self._key))
        return True

    def give_up(self) -> None:
        """Notes that the task ended with an error, not without a word."""
        self.store.write(self.bucket, self._key, b"\n")

    def finish(self, receipts: Iterable[Receipt]) -> None:
        """Makes the receipts durable."""
        lines = [json.dumps(asdict(one)) for one in receipts]
        self.store.write(self.bucket, self._key, "\n".join(lines).encode())

    @property
    def _key(self) -> str:
        return f"{_folder(self.journal_prefix, self.stream)}{self.end:020d}/{self.part}.jsonl"


def streams_with_receipts(store: ObjectStore, bucket: str, journal_prefix: str) -> list[str]:
    """All streams that have receipts."""
    return list(store.folders(bucket, f"{journal_prefix.rstrip('/')}/receipts/"))


def read_receipts(
    store: ObjectStore, bucket: str, journal_prefix: str, stream: str, *, first_end: int = 0
) -> Iterator[Written]:
    """All receipts of a stream in the order of its batches, from the batch that ends with file ``first_end`` on."""
    below = _folder(journal_prefix, stream)
    after = f"{below}{first_end:020d}" if first_end else None
    for info in store.list(bucket, below, start_after=after):
        end = int(info.key.removeprefix(below).split("/")[0])
        for line in store.read(bucket, info.key).decode().splitlines():
            if not line:
                continue
            said = json.loads(line)
            yield Written(Receipt(**{**said, "state": State(said["state"])}), end, info.last_modified)


def _folder(journal_prefix: str, stream: str) -> str:
    return f"{journal_prefix.rstrip('/')}/receipts/{stream}/"
