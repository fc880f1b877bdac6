"""Ends what a dead client left running in an engine, before another process writes the same table.

A query belongs to the engine, not to the process that started it, and goes on when that process is killed. So does a
COPY INTO or a MERGE. Delta's commits on S3 are safe among the threads of one engine and not between two engines. So
whoever takes over a lease first connects to the dead client's own session, by its id, and ends what runs in it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from lakehouse.engine.session import session_of
from lakehouse.errors import LeaseHeld
from lakehouse.lake import Lake
from lakehouse.storage.lease_holder import UNKNOWN, EngineUse, Holder, birth_of, this_host

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_END_TIMEOUT_SECONDS = 90.0  # longer than Spark waits for a store that is silent (fs.s3a.connection.timeout, 60 s)
_WARN_AFTER_SECONDS = 3.0
_BATCH_END_SECONDS = 5.0
_log = logging.getLogger(__name__)
_CLOSED = "SESSION_CLOSED"
CLONED = "source_"
"""Prefix of the name of the view from which a cloned session merges; the rest is the session id of the clone.

``streams.transaction`` has a copy of it: Spark's workers would take a third of a second to import this module.
"""


def end_writes(lake: Lake, table: str, holder: Holder) -> bool:
    """Makes sure that nothing which ``holder`` started still writes ``table``.

    Args:
        lake: Where the table is.
        table: ``layer.name``.
        holder: Of its lease: a dead process of this machine, or a process of another machine that fell silent.

    Returns:
        True when nothing does; False when that cannot be known from here.

    Raises:
        LeaseHeld: its engine lives on this machine, and what runs in it cannot be ended.
    """
    use, here = holder.engine, holder.host == this_host()
    if use is None or (here and _is_gone(use)):
        return True
    own = session_of(use)
    if own is not None:  # a session of this very process, which gave the table up
        _stop(own, lambda name: name == query_name(lake, table))
        return True
    if not use.session_id:
        # a Spark inside its client's process: it ends with that, after a moment
        return here and _wait_for(lambda: _is_gone(use), table, use)
    if use.folder and not here:
        return False
    # a client on another machine may be alive and only cut off from the store: its other queries are left alone
    chosen = (lambda name: True) if here else (lambda name: name == query_name(lake, table))
    ended, failed = threading.Event(), threading.Event()

    def end() -> None:
        try:
            _end_session(_session_remote(lake, use), chosen, whole=here)
        except Exception as error:
            (ended if _CLOSED in str(error) else failed).set()
        else:
            ended.set()

    threading.Thread(target=end, name=f"ends {use.address}", daemon=True).start()
    if not use.pid:
        deadline = time.monotonic() + _END_TIMEOUT_SECONDS
        while time.monotonic() < deadline and not ended.wait(0.02) and not failed.is_set():
            pass
        return ended.is_set()
    return _wait_for(lambda: ended.is_set() or _is_gone(use), table, use, failed)


def query_name(lake: Lake, table: str) -> str:
    """The name of the stream that writes ``table``."""
    return f"{lake.settings.user}.{table}"


def _is_gone(use: EngineUse) -> bool:
    return bool(use.pid) and birth_of(use.pid) not in (use.started, UNKNOWN)


def _wait_for(done: Callable[[], bool], table: str, use: EngineUse, failed: threading.Event | None = None) -> bool:
    began, warned = time.monotonic(), False
    deadline = began + _END_TIMEOUT_SECONDS
    while not done():
        if not warned and time.monotonic() > began + _WARN_AFTER_SECONDS:
            _log.warning(
                "waiting until what a dead client left running for %s has ended in Spark (pid %s)", table, use.pid
            )
            warned = True
        if time.monotonic() > deadline or (failed is not None and failed.is_set() and not done()):
            home = f"LAKEHOUSE_HOME={Path(use.folder).parents[1]} " if use.folder else ""
            raise LeaseHeld(
                f"{table} may still be written by the Spark engine of a client that died (pid {use.pid} at "
                f"{use.address}): it does not let its queries be ended",
                where=use.folder or use.address,
                state="nothing was read or written",
                next_command=f"{home}lakehouse down   (ends that engine)" if home else f"kill {use.pid}",
            )
        time.sleep(0.02)
    return True


def _session_remote(lake: Lake, use: EngineUse) -> str:
    """The ``sc://`` address of the dead client's own session, with the token where it is known here."""
    remote = use.address + "/;"
    mine = lake.settings.spark_remote.get_secret_value() if lake.settings.spark_remote else ""
    if use.folder:
        remote += f"token={(Path(use.folder) / 'token').read_text()};"
    elif mine.split("/;")[0] == use.address:
        given = [part for part in mine.partition("/;")[2].split(";") if part]
        remote += "".join(f"{part};" for part in given if not part.startswith(("session_id=", "user_id=")))
    return remote + (f"user_id={use.user_id};" if use.user_id else "") + f"session_id={use.session_id}"


def _end_session(remote: str, chosen: Callable[[str | None], bool], *, whole: bool) -> None:
    session = _open_session(remote)
    try:
        _stop(session, chosen)
        if whole:
            clones = _clones(session)
            _interrupt(session)
            for clone in clones | _clones(session):
                _end_clone(remote, clone)
            _stop(session, chosen)  # what an operation was about to start when it was interrupted
            session.client.release_session()
    finally:
        session.client.close()


def _clones(session: SparkSession) -> set[str]:
    found = set()
    # not catalog.listTables(): that is a job, which waits for the very tasks that are to be ended
    for row in session.sql("SHOW VIEWS").collect():
        with suppress(ValueError):  # another view of such a name
            if row["viewName"].startswith(CLONED):
                found.add(str(UUID(row["viewName"].removeprefix(CLONED))))
    return found


def _end_clone(remote: str, session_id: str) -> None:
    """Ends a MERGE: it runs in a clone of its batch's session, and goes on when the batch's query is stopped."""
    clone = _open_session(f"{remote.rpartition('session_id=')[0]}session_id={session_id}")
    try:
        _interrupt(clone)
        clone.client.release_session()
    except Exception as error:
        if _CLOSED not in str(error):
            raise
    finally:
        clone.client.close()


def _open_session(remote: str) -> Any:
    from pyspark.sql.connect.client.retries import DefaultPolicy
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    # not the builder: it would make this the active session of a process that may need a session of another kind
    session = ConnectSession(connection=remote)
    session.client.set_retry_policies([DefaultPolicy(max_retries=2, initial_backoff=50, max_backoff=500)])
    return session


def _stop(session: SparkSession, chosen: Callable[[str | None], bool]) -> None:
    """Stops queries, and returns when they have ended.

    Waits a few seconds for the end of a running batch first: a stop within a commit can leave a request to the store
    unfinished.
    """
    for query in session.streams.active:
        if not chosen(query.name):
            continue
        deadline, last = time.monotonic() + _BATCH_END_SECONDS, query.lastProgress
        while query.status["isTriggerActive"] and query.lastProgress == last and time.monotonic() < deadline:
            time.sleep(0.02)
        query.stop()


def _interrupt(session: Any) -> None:
    """Interrupts the operations of a session and waits until they have ended; the caller has the time limit."""
    from pyspark.sql.connect.proto import base_pb2

    # an ended operation stays TERMINATING until its client fetches the outcome; a dead client never does
    running = base_pb2.GetStatusResponse.OperationStatus.OperationState.OPERATION_STATE_RUNNING
    session.interruptAll()
    while any(status.state == running for status in session.client._get_operation_statuses().operation_statuses):
        time.sleep(0.05)
