"""Running ``sql`` and ``python``: the whole table anew when a source has changed, or row by row as a stream."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from lakehouse.errors import ConfigurationError
from lakehouse.table import At

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.lake import LakeTable
    from lakehouse.streams.progress import BatchProgress, StreamReport
    from lakehouse.streams.run import Run

_TRANSACTION = "lakehouse.recompute"
"""Under this name Delta keeps the number of the last commit of a recomputed table, and leaves out one done again."""
_SOURCES, _DEFINITION = "sources", "definition"
_KEPT_BATCHES = 100
_PAUSE = timedelta(seconds=1)


class Computation(Protocol):
    """What is run: see ``query.Computed``."""

    @property
    def of(self) -> tuple[str, ...]:
        """The tables that are read."""

    def text(self, at: At) -> str:
        """What the rows depend on beside the sources."""

    def result(self, at: At, frames: Mapping[str, DataFrame]) -> AbstractContextManager[DataFrame]:
        """The rows of the table; they can be read until the context ends."""


@dataclass(frozen=True)
class Due:
    """A commit that is to be made.

    Attributes:
        number: Its number among those of the flow.
        sources: Table to ``id`` and ``version``.
        definition: Hash of what the rows depend on beside them.
        rows: Rows that the sources have.
    """

    number: int
    sources: dict[str, dict[str, Any]]
    definition: str
    rows: int

    def options(self) -> dict[str, str]:
        """Of the write. Its number makes readers take the commit for a batch, which they follow, not for a removal."""
        about = {"epochId": self.number, _SOURCES: self.sources, _DEFINITION: self.definition}
        return {"txnAppId": _TRANSACTION, "txnVersion": str(self.number), "userMetadata": json.dumps(about)}


def recompute(at: At, run: Run, flow: Computation) -> StreamReport:
    """Computes the table anew when a source, the query or the function has changed; one commit a time.

    Raises:
        LeaseHeld: another process writes to the table now.
        ConfigurationError: the table has rows that this flow did not write.
        StreamFailed, StoreUnavailable, EngineUnavailable: see ``streams.run.run_stream``.
    """
    from lakehouse.checkpoints import agreement as checkpoints
    from lakehouse.streams.failures import explained
    from lakehouse.streams.progress import StreamReport
    from lakehouse.streams.run import nothing_to_do

    lake, table = at.lake, at.table.name
    run.trigger.require_batches(table)
    started = time.monotonic()
    if any(lake.version(name) is None for name in flow.of) or (run.trigger.ends and due(at, flow) is None):
        return nothing_to_do(lake, table)
    done: deque[BatchProgress] = deque(maxlen=None if run.trigger.ends else _KEPT_BATCHES)
    with checkpoints.loader_of(lake, table) as lease, explained(lake, table):
        before = lake.version(table)
        while True:
            lease.check()
            run.on_alive()
            todo = due(at, flow)
            if todo is not None:
                done.append(compute(at, flow, todo))
                run.on_batch(done[-1])
            pause = (run.trigger.interval or _PAUSE).total_seconds()
            if run.trigger.ends or run.stop.asked.wait(pause):
                break
        commits = lake.commits_since(table, before, last=None if run.trigger.ends else _KEPT_BATCHES)
        return StreamReport(
            table=table,
            batches=tuple(done),
            rows_added=sum(commit.rows_added for commit in commits),
            delta_version_before=before,
            delta_version=lake.version(table),
            duration_seconds=time.monotonic() - started,
            rows_removed=sum(commit.rows_removed for commit in commits),
        )


def due(at: At, flow: Computation) -> Due | None:
    """The commit that is to be made; None when the table is what its sources give, or when a source is not there yet.

    Raises:
        ConfigurationError: the table has rows that this flow did not write.
    """
    from lakehouse.lake import adds_of

    opened = {name: at.lake.delta(name) for name in flow.of}
    there = {name: source for name, source in opened.items() if source is not None}
    if len(there) < len(opened):
        return None
    target = at.lake.delta(at.table.name)
    last = None if target is None else _last(at, target)
    sources = {name: {"id": str(table.metadata().id), "version": table.version()} for name, table in there.items()}
    definition = hashlib.sha256(flow.text(at).encode()).hexdigest()
    if last is not None and (last[_SOURCES], last[_DEFINITION]) == (sources, definition):
        return None
    adds = (adds_of(table)["num_records"].to_pylist() for table in there.values())
    number = None if target is None else target.transaction_version(_TRANSACTION)
    return Due(
        0 if number is None else number + 1, sources, definition, sum(sum(n or 0 for n in rows) for rows in adds)
    )


def compute(at: At, flow: Computation, todo: Due) -> BatchProgress:
    """Makes the commit; a commit that the table has already is left out."""
    from lakehouse.streams.progress import BatchProgress

    started, uri = time.monotonic(), at.lake.settings.table_uri
    frames = {
        name: at.spark.read.format("delta").option("versionAsOf", source["version"]).load(uri(name))
        for name, source in todo.sources.items()
    }
    with flow.result(at, frames) as rows:
        writer = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
        writer.options(**todo.options()).save(uri(at.table.name))
    return BatchProgress(
        table=at.table.name,
        batch_id=todo.number,
        input_rows=todo.rows,
        duration_seconds=time.monotonic() - started,
    )


def _last(at: At, target: LakeTable) -> dict[str, Any] | None:
    """What the newest commit of this flow says of itself; None when the table was emptied since, or it is forgotten."""
    from lakehouse.delta_commit import EMPTIED, metadata_of

    for entry in target.history():
        metadata = metadata_of(entry)
        if EMPTIED in metadata:
            return None
        if "queryId" in metadata or entry.get("operation") == "STREAMING UPDATE":
            raise _foreign(at)
        if _SOURCES in metadata and _DEFINITION in metadata:
            return metadata
    if target.transaction_version(_TRANSACTION) is None:
        raise _foreign(at)
    return None


def hand_on(at: At, run: Run, flow: Computation) -> StreamReport:
    """Appends what the rows give that are new in the first source.

    Raises:
        ConfigurationError: the table has rows that this flow did not write.
        RowsRemoved: rows of the first source were removed, and nobody said what becomes of those made of them.
        LeaseHeld, CheckpointMismatch, StreamFailed, EngineUnavailable: see ``streams.run.run_stream``.
    """
    from lakehouse.flows import following
    from lakehouse.streams.run import nothing_to_do, run_stream
    from lakehouse.streams.trigger import AVAILABLE_NOW

    lake, table, first = at.lake, at.table.name, flow.of[0]
    if any(lake.version(name) is None for name in flow.of):
        return nothing_to_do(lake, table)
    _is_nobody_elses(at)
    following.start_over_after_another(lake, first, reader=at.table)
    skip = following.may_leave_out_changes(lake, first, reader=at.table)
    if run.trigger == AVAILABLE_NOW and following.has_read_all(lake, first, reader=at.table):
        return nothing_to_do(lake, table)
    uri = lake.settings.table_uri
    with ExitStack() as opened:

        def frame() -> DataFrame:
            stream = at.spark.readStream.format("delta").option("skipChangeCommits", str(skip).lower())
            at_rest = {name: at.spark.read.format("delta").load(uri(name)) for name in flow.of[1:]}
            return opened.enter_context(flow.result(at, {first: stream.load(uri(first)), **at_rest}))

        watched = following.stop_at_changes(lake, first, reader=at.table) if skip else lambda progress: {}
        return run_stream(run, lake, table, frame, after_batch=watched)


def _is_nobody_elses(at: At) -> None:
    """A table without a checkpoint that a stream wrote is refused by ``run_stream``."""
    from lakehouse.checkpoints import agreement as checkpoints
    from lakehouse.delta_commit import EMPTIED, metadata_of

    target = at.lake.delta(at.table.name)
    if target is None or checkpoints.read_checkpoint(at.lake, at.table.name) is not None:
        return
    for entry in target.history():
        metadata = metadata_of(entry)
        if EMPTIED in metadata or "queryId" in metadata or entry.get("operation") == "STREAMING UPDATE":
            return
    raise _foreign(at)


def _foreign(at: At) -> ConfigurationError:
    name = at.table.name
    return ConfigurationError(
        f"{name} has rows that this declaration did not write",
        where=at.lake.settings.table_uri(name),
        state="nothing was read or written",
        next_command=f"give the table another name; or let go of its rows, which stay in an older version: "
        f"lakehouse checkpoint restart {name} --yes",
    )
