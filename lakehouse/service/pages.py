"""A few pages over HTTP, on this machine unless told otherwise."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lakehouse.errors import ConfigurationError

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Page:
    """An answer."""

    body: bytes
    kind: str
    status: HTTPStatus = HTTPStatus.OK


@contextmanager
def serving(pages: Mapping[str, Callable[[], Page]], port: int, *, host: str = HOST, where: str) -> Iterator[str]:
    """Answers while the body runs; gives the address.

    Args:
        pages: What makes the answer of each path.
        port: 0 takes a free port.
        host: Where to listen.
        where: The option that named the port, for an error.

    Raises:
        ConfigurationError: somebody else has the port.
    """
    not_found = Page(f"{' or '.join(pages)}\n".encode(), "text/plain", HTTPStatus.NOT_FOUND)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0], lambda: not_found)()
            self.send_response(page.status)
            self.send_header("Content-Type", page.kind)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, *arguments: Any) -> None:
            """Scrapes are no news."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            where=where,
            state="nothing was started",
            next_command="name another port, or 0 for a free one",
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="pages", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def serve_until_interrupted(
    pages: Mapping[str, Callable[[], Page]], port: int, *, host: str, where: str, say: Callable[[str], None]
) -> None:
    """Answers until Ctrl-C or SIGTERM; tells the address. Arguments and errors are those of ``serving``."""
    end = threading.Event()
    before = {signum: signal.signal(signum, lambda *given: end.set()) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        with serving(pages, port, host=host, where=where) as address:
            say(address)
            end.wait()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
