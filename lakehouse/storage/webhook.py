"""Where the embedded store sends its events: kept beside its credentials, read whenever it is started.

MinIO looks into a target's queue every three seconds, and sends at once what has none: so each place is two targets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from lakehouse.processes import private_folder, write_private

QUEUED, DIRECT = "LAKEHOUSE", "LAKEHOUSENOW"
"""Names of the two targets."""
_NAME = "webhook.json"


@dataclass(frozen=True)
class Webhook:
    """A receiver of events.

    Attributes:
        url: Its address.
        token: What it wants to be told.
        queue: Folder where the store keeps what could not be sent.
    """

    url: str
    token: SecretStr
    queue: Path

    def environment(self) -> Mapping[str, str]:
        """MinIO's variables: each event goes out at once, and once more from a queue that outlives an outage."""
        token = self.token.get_secret_value()
        variables: dict[str, str] = {}
        for target in (QUEUED, DIRECT):
            variables |= {
                f"MINIO_NOTIFY_WEBHOOK_ENABLE_{target}": "on",
                f"MINIO_NOTIFY_WEBHOOK_ENDPOINT_{target}": self.url,
                f"MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_{target}": token,
            }
        return {**variables, f"MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_{QUEUED}": str(self.queue)}

    def waiting(self) -> int:
        """How many events wait in the queue."""
        return _waiting(self.queue)


@dataclass(frozen=True)
class Database:
    """A table in PostgreSQL into which MinIO itself writes.

    Attributes:
        address: The whole address of the database.
        table: The table's name.
        queue: Folder where the store keeps what could not be written.
    """

    address: SecretStr
    table: str
    queue: Path

    def environment(self) -> Mapping[str, str]:
        """MinIO's variables."""
        variables: dict[str, str] = {}
        for target in (QUEUED, DIRECT):
            variables |= {
                f"MINIO_NOTIFY_POSTGRES_ENABLE_{target}": "on",
                f"MINIO_NOTIFY_POSTGRES_CONNECTION_STRING_{target}": self._connection(),
                f"MINIO_NOTIFY_POSTGRES_TABLE_{target}": self.table,
                f"MINIO_NOTIFY_POSTGRES_FORMAT_{target}": "access",
            }
        return {**variables, f"MINIO_NOTIFY_POSTGRES_QUEUE_DIR_{QUEUED}": str(self.queue)}

    def waiting(self) -> int:
        """How many events wait in the queue."""
        return _waiting(self.queue)

    def _connection(self) -> str:
        """MinIO insists on TLS where nothing is said; this machine's own servers have none."""
        address = self.address.get_secret_value()
        near = urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")
        if not near or "sslmode=" in address:
            return address
        return f"{address}{'&' if '?' in address else '?'}sslmode=disable"


Target = Webhook | Database


def arns_of(kind: str) -> tuple[str, ...]:
    """What a bucket's rules call the targets of a kind, ``webhook`` or ``postgresql``."""
    return tuple(f"arn:minio:sqs::{target}:{kind}" for target in (QUEUED, DIRECT))


WEBHOOKS, DATABASES = arns_of("webhook"), arns_of("postgresql")


def target_of(folder: Path) -> Target | None:
    """Where the store of this folder is started to send its events; None for nowhere."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads((folder / _NAME).read_text())
        if "database" in record:
            return Database(SecretStr(record["database"]), record["table"], Path(record["queue"]))
        return Webhook(record["url"], SecretStr(record["token"]), Path(record["queue"]))
    return None


def webhook_of(folder: Path) -> Webhook | None:
    """The receiver that the store of this folder is started with; None without a receiver."""
    found = target_of(folder)
    return found if isinstance(found, Webhook) else None


def write_target(folder: Path, target: Target | None) -> None:
    """Keeps the target for the store's next start; None forgets it."""
    private_folder(folder)
    if target is None:
        (folder / _NAME).unlink(missing_ok=True)
        return
    private_folder(target.queue)
    if isinstance(target, Database):
        record = {"database": target.address.get_secret_value(), "table": target.table}
    else:
        record = {"url": target.url, "token": target.token.get_secret_value()}
    write_private(folder / _NAME, json.dumps({**record, "queue": str(target.queue)}))


def _waiting(queue: Path) -> int:
    return sum(1 for file in queue.rglob("*") if file.is_file()) if queue.is_dir() else 0
