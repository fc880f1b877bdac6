"""The receiver: a webhook on this machine that acknowledges an event when it is in the inbox, not before."""

from __future__ import annotations

import hmac
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lakehouse.errors import ConfigurationError, LakehouseError
from lakehouse.events.event import Malformed, events_of
from lakehouse.events.inbox import Inbox

HOST = "127.0.0.1"
MOST_BYTES = 1 << 20
"""An event of MinIO has about 1 kB, and at most some 10 kB where the key is long."""
_PRUNED_EVERY_SECONDS = 60.0
_IDLE_SECONDS = 120

_log = logging.getLogger(__name__)


class Receiver:
    """Listens until it is closed.

    Args:
        inbox: Where events go.
        token: What every sender has to say.
        port: On 127.0.0.1; 0 for any that is free.
        host: Where it listens.
        now: The clock.

    Raises:
        ConfigurationError: the port is taken.
    """

    def __init__(
        self,
        inbox: Inbox,
        token: str,
        port: int = 0,
        *,
        host: str = HOST,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.inbox, self._now = inbox, now
        self.counts: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._closed = threading.Event()
        self._expected = f"Bearer {token}".encode()
        receiver = self

        class Handler(_Handler):
            """Answers for this receiver."""

            to = receiver

        try:
            self._server = _Server((host, port), Handler)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{port}: {error.strerror}",
                where="lakehouse events serve",
                state="nothing was started",
                next_command="end what listens there, or name another port: --port 0 takes one that is free",
            ) from None
        self.port = int(self._server.server_address[1])

    def run(self) -> None:
        """Serves until ``close``; meanwhile the inbox is pruned."""
        pruning = threading.Thread(target=self._prune, name="prune", daemon=True)
        pruning.start()
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        """Ends ``run``. Senders send events again that were not acknowledged."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def count(self, what: str, number: int = 1) -> None:
        """Counts an answer."""
        with self._counting:
            self.counts[what] += number

    def allows(self, header: str) -> bool:
        """Whether an authorization header has the token."""
        return hmac.compare_digest(header.encode("utf-8", "surrogateescape"), self._expected)

    def take(self, body: bytes) -> HTTPStatus:
        """Puts a body's events into the inbox, and returns the HTTP status of that."""
        try:
            events, others = events_of(body)
        except Malformed as error:
            self.count("malformed")
            _log.warning("a malformed event of %d bytes was refused: %s", len(body), error)
            return HTTPStatus.BAD_REQUEST
        try:
            new = self.inbox.put(events, self._now())
        except LakehouseError as error:
            self.count("failed")
            _log.error("the inbox takes no events: %s", error.what)
            return HTTPStatus.SERVICE_UNAVAILABLE
        self.count("new", new)
        self.count("known", len(events) - new)
        self.count("ignored", others)
        return HTTPStatus.OK

    def _prune(self) -> None:
        while not self._closed.wait(_PRUNED_EVERY_SECONDS):
            try:
                self.inbox.prune(self._now())
            except Exception as error:  # of whatever kind: an inbox that nobody prunes any more fills the disk
                what = error.what if isinstance(error, LakehouseError) else f"{type(error).__name__}: {error}"
                _log.error("the inbox could not be pruned: %s", what)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that went away is no error of ours."""
        _log.debug("a sender went away", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS
    to: Receiver

    def do_POST(self) -> None:
        """An event."""
        if not self.to.allows(self.headers.get("Authorization", "")):
            self.to.count("forbidden")
            self._answer(HTTPStatus.FORBIDDEN, close=True)
            return
        try:
            size = int(self.headers["Content-Length"])
        except (TypeError, ValueError):
            self.to.count("malformed")
            self._answer(HTTPStatus.LENGTH_REQUIRED, close=True)
            return
        if not 0 <= size <= MOST_BYTES:
            self.to.count("malformed")
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, close=True)
            return
        body = self.rfile.read(size)
        if len(body) < size:
            self.close_connection = True
            return
        # MinIO asks with an empty body whether somebody listens
        self._answer(self.to.take(body) if body else HTTPStatus.OK)

    def do_HEAD(self) -> None:
        """Whether somebody listens."""
        self._answer(HTTPStatus.OK)

    def do_GET(self) -> None:
        """Counts of answers; nothing of what events say."""
        self._answer(HTTPStatus.OK, json.dumps({"received": dict(self.to.counts)}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted, not logged."""

    def _answer(self, status: HTTPStatus, body: bytes = b"", *, close: bool = False) -> None:
        self.send_response(status)
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body:
            self.wfile.write(body)
