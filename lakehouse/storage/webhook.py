"""Where the embedded store sends its events: kept beside its credentials, read whenever it is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from lakehouse.processes import private_folder, write_private

QUEUED, DIRECT = "LAKEHOUSE", "LAKEHOUSENOW"
"""Names of the two targets. MinIO looks into a queue every three seconds, and sends at once what has none."""
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
        said: dict[str, str] = {}
        for target in (QUEUED, DIRECT):
            said |= {
                f"MINIO_NOTIFY_WEBHOOK_ENABLE_{target}": "on",
                f"MINIO_NOTIFY_WEBHOOK_ENDPOINT_{target}": self.url,
                f"MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_{target}": token,
            }
        return {**said, f"MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_{QUEUED}": str(self.queue)}

    def waiting(self) -> int:
        """How many events wait in the queue."""
        return sum(1 for one in self.queue.rglob("*") if one.is_file()) if self.queue.is_dir() else 0


def arn_of(target: str) -> str:
    """What a bucket's rule calls a target."""
    return f"arn:minio:sqs::{target}:webhook"


def webhook_of(folder: Path) -> Webhook | None:
    """The receiver that the store of this folder is started with; None without one."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads((folder / _NAME).read_text())
        return Webhook(said["url"], SecretStr(said["token"]), Path(said["queue"]))
    return None


def write_webhook(folder: Path, webhook: Webhook | None) -> None:
    """Keeps the receiver for the store's next start; None forgets it."""
    private_folder(folder)
    if webhook is None:
        (folder / _NAME).unlink(missing_ok=True)
        return
    private_folder(webhook.queue)
    said = {"url": webhook.url, "token": webhook.token.get_secret_value(), "queue": str(webhook.queue)}
    write_private(folder / _NAME, json.dumps(said))
