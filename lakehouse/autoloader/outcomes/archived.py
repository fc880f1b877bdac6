"""Which files have left their folder after they were loaded: a small object for each step of the clean-up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from lakehouse.storage.store import ObjectStore


@dataclass(frozen=True)
class Archived:
    """A file that has left its folder.

    Attributes:
        seq: Its number in the journal.
        at: When, UTC.
        mode: ``MOVE`` or ``DELETE``.
        to: Where it is now; empty after ``DELETE``.
    """

    seq: int
    at: datetime
    mode: str
    to: str


def write_archived(store: ObjectStore, bucket: str, journal_prefix: str, done: Sequence[Archived]) -> None:
    """Writes which files have left."""
    lines = [json.dumps({**asdict(entry), "at": entry.at.isoformat()}) for entry in done]
    name = f"{done[0].seq:020d}-{done[-1].seq:020d}.jsonl"
    store.write(bucket, _folder(journal_prefix) + name, "\n".join(lines).encode())


def read_archived(store: ObjectStore, bucket: str, journal_prefix: str) -> Iterator[Archived]:
    """Every file that has left."""
    for info in store.list(bucket, _folder(journal_prefix)):
        for line in store.read(bucket, info.key).decode().splitlines():
            record = json.loads(line)
            yield Archived(**{**record, "at": datetime.fromisoformat(record["at"])})


def _folder(journal_prefix: str) -> str:
    return f"{journal_prefix.rstrip('/')}/archived/"
