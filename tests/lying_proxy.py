"""A proxy on loopback before an S3 server: it answers some requests itself, as an ingress or a broken server would."""

import http.client
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from minio import Minio

_PAGE = b"<html><body>This service is being moved.</body></html>"
_OWN_TAG = {"ETag": '"65f0c0de-36"', "Last-Modified": "Mon, 02 Nov 2026 08:00:00 GMT"}
ANSWERS = {
    "404 in HTML": (404, _PAGE, {}),
    "404 without a body": (404, b"", {}),
    "404 of a bucket": (404, b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code></Error>", {}),
    "403 in HTML": (403, _PAGE, {}),
    "412 in HTML": (412, _PAGE, {}),
    "412 of S3": (412, b"<?xml version='1.0'?><Error><Code>PreconditionFailed</Code></Error>", {}),
    "416 in HTML": (416, _PAGE, {}),
    "a page": (200, _PAGE, {}),
    "a page with a tag": (200, _PAGE, _OWN_TAG),
}


class LyingProxy(ThreadingHTTPServer):
    """Forwards to the store; ``lie`` says which requests are met by what.

    Attributes:
        told: The requests that were lied to, in order: method, path and lie.
        silence: Ends the waiting of connections that are kept silent.
    """

    daemon_threads = True

    def __init__(self, endpoint):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        keys = (endpoint.access_key.get_secret_value(), endpoint.secret_key.get_secret_value())
        self.target, self.sdk = endpoint.host, Minio(endpoint.host, *keys, secure=False, region=endpoint.region)
        self.silence, self.told = threading.Event(), []
        self._lock = threading.Lock()
        self.honest()

    def honest(self):
        """No more lies."""
        self._pattern, self._kind, self._left = None, None, 0

    def lie(self, pattern, kind, times=1_000_000):
        """To the next ``times`` requests whose method and path match.

        Args:
            pattern: A regular expression for method, blank and path.
            kind: One of ``ANSWERS``; ``silent``: no answer; ``lost``: the request is done and its answer thrown away;
                ``unconditional``: a GET of an object is done without its conditions.
            times: How many.
        """
        self._pattern, self._kind, self._left = re.compile(pattern), kind, times

    def lie_for(self, request):
        """What the request meets; None for the truth."""
        with self._lock:
            if self._pattern is None or not self._left or not self._pattern.match(request):
                return None
            self._left -= 1
            self.told.append(f"{request} {self._kind}")
            return self._kind

    def handle_error(self, request, client_address):
        """Clients that leave are expected here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _serve(self):
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        lie = self.server.lie_for(f"{self.command} {self.path}")
        if lie in ANSWERS:
            status, body, headers = ANSWERS[lie]
            kind = "application/xml" if body.startswith(b"<?xml") else "text/html"
            self._answer(status, [("Content-Type", kind), *headers.items()], body)
            return
        if lie == "silent":
            self.server.silence.wait()
            self.close_connection = True
            return
        path, headers = self.path, {name: self.headers[name] for name in self.headers if name.lower() != "connection"}
        if lie == "unconditional":  # the conditions are signed, so the request is signed anew
            bucket, _, key = unquote(path).removeprefix("/").partition("/")
            path = self.server.sdk.presigned_get_object(bucket, key).partition(self.server.target)[2]
            headers = {name: self.headers[name] for name in self.headers if name.lower() == "range"}
        asked = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            asked.request(self.command, path, data or None, headers)
            found = asked.getresponse()
            body = found.read()
        finally:
            asked.close()
        if lie == "lost":
            self.close_connection = True
            return
        kept = [header for header in found.getheaders() if header[0].lower() not in ("connection", "transfer-encoding")]
        self._answer(found.status, kept, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

    def _answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def lying_proxy(endpoint):
    """A proxy in front of the store at ``endpoint``."""
    proxy = LyingProxy(endpoint)
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.silence.set()
        proxy.shutdown()
        proxy.server_close()
