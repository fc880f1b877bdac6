"""A proxy on loopback before an S3 server that answers some requests as a server in trouble does."""

import random
import re
import socket
import struct
import threading
from contextlib import contextmanager, suppress

_DENIED = b"<Error><Code>AccessDenied</Code><Message>No</Message></Error>"
REPLIES = {
    "busy": b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "denied": b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(_DENIED), _DENIED),
}


class StormProxy:
    """Forwards to ``port``; a request that matches ``pattern`` meets one of ``faults`` with the chance ``share``."""

    def __init__(self, port, seed=1):
        self.target, self.pattern, self.faults, self.share = port, None, (), 0.0
        self.met = []
        self._dice = random.Random(seed)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def strike(self, pattern, *faults, share=1.0):
        self.pattern, self.faults, self.share = re.compile(pattern), faults, share

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _fault(self, data):
        if self.pattern is None or not self.pattern.match(data) or self._dice.random() >= self.share:
            return None
        self.met.append(self._dice.choice(self.faults))
        return self.met[-1]

    def _serve(self, client):
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as server:
            cut = threading.Event()

            def upwards():
                with suppress(OSError):
                    while data := client.recv(65536):
                        fault = self._fault(data)
                        if fault in REPLIES:
                            client.sendall(REPLIES[fault])
                            client.shutdown(socket.SHUT_WR)
                            server.shutdown(socket.SHUT_RDWR)
                            return
                        if fault == "reset":
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                            client.close()
                            server.shutdown(socket.SHUT_RDWR)
                            return
                        if fault == "cut":
                            cut.set()
                        server.sendall(data)
                    server.shutdown(socket.SHUT_WR)

            threading.Thread(target=upwards, daemon=True).start()
            while reply := server.recv(65536):
                if cut.is_set():
                    head = reply.find(b"\r\n\r\n") + 4
                    client.sendall(reply[: head + (len(reply) - head) // 2])
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(reply)


@contextmanager
def storm_proxy(url, seed=1):
    """A proxy in front of the store at ``url``."""
    proxy = StormProxy(int(url.rsplit(":", 1)[1]), seed)
    try:
        yield proxy
    finally:
        proxy.listener.close()
