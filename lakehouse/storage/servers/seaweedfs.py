"""SeaweedFS: one process with all of its servers, each on loopback and on a port nobody uses."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from lakehouse.extras import needing, not_installed
from lakehouse.processes import free_ports, write_private
from lakehouse.storage.kinds import Launch, Start, StoreServer, plain_environment


class SeaweedFs(StoreServer):
    """``weed mini``, from the environment's programs or PATH."""

    def launch(self, start: Start) -> Launch:
        """See ``StoreServer``."""
        binary = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if binary is None:
            raise not_installed("seaweedfs", "SeaweedFS", "LAKEHOUSE_STORE=seaweedfs")
        keys = {
            "accessKey": start.endpoint.access_key.get_secret_value(),
            "secretKey": start.endpoint.secret_key.get_secret_value(),
        }
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = {"identities": [{"name": "lakehouse", "credentials": [keys], "actions": actions}]}
        write_private(start.folder / "s3.json", json.dumps(identities))
        with needing("seaweedfs", "LAKEHOUSE_STORE=seaweedfs"):
            from lakehouse.storage.seaweedfs_security import write_security  # its import is of this server alone

        write_security(start.folder)
        parts = ("master", "volume", "filer", "admin")
        names = [f"{part}.{kind}" for part in parts for kind in ("port", "port.grpc")] + ["s3.port.grpc"]
        ports = [f"-{name}={port}" for name, port in zip(names, free_ports(len(names)), strict=True)]
        listen = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={urlsplit(start.endpoint.url).port}"]
        off = ["-webdav=false", "-admin.ui=false", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        places = [f"-dir={start.data}", f"-s3.config={start.folder / 's3.json'}"]
        return [binary, "mini", *places, *listen, *ports, *off], plain_environment()

    def serves(self, command: Sequence[str], data: Path) -> bool:
        """See ``StoreServer``."""
        return len(command) > 2 and command[1] == "mini" and f"-dir={data}" in command


SERVER = SeaweedFs()
