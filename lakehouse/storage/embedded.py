"""The embedded object store: a real server on 127.0.0.1, started when needed and found again after any crash."""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import SecretStr

from lakehouse.errors import ConfigurationError, LakehouseError, StoreUnavailable
from lakehouse.processes import Server, free_port, port_is_free, private_folder, write_private
from lakehouse.settings import Settings
from lakehouse.storage.conditional import prove_conditional_writes
from lakehouse.storage.kinds import Start, StoreServer, server_of
from lakehouse.storage.store import StoreEndpoint
from lakehouse.storage.webhook import target_of

_START_TIMEOUT_SECONDS = 90
_TRIES = 3
_PATIENCE_SECONDS = 10
"""Patient enough for a machine whose cores are all busy, not for a server that hangs."""
Say = Callable[[str], None]


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoreStatus:
    """A running embedded store."""

    kind: str
    pid: int
    url: str
    data: Path
    memory_bytes: int


def store_server(settings: Settings) -> Server:
    """The embedded store of this home."""
    return Server(settings.home / "store")


def ensure_embedded(settings: Settings, say: Say) -> StoreEndpoint:
    """Finds the server, or starts it on the data that is there.

    Raises:
        StoreUnavailable: it does not start.
        ConfigurationError: another kind of server runs on this home, or the home cannot be written to.
    """
    server = store_server(settings)
    endpoint = _usable(server, settings)
    if endpoint:
        return endpoint
    with server.lock():
        endpoint = _usable(server, settings)  # somebody else started it while this process waited for the lock
        if endpoint:
            return endpoint
        running = server.running()
        if running is not None and running.record["kind"] != settings.store:
            raise ConfigurationError(
                f"this home runs {running.record['kind']}, not {settings.store}",
                where=str(server.folder),
                state="the running server was left alone",
                next_command=f"lakehouse down, or LAKEHOUSE_STORE={running.record['kind']}, or another LAKEHOUSE_HOME",
            )
        server.stop()  # alive without answering
        return _start(server, settings, say)


def embedded_endpoint(settings: Settings) -> StoreEndpoint | None:
    """The running embedded server's address and keys; None where it does not run or does not answer."""
    return _usable(store_server(settings), settings)


def stop_store(settings: Settings) -> bool:
    """Stops the embedded server; True when it was running. Data stays."""
    return store_server(settings).end()


def store_status(settings: Settings) -> StoreStatus | None:
    """The running embedded server, or None."""
    running = store_server(settings).running()
    if running is None:
        return None
    with suppress(psutil.Error):
        memory = running.process().memory_info().rss
        return StoreStatus(
            running.record["kind"], running.pid, running.record["url"], Path(running.record["data"]), memory
        )
    return None


def _usable(server: Server, settings: Settings) -> StoreEndpoint | None:
    running = server.running()
    if running is None or running.record["kind"] != settings.store:
        return None
    endpoint = _endpoint(server, running.record["url"], settings)
    return endpoint if endpoint and (_answers_at_once(endpoint) or _answers(endpoint, attempts=3)) else None


def _answers_at_once(endpoint: StoreEndpoint) -> bool:
    """The same as below by one request of a client that starts sooner; no answer means nothing."""
    from lakehouse.storage.fast_store import FastStore

    try:
        FastStore(endpoint, timeout_seconds=_PATIENCE_SECONDS, retried=False).bucket_exists("probe")
    except LakehouseError:
        return False
    return True


def _answers(endpoint: StoreEndpoint, attempts: int) -> bool:
    """Whether the server takes these credentials now; no bucket needs to exist."""
    from lakehouse.storage.minio_store import MinioStore

    try:
        MinioStore(endpoint, read_timeout_seconds=_PATIENCE_SECONDS, attempts=attempts).bucket_exists("probe")
    except LakehouseError:
        return False
    return True


def _endpoint(server: Server, url: str, settings: Settings) -> StoreEndpoint | None:
    """With the credentials of this home; None when it has none that can be read."""
    try:
        keys = json.loads((server.folder / "credentials.json").read_text())
        return StoreEndpoint(url, SecretStr(keys["access_key"]), SecretStr(keys["secret_key"]), settings.s3_region)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _start(server: Server, settings: Settings, say: Say) -> StoreEndpoint:
    private_folder(server.folder)
    data = private_folder(server.folder / f"data-{settings.store}").resolve()
    kind = server_of(settings.store)
    _stop_forgotten(kind, data)
    if _endpoint(server, "", settings) is None:
        keys = {"access_key": f"lake{secrets.token_hex(8)}", "secret_key": secrets.token_urlsafe(30)}
        write_private(server.folder / "credentials.json", json.dumps(keys))
    for _ in range(_TRIES):
        port = _port(server.folder / "port")
        endpoint = _endpoint(server, f"http://127.0.0.1:{port}", settings)
        if endpoint is None:
            break
        target = target_of(server.folder)
        command, environment = kind.launch(Start(server.folder, data, endpoint, say, settings.minio_binary, target))
        started = time.monotonic()
        running = server.start(
            command,
            environment=environment,
            record={"kind": settings.store, "url": endpoint.url, "data": str(data)},
            # of a stranger who took the port in this moment the credentials learn nothing: they only sign
            ready=lambda port=port, endpoint=endpoint: not port_is_free(port) and _answers(endpoint, attempts=1),  # type: ignore[misc]
            timeout_seconds=_START_TIMEOUT_SECONDS,
        )
        if running is not None:
            from lakehouse.storage.minio_store import MinioStore

            store = MinioStore(endpoint)
            store.ensure_bucket(settings.bucket)
            prove_conditional_writes(store, settings, endpoint.url)
            seconds = time.monotonic() - started
            _log.info("%s ready on 127.0.0.1:%d, pid %d, data in %s", settings.store, port, running.pid, data)
            say(f"{settings.store} ready on 127.0.0.1:{port} (pid {running.pid}, {seconds:.1f} s)")
            return endpoint
        if port_is_free(port):
            break  # the port was not the reason
    raise StoreUnavailable(
        f"the embedded {settings.store} server did not start:\n{server.log_tail()}",
        where=str(server.log),
        state=f"nothing is left running; the data in {data} was not touched",
        next_command="read the log, then run the same again",
    )


def _stop_forgotten(kind: StoreServer, data: Path) -> None:
    """Ends a server on this very folder that no record names: its starter was killed before it could write one."""
    forgotten = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real == os.getuid() and kind.serves(process.cmdline(), data):
                process.terminate()
                forgotten.append(process)
    for process in psutil.wait_procs(forgotten, timeout=20)[1]:
        with suppress(psutil.Error):
            process.kill()
            process.wait(10)


def _port(remembered: Path) -> int:
    """The port of last time while it is free: addresses that users noted down stay right."""
    with suppress(OSError, ValueError):
        port = int(remembered.read_text())
        if port_is_free(port):
            return port
    port = free_port()
    write_private(remembered, str(port))
    return port
