"""Writes a checkpoint anew from what its table says, where the checkpoint was lost or is older than the table."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.agreement import CheckpointMismatch, CheckpointState
from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.delta_commit import EMPTIED, PLACE, metadata_of
from lakehouse.lake import Lake, LakeTable

Offset = dict[str, Any]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TablePosition:
    """What the last batch in a table says of its stream.

    Attributes:
        query_id: The checkpoint's own id.
        batch: Its number.
        start: Where the source stood before it.
        end: Where it stood after it.
    """

    query_id: str
    batch: int
    start: Offset | None
    end: Offset


def position_of(lake: Lake, table: str) -> TablePosition | None:
    """The place of the stream into a table; None when its last batch does not say it, as with Spark's own sink."""
    opened = lake.delta(table)
    if opened is None:
        return None
    for entry in opened.history():
        metadata = metadata_of(entry)
        if PLACE in metadata:
            place = metadata[PLACE]
            return TablePosition(metadata["queryId"], metadata["epochId"], place["start"], place["end"])
        if EMPTIED in metadata:  # what was loaded before is not wanted any more
            return None
        operation, mode = entry.get("operation") or "", (entry.get("operationParameters") or {}).get("mode")
        if operation == "STREAMING UPDATE" or "epochId" in metadata or operation == "RESTORE" or mode == "Overwrite":
            return None
    return None


def settle(lake: Lake, table: str) -> LakeTable | None:
    """Makes checkpoint and table agree, before a stream writes; the table as it is now, None before there is one.

    Raises:
        CheckpointMismatch: they do not, and the table does not say where its stream stands; or it was taken back to an
            older version, so that only a person can say whether what came after it shall come again.
    """
    try:
        state, opened = checkpoints.verified(lake, table)
        place = _other_position(lake, table, state) if opened is not None else None
        if place is None:
            return opened
    except CheckpointMismatch:
        place = position_of(lake, table)
        if place is None or _was_taken_back(lake, table, place):
            raise
    _log.warning("the checkpoint of %s is written anew: the table has batch %s", table, place.batch)
    SparkLog(lake, table).rewrite(place.query_id, place.batch, place.start, place.end)
    return checkpoints.verify(lake, table)


def _other_position(lake: Lake, table: str, state: CheckpointState | None) -> TablePosition | None:
    """The table's own position, where the checkpoint is another stream's and has no finished batch yet."""
    if state is None or state.query_id is None or state.last_commit is not None:
        return None
    place = position_of(lake, table)
    return None if place is None or place.query_id == state.query_id else place


def _was_taken_back(lake: Lake, table: str, place: TablePosition) -> bool:
    """Whether the checkpoint has finished batches that were in the table, by its own transaction, and are not now."""
    state, opened = checkpoints.read_checkpoint(lake, table), lake.delta(table)
    if state is None or state.last_commit is None or opened is None or state.query_id != place.query_id:
        return False
    written = opened.transaction_version(place.query_id)
    return written is not None and written < state.last_commit


def position_before(lake: Lake, table: str, query_id: str, batch: int) -> Offset:
    """Where a stream stood before a batch, by the table. A checkpoint may have that batch and lack the batch before it.

    Raises:
        CheckpointMismatch: the table does not say it.
    """
    place = position_of(lake, table)
    if place is not None and place.query_id == query_id:
        if place.batch == batch - 1:
            return place.end
        if place.batch == batch and place.start is not None:
            return place.start
    raise CheckpointMismatch(
        f"the checkpoint of {table} has planned batch {batch}, and lacks the batch before it",
        where=lake.settings.checkpoint_uri(table),
        state="nothing was read or written",
        next_command=f"lakehouse checkpoint repair {table}   (says what it would do; --yes does it)",
    )
