"""The warm engine: one Spark Connect server for each lake and user, on 127.0.0.1, kept between commands.

Starting Spark and compiling its first stream takes longer than a run of twelve files. So the first command that needs
Spark starts the server, later ones find it, ``lakehouse down`` stops it. A server that died is started again.
A server with other settings is replaced when nobody is connected to it, and named in an error when somebody is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import SecretStr

from lakehouse.autoloader.options.locations import ROOT
from lakehouse.engine import conf, jars, java, workers
from lakehouse.errors import EngineUnavailable, LakehouseError
from lakehouse.events.address import VARIABLE as INBOX
from lakehouse.processes import Running, Server, free_port, private_folder, write_private
from lakehouse.settings import Settings
from lakehouse.storage import StoreEndpoint
from lakehouse.storage.environment import environment_of
from lakehouse.storage.local_paths import PATHS

_START_TIMEOUT_SECONDS = 120
_OUT_OF_MEMORY = "OutOfMemoryError"
_QUERIES = "queries"
_ENDED_QUERY_BYTES = 9 << 20

# Small runs are mostly compilation: stopping at the first compiler took a cold run from 71 to 42 CPU seconds, and the
# serial collector needs no threads beside the two that work. Figures: docs/decisions.md.
_JVM_OPTIONS = (
    *java.MOSTLY_COMPILATION,
    "-XX:+ExitOnOutOfMemoryError",  # an engine that lacks memory dies and is replaced instead of limping on
    "-Xss4m",  # Spark plans recursively; deep expressions need stack
    "-XX:MetaspaceSize=256m",  # what all that is loaded takes: no collection because of that on the way there
    "-XX:MaxMetaspaceSize=512m",
    "-XX:ReservedCodeCacheSize=192m",
)


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Engine:
    """A running server and the way in."""

    pid: int
    port: int
    token: SecretStr

    @property
    def remote(self) -> SecretStr:
        """The ``sc://`` address with the token.

        The name must be localhost: Spark's client sends a token without TLS to that name alone.
        """
        return SecretStr(f"sc://localhost:{self.port}/;token={self.token.get_secret_value()}")


@dataclass(frozen=True)
class EngineStatus:
    """What ``lakehouse up`` shows of the engine. ``memory_bytes`` is of the JVM and its Python workers together."""

    pid: int
    port: int
    memory_bytes: int
    log: Path


def server(settings: Settings) -> Server:
    """The engine's process, one for each lake and user: its sessions share Spark's in-memory catalogue."""
    return Server(settings.home / "engine" / settings.user)


def spark_log(settings: Settings) -> Path:
    """Spark's own log."""
    return server(settings).folder / "spark.log"


def engine_status(settings: Settings) -> EngineStatus | None:
    """The running engine, or None."""
    running = server(settings).running()
    if running is None:
        return None
    return EngineStatus(running.pid, running.record["port"], _memory_bytes(running), spark_log(settings))


def engine_pid(settings: Settings) -> int | None:
    """The running engine's process, without a look at its memory."""
    running = server(settings).running()
    return None if running is None else running.pid


def ensure_engine(
    settings: Settings, endpoint: StoreEndpoint, say: Callable[[str], None] = lambda text: None
) -> Engine:
    """Finds the engine, or starts it.

    Raises:
        EngineUnavailable: it does not start, or runs with other settings for somebody else.
    """
    daemon = server(settings)
    fingerprint = _fingerprint(settings, endpoint)
    engine = _usable(daemon, fingerprint)
    if engine:
        return engine
    with daemon.lock():
        running = daemon.running()
        if running is not None:
            engine = _usable(daemon, fingerprint)  # somebody else started it while this process waited for the lock
            if engine:
                return engine
            _refuse_when_busy(running, settings)
            say("replacing the Spark engine: it was started with other settings, or grew too large")
            daemon.stop()
        return _start(daemon, settings, endpoint, fingerprint, say)


def stop_engine(settings: Settings) -> bool:
    """Stops the engine; True when one was running. What streams committed stays; the next run goes on from there."""
    return server(settings).end()


def explain(settings: Settings, problem: BaseException, pid: int | None = None) -> LakehouseError | None:
    """The reason why an engine that was there a moment ago does not answer; None when it lives.

    Args:
        settings: Whose engine.
        problem: What its client met.
        pid: The engine that was there: another process may have started a new engine since.
    """
    running = server(settings).running()
    if running is not None and pid in (None, running.pid):
        return None
    log = spark_log(settings)
    text = server(settings).log_tail(5) + (log.read_text(errors="replace")[-20_000:] if log.exists() else "")
    state = "batches committed before stay committed; the batch in work is done again by the next run"
    if _OUT_OF_MEMORY in text:
        larger = f"{int(settings.engine_memory[:-1]) * 2}{settings.engine_memory[-1]}"
        return EngineUnavailable(
            f"the Spark engine ran out of memory (heap {settings.engine_memory}) and ended",
            where=str(log),
            state=state,
            next_command=f"LAKEHOUSE_ENGINE_MEMORY={larger} lakehouse ingest",
        )
    return EngineUnavailable(
        f"the Spark engine ended while it was in use ({type(problem).__name__})",
        where=str(log),
        state=state,
        next_command="lakehouse ingest   (starts a new engine)",
    )


def _start(
    daemon: Server, settings: Settings, endpoint: StoreEndpoint, fingerprint: str, say: Callable[[str], None]
) -> Engine:
    jar_folder = jars.ensure_jars(say)
    started = time.monotonic()
    private_folder(daemon.folder)
    port, token = free_port(), secrets.token_urlsafe(24)
    properties = daemon.folder / "spark.properties"
    # two attempts a task: the second finds out which file killed the first
    wanted = conf.engine_conf(settings, endpoint, master="local[2,2]", connect_port=port)
    write_private(properties, "".join(f"{name} {value}\n" for name, value in wanted.items()))
    write_private(daemon.folder / "token", token)
    (daemon.folder / _QUERIES).unlink(missing_ok=True)
    engine = java.spark_submit(
        jar_folder,
        [*jvm_options(settings, endpoint, daemon.folder), f"-Dlakehouse.log={spark_log(settings)}"],
        *("--properties-file", str(properties)),
        *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"),
    )
    python = workers.launcher(daemon.folder)
    variables = {**worker_environment(endpoint), **dict.fromkeys(_INTERPRETER, python)}
    running = daemon.start(
        workers.with_parent(daemon.folder, python, engine),
        environment=java.environment({**variables, "SPARK_CONNECT_AUTHENTICATE_TOKEN": token}),
        record={"port": port, "fingerprint": fingerprint, "heap": settings.engine_memory},
        ready=lambda: _answers(port),
        timeout_seconds=_START_TIMEOUT_SECONDS,
        # Spark's worker for foreachBatch prints the address of the server with the token in it
        hidden=[token, endpoint.access_key.get_secret_value(), endpoint.secret_key.get_secret_value()],
    )
    if running is None:
        raise explain(settings, TimeoutError()) or EngineUnavailable(
            f"the Spark engine did not start within {_START_TIMEOUT_SECONDS} s:\n{daemon.log_tail()}",
            where=str(daemon.log),
            state="nothing is left running",
            next_command="read the log, then run the same again",
        )
    _log.info("Spark engine ready on 127.0.0.1:%d, pid %d, log %s", port, running.pid, daemon.log)
    say(f"Spark engine ready on 127.0.0.1:{port} (pid {running.pid}, {time.monotonic() - started:.1f} s)")
    return Engine(running.pid, port, SecretStr(token))


_INTERPRETER = ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON")


def jvm_options(settings: Settings, endpoint: StoreEndpoint, folder: Path) -> list[str]:
    """Options of a JVM of ours: memory, garbage collector, trust store, log."""
    trust = java.truststore_options(settings.home / "engine") if endpoint.secure else []
    log4j = Path(__file__).with_name("log4j2.properties")
    return [
        f"-Xmx{settings.engine_memory}",
        *_JVM_OPTIONS,
        *trust,
        f"-Dlog4j2.configurationFile={log4j}",
        f"-Djava.io.tmpdir={private_folder(folder / 'scratch')}",
        "-Duser.timezone=UTC",
    ]


def worker_environment(endpoint: StoreEndpoint) -> dict[str, str]:
    """Credentials, places and interpreter for the JVM and the Python workers it starts."""
    places = {name: os.environ[name] for name in (PATHS, ROOT, INBOX) if name in os.environ}
    return {
        **places,
        **environment_of(endpoint),
        **dict.fromkeys(_INTERPRETER, sys.executable),
        "TZ": "UTC",
    }


def _fingerprint(settings: Settings, endpoint: StoreEndpoint) -> str:
    """Changes with everything an engine is started with; other buckets need no other engine."""
    identity = conf.engine_identity(settings, endpoint)
    # an interpreter has many names (python, python3, ../.venv/bin/python), its environment has one
    environment = {**worker_environment(endpoint), **dict.fromkeys(_INTERPRETER, os.path.realpath(sys.prefix))}
    parts = [identity, _JVM_OPTIONS, environment, str(java.java()), jars.folder().name]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _usable(daemon: Server, fingerprint: str) -> Engine | None:
    running = daemon.running()
    if running is None or running.record["fingerprint"] != fingerprint or not _answers(running.record["port"]):
        return None
    if _bloated(daemon, running) and not _clients(running, but_this_process=False):
        return None
    try:
        token = (daemon.folder / "token").read_text()
    except OSError:
        return None
    return Engine(running.pid, running.record["port"], SecretStr(token))


def _refuse_when_busy(running: Running, settings: Settings) -> None:
    clients = _clients(running)
    if clients:
        raise EngineUnavailable(
            f"the Spark engine (pid {running.pid}) was started with other settings and is in use by pid "
            + ", ".join(map(str, clients)),
            where=str(server(settings).folder),
            state="the running engine and its clients were left alone",
            next_command="wait until they end, or stop the engine under them: lakehouse down",
        )


def _clients(running: Running, *, but_this_process: bool = True) -> list[int]:
    """Processes with an open connection to the engine."""
    port, found = running.record["port"], set()
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            to_engine = connection.raddr and connection.raddr.port == port
            if to_engine and connection.status == psutil.CONN_ESTABLISHED and connection.pid:
                found.add(connection.pid)
    return sorted(found - {running.pid} - ({psutil.Process().pid} if but_this_process else set()))


def _bloated(daemon: Server, running: Running) -> bool:
    """Whether half of its heap is taken by ended queries, or it takes more memory than a healthy engine ever does."""
    heap = running.record["heap"]
    heap_bytes = int(heap[:-1]) * (1 << 30 if heap.endswith("g") else 1 << 20)
    kept_bytes = _queries_of_last_hour(daemon) * _ENDED_QUERY_BYTES
    return kept_bytes > heap_bytes / 2 or _memory_bytes(running) > heap_bytes + (2 << 30)


def note_query(settings: Settings) -> None:
    """Records that the engine on this machine was given a streaming query.

    Spark Connect 4.2 keeps each query for an hour after its end, with its last plan, in a cache without a setting
    (``SparkConnectStreamingQueryCache``). 151 queries of silver filled a heap of 1.5 GB, and the engine only collected
    garbage. So an engine that ran many is replaced while nobody is connected.
    """
    with suppress(OSError), (server(settings).folder / _QUERIES).open("a") as log:
        log.write(f"{time.time():.0f}\n")


def _queries_of_last_hour(daemon: Server) -> int:
    try:
        started = (daemon.folder / _QUERIES).read_text().split()
    except OSError:
        return 0
    return sum(float(at) > time.time() - 3600 for at in started)


def _memory_bytes(running: Running) -> int:
    total = 0
    with suppress(psutil.Error):
        process = running.process()
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                # forked workers share most of their pages: each page is counted once over all who have it
                total += member.memory_full_info().pss
    return total


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
