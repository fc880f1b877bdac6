"""A running query: its batches as they come, and its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql.streaming.query import StreamingQuery

UNKNOWN_FIELD = "[UNKNOWN_FIELD_EXCEPTION]"
_STOPPING_SECONDS = 0.05
_TOLD_SECONDS = 1.0
"""How long the engine waits for the end of a query before it answers; batches are told as often."""

Progress = dict[str, Any]
"""Spark's progress of one batch, or of a look that found nothing."""


class StopRequest:
    """Asks a run to end after its current batch, or, when asked again, at once.

    Attributes:
        asked: Set by the first request.
        at_once: Set by the second.
    """

    def __init__(self) -> None:
        self.asked, self.at_once = threading.Event(), threading.Event()
        self._times = 0

    def ask(self) -> None:
        """Asks for the end. A signal handler may call it: two calls never touch the same lock."""
        self._times += 1
        (self.asked if self._times == 1 else self.at_once).set()


def queries(
    start: Callable[[], StreamingQuery],
    schema_version: Callable[[], int | None],
    watch: Callable[[StreamingQuery], Iterator[Progress]],
) -> Iterator[Generator[Progress, None, None]]:
    """The progress of a stream's queries, one after the other. A new query begins when the schema has got columns."""
    ended = False

    def progress() -> Generator[Progress, None, None]:
        nonlocal ended
        before = schema_version()
        query = start()
        before = schema_version() if before is None else before
        try:
            yield from watch(query)
            ended = True
        except Exception as error:
            if UNKNOWN_FIELD not in str(error) or schema_version() == before:
                raise
        finally:
            _end(query)

    while not ended:
        yield progress()


def batches(
    query: StreamingQuery,
    *,
    poll_seconds: float,
    stop: StopRequest,
    on_alive: Callable[[], None],
    still_ours: Callable[[], None],
    ends: bool = False,
) -> Iterator[Progress]:
    """Progress of every batch that did work, in order, until the query ends or is asked to end.

    Args:
        query: A query that was started.
        poll_seconds: Pause between two looks at the query.
        stop: Asks for the end.
        on_alive: Called when the query has begun, has finished a batch, or has looked for input and found none.
        still_ours: Raises when this process must not write any more.
        ends: Whether the query is expected to end by itself: then the engine is asked to tell.
    """
    seen, heard, running_at_request = -1, "", None
    on_alive()
    told = ends and _is_elsewhere(query)
    ended = False
    while True:
        if not told or stop.asked.is_set():
            ended = not query.isActive
        last = query.lastProgress
        if last is not None and last["timestamp"] != heard:
            heard = last["timestamp"]
            on_alive()
        yield from _finished(query, last, seen)
        seen = _newest(last, seen)
        if ended:
            break
        still_ours()
        if told and not stop.asked.is_set():
            ended = _ended_within(query, _TOLD_SECONDS)
            continue
        if not stop.asked.wait(poll_seconds):
            continue
        if running_at_request is None:
            running_at_request = seen
        if stop.at_once.wait(_STOPPING_SECONDS) or seen > running_at_request or _is_between_batches(query):
            _end(query)
            yield from _finished(query, query.lastProgress, seen)
            return
    problem = query.exception()
    if problem is not None:
        raise problem


def _is_elsewhere(query: StreamingQuery) -> bool:
    """Whether each look at the query is a request, and costs the engine as much as a part of a small batch."""
    return type(query).__module__.startswith("pyspark.sql.connect.")


def _ended_within(query: StreamingQuery, seconds: float) -> bool:
    """Waits for the query's end, in one request."""
    try:
        return bool(query.awaitTermination(seconds))  # type: ignore[arg-type]  # it takes parts of seconds
    except Exception:  # it ended with an error, which is asked for then; or the request did
        return not query.isActive


def _finished(query: StreamingQuery, last: Progress | None, seen: int) -> Iterator[Progress]:
    """Batches after ``seen``. Spark's list of them is long, so it is read only when ``last`` is not enough."""
    newest = _newest(last, seen)
    if last is None or newest == seen:
        return
    if newest == seen + 1 and _worked(last):
        yield last
        return
    for progress in query.recentProgress:
        if seen < progress["batchId"] <= newest and _worked(progress):
            yield progress


def _newest(last: Progress | None, seen: int) -> int:
    """Number of the last finished batch. The progress of a look without input has the number of the next batch."""
    return seen if last is None else max(seen, last["batchId"] - (not _worked(last)))


def _worked(progress: Progress) -> bool:
    return "addBatch" in progress["durationMs"]


def _is_between_batches(query: StreamingQuery) -> bool:
    return not query.status["isTriggerActive"]


def _end(query: StreamingQuery) -> None:
    """Stops a query; that of a dead engine is gone anyway."""
    try:
        if query.isActive:
            query.stop()
    except Exception:
        return
