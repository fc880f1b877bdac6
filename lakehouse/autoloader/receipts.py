"""What became of each file: written by the task that read it, before the batch that holds its rows is committed.

One small object a task, under the stream and the batch; a task that is done again writes the same name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from lakehouse.storage.contract import ObjectStore


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


def write_receipts(
    store: ObjectStore, bucket: str, prefix: str, query_id: str, batch_id: int, part: str, receipts: Iterable[Receipt]
) -> None:
    """Makes the receipts of one task durable."""
    lines = [json.dumps(asdict(one)) for one in receipts]
    if lines:
        store.write(bucket, f"{folder(prefix, query_id)}{batch_id:010d}/{part}.jsonl", "\n".join(lines).encode())


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
