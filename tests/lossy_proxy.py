"""A TCP proxy on loopback that passes all on, slowly if told to, and loses the replies that a test wants lost."""

import socket
import threading
import time
from contextlib import contextmanager, suppress


class LossyProxy:
    """Forwards to ``port``; the next ``lose_replies`` answers to a PUT are thrown away with their connection.

    Before each piece of 64 KB at most it waits for ``pause_seconds``.
    """

    def __init__(self, port):
        self.target = port
        self.lose_replies = 0
        self.lost = 0
        self.pause_seconds = 0.0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        state = {"put": False}
        with client, socket.create_connection(("127.0.0.1", self.target)) as server, suppress(OSError):

            def upwards():
                with suppress(OSError):
                    while data := client.recv(65536):
                        state["put"] = state["put"] or data.startswith(b"PUT ")
                        time.sleep(self.pause_seconds)
                        server.sendall(data)
                    server.shutdown(socket.SHUT_WR)

            threading.Thread(target=upwards, daemon=True).start()
            while reply := server.recv(65536):
                if state["put"] and self.lose_replies:
                    self.lose_replies -= 1
                    self.lost += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                time.sleep(self.pause_seconds)
                client.sendall(reply)


@contextmanager
def lossy_proxy(url):
    """A proxy in front of the store at ``url``."""
    proxy = LossyProxy(int(url.rsplit(":", 1)[1]))
    try:
        yield proxy
    finally:
        proxy.listener.close()
