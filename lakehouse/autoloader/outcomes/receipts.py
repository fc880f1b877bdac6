"""What became of each file: written by the task that read it, before the batch that holds its rows is committed.

One small object a task, under the stream and the number of its batch's last file: empty from the first moment of each
attempt, filled at its end. So a task that is done again can tell that the attempt before it never ended. Its name has
the plan by which the batch was cut into tasks: when a batch is planned again, and cut otherwise, its last plan counts.

Not under query and batch: a task of ``foreachBatch`` is not told either of them. ``receipt_log`` reads them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from lakehouse.errors import TransientError
from lakehouse.storage.store import ObjectExists, ObjectMissing, ObjectStore


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
    """What a task made of a file, or of its part of a large file.

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
class Earlier:
    """What the earlier attempt left.

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
    _left: bytes = field(default=b"\n", repr=False)

    def begin(self) -> Earlier:
        """Notes that an attempt has begun; returns what became of the attempt before it.

        Raises:
            TransientError: others write the same receipts again and again.
        """
        for _ in range(_TRIES):
            with suppress(ObjectExists):
                self._e_tag = self.store.write(self.bucket, self._key, b"", if_absent=True)
                return Earlier()
            with suppress(ObjectExists, ObjectMissing):  # another attempt came to its end meanwhile, or it was folded
                return self._after_another()
        raise TransientError(
            f"others read the files up to number {self.end} at the same time",
            where=f"s3a://{self.bucket}/{self._key}",
            state="the batch is not committed",
            next_command="run the same again",
        )

    def _after_another(self) -> Earlier:
        info = self.store.info(self.bucket, self._key)
        found = self.store.read(self.bucket, self._key)
        if not found:
            return Earlier(died=True)
        # what the last attempt has said stays until this attempt has said its own: its batch may be in the table
        left = found.removesuffix(_BEGAN)
        self._e_tag = self.store.write(
            self.bucket, self._key, left + _BEGAN, if_match=info.e_tag if info else _EMPTY_E_TAG
        )
        self._left = left
        return Earlier(died=found.endswith(_BEGAN), receipts=tuple(decoded(found)))

    def give_up(self) -> None:
        """Notes that the task ended with an error and did not die. The receipts of a finished twin stay as they are."""
        with suppress(ObjectExists, ObjectMissing):
            self.store.write(self.bucket, self._key, self._left, if_match=self._e_tag or _EMPTY_E_TAG)

    def finish(self, receipts: Iterable[Receipt]) -> None:
        """Makes the receipts durable."""
        lines = [json.dumps(asdict(receipt)) for receipt in receipts]
        self.store.write(self.bucket, self._key, "\n".join(lines).encode())

    @property
    def _key(self) -> str:
        name = f"{self.plan}.{self.part}" if self.plan else self.part
        return f"{folder_of(self.journal_prefix, self.stream)}{self.end:020d}/{name}.jsonl"


CORRECTIONS = "replaced"
_TRIES = 20
_BEGAN = b"\n#"
"""Stands behind an earlier attempt's receipts: another attempt has begun."""
_EMPTY_E_TAG = hashlib.md5(b"", usedforsecurity=False).hexdigest()


def decoded(content: bytes) -> Iterator[Receipt]:
    """The receipts in an object; none where its task has not ended."""
    for line in content.decode().splitlines():
        if line and not line.startswith("#"):
            record = json.loads(line)
            yield Receipt(**{**record, "state": State(record["state"])})


def folder_of(journal_prefix: str, stream: str) -> str:
    """The folder of a stream's objects; it has a folder for each batch."""
    return f"{journal_prefix.rstrip('/')}/receipts/{stream}/"
