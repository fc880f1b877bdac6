"""What an embedded server has to provide: how it is launched so that only this machine reaches it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from lakehouse.storage.store import StoreEndpoint
from lakehouse.storage.webhook import Target

Launch = tuple[list[str], Mapping[str, str]]
"""Command and whole environment of a server; credentials are in the environment or in a private file only."""


@dataclass(frozen=True)
class Start:
    """What a server is started with.

    Attributes:
        folder: Where the server's own files may be written.
        data: Where it keeps the objects; of this kind of server alone.
        endpoint: Address and credentials that it is to have.
        say: Told about a build of the server, which takes minutes.
        minio: The MinIO executable that the settings name.
        events_target: Where it sends its events; only MinIO sends any.
    """

    folder: Path
    data: Path
    endpoint: StoreEndpoint
    say: Callable[[str], None] = lambda text: None
    minio: Path | None = None
    events_target: Target | None = None


class StoreServer(ABC):
    """A kind of server. Each module of ``lakehouse.storage.servers`` has its kind as ``SERVER``."""

    @abstractmethod
    def launch(self, start: Start) -> Launch:
        """How it is launched; it listens on 127.0.0.1 alone.

        Raises:
            ConfigurationError: it is not installed.
            TransientError: it could not be built.
        """

    @abstractmethod
    def serves(self, command: Sequence[str], data: Path) -> bool:
        """Whether ``launch`` made ``command`` for this folder."""


def server_of(kind: str) -> StoreServer:
    """The server of that kind, ``Settings.store``."""
    server: StoreServer = import_module(f"lakehouse.storage.servers.{kind}").SERVER
    return server


def plain_environment() -> dict[str, str]:
    """The caller's variables less those that would configure a server behind our back."""
    unwanted = ("MINIO_", "WEED_", "AWS_", "S3_", "LAKEHOUSE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
