"""What a stream's failure means: whether the same run may succeed later, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse.engine import engine_pid, explain, spark_log
from lakehouse.errors import EngineUnavailable, LakehouseError, StoreUnavailable, StreamFailed, TransientError
from lakehouse.lake import Lake

_STATE = "batches committed before stay committed; the failed one is done again by the next run"
_OURS = re.compile(r"lakehouse\.[\w.]*\.(\w+): (.+?)\n  where  (.+?)\n  state  (.+?)\n(?:  next   (.+?)\n)?", re.DOTALL)
_STORE_GONE = re.compile(
    r"Unable to execute HTTP request|AWSServiceThrottledException|AWSStatus5\d\dException|AWSApiCallTimeoutException"
    r"|java\.net\.(ConnectException|SocketException|SocketTimeoutException|UnknownHostException|NoRouteToHostException)"
)
_SOURCE_CHANGED = re.compile(r"DELTA_SOURCE_(TABLE_)?IGNORE_(CHANGES|DELETE)")
_OTHER_WRITER = re.compile(r"CONCURRENT_STREAM_LOG_UPDATE|DELTA_(CONCURRENT_|METADATA_CHANGED|PROTOCOL_CHANGED)")
_NO_COLUMN = re.compile(r"\[UNRESOLVED_(COLUMN|FIELD|USING_COLUMN_FOR_JOIN)\b")
_WORKER_LATE = re.compile(r"Python worker failed to connect back")
_CONNECT_GONE = re.compile(r"StatusCode\.UNAVAILABLE|INVALID_HANDLE\.SESSION|RPC on closed channel")


class SourceChanged(TransientError):
    """Rows of the table that a stream reads were changed or removed; a new start takes account of it."""


class StreamInterrupted(TransientError):
    """A query ended that nobody here asked to end."""


@contextmanager
def explained(lake: Lake, table: str) -> Iterator[None]:
    """Turns what Spark raises into an error that tells what to do.

    Raises:
        StoreUnavailable, EngineUnavailable, SourceChanged: a new start may succeed.
        StreamFailed: it fails again until somebody changes something.
    """
    pid = engine_pid(lake.settings)
    try:
        yield
    except (LakehouseError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise _meaning(lake, table, error, pid) from error


def _meaning(lake: Lake, table: str, error: Exception, pid: int | None) -> LakehouseError:
    text = str(error) or type(error).__name__
    ours = library_error(text)
    if ours is not None:
        return ours
    remote = lake.settings.spark_remote
    if remote is None:
        reason = explain(lake.settings, error, pid)
        if reason is not None:
            return reason
    where = lake.settings.checkpoint_uri(table)
    if _CONNECT_GONE.search(text):
        return EngineUnavailable(
            f"the Spark Connect server stopped answering while {table} was written: {first_lines(text)}",
            where=remote.get_secret_value().split("/;")[0] if remote else str(spark_log(lake.settings)),
            state=_STATE,
            next_command="run the same again; a server of yours must be started first"
            if remote
            else "run the same again; where the engine is silent then, too, first: lakehouse down",
        )
    if _WORKER_LATE.search(text):  # Spark waits ten seconds, and has no setting for it
        return EngineUnavailable(
            f"a Python process of the engine did not answer within ten seconds while {table} was written: "
            "its machine is busy",
            where=where,
            state=_STATE,
            next_command="run the same again, when the machine has less to do",
        )
    if _STORE_GONE.search(text) or _does_not_answer(lake):
        return StoreUnavailable(
            f"the object store stopped answering while {table} was written: {first_lines(text)}",
            where=lake.endpoint.url,
            state=_STATE,
            next_command="lakehouse up starts the embedded store; then run the same again",
        )
    if _SOURCE_CHANGED.search(text):
        return SourceChanged(
            f"rows that {table} is computed from were changed or taken out (a replay, a newer version of a file)",
            where=where,
            state=_STATE,
            next_command="run the same again: it begins anew where that is needed",
        )
    if _OTHER_WRITER.search(text):  # the leases failed: one writer took the other's lease for abandoned
        return TransientError(
            f"another writer of {table} was faster: {first_lines(text)}",
            where=where,
            state=_STATE,
            next_command="run the same again; of two writers one goes on, and no batch is there twice",
        )
    if _NO_COLUMN.search(text):
        return StreamFailed(
            f"{table} asks its source for a column that is not there: {first_lines(text)}",
            where=where,
            state=_STATE,
            next_command=f"bring the column back, or declare {table} without it; then: lakehouse ingest {table}",
        )
    log = "" if remote else f"   (Spark's log: {spark_log(lake.settings)})"
    return StreamFailed(
        f"the stream into {table} ended with an error: {first_lines(text)}",
        where=where,
        state=_STATE,
        next_command=f"correct the cause, then: lakehouse ingest{log}",
    )


def library_error(text: str) -> LakehouseError | None:
    """An error of this library that was raised in one of Spark's processes: it arrives as text within Spark's own."""
    found = _OURS.search(text + "\n")
    if found is None:
        return None
    kind, what, where, state, cure = found.groups()
    made = StoreUnavailable if kind == StoreUnavailable.__name__ else StreamFailed
    return made(f"{what} ({kind})", where=where, state=state, next_command=cure or "")


def _does_not_answer(lake: Lake) -> bool:
    try:
        lake.store.bucket_exists(lake.settings.bucket)
    except StoreUnavailable:
        return True
    except LakehouseError:
        pass
    return False


def first_lines(text: str) -> str:
    """The beginning of an error of Spark, without stack traces; of a Python traceback only the last line."""
    message = text.split("JVM stacktrace")[0].split("\n\tat ")[0]
    before, trace, python = message.partition("Traceback (most recent call last):")
    raised = [line for line in python.splitlines() if line and not line.startswith(" ")]
    return " ".join(f"{before} {' '.join(raised) if trace else ''}".split())[:600]
