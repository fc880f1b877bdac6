"""Whether files wait for a table's stream: checkpoint, listing and journal say it without an engine."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.stream import Stream
from lakehouse.checkpoints.agreement import read_checkpoint
from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.lake import Lake


@dataclass(frozen=True)
class Looked:
    """What a look for files has found.

    Attributes:
        upto: Number of the last file that the journal knows. A query that starts now needs no look of its own.
        waiting: Whether the stream has to read any of them.
    """

    upto: int
    waiting: bool


def look_for_files(lake: Lake, table: str, options: CloudFilesOptions) -> Looked | None:
    """Looks for files as the source of a query would do first; None where a batch has to be done whatever is there.

    So a run that finds nothing starts no query. That takes two seconds, and ten more where no engine runs. What follows
    a finished batch is done as well, such as ``cloudFiles.cleanSource``.

    Args:
        lake: Where the table, its checkpoint and the journal are. The caller holds the table's lease.
        table: The target.
        options: Of ``cloudFiles``.

    Raises:
        JournalMismatch: the checkpoint stands at a place that the journal does not have.
    """
    state = read_checkpoint(lake, table)
    if state is None or state.last_offset is None or state.last_commit != state.last_offset:
        return None  # the stream has to begin, or to do a batch again
    end = SparkLog(lake, table).planned(state.last_offset)
    if end is None:
        return None
    stream = Stream(options, None, endpoint=lake.endpoint)
    upto = stream.fix_target()
    return Looked(upto, stream.next_end(end, max_files=None, max_bytes=None) is not end)
