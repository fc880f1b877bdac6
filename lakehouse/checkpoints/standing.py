"""What is in a checkpoint, in words and numbers: its parts, its last batch, and what that covered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.delta_offsets import Place
from lakehouse.checkpoints.kept import JUDGED
from lakehouse.checkpoints.state_rows import state_rows
from lakehouse.lake import Lake
from lakehouse.storage import ObjectInfo

_MOST_LISTED = 5000  # five requests
_MOST_COMMITS = 100

WHAT_PARTS_ARE = {
    "metadata": "the checkpoint's own id: Delta keeps the last batch under it",
    "offsets": "what a batch will read, written before it reads; the last hundred",
    "commits": "that a batch is in the table, written after it; the last hundred",
    "sources": "what a source remembers: of Spark's own file source, the files that it has read",
    "state": "rows that wait for more: open windows, keys that were seen",
    "definition.json": "how the windows were defined when the state began",
    "set_aside.json": "the last batch whose late and invalid rows were kept",
    JUDGED: "up to which version of the source its changes were looked at",
    checkpoints.REPAIRED: "that a repair or a restore wrote this checkpoint, and its batch",
    checkpoints.FORKED: "that this checkpoint began as the place of another table, and its batch",
}


@dataclass(frozen=True)
class Part:
    """A folder of a checkpoint, or an object beside the folders.

    Attributes:
        name: Its name.
        objects: How many objects.
        size_bytes: Their size.
    """

    name: str
    objects: int
    size_bytes: int

    @property
    def what(self) -> str:
        """What it is for."""
        return WHAT_PARTS_ARE.get(self.name, "not of a checkpoint")


@dataclass(frozen=True)
class Standing:
    """Where a stream stands.

    Attributes:
        query_id: The checkpoint's own id.
        planned: Newest batch that was planned; None before the first.
        finished, finished_at: Newest batch that was finished, and when.
        watermark: The event-time watermark that the next batch starts with; None without one.
        covered: What the last finished batch read.
        place: Where the source stands after it.
        rows: Rows that it brought; None where the table's last commits do not say.
        version: Delta version that has them.
        parts: What is in the checkpoint.
        state_rows: Rows that wait in its state; None without one, or where it is not counted.
    """

    query_id: str | None
    planned: int | None
    finished: int | None
    finished_at: datetime | None
    watermark: datetime | None
    covered: str
    place: str
    rows: int | None
    version: int | None
    parts: tuple[Part, ...]
    state_rows: int | None = None

    @property
    def size_bytes(self) -> int:
        """Of all parts."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def objects(self) -> int:
        """Of all parts."""
        return sum(part.objects for part in self.parts)


def standing(lake: Lake, table: str, *, count_state: bool = False) -> Standing | None:
    """Where the stream into ``table`` stands; None when it has no checkpoint.

    Args:
        lake: Where it is.
        table: The table.
        count_state: Read the state, too, to count its rows.
    """
    found = objects_of(lake, table)
    state = checkpoints.read_checkpoint(lake, table)
    if not found or state is None:
        return None
    finished, covered, place, at = state.last_commit, "nothing yet", "the beginning", None
    if finished is not None:
        key = checkpoints.object_key(lake, table, f"commits/{finished}")
        at = next((info.last_modified for info in found if info.key == key), None)
        back = (state.last_offset or 0) - finished
        now = checkpoints.newest_offset(lake, table, back=back)
        before = checkpoints.newest_offset(lake, table, back=back + 1) if finished else None
        covered, place = covered_in_words(before, now), place_in_words(now)
    commits = lake.commits_since(table, None, last=_MOST_COMMITS) if finished is not None else []
    made = next(
        (commit for commit in reversed(commits) if (commit.query_id, commit.batch_id) == (state.query_id, finished)),
        None,
    )
    return Standing(
        state.query_id,
        state.last_offset,
        finished,
        at,
        state.watermark,
        covered,
        place,
        made.rows_added if made else None,
        made.version if made else None,
        parts_of(found, checkpoints.object_key(lake, table, "")),
        state_rows(lake, table, found, finished) if count_state else None,
    )


def objects_of(lake: Lake, table: str) -> list[ObjectInfo]:
    """All objects of a checkpoint."""
    return list(lake.store.list(lake.settings.bucket, checkpoints.object_key(lake, table, "")))


def parts_of(found: Sequence[ObjectInfo], prefix: str) -> tuple[Part, ...]:
    """Objects below ``prefix``, by folder."""
    counts: dict[str, list[int]] = {}
    for info in found:
        counts.setdefault(info.key.removeprefix(prefix).split("/")[0], []).append(info.size_bytes)
    return tuple(Part(name, len(sizes), sum(sizes)) for name, sizes in sorted(counts.items()))


def size_of(lake: Lake, table: str) -> Part | None:
    """All of a checkpoint as one part; None when there is none, or more of it than five requests list."""
    prefix = checkpoints.object_key(lake, table, "")
    found = list(islice(lake.store.list(lake.settings.bucket, prefix), _MOST_LISTED + 1))
    if not found or len(found) > _MOST_LISTED:
        return None
    return Part("", len(found), sum(info.size_bytes for info in found))


def disagreement(lake: Lake, table: str) -> str:
    """Why table and checkpoint do not belong together; empty when they do."""
    try:
        checkpoints.verify(lake, table)
    except checkpoints.CheckpointMismatch as error:
        return error.what
    return ""


def place_in_words(offset: dict[str, Any] | None) -> str:
    """Where a source stands, as the offset of a batch says."""
    if not offset:
        return "the beginning"
    if "seq" in offset:
        return f"file {offset['seq']:,} of the journal {offset['journal']}"
    if "reservoirVersion" in offset:
        place = Place.of(offset)
        if place.snapshot:
            return f"data file {place.index + 1:,} of version {place.version:,} of its source"
        return f"version {place.last_commit:,} of its source"
    if "logOffset" in offset:
        return f"entry {offset['logOffset']:,} of its list of files"
    return json.dumps(offset)


def covered_in_words(before: dict[str, Any] | None, now: dict[str, Any] | None) -> str:
    """What a batch read, by the offsets before and after it."""
    if before is not None and before == now:
        return "nothing new"
    if now and "seq" in now:
        first = (before or {}).get("seq", 0) + 1
        last = now["seq"]
        if last < first:
            return "no file"
        return f"file {last:,} of the journal" if first == last else f"files {first:,} to {last:,} of the journal"
    if now and "reservoirVersion" in now:
        since = f"what came after {place_in_words(before)}, " if before else "all "
        return f"{since}up to {place_in_words(now)}"
    if now and "logOffset" in now:
        return f"what came after {place_in_words(before)}, up to {place_in_words(now)}"
    return place_in_words(now)
