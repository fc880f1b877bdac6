"""The receiver of events in the background: found, started, ended. Each opening of a lake looks for it."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from lakehouse.errors import TransientError
from lakehouse.processes import Server
from lakehouse.settings import Settings
from lakehouse.storage.embedded import store_server
from lakehouse.storage.webhook import Webhook, webhook_of

_START_SECONDS = 60.0
_ANSWER_SECONDS = 5.0


def receiver_server(settings: Settings) -> Server:
    """The receiver of this home."""
    return Server(settings.home / "events")


def ensure_receiver(settings: Settings) -> None:
    """Finds the receiver of a store that was given one, or starts it; without a receiver nothing is done.

    Raises:
        TransientError: it does not start.
    """
    webhook = webhook_of(store_server(settings).folder) if settings.s3_endpoint is None else None
    if webhook is None:
        return
    server = receiver_server(settings)
    if server.running() is not None:
        return
    with server.lock():
        if server.running() is not None:
            return
        port = port_of(webhook)
        place = {"LAKEHOUSE_HOME": str(settings.home), "LAKEHOUSE_EVENTS_INBOX": settings.inbox.get_secret_value()}
        started = server.start(
            [sys.executable, "-m", "lakehouse.cli.main", "events", "serve", "--port", str(port)],
            environment={**os.environ, **place},
            record={"port": port},
            ready=lambda: counts_of(webhook) is not None,
            timeout_seconds=_START_SECONDS,
            hidden=[webhook.token.get_secret_value()],
        )
        if started is None:
            raise TransientError(
                f"the receiver of events did not start:\n{server.log_tail()}",
                where=str(server.log),
                state="the store keeps its events, and files are found by listing",
                next_command="read the log, then: lakehouse events enable",
            )


def stop_receiver(settings: Settings) -> bool:
    """Ends the receiver; True when it was running. Events wait at the store."""
    return receiver_server(settings).end()


def counts_of(webhook: Webhook) -> Mapping[str, int] | None:
    """What the receiver has answered since it began; None when it does not answer."""
    asked = http.client.HTTPConnection(urlsplit(webhook.url).netloc, timeout=_ANSWER_SECONDS)
    try:
        asked.request("GET", "/")
        received = json.loads(asked.getresponse().read())["received"]
        return {str(name): int(count) for name, count in received.items()}
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return None
    finally:
        asked.close()


def port_of(webhook: Webhook) -> int:
    """Where the receiver listens; 0 where the address names none."""
    return urlsplit(webhook.url).port or 0
