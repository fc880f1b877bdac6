"""Bringing a table up to date on the local engine: the counterpart of ``streams.run.run_stream``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from deltalake.exceptions import DeltaError

from lakehouse.autoloader.files.notified import opened_inbox
from lakehouse.counting.data_files import OnlySpark
from lakehouse.direct.following import FollowingStream
from lakehouse.direct.kept import Kept
from lakehouse.direct.pool import opened_pool
from lakehouse.direct.reasons import NotDirect
from lakehouse.direct.stream import DirectStream, Done, Loading
from lakehouse.errors import LakehouseError, StreamFailed
from lakehouse.events.bell import Bell
from lakehouse.lake import Lake
from lakehouse.streams.definition import keep_definition
from lakehouse.streams.file_logs import CloudFilesLog
from lakehouse.streams.progress import BatchProgress, StreamReport
from lakehouse.streams.run import Run, begun, report_of

_PAUSE_SECONDS = 1.0
"""Pause between two looks for files, in a run that does not end and has no interval."""
_PAUSE_WITH_EVENTS_SECONDS = 10.0
"""The same where an event ends the pause sooner."""


def run_direct(run: Run, lake: Lake, table: str, loading: Loading) -> StreamReport:
    """Loads what is there, or as ``run`` says, without Spark.

    Args:
        run: Trigger, listeners, and the way to stop it.
        lake: Where the table and its checkpoint are.
        table: The target.
        loading: What is loaded.

    Raises:
        NotDirect: only Spark can write what comes; batches before it are committed.
        LeaseHeld: another process writes to the table now.
        CheckpointMismatch: the table and its checkpoint do not belong together.
        LakehouseError: see ``DirectStream.batches``.
    """
    alone = opened_pool(lake.endpoint, always=not run.trigger.ends)
    with begun(run, lake, table, explained) as begin, alone as pool, _bell_of(run, loading) as bell:
        done, open_still = begin.done, Kept(lake, table, begin.opened)
        files = CloudFilesLog(lake, loading.options, open_still.journals)
        run.on_alive()

        def look() -> Iterator[tuple[BatchProgress, list[str]]]:
            nonlocal loading
            if bell:
                bell.listen()
            # each look has a new stream: so the memory of a run that does not end stays small
            for batch in DirectStream(lake, table, loading, pool, open_still).batches(once=run.trigger.name == "once"):
                yield _progress_of(table, batch, files)
            loading = replace(loading, options=replace(loading.options, list_on_start=False))

        wait = partial(bell.wait, run.stop.asked) if bell else run.stop.asked.wait
        _until_enough(run, look, done, begin.lease.check, wait, _PAUSE_WITH_EVENTS_SECONDS if bell else _PAUSE_SECONDS)
        return report_of(lake, table, done, begin.before, begin.started)


def run_following(
    run: Run, lake: Lake, table: str, stream: Callable[[], FollowingStream], definition: dict[str, Any]
) -> StreamReport:
    """Computes what is new in another table, or as ``run`` says, without Spark.

    Args:
        run: Trigger, listeners, and the way to stop it.
        lake: Where both tables and the checkpoint are.
        table: The target.
        stream: Makes the stream, once for each look at the source.
        definition: What a checkpoint of the table is begun with, see ``keep_definition``.

    Raises:
        NotDirect: only Spark can do what comes; batches before it are committed.
        LeaseHeld: another process writes to the table now.
        CheckpointMismatch: the table and its checkpoint do not belong together.
        ConfigurationError: the checkpoint was begun with another definition.
        LakehouseError: see ``FollowingStream.batches``.
    """
    with begun(run, lake, table, explained) as begin:
        keep_definition(lake, table, definition)
        run.on_alive()

        def look() -> Iterator[tuple[BatchProgress, list[str]]]:
            for batch in stream().batches(once=run.trigger.name == "once"):
                yield batch, []

        try:
            _until_enough(run, look, begin.done, begin.lease.check, run.stop.asked.wait, _PAUSE_SECONDS)
        except OnlySpark as reason:
            raise NotDirect(str(reason)) from reason
        return report_of(lake, table, begin.done, begin.before, begin.started)


def _until_enough(
    run: Run,
    look: Callable[[], Iterator[tuple[BatchProgress, list[str]]]],
    done: deque[tuple[BatchProgress, list[str]]],
    still_ours: Callable[[], None],
    asked_within: Callable[[float], bool],
    pause_seconds: float,
) -> None:
    """Looks for batches once, or again and again, until the trigger has enough or the run is asked to stop."""
    interval = run.trigger.interval
    pause = interval.total_seconds() if interval else pause_seconds
    while True:
        for batch in look():
            done.append(batch)
            run.on_batch(batch[0])
            run.on_alive()
            if run.stop.asked.is_set():
                break
            still_ours()
        run.on_alive()
        if run.trigger.ends or asked_within(pause):
            return
        still_ours()


@contextmanager
def _bell_of(run: Run, loading: Loading) -> Iterator[Bell | None]:
    """A bell that ends the pauses of a run whose files come as events. An interval that was asked for stays."""
    options = loading.options
    if run.trigger.ends or (run.trigger.interval and not run.woken) or not options.by_events:
        yield None
        return
    with opened_inbox(options.events_inbox) as inbox:
        yield Bell(inbox)


@contextmanager
def explained(lake: Lake, table: str) -> Iterator[None]:
    """Turns an exception of a library below into an error that tells what to do.

    Raises:
        StoreUnavailable: the store does not answer.
        StreamFailed: for any other reason.
    """
    try:
        yield
    except (LakehouseError, NotDirect):
        raise
    except (DeltaError, OSError, RuntimeError, ValueError) as error:
        lake.store.bucket_exists(lake.settings.bucket)  # raises StoreUnavailable when the store is the reason
        raise StreamFailed(
            f"the stream into {table} ended with an error: {type(error).__name__}: {error}",
            where=lake.settings.checkpoint_uri(table),
            state="batches committed before stay committed; the failed one is done again by the next run",
            next_command=f"correct the cause, then: lakehouse ingest {table}",
        ) from error


def _progress_of(table: str, batch: Done, log: CloudFilesLog) -> tuple[BatchProgress, list[str]]:
    """The progress of a batch, and the keys of its files."""
    source: dict[str, Any] = {"startOffset": batch.start, "endOffset": batch.end, "latestOffset": batch.known}
    ended = datetime.now(UTC)
    files = log.of_batch({"sources": [source]})
    milliseconds = {name: round(seconds * 1000) for name, seconds in batch.seconds.items()}
    progress = BatchProgress(
        table=table,
        batch_id=batch.number,
        input_rows=sum(part.rows for part in batch.parts),
        duration_seconds=round(sum(batch.seconds.values()), 3),
        files=len(files.keys),
        rescued_rows=sum(part.rescued_rows for part in batch.parts),
        corrupt_rows=sum(part.corrupt_rows for part in batch.parts),
        backlog_files=files.backlog_files,
        backlog_bytes=files.backlog_bytes,
        phases_milliseconds={**milliseconds, "triggerExecution": sum(milliseconds.values())},
        latencies_seconds=tuple(max((ended - at).total_seconds(), 0.0) for at in files.landed),
    )
    return progress, files.keys
