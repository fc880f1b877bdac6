"""The inbox beside a queue of Amazon SQS: messages are deleted when their events are in a file on the disk."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lakehouse.errors import LakehouseError, TransientError
from lakehouse.events.address import InboxAddress
from lakehouse.events.event import Event, Malformed
from lakehouse.events.sqlite_inbox import SqliteInbox
from lakehouse.events.sqs_message import events_of_message
from lakehouse.extras import needing

with needing("events", "an inbox beside a queue of SQS"):
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

_PAGE = 10
"""As many as SQS gives at once."""
_VISIBLE_AFTER_SECONDS = 60
"""A message that nobody deleted comes again after that: the process that took it died before its events were kept."""
_LONG_POLL_SECONDS = 20
_GATHER_SECONDS = 20.0
"""How long a look takes in messages at most; the next look goes on."""
_PRUNED_EVERY_EVENTS = 500
_PATIENCE = Config(connect_timeout=5, read_timeout=_LONG_POLL_SECONDS + 10, retries={"total_max_attempts": 3})

_log = logging.getLogger(__name__)
_followed: set[str] = set()
"""Queues that a thread of this process reads: looks do not ask them."""


class SqsInbox(SqliteInbox):
    """An ``Inbox``: that of a file, filled from a queue by whoever reads it. A queue has one such file.

    Args:
        address: The queue and the file.

    Raises:
        ConfigurationError: the file is damaged or of another release.
    """

    def __init__(self, address: InboxAddress) -> None:
        assert address.file is not None
        super().__init__(address.file, create=True)
        parts = urlsplit(address.public)
        scheme = "http" if parts.scheme == "sqs+http" else "https"
        host = parts.hostname or ""
        given = parse_qs(parts.query).get("region", [host.split(".")[1] if host.startswith("sqs.") else None])
        self._queue, self._name = f"{scheme}://{parts.netloc}{parts.path}", address.public
        self._client = _client_of(f"{scheme}://{parts.netloc}", given[0])
        self._stop: threading.Event | None = None
        self._failure: LakehouseError | None = None

    def gather(self, patience_seconds: float = 0.0) -> None:
        """See ``Inbox``."""
        deadline = time.monotonic() + _GATHER_SECONDS
        while self._name not in _followed and self._take(patience_seconds) and time.monotonic() < deadline:
            pass

    def wait(self, beyond: int, seconds: float) -> bool:
        """See ``Inbox``: a thread asks the queue, until ``close``."""
        if self._stop is None:
            self._stop = threading.Event()
            threading.Thread(target=self._follow, args=(self._stop,), name="events", daemon=True).start()
        if (failure := self._failure) is not None:
            self._failure = None
            raise failure
        return super().wait(beyond, seconds)

    def waiting(self) -> int:
        """How many messages the queue has, about."""
        return int(self._attribute("ApproximateNumberOfMessages"))

    def arn(self) -> str:
        """What a bucket's rules call the queue."""
        return self._attribute("QueueArn")

    def close(self) -> None:
        """See ``Inbox``."""
        if self._stop is not None:
            self._stop.set()
            _followed.discard(self._name)
        super().close()

    def _attribute(self, name: str) -> str:
        with _explained(self._name):
            return str(
                self._client.get_queue_attributes(QueueUrl=self._queue, AttributeNames=[name])["Attributes"][name]
            )

    def _follow(self, stop: threading.Event) -> None:
        _followed.add(self._name)
        try:
            while not stop.is_set():
                self._take(_LONG_POLL_SECONDS, stop)
        except Exception as error:
            if not stop.is_set():  # else the file was closed meanwhile; what was taken comes again
                self._failure, self._stop = self._failed(error), None
        finally:
            _followed.discard(self._name)

    def _failed(self, error: Exception) -> LakehouseError:
        if isinstance(error, LakehouseError):
            return error
        return TransientError(
            f"events are not taken from the queue any more: {type(error).__name__}: {error}",
            where=self._name,
            state="they wait in the queue",
            next_command="run the same again",
        )

    def _take(self, patience_seconds: float, stop: threading.Event | None = None) -> int:
        """Takes in some messages; returns how many."""
        with _explained(self._name):
            answer = self._client.receive_message(
                QueueUrl=self._queue,
                MaxNumberOfMessages=_PAGE,
                WaitTimeSeconds=round(patience_seconds),
                VisibilityTimeout=_VISIBLE_AFTER_SECONDS,
            )
        messages: Sequence[dict[str, Any]] = answer.get("Messages", [])
        if stop is not None and stop.is_set():
            return 0  # the file is closed; the messages come again
        events: list[Event] = []
        read: list[dict[str, str]] = []
        for number, message in enumerate(messages):
            try:
                events += events_of_message(message["Body"])
            except Malformed as error:
                # it stays, for whoever it is meant for, until the queue's own rules take it away
                _log.warning("a message of %s tells of no file: %s", self._name, error)
            else:
                read.append({"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]})
        new = self.put(events, now := datetime.now(UTC))
        if read:
            with _explained(self._name):  # not before what they say is on the disk
                self._client.delete_message_batch(QueueUrl=self._queue, Entries=read)
        if new and self.last_number() % _PRUNED_EVERY_EVENTS < new:
            self.prune(now)
        return len(messages)


@cache
def _client_of(endpoint: str, region: str | None) -> Any:
    """A client is safe for threads, and slow to make."""
    return boto3.session.Session().client("sqs", endpoint_url=endpoint, region_name=region, config=_PATIENCE)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise TransientError(
            f"the queue of file events cannot be read: {error}",
            where=name,
            state="nothing was lost: what it has is read again",
            next_command="see whether the queue is there, and whether the keys here may read and delete its messages",
        ) from None
