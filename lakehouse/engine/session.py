"""``get_spark()``: one session, wherever Spark runs, that knows the tables of the lake."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lakehouse.arrow_alone import let_pandas_in
from lakehouse.engine import conf
from lakehouse.engine.server import ensure_engine, server
from lakehouse.errors import ConfigurationError, EngineUnavailable
from lakehouse.extras import require
from lakehouse.lake import Lake
from lakehouse.settings import LAYERS, Settings
from lakehouse.spark_sql import literal, quoted
from lakehouse.storage.lease_holder import EngineUse, birth_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = logging.getLogger(__name__)
_sessions: dict[str, SparkSession] = {}
_journal_roots: dict[str, str] = {}
_uses: dict[str, EngineUse] = {}


def get_spark(
    settings: Settings | None = None, *, lake: Lake | None = None, say: Callable[[str], None] = lambda text: None
) -> SparkSession:
    """A Spark session in which ``bronze.x``, ``silver.x`` and ``gold.x`` are the tables of the lake.

    Starts what is missing: the embedded object store and the warm engine. The session has only the API that Spark
    Connect and classic sessions share; code that needs ``sparkContext`` or ``_jvm`` is not portable between them.

    Args:
        settings: Defaults to the environment's.
        lake: An open lake, to spare a second look for the store.
        say: Told about everything that takes a while.

    Raises:
        EngineUnavailable: no engine can be reached or started.
        ConfigurationError: the engine's databases belong to another lake.
    """
    lake = lake or Lake.open(settings, say=say)
    session = connect(lake, say)
    register_tables(session, lake, say)
    return session


def connect(lake: Lake, say: Callable[[str], None] = lambda text: None) -> SparkSession:
    """The same session without the tables' names: streams go by path, so that one engine serves many lakes.

    Raises:
        EngineUnavailable: no engine can be reached or started.
        ConfigurationError: the extra ``[engine]`` is not installed.
    """
    require("engine", "the Spark engine")
    remote, pid = _remote(lake, say)
    session = _sessions.get(remote)
    if session is None or not _alive(session):
        _quiet_contexts()
        let_pandas_in()
        session = _open(lake, remote, pid)
        _close_others(remote)
        _sessions[remote] = session
        _uses[remote] = _use(lake.settings, session, remote, pid)
        _log.info("connected to Spark at %s, pid %s", _uses[remote].address, _uses[remote].pid)
    if _journal_roots.get(remote) != lake.settings.journal_root:
        from lakehouse.autoloader.source import register_cloud_files  # loads PySpark: only whoever has a session
        from lakehouse.autoloader.sql import register_cloud_files_state

        register_cloud_files(session, lake.settings.journal_root)
        register_cloud_files_state(session)
        _journal_roots[remote] = lake.settings.journal_root
    if remote.startswith("sc://"):
        from lakehouse.engine.lake_names import watch_names

        watch_names(session, lake.settings)
        _make_active(session)
    return session


def _make_active(session: Any) -> None:
    """Makes it the active session, which Spark's functions use by themselves (``@udf("string")`` in a module).

    Spark sets the active session only while there is none: the closed session of an engine that ended would stay.
    """
    kind = type(session)
    if kind.getActiveSession() is not session:
        kind._active_session.session = session
    if kind._get_default_session() is None:
        with kind._lock:
            kind._default_session = session


def _quiet_contexts() -> None:
    """Silences two loggers of Spark's client: they write each error of an SQL text, which is raised as well."""
    from pyspark.logger import PySparkLogger

    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL + 1)


def disconnect() -> None:
    """Closes this process's sessions. To do before a server is stopped: else their clients retry at exit."""
    for session in _sessions.values():
        with suppress(Exception):
            session.stop()
    _sessions.clear()
    _journal_roots.clear()
    _uses.clear()


def engine_in_use(settings: Settings) -> EngineUse | None:
    """The engine that this process is connected to for that lake; None before ``connect``."""
    if settings.spark_remote is not None:
        return _uses.get(settings.spark_remote.get_secret_value())
    folder = str(server(settings).folder)
    return next((use for use in reversed(list(_uses.values())) if use.folder == folder), None)


def session_of(use: EngineUse) -> SparkSession | None:
    """This process's own session on that engine; None when it is another process's."""
    return next((_sessions[remote] for remote, engine_use in list(_uses.items()) if engine_use == use), None)


def _remote(lake: Lake, say: Callable[[str], None]) -> tuple[str, int]:
    """The address of Spark, and the pid of an engine of ours; 0 for any other."""
    chosen = lake.settings.spark_remote
    if chosen is not None:
        return chosen.get_secret_value(), 0
    engine = ensure_engine(lake.settings, lake.endpoint, say)
    return engine.remote.get_secret_value(), engine.pid


def _use(settings: Settings, session: SparkSession, remote: str, pid: int) -> EngineUse:
    if not remote.startswith("sc://"):
        jvm: Any = session.sparkContext._jvm
        pid = int(jvm.java.lang.ProcessHandle.current().pid())
        return EngineUse(remote, pid, birth_of(pid) or "")
    client: Any = session.client
    return EngineUse(
        address=remote.split("/;")[0],
        pid=pid,
        started=(birth_of(pid) or "") if pid else "",
        session_id=client._session_id,
        user_id=client._user_id or "",
        folder=str(server(settings).folder) if pid else "",
    )


def _open(lake: Lake, remote: str, pid: int) -> SparkSession:
    if not remote.startswith("sc://"):
        from lakehouse.engine.in_process import start_in_process

        session = start_in_process(lake.settings, lake.endpoint, remote)
    else:
        session = _connect_remote(lake.settings, remote, pid)
    for name, value in conf.session_conf().items():
        session.conf.set(name, value)
    return session


def _close_others(remote: str) -> None:
    """Closes sessions of engines that are gone: left open, they block the end of the process."""
    for address in [address for address in _sessions if address == remote or not _alive(_sessions[address])]:
        with suppress(Exception):
            _sessions[address].client.close()
        del _sessions[address]
        _journal_roots.pop(address, None)
        _uses.pop(address, None)


def _connect_remote(settings: Settings, remote: str, pid: int) -> SparkSession:
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    from lakehouse.autoloader.option_notes import add_hook
    from lakehouse.engine.lake_names import LakeNames
    from lakehouse.engine.retries import WhileItLives
    from lakehouse.engine.waiting import require_answer, watched

    session: Any = None
    names = LakeNames(settings)
    require_answer(remote, pid)
    try:
        os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"  # as ``SparkSession.builder.remote`` does
        builder = watched(_cloned(remote, pid) if pid else remote, pid)
        builder.add_interceptor(names)
        session = ConnectSession.builder.channelBuilder(builder).create()
        add_hook(session, names)
        session.client.set_retry_policies([WhileItLives(pid)])
        session.version  # noqa: B018  (the first call that reaches the server)
    except Exception as error:
        if session is not None:
            session.client.close()  # left open, it asks that server again at the end of the process
        raise EngineUnavailable(
            f"cannot reach the Spark Connect server: {type(error).__name__}: {str(error)[:200]}",
            where=remote.split("/;")[0],
            state="nothing was read or written",
            next_command="start that server, or unset LAKEHOUSE_SPARK_REMOTE to use the engine on this machine",
        ) from None
    return session


def _cloned(remote: str, pid: int) -> str:
    """The address of a new session on an engine of ours that shares compiled code and Python with other sessions.

    A Connect server keeps the artifacts of its sessions apart: each has a class loader of its own, by which compiled
    code is found again, and Python daemons of its own, which never end. The settings against that are read when a
    session begins, before its client can set them. But a clone begins with the settings of its original.
    """
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    from lakehouse.engine.retries import WhileItLives
    from lakehouse.engine.waiting import watched

    original = ConnectSession(connection=watched(remote, pid))
    try:
        original.client.set_retry_policies([WhileItLives(pid)])
        for name, value in conf.shared_conf().items():
            original.conf.set(name, value)
        clone = original.cloneSession()
        clone.client.close()
        original.client.release_session()
    finally:
        original.client.close()
    return f"{remote};session_id={clone.client._session_id}"


def _alive(session: SparkSession) -> bool:
    try:
        session.sql("SELECT 1").collect()
    except Exception:
        return False
    return True


_TABLE_NAME = re.compile(r"[A-Za-z0-9_]+")
"""Names of tables that Spark's catalogue accepts."""


def register_tables(session: SparkSession, lake: Lake, say: Callable[[str], None] = lambda text: None) -> None:
    """Makes the lake's folders known to the session's catalogue: there is no metastore server to ask.

    Args:
        session: Whose catalogue.
        lake: Its tables; a folder whose name no table can have is left out.
        say: Told which folders are left out.

    Raises:
        ConfigurationError: a database of that name lies elsewhere (one catalogue serves one lake).
    """
    found = lake.table_names()
    for layer in LAYERS:
        location = f"{lake.settings.lake_uri}/{layer}"
        session.sql(f"CREATE DATABASE IF NOT EXISTS {layer} LOCATION {literal(location)}")
        rows = session.sql(f"DESCRIBE DATABASE {layer}").collect()
        actual = next(row[1] for row in rows if row[0] == "Location")
        if actual.rstrip("/") != location:
            raise ConfigurationError(
                f"this engine's database {layer} belongs to another lake: {actual}",
                where=location,
                state="nothing was read or written",
                next_command="give each LAKEHOUSE_USER or LAKEHOUSE_BUCKET a Spark of its own "
                "(unset LAKEHOUSE_SPARK_REMOTE: the engine on this machine does that)",
            )
        known = {row["tableName"] for row in session.sql(f"SHOW TABLES IN {layer}").collect()}
        for name in (table.split(".", 1)[1] for table in found if table.startswith(f"{layer}.")):
            if not _TABLE_NAME.fullmatch(name):
                say(f"{location}/{name} has no name in Spark: {name!r} cannot be a table's; read it by its path")
            elif name.lower() not in known:
                place = literal(f"{location}/{name}")
                session.sql(f"CREATE TABLE IF NOT EXISTS {layer}.{quoted(name)} USING delta LOCATION {place}")
