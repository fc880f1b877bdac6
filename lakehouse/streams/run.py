"""Running a stream, and reporting each batch while it runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lakehouse import checkpoints
from lakehouse.engine import explain, spark_log
from lakehouse.errors import LakehouseError, StreamFailed
from lakehouse.lake import Lake
from lakehouse.progress import BatchProgress, OnBatch, StreamReport
from lakehouse.streams.bronze import CORRUPT_RECORD, RESCUED_DATA, is_invalid
from lakehouse.streams.files import BatchFiles, FileLog
from lakehouse.streams.trigger import AVAILABLE_NOW, Trigger

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

_POLL_SECONDS = 0.2
UNKNOWN_FIELD = "[UNKNOWN_FIELD_EXCEPTION]"
_OBSERVED = "rows"


class BatchWriter(Protocol):
    """Commits a batch; one that the table has already it leaves out."""

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Called by ``foreachBatch``."""
        ...


@dataclass(frozen=True)
class Run:
    """How a table's stream is run.

    Attributes:
        trigger: When batches are made, and whether the run ends by itself.
        on_batch: Told about each committed batch, in order.
    """

    trigger: Trigger = AVAILABLE_NOW
    on_batch: OnBatch = lambda batch: None


def run_stream(
    run: Run,
    lake: Lake,
    table: str,
    frame: Callable[[], DataFrame],
    *,
    output_mode: str = "append",
    batch_writer: Callable[[], BatchWriter | None] = lambda: None,
    schema_version: Callable[[], int | None] = lambda: None,
    file_log: FileLog | None = None,
    ignored_files: int = 0,
    after_batch: Callable[[dict[str, Any]], None] = lambda progress: None,
) -> StreamReport:
    """Appends what is available in ``frame`` to ``table``, until the trigger has enough.

    Exactly once: Spark writes what a batch will read before it reads, Delta records the batch in the commit that
    adds its rows and skips a batch that it has, and one lease for each checkpoint keeps a second writer out.

    Args:
        run: Trigger and listener.
        lake: Where the table and its checkpoint are.
        table: The target, ``layer.name``.
        frame: Makes the streaming DataFrame, under the lease: a source may write its first schema then.
        output_mode: Spark's: which rows of a result a batch hands on.
        batch_writer: Makes what commits a batch in place of the Delta sink, under the lease; None for that sink.
        schema_version: Number of the newest version of the source's schema; a query that ended because of new columns
            is started again when it has grown.
        file_log: Where the source remembers its files; None where it has none.
        ignored_files: Objects beside them that are no input, for the report.
        after_batch: Called under the lease with Spark's progress of each committed batch, before ``on_batch``.

    Raises:
        LeaseHeld: another process writes to the table now.
        CheckpointMismatch: the table and its checkpoint do not belong together.
        StreamFailed: the query ended with an error.
        EngineUnavailable: the engine died; the message says why.
    """
    started = time.monotonic()
    with checkpoints.writer_of(lake, table) as lease, _explained(lake, table):
        before = checkpoints.verify(lake, table)
        checkpoints.clear_interrupted_start(lake, table)
        batches: list[BatchProgress] = []
        source_files: list[str] = []

        def start() -> StreamingQuery:
            return _start(lake, table, frame(), run.trigger, output_mode, batch_writer())

        for query in _queries(start, schema_version, lease.check):
            for progress in query:
                files = file_log.of_batch(progress) if file_log else None
                batches.append(_batch_progress(table, progress, files))
                source_files += files.keys if files else []
                after_batch(progress)
                run.on_batch(batches[-1])
        ids = {batch.batch_id for batch in batches}
        commits = [commit for commit in lake.commits_since(table, before) if commit.batch_id in ids]
        return StreamReport(
            table=table,
            batches=tuple(batches),
            rows_added=sum(commit.rows_added for commit in commits),
            delta_version_before=before,
            delta_version=lake.version(table),
            duration_seconds=time.monotonic() - started,
            source_files=tuple(source_files),
            ignored_files=ignored_files,
        )


def nothing_to_do(lake: Lake, table: str, *, ignored_files: int = 0) -> StreamReport:
    """The report of a run that needed no engine: there was no input at all."""
    version = lake.version(table)
    return StreamReport(table, (), 0, version, version, 0.0, (), ignored_files)


def _start(
    lake: Lake, table: str, frame: DataFrame, trigger: Trigger, output_mode: str, batch_writer: BatchWriter | None
) -> StreamingQuery:
    from pyspark.sql import functions as F  # noqa: N812

    counts = [F.count(F.lit(1)).alias("rows")]
    if {CORRUPT_RECORD, RESCUED_DATA} & set(frame.columns):
        counts.append(F.count(F.when(is_invalid(frame), 1)).alias("corrupt"))
    if RESCUED_DATA in frame.columns:
        counts.append(F.count(RESCUED_DATA).alias("rescued"))
    observed = frame.observe(_OBSERVED, *counts) if len(counts) > 1 else frame
    writer = (
        observed.writeStream.option("checkpointLocation", lake.settings.checkpoint_uri(table))
        .queryName(f"{lake.settings.user}.{table}")
        .trigger(**trigger.arguments())
        .outputMode(output_mode)
    )
    if batch_writer is not None:
        return writer.foreachBatch(batch_writer).start()
    # .start(path), not .toTable(name): the first commit of a table may have been lost in a crash, and creating a
    # table by name refuses a folder that holds data files of such a commit
    return writer.format("delta").option("mergeSchema", "true").start(lake.settings.table_uri(table))


def _queries(
    start: Callable[[], StreamingQuery], schema_version: Callable[[], int | None], still_ours: Callable[[], None]
) -> Iterator[Iterator[dict[str, Any]]]:
    """The progress of one query after the other: a new one as often as the schema has grown below the last."""
    ended = False

    def progress() -> Iterator[dict[str, Any]]:
        nonlocal ended
        before = schema_version()
        query = start()
        before = schema_version() if before is None else before
        try:
            yield from _batches(query, still_ours)
            ended = True
        except Exception as error:
            if UNKNOWN_FIELD not in str(error) or schema_version() == before:
                raise
        finally:
            _stop(query)

    while not ended:
        yield progress()


def _batches(query: StreamingQuery, still_ours: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """Progress of every batch that did work, in order, until the query ends."""
    seen = -1
    while True:
        active = query.isActive
        last = query.lastProgress
        if last is not None and last["batchId"] > seen:
            for progress in query.recentProgress:
                if progress["batchId"] > seen and "addBatch" in progress["durationMs"]:
                    seen = progress["batchId"]
                    yield progress
        if not active:
            break
        still_ours()
        time.sleep(_POLL_SECONDS)
    problem = query.exception()
    if problem is not None:
        raise problem


def _stop(query: StreamingQuery) -> None:
    """Leaves no query behind; a query of a dead engine is gone anyway."""
    try:
        if query.isActive:
            query.stop()
    except Exception:
        return


@contextmanager
def _explained(lake: Lake, table: str) -> Iterator[None]:
    """Turns what Spark raises into an error that tells what to do."""
    try:
        yield
    except (LakehouseError, KeyboardInterrupt):
        raise
    except Exception as error:
        said = said_by_the_source(error)
        if said is not None:
            raise said from error
        if lake.settings.spark_remote is None:
            reason = explain(lake.settings, error)
            if reason is not None:
                raise reason from error
        log = "" if lake.settings.spark_remote else f"   (Spark's log: {spark_log(lake.settings)})"
        raise StreamFailed(
            f"the stream into {table} ended with an error: {first_lines(error)}",
            where=lake.settings.checkpoint_uri(table),
            state="batches committed before stay committed; the failed one is done again by the next run",
            next_command=f"correct the cause, then: lakehouse ingest{log}",
        ) from error


_OURS = re.compile(r"lakehouse\.[\w.]*\.(\w+): (.+?)\n  where  (.+?)\n  state  (.+?)\n(?:  next   (.+?)\n)?", re.DOTALL)


def said_by_the_source(error: Exception) -> StreamFailed | None:
    """An error of this library that was raised in one of Spark's processes: it arrives as text within Spark's own."""
    found = _OURS.search(str(error) + "\n")
    if found is None:
        return None
    kind, what, where, state, cure = found.groups()
    return StreamFailed(f"{what} ({kind})", where=where, state=state, next_command=cure or "")


def first_lines(error: Exception) -> str:
    """The beginning of what Spark says, without its stack traces."""
    text = str(error).split("JVM stacktrace")[0].split("\n\tat ")[0]
    return " ".join(text.split())[:600]


def _observed(progress: dict[str, Any]) -> dict[str, int]:
    """Observed counts by name. Over Connect a row arrives as its values beside its schema."""
    row = (progress.get("observedMetrics") or {}).get(_OBSERVED)
    if row is None:
        return {}
    found = row.asDict()
    if set(found) == {"values", "schema"}:
        names = [field["name"] for field in found["schema"]["fields"]]
        return dict(zip(names, found["values"], strict=True))
    return dict(found)


def _batch_progress(table: str, progress: dict[str, Any], files: BatchFiles | None) -> BatchProgress:
    observed = _observed(progress)
    watermark = (progress.get("eventTime") or {}).get("watermark")
    operators = progress.get("stateOperators") or []
    return BatchProgress(
        table=table,
        batch_id=progress["batchId"],
        input_rows=sum(source.get("numInputRows") or 0 for source in progress["sources"]),
        duration_seconds=progress["durationMs"]["triggerExecution"] / 1000,
        files=len(files.keys) if files else None,
        rescued_rows=observed.get("rescued"),
        corrupt_rows=observed.get("corrupt"),
        backlog_files=files.backlog_files if files else None,
        backlog_bytes=files.backlog_bytes if files else None,
        watermark=None if watermark is None or watermark.startswith("1970-01-01T00:00:00") else watermark,
        state_rows=sum(one["numRowsTotal"] for one in operators) if operators else None,
        phases_milliseconds={name: int(millis) for name, millis in progress["durationMs"].items()},
    )
