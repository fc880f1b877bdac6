"""What became of each file: written by the task that read it, before the batch that holds its rows is committed.

One small object a task, under the stream and the number of its batch's last file: empty from the first moment of each
attempt, filled at its end. So a task that is done again can tell that the attempt before it never ended. Its name has
the plan by which the batch was cut into tasks: when a batch is planned again, and cut otherwise, its last plan counts.

Not under query and batch: a task of ``foreachBatch`` is not told either of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import groupby

from lakehouse.storage.store import ObjectExists, ObjectInfo, ObjectMissing, ObjectStore


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
    """A receipt, the number of the last file of its batch, when it was written, and whether it corrects others."""

    receipt: Receipt
    end: int
    at: datetime
    corrects: bool = False


@dataclass(frozen=True)
class Earlier:
    """What the attempt before this one left.

    Attributes:
        died: Whether it never came to its end, good or bad.
        receipts: What it wrote when it did.
    """

    died: bool = False
    receipts: tuple[Receipt, ...] = ()


@dataclass
class TaskReceipts:
    """The receipts of one task.

    Attributes:
        store: Where they are kept, as ``bucket`` and ``journal_prefix`` say.
        stream: The stream.
        end: Number of the last file of the micro-batch.
        part: The task's name in it; ``CORRECTIONS`` is what the batch's writer says in place of the tasks.
        plan: Name of the cut of the batch into tasks, see ``bad_records.plan_name``; empty for what is no task.
    """

    store: ObjectStore
    bucket: str
    journal_prefix: str
    stream: str
    end: int
    part: str
    plan: str = ""
    _e_tag: str = field(default="", repr=False)

    def begin(self) -> Earlier:
        """Notes that an attempt has begun; returns what became of the one before it."""
        try:
            self._e_tag = self.store.write(self.bucket, self._key, b"", if_absent=True)
        except ObjectExists:
            left = self.store.read(self.bucket, self._key)
            if not left:
                return Earlier(died=True)
            self._e_tag = self.store.write(self.bucket, self._key, b"")
            return Earlier(receipts=tuple(_decoded(left)))
        return Earlier()

    def give_up(self) -> None:
        """Notes that the task ended with an error, not without a word; a twin that came to its end is left alone."""
        with suppress(ObjectExists, ObjectMissing):
            self.store.write(self.bucket, self._key, b"\n", if_match=self._e_tag or _EMPTY_E_TAG)

    def finish(self, receipts: Iterable[Receipt]) -> None:
        """Makes the receipts durable."""
        lines = [json.dumps(asdict(one)) for one in receipts]
        self.store.write(self.bucket, self._key, "\n".join(lines).encode())

    @property
    def _key(self) -> str:
        name = f"{self.plan}.{self.part}" if self.plan else self.part
        return f"{_folder(self.journal_prefix, self.stream)}{self.end:020d}/{name}.jsonl"


CORRECTIONS = "replaced"
_EMPTY_E_TAG = hashlib.md5(b"", usedforsecurity=False).hexdigest()


def streams_with_receipts(store: ObjectStore, bucket: str, journal_prefix: str) -> list[str]:
    """All streams that have receipts."""
    return list(store.folders(bucket, f"{journal_prefix.rstrip('/')}/receipts/"))


def read_receipts(
    store: ObjectStore, bucket: str, journal_prefix: str, stream: str, *, first_end: int = 0
) -> Iterator[Written]:
    """All receipts of a stream in the order of its batches, from the batch that ends with file ``first_end`` on."""
    below = _folder(journal_prefix, stream)
    after = f"{below}{first_end:020d}" if first_end else None
    listed = store.list(bucket, below, start_after=after)
    for end, batch in groupby(listed, key=lambda info: int(info.key.removeprefix(below).split("/")[0])):
        for info in _of_last_plan(list(batch)):
            corrects = _stem(info) == CORRECTIONS
            for receipt in _decoded(store.read(bucket, info.key)):
                yield Written(receipt, end, info.last_modified, corrects)


def forget_receipts(store: ObjectStore, bucket: str, journal_prefix: str, stream: str, after_end: int) -> None:
    """Removes the receipts of a stream's batches that end behind a file: they come again, perhaps cut otherwise."""
    below = _folder(journal_prefix, stream)
    for info in list(store.list(bucket, below, start_after=f"{below}{after_end:020d}/~")):
        store.delete(bucket, info.key)


def _of_last_plan(batch: list[ObjectInfo]) -> list[ObjectInfo]:
    """Without the objects of plans that another one came after; what is no task's stays."""
    plans = {info.key: _plan(info) for info in batch}
    if len({plan for plan in plans.values() if plan is not None}) < 2:
        return batch
    tasks = [info for info in batch if plans[info.key] is not None]
    last = plans[max(tasks, key=lambda info: (info.last_modified, info.key)).key]
    return [info for info in batch if plans[info.key] in (None, last)]


def _plan(info: ObjectInfo) -> str | None:
    """The plan of a task's receipts, empty where they are older than plans; None of what is no task's."""
    plan, _, part = _stem(info).rpartition(".")
    return plan if part.isdigit() else None


def _stem(info: ObjectInfo) -> str:
    return info.key.rsplit("/", 1)[-1].removesuffix(".jsonl")


def _decoded(content: bytes) -> Iterator[Receipt]:
    for line in content.decode().splitlines():
        if line:
            said = json.loads(line)
            yield Receipt(**{**said, "state": State(said["state"])})


def _folder(journal_prefix: str, stream: str) -> str:
    return f"{journal_prefix.rstrip('/')}/receipts/{stream}/"
