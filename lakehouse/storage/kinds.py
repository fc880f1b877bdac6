"""The two servers that can be embedded: how each is launched so that it stays on this machine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from lakehouse.extras import needing, not_installed
from lakehouse.processes import write_private
from lakehouse.storage.contract import StoreEndpoint
from lakehouse.storage.minio_binary import ensure_minio_binary

Launch = tuple[list[str], Mapping[str, str]]


def launch_of(
    kind: str,
    folder: Path,
    data: Path,
    endpoint: StoreEndpoint,
    say: Callable[[str], None] = lambda text: None,
    minio: Path | None = None,
) -> Launch:
    """Command and whole environment of a server; credentials are in the environment or in a private file only.

    Args:
        kind: ``minio`` or ``seaweedfs``.
        folder: Where the server's own files may be written.
        data: Where it keeps the objects.
        endpoint: Address and credentials that it is to have.
        say: Told about a build of the server, which takes minutes.
        minio: The executable that the settings name.

    Raises:
        ConfigurationError: it is not installed.
        TransientError: it could not be built.
    """
    if kind == "seaweedfs":
        return _seaweedfs(folder, data, endpoint), _plain_environment()
    command = [str(ensure_minio_binary(say, minio)), "server", "--quiet", "--address", endpoint.host, str(data)]
    return command, {
        **_plain_environment(),
        "MINIO_ROOT_USER": endpoint.access_key.get_secret_value(),
        "MINIO_ROOT_PASSWORD": endpoint.secret_key.get_secret_value(),
        "MINIO_BROWSER": "off",  # no second listener
        "MINIO_UPDATE": "off",
        "MINIO_CALLHOME_ENABLE": "off",
        "MINIO_PROMETHEUS_AUTH_TYPE": "public",  # request counts for the benchmarks, on loopback only
    }


def serves(command: Sequence[str], data: Path) -> bool:
    """Whether ``command`` is one that ``launch_of`` made for this folder."""
    if len(command) < 3:
        return False
    return (command[1] == "server" and command[-1] == str(data)) or (command[1] == "mini" and f"-dir={data}" in command)


def _plain_environment() -> dict[str, str]:
    """The caller's variables less those that would configure a server behind our back."""
    unwanted = ("MINIO_", "WEED_", "AWS_", "S3_", "LAKEHOUSE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def _seaweedfs(folder: Path, data: Path, endpoint: StoreEndpoint) -> list[str]:
    """One process with all of SeaweedFS's servers, each on loopback and on a port nobody uses."""
    binary = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if binary is None:
        raise not_installed("seaweedfs", "SeaweedFS", "LAKEHOUSE_STORE=seaweedfs")
    keys = {
        "accessKey": endpoint.access_key.get_secret_value(),
        "secretKey": endpoint.secret_key.get_secret_value(),
    }
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = {"identities": [{"name": "lakehouse", "credentials": [keys], "actions": actions}]}
    write_private(folder / "s3.json", json.dumps(identities))
    with needing("seaweedfs", "LAKEHOUSE_STORE=seaweedfs"):
        from lakehouse.storage.seaweedfs_security import write_security  # its import is of this server alone

    write_security(folder)
    parts = ("master", "volume", "filer", "admin")
    names = [f"{part}.{kind}" for part in parts for kind in ("port", "port.grpc")] + ["s3.port.grpc"]
    ports = [f"-{name}={port}" for name, port in zip(names, _free_ports(len(names)), strict=True)]
    listen = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={urlsplit(endpoint.url).port}"]
    off = ["-webdav=false", "-admin.ui=false", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    return [binary, "mini", f"-dir={data}", *listen, f"-s3.config={folder / 's3.json'}", *ports, *off]


def _free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on now, all different."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
