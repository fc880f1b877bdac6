"""MinIO: the pinned version, from PATH or built once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lakehouse.storage.kinds import Launch, Start, StoreServer, plain_environment
from lakehouse.storage.minio_binary import ensure_minio_binary


class Minio(StoreServer):
    """A single process on one folder."""

    def launch(self, start: Start) -> Launch:
        """See ``StoreServer``."""
        binary, endpoint = ensure_minio_binary(start.say, start.minio), start.endpoint
        command = [str(binary), "server", "--quiet", "--address", endpoint.host, str(start.data)]
        return command, {
            **plain_environment(),
            "MINIO_ROOT_USER": endpoint.access_key.get_secret_value(),
            "MINIO_ROOT_PASSWORD": endpoint.secret_key.get_secret_value(),
            "MINIO_BROWSER": "off",  # no second listener
            "MINIO_UPDATE": "off",
            "MINIO_CALLHOME_ENABLE": "off",
            "MINIO_PROMETHEUS_AUTH_TYPE": "public",  # request counts for the benchmarks, on loopback only
            **(start.events_target.environment() if start.events_target else {}),
        }

    def serves(self, command: Sequence[str], data: Path) -> bool:
        """See ``StoreServer``."""
        return len(command) > 2 and command[1] == "server" and command[-1] == str(data)


SERVER = Minio()
