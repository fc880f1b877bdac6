"""A proxy on loopback before an S3 server that notes which objects were written, and can act on a request."""

import re
import socket
import threading
from collections import Counter
from contextlib import suppress


class Connection:
    """A client's connection, and the server's behind it."""

    def __init__(self, client, server):
        self.client, self.server, self.written, self.waits = client, server, [], False

    def cut(self):
        """Ends both: to close a socket is not enough while it is being read."""
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class RecordingProxy:
    """Forwards to ``port``; counts each PUT that matches ``pattern`` and that the server did."""

    def __init__(self, port, pattern):
        self.target, self.pattern = port, re.compile(rb"PUT (/\S*?" + pattern + rb")[ ?]")
        self.written, self.on_write = Counter(), lambda path, port: None
        self._lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def twice(self):
        """Objects that were written more than once."""
        with self._lock:
            return sorted(path for path, times in self.written.items() if times > 1)

    def lets_pass(self, connection, data):
        """Whether what the client sent is sent on."""
        found = self.pattern.match(data)
        if found:
            path = found[1].decode()
            connection.written.append(path)
            self.on_write(path, connection.client.getpeername()[1])
        return True

    def lets_back(self, connection, reply):
        """Whether what the server answered is sent back."""
        # one request at a time on a connection; "100 Continue" is not yet the answer
        if connection.written and not reply.startswith(b"HTTP/1.1 100"):
            path = connection.written.pop()
            if reply.startswith(b"HTTP/1.1 200"):
                with self._lock:
                    self.written[path] += 1
        return True

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as server:
            connection = Connection(client, server)

            def upwards():
                with suppress(OSError):
                    while data := client.recv(65536):
                        if not self.lets_pass(connection, data):
                            return
                        server.sendall(data)
                    server.shutdown(socket.SHUT_WR)

            threading.Thread(target=upwards, daemon=True).start()
            while reply := server.recv(65536):
                if not self.lets_back(connection, reply):
                    break
                client.sendall(reply)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
