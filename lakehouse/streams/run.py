"""Running a stream, and reporting each batch while it runs."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lakehouse.autoloader.lineage import CORRUPT_RECORD, RESCUED_DATA, is_invalid
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.position import settle
from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.engine import note_query, query_name
from lakehouse.engine.conf import endless_conf
from lakehouse.lake import Lake, LakeTable
from lakehouse.storage import Lease
from lakehouse.streams.failures import StreamInterrupted, explained
from lakehouse.streams.file_logs import BatchFiles, FileLog
from lakehouse.streams.progress import BatchProgress, OnBatch, StreamReport
from lakehouse.streams.queries import Progress, StopRequest, batches, queries
from lakehouse.streams.trigger import AVAILABLE_NOW, Trigger

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery
    from pyspark.sql.streaming.readwriter import DataStreamWriter

_POLL_SECONDS, _ENDLESS_POLL_SECONDS = 0.2, 1.0
_COMMIT_LOOKS = 3
_OBSERVED = "rows"
WRITTEN = "written_files"
"""Name of the metrics of batches whose tasks write the data files: rows, rescued rows, corrupt rows."""
_log = logging.getLogger(__name__)
KEPT_BATCHES = 100


class BatchWriter(Protocol):
    """Commits a batch; a batch that the table has already is skipped."""

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Called by ``foreachBatch``."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Commits batches as a data source of Spark's."""

    def start(self, writer: DataStreamWriter) -> StreamingQuery:
        """Starts the query with it."""
        ...


@dataclass(frozen=True)
class Run:
    """How a table's stream is run.

    Attributes:
        trigger: When batches are made, and whether the run ends by itself.
        on_batch: Called with each committed batch, in order.
        on_alive: Called when the query has begun, and whenever it has worked or looked for input.
        stop: Ends the run between two batches.
        woken: Whether an event of a new file also ends the pause of an interval.
        listing: Whether a source of which events tell is listed, too, at the first look.
    """

    trigger: Trigger = AVAILABLE_NOW
    on_batch: OnBatch = lambda batch: None
    on_alive: Callable[[], None] = lambda: None
    stop: StopRequest = field(default_factory=StopRequest)
    woken: bool = False
    listing: bool = False


@dataclass(frozen=True)
class Begun:
    """A run that holds the table's lease, and whose checkpoint and table agree.

    Attributes:
        lease: Of the table.
        opened: The table; None before there is one.
        before: Its version before the run; None before there is a table.
        started: When the run began, in seconds of the monotonic clock.
        done: Its batches with the keys of their files. Of a run that does not end it holds the last batches alone.
    """

    lease: Lease
    opened: LakeTable | None
    before: int | None
    started: float
    done: deque[tuple[BatchProgress, list[str]]]


@contextmanager
def begun(
    run: Run, lake: Lake, table: str, explained: Callable[[Lake, str], AbstractContextManager[None]]
) -> Iterator[Begun]:
    """Opens a run of any engine.

    Args:
        run: Trigger, listeners, and the way to stop it.
        lake: Where the table and its checkpoint are.
        table: The target.
        explained: Turns what the engine raises into an error that tells what to do.

    Raises:
        ConfigurationError: the trigger makes no batches.
        LeaseHeld: another process writes to the table now.
        CheckpointMismatch: the table and its checkpoint do not belong together.
    """
    run.trigger.require_batches(table)
    started = time.monotonic()
    with checkpoints.loader_of(lake, table) as lease, explained(lake, table):
        opened = settle(lake, table)
        before = None if opened is None else opened.version()
        checkpoints.clear_interrupted_start(lake, table)
        yield Begun(lease, opened, before, started, deque(maxlen=None if run.trigger.ends else KEPT_BATCHES))


def run_stream(
    run: Run,
    lake: Lake,
    table: str,
    frame: Callable[[], DataFrame],
    *,
    output_mode: str = "append",
    batch_writer: Callable[[], BatchWriter | Sink | None] = lambda: None,
    schema_version: Callable[[], int | None] = lambda: None,
    has_read_all: Callable[[], bool] = lambda: False,
    file_log: FileLog | None = None,
    ignored_files: int = 0,
    after_batch: Callable[[dict[str, Any]], dict[str, Any]] = lambda progress: {},
    expected: Sequence[str] = (),
    partition_by: Sequence[str] = (),
) -> StreamReport:
    """Appends what is available in ``frame`` to ``table``, until the trigger has enough or the run is asked to stop.

    Exactly once: Spark writes what a batch will read before it reads, Delta records the batch in the commit that
    adds its rows and skips a batch that it has, and one lease for each checkpoint keeps a second writer out.

    Args:
        run: Trigger, listeners, and the way to stop it.
        lake: Where the table and its checkpoint are.
        table: The target, ``layer.name``.
        frame: Makes the streaming DataFrame, under the lease: a source may write its first schema then.
        output_mode: Spark's output mode: which rows of a result a batch writes.
        batch_writer: Makes what commits a batch in place of the Delta sink, under the lease; None for that sink.
        schema_version: Number of the newest version of the source's schema; a query that ended because of new columns
            is started again when it has grown.
        has_read_all: Says under the lease that a query would find nothing: with ``availableNow`` none is started then.
        file_log: Where the source records its files; None where it has none.
        ignored_files: How many objects in its folder are no input, for the report.
        after_batch: Called under the lease with Spark's progress of each committed batch; gives further numbers of its
            ``BatchProgress``.
        expected: Columns in which a value of another type makes the row invalid; for the batch's numbers.
        partition_by: Partition columns of a new table.

    Raises:
        LeaseHeld: another process writes to the table now.
        CheckpointMismatch: the table and its checkpoint do not belong together.
        ConfigurationError: Spark does not run this stream with that trigger.
        StreamFailed: the query ended with an error.
        EngineUnavailable: the engine died; the message says why.
        StoreUnavailable: the object store stopped answering.
        SourceChanged: rows of the source were changed.
        StreamInterrupted: a query that does not end by itself was ended, and not by ``run.stop``.
    """
    with begun(run, lake, table, explained) as begin:
        before, done = begin.before, begin.done
        if run.trigger == AVAILABLE_NOW and has_read_all():
            run.on_alive()
            return report_of(lake, table, done, before, begin.started, ignored_files)
        _log.info("%s is at version %s; %s from %s", table, before, run.trigger, lake.settings.checkpoint_uri(table))
        writer: BatchWriter | Sink | None = None

        def start() -> StreamingQuery:
            nonlocal writer
            if lake.settings.spark_remote is None:
                note_query(lake.settings)
            rows = _counted(frame(), expected)
            writer = batch_writer()
            return _start(lake, table, rows, run.trigger, output_mode, writer, partition_by)

        def watch(query: StreamingQuery) -> Iterator[Progress]:
            poll = _POLL_SECONDS if run.trigger.ends else _ENDLESS_POLL_SECONDS
            look = partial(batches, query, poll_seconds=poll, stop=run.stop, on_alive=run.on_alive)
            return look(still_ours=begin.lease.check, ends=run.trigger.ends)

        for query in queries(start, schema_version, watch):
            with closing(query):  # whatever ends this: at the end of the process nobody could ask the engine any more
                for progress in query:
                    files = file_log.of_batch(progress) if file_log else None
                    batch = replace(_batch_progress(table, progress, files), **after_batch(progress))
                    done.append((batch, files.keys if files else []))
                    _log.debug("%s", progress)
                    run.on_batch(batch)
        if run.stop.asked.is_set():
            reported = {batch.batch_id for batch, _ in done}
            for batch, keys in cut_off(lake, table, before, file_log, reported, finish=isinstance(writer, Sink)):
                done.append((batch, keys))
                run.on_batch(batch)
        if not run.trigger.ends and not run.stop.asked.is_set():
            raise _interrupted(lake, table)
        return report_of(lake, table, done, before, begin.started, ignored_files)


def cut_off(
    lake: Lake, table: str, before: int | None, file_log: FileLog | None, reported: Container[int], *, finish: bool
) -> Iterator[tuple[BatchProgress, list[str]]]:
    """The last batch, when it is in the table and its query was ended before Spark reported its progress.

    Spark writes a batch to the checkpoint's ``commits`` first, and reports it then. When it is ended before that write,
    the next run repeats the batch and finds nothing to do. In both cases no run would report the rows.

    Args:
        lake: Where the table is.
        table: The target.
        before: The table's version before the run.
        file_log: Where the source records its files.
        reported: Batches that the run has reported.
        finish: Whether a batch that is not in ``commits`` is waited for, and written there: the sink's transaction says
            what is in the table, and the source has no event times. Otherwise the next run reports such a batch.
    """
    state = checkpoints.read_checkpoint(lake, table)
    if state is None or state.last_offset is None or state.last_offset in reported:
        return
    log, number, finished = SparkLog(lake, table), state.last_offset, state.last_offset == state.last_commit
    if not (finished or finish):
        return
    query = log.query_id()
    for _ in range(1 if finished else _COMMIT_LOOKS):
        written = [
            commit for commit in lake.commits_since(table, before, last=_COMMIT_LOOKS) if commit.query_id == query
        ]
        if written and written[-1].batch_id == number:
            break
        if not finished:
            time.sleep(_POLL_SECONDS)  # the engine's worker may be in the midst of the commit
    else:
        return
    if not finished:
        log.finish(number)
    offsets = {"startOffset": log.planned(number - 1), "endOffset": log.planned(number)}
    files = file_log.of_batch({"sources": [offsets]}) if file_log else None
    seconds = 0.0  # not known: Spark did not report the batch
    count = len(files.keys) if files else None
    yield BatchProgress(table, number, written[-1].rows_added, seconds, count), files.keys if files else []


def report_of(
    lake: Lake,
    table: str,
    done: deque[tuple[BatchProgress, list[str]]],
    before: int | None,
    started: float,
    ignored_files: int = 0,
) -> StreamReport:
    """The report of a run.

    Args:
        lake: Where the table is.
        table: The target.
        done: Its batches, each with the keys of its files; of a run that does not end only the last batches.
        before: The table's version before the run.
        started: When it began, by the monotonic clock.
        ignored_files: Objects that are no input.
    """
    ids = {batch.batch_id for batch, _ in done}
    version = lake.version(table)
    newest = lake.commits_since(table, before, last=2 * done.maxlen if done.maxlen else None, newest=version)
    commits = [commit for commit in newest if commit.batch_id in ids]
    return StreamReport(
        table=table,
        batches=tuple(batch for batch, _ in done),
        rows_added=sum(commit.rows_added for commit in commits),
        delta_version_before=before,
        delta_version=version,
        duration_seconds=time.monotonic() - started,
        source_files=tuple(key for _, keys in done for key in keys),
        ignored_files=ignored_files,
        rows_updated=sum(commit.rows_updated for commit in commits),
        rows_removed=sum(commit.rows_removed for commit in commits),
    )


def nothing_to_do(lake: Lake, table: str, *, ignored_files: int = 0) -> StreamReport:
    """The report of a run that needed no engine: there was no input at all."""
    version = lake.version(table)
    return StreamReport(table, (), 0, version, version, 0.0, (), ignored_files, has_source=False)


def _interrupted(lake: Lake, table: str) -> StreamInterrupted:
    return StreamInterrupted(
        f"the stream into {table} was ended from outside",
        where=lake.settings.checkpoint_uri(table),
        state="batches committed before stay committed",
        next_command="run the same again",
    )


def _counted(frame: DataFrame, expected: Sequence[str]) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812

    counts = [F.count(F.lit(1)).alias("rows")]
    if {CORRUPT_RECORD, RESCUED_DATA} & set(frame.columns):
        counts.append(F.count(F.when(is_invalid(frame, expected), 1)).alias("corrupt"))
    if RESCUED_DATA in frame.columns:
        counts.append(F.count(RESCUED_DATA).alias("rescued"))
    return frame.observe(_OBSERVED, *counts) if len(counts) > 1 else frame


def _start(
    lake: Lake,
    table: str,
    frame: DataFrame,
    trigger: Trigger,
    output_mode: str,
    batch_writer: BatchWriter | Sink | None,
    partition_by: Sequence[str],
) -> StreamingQuery:
    writer = (
        frame.writeStream.option("checkpointLocation", lake.settings.checkpoint_uri(table))
        .queryName(query_name(lake, table))
        .trigger(**trigger.arguments())
        .outputMode(output_mode)
    )
    for name, value in ({} if trigger.ends else endless_conf()).items():
        frame.sparkSession.conf.set(name, value)
    if isinstance(batch_writer, Sink):
        return batch_writer.start(writer)
    if batch_writer is not None:
        return writer.foreachBatch(batch_writer).start()
    # .start(path), not .toTable(name): the first commit of a table may have been lost in a crash, and creating a
    # table by name refuses a folder that holds data files of such a commit
    if partition_by:
        writer = writer.partitionBy(*partition_by)
    return writer.format("delta").option("mergeSchema", "true").start(lake.settings.table_uri(table))


def observed(progress: dict[str, Any], name: str) -> dict[str, int]:
    """The observed metrics ``name`` of a batch. Over Connect they arrive as a list of values with a schema."""
    row = (progress.get("observedMetrics") or {}).get(name)
    if row is None:
        return {}
    found = row.asDict()
    if set(found) == {"values", "schema"}:
        names = [field["name"] for field in found["schema"]["fields"]]
        return dict(zip(names, found["values"], strict=True))
    return dict(found)


def _batch_progress(table: str, progress: dict[str, Any], files: BatchFiles | None) -> BatchProgress:
    counts, written = observed(progress, _OBSERVED), observed(progress, WRITTEN)
    read = sum(source.get("numInputRows") or 0 for source in progress["sources"])
    if WRITTEN in (progress.get("observedMetrics") or {}):  # Spark's own row counts are of names of data files then
        read, *evidence = (written.get(name) or 0 for name in ("rows", "rescued_rows", "corrupt_rows"))
        counts = dict(zip(("rescued", "corrupt"), evidence, strict=True))
    watermark = (progress.get("eventTime") or {}).get("watermark")
    operators = progress.get("stateOperators") or []
    milliseconds = progress["durationMs"]["triggerExecution"]
    ended = datetime.fromisoformat(progress["timestamp"]) + timedelta(milliseconds=milliseconds)
    return BatchProgress(
        table=table,
        batch_id=progress["batchId"],
        input_rows=read,
        duration_seconds=milliseconds / 1000,
        files=len(files.keys) if files else None,
        rescued_rows=counts.get("rescued"),
        corrupt_rows=counts.get("corrupt"),
        backlog_files=files.backlog_files if files else None,
        backlog_bytes=files.backlog_bytes if files else None,
        watermark=None if watermark is None or watermark.startswith("1970-01-01T00:00:00") else watermark,
        state_rows=sum(operator["numRowsTotal"] for operator in operators) if operators else None,
        state_memory_bytes=sum(operator.get("memoryUsedBytes") or 0 for operator in operators) if operators else None,
        phases_milliseconds={name: int(millis) for name, millis in progress["durationMs"].items()},
        latencies_seconds=tuple(max((ended - at).total_seconds(), 0.0) for at in (files.landed if files else ())),
    )
