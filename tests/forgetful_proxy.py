"""A gateway on loopback before an S3 server that forgets headers: it signs each request anew, without them."""

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import urllib3
from minio.credentials import Credentials
from minio.signer import sign_v4_s3

_NOT_PASSED_ON = ("host", "authorization", "content-length", "connection", "transfer-encoding", "accept-encoding")


@contextmanager
def forgetful_proxy(endpoint, *forgotten, ahead_seconds=0):
    """The address of a gateway before ``endpoint`` that drops the headers ``forgotten``; its clock may be ahead."""
    dropped = {name.lower() for name in (*forgotten, *_NOT_PASSED_ON)}
    keys = Credentials(endpoint.access_key.get_secret_value(), endpoint.secret_key.get_secret_value())
    pool = urllib3.PoolManager(retries=False)
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def date_time_string(self, timestamp=None):
            return super().date_time_string(time.time() + ahead_seconds)

        def passed_on(self):
            asked.append(self.command)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            digest, now = sha256(body).hexdigest(), datetime.now(UTC)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            headers |= {
                "Host": endpoint.host,
                "x-amz-content-sha256": digest,
                "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            }
            url = f"{endpoint.url}{self.path}"
            signed = sign_v4_s3(
                method=self.command,
                url=urlsplit(url),
                region=endpoint.region,
                headers=headers,
                credentials=keys,
                content_sha256=digest,
                date=now,
            )
            reply = pool.request(self.command, url, body=body, headers=signed, decode_content=False)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                if name.lower() not in _NOT_PASSED_ON:
                    self.send_header(name, value)
            self.send_header("Content-Length", reply.headers.get("content-length", str(len(reply.data))))
            self.end_headers()
            self.wfile.write(reply.data)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = passed_on  # noqa: N815

        def log_message(self, *about):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = asked
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
