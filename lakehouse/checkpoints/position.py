"""The table is the truth: a checkpoint that was lost, or is another day's, is written anew from what the table says."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.agreement import CheckpointMismatch
from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.lake import PLACE, Lake, metadata_of

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
        said = metadata_of(entry)
        if PLACE in said:
            place = said[PLACE]
            return TablePosition(said["queryId"], said["epochId"], place["start"], place["end"])
        operation, mode = entry.get("operation") or "", (entry.get("operationParameters") or {}).get("mode")
        if operation == "STREAMING UPDATE" or "epochId" in said or operation == "RESTORE" or mode == "Overwrite":
            return None
    return None


def settle(lake: Lake, table: str) -> int | None:
    """Makes checkpoint and table agree, before a stream writes; the table's Delta version, None before there is one.

    Raises:
        CheckpointMismatch: they do not, and the table does not say where its stream stands; or it was taken back to an
            older version, so that only a person can say whether what came after it shall come again.
    """
    try:
        return checkpoints.verify(lake, table)
    except CheckpointMismatch:
        place = position_of(lake, table)
        if place is None or _was_taken_back(lake, table):
            raise
        _log.warning("the checkpoint of %s is written anew: the table has batch %s", table, place.batch)
        SparkLog(lake, table).rewrite(place.query_id, place.batch, place.start, place.end)
        return checkpoints.verify(lake, table)


def _was_taken_back(lake: Lake, table: str) -> bool:
    """Whether the checkpoint has finished batches that were in the table, by its own transaction, and are not now."""
    state, opened = checkpoints.read_checkpoint(lake, table), lake.delta(table)
    if state is None or state.query_id is None or state.last_commit is None or opened is None:
        return False
    written = opened.transaction_version(state.query_id)
    return written is not None and written < state.last_commit
