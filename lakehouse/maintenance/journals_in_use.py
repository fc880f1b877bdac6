"""Which journals the checkpoints of a lake name: such a journal is in use, whatever is declared."""

from __future__ import annotations

import json
from contextlib import suppress

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.lake import Lake
from lakehouse.storage import ObjectMissing


class JournalsOfCheckpoints:
    """What all checkpoints of a lake name.

    Args:
        lake: Where they are.

    Attributes:
        uris: Their journals.
        unreadable: Checkpoints of which no batch can be read: they may name any journal.
    """

    def __init__(self, lake: Lake) -> None:
        self.uris: set[str] = set()
        self.unreadable: list[str] = []
        bucket = lake.settings.bucket
        for name in lake.store.folders(bucket, f"{lake.settings.user}/_checkpoints/"):
            batches = checkpoints.batch_numbers(lake, name, "offsets")
            for batch in reversed(batches):
                with suppress(ValueError, LookupError, TypeError, ObjectMissing):
                    key = checkpoints.object_key(lake, name, f"offsets/{batch}")
                    self.uris |= _journals_in(lake.store.read(bucket, key))
                    break
            else:
                self.unreadable += [name] if batches else []


def _journals_in(offsets: bytes) -> set[str]:
    _, _, *sources = offsets.decode().splitlines()
    entries = [json.loads(line) for line in sources if line.startswith("{")]
    if not sources:
        raise ValueError("no source")
    return {str(entry["journal"]) for entry in entries if "journal" in entry}
