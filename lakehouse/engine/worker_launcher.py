"""Stands in for ``python`` where the engine starts a process of Python: has one forked that has its imports already.

Run by itself, without ``site``: it lives as long as the process that it asks for, and imports next to nothing.
"""

import os
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket  # ``socket`` itself would take 8 ms
from marshal import dumps

SOCKET, FORKED = "workers.socket", b"f"
"""Where the parent of the processes listens, in the engine's folder; what it answers when it has forked one."""


def forked(folder: str, arguments: list[str]) -> int | None:
    """Runs ``python`` with these arguments in a fork, until that ends; its exit code, or None when nobody forks it."""
    here, line = os.getcwd(), socket(AF_UNIX, SOCK_STREAM)  # noqa: PTH109  (pathlib would take 10 ms)
    try:
        os.chdir(folder)  # the path of a socket must be short
        line.connect(SOCKET)
    except OSError:
        return None
    finally:
        os.chdir(here)
    request = dumps((arguments, os.fsencode(here), dict(os.environb)))
    streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    try:
        line.sendmsg([len(request).to_bytes(8, sys.byteorder)], [(SOL_SOCKET, SCM_RIGHTS, streams)])
        line.sendall(request)
        if line.recv(1) != FORKED:
            return None
    except OSError:
        return None
    code = line.recv(4)
    return int.from_bytes(code, sys.byteorder) if len(code) == 4 else 1


if __name__ == "__main__":
    python, folder, *arguments = sys.argv[1:]
    code = forked(folder, arguments)
    if code is None:
        os.execv(python, [python, *arguments])
    sys.exit(code)
