"""The parent of the engine's processes of Python, which Spark would start anew.

Spark starts one for the planner of each source of ours, one for each ``foreachBatch``, and one for each kind of worker.
Each imported PySpark, Arrow and this library, up to a second of CPU. This process imports them once, and forks. It ends
with the engine. After an upgrade of what it imported it forks no more, until it has imported that anew.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from marshal import loads
from pathlib import Path

from lakehouse.engine.worker_launcher import FORKED, SOCKET
from lakehouse.engine.workers import PROCESSES

_USED = (
    "grpc._channel",
    "lakehouse.autoloader.formats.csv",
    "lakehouse.autoloader.formats.json",
    "lakehouse.autoloader.source",
    "lakehouse.autoloader.stream",
    "lakehouse.direct.on_spark",
    "lakehouse.direct.part",
    "lakehouse.direct.rewriting",
    "lakehouse.storage.fast_store",
    "lakehouse.streams.latest",
    "lakehouse.streams.replacing",
    "lakehouse.streams.rollup",
    "lakehouse.streams.windows",
    "pyarrow.pandas_compat",
    "pyspark.sql.connect.catalog",
    "pyspark.sql.connect.window",
    "pyspark.sql.worker.create_data_source",
    "pyspark.sql.worker.lookup_data_sources",
    "pyspark.sql.worker.plan_data_source_read",
    "pyspark.sql.worker.python_streaming_sink_runner",
    "pyspark.sql.worker.write_into_data_source",
    "pyspark_cloudfiles",
)
"""What the processes of a run import, by a look at one."""
_LOOK_SECONDS = 2.0
_REQUEST_SECONDS = 5.0


@dataclass(frozen=True)
class Job:
    """What a forked process is to run: as ``python`` with these arguments, in that folder."""

    arguments: list[str]
    folder: bytes
    variables: dict[bytes, bytes]
    streams: list[int]

    def run(self) -> None:
        """Becomes that process; its end is the end of this one."""
        for number, descriptor in enumerate(self.streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        os.environ.clear()
        os.environb.update(self.variables)
        time.tzset()
        os.chdir(self.folder)
        random.seed()
        named = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path]
        sys.path[1:1] = named
        _, module, *arguments = self.arguments
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


@dataclass
class Parent:
    """Takes requests of launchers, one at a time; a process that is forked lives as long as its launcher."""

    listener: socket.socket
    engine: int
    imported: dict[Path, int]
    old: bool = False
    children: dict[int, socket.socket] = field(default_factory=dict)

    def serve(self) -> Job | None:
        """Forks until the engine has ended: None; in a process that was forked, what it has to run."""
        woken, wake = socket.socketpair()
        for end in (woken, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        with selectors.DefaultSelector() as selector:
            for waited_for in (self.listener, woken):
                selector.register(waited_for, selectors.EVENT_READ)
            while os.getppid() == self.engine and (self.children or not self.old):
                for key, _ in selector.select(_LOOK_SECONDS):
                    if key.fileobj is woken:
                        with suppress(BlockingIOError):
                            woken.recv(4096)
                    elif key.fileobj is self.listener:
                        job = self._forked(selector)
                        if job is not None:
                            signal.set_wakeup_fd(-1)
                            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                            for end in (woken, wake):
                                end.close()
                            return job
                    else:  # its launcher was ended: nobody waits for the process
                        selector.unregister(key.fileobj)
                        os.kill(key.data, signal.SIGTERM)
                self._reap(selector)
        for pid in self.children:
            os.kill(pid, signal.SIGTERM)
        return None

    def _forked(self, selector: selectors.BaseSelector) -> Job | None:
        """Forks for a request; gives the job in the process that has to do it."""
        line, _ = self.listener.accept()
        try:
            job = _request(line)
        except (OSError, ValueError, EOFError):
            line.close()
            return None
        self.old = self.old or _changed(self.imported)
        if self.old:  # another version of the library was installed
            line.close()
            for descriptor in job.streams:
                os.close(descriptor)
            return None
        pid = os.fork()
        if pid == 0:
            for other in (self.listener, line, *self.children.values()):
                other.close()
            return job
        for descriptor in job.streams:
            os.close(descriptor)
        self.children[pid] = line
        selector.register(line, selectors.EVENT_READ, pid)
        with suppress(OSError):
            line.sendall(FORKED)
        return None

    def _reap(self, selector: selectors.BaseSelector) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            line = self.children.pop(pid)
            with suppress(KeyError):
                selector.unregister(line)
            code = os.waitstatus_to_exitcode(status)
            with suppress(OSError):
                line.sendall((code if code >= 0 else 128 - code).to_bytes(4, sys.byteorder))
            line.close()


def _request(line: socket.socket) -> Job:
    line.settimeout(_REQUEST_SECONDS)
    head, streams, _, _ = socket.recv_fds(line, 8, 3)
    size, body = int.from_bytes(head, sys.byteorder), b""
    while len(body) < size:
        part = line.recv(size - len(body))
        if not part:
            raise EOFError
        body += part
    line.settimeout(None)
    arguments, folder, variables = loads(body)
    return Job(arguments, folder, variables, list(streams))


def _import_all() -> dict[Path, int]:
    """Imports what the processes need; gives the files of it, and when each was changed."""
    for name in (*PROCESSES, *_USED):
        importlib.import_module(name)
    for name in PROCESSES:  # each is run as the main program
        del sys.modules[name]
    files = [Path(file) for module in [*sys.modules.values()] if (file := getattr(module, "__file__", None))]
    return {file: at for file in files if (at := _changed_at(file))}


def _changed_at(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _changed(files: dict[Path, int]) -> bool:
    return any(_changed_at(file) != at for file, at in files.items())


def main(folder: str) -> None:
    """Serves the engine that started this process, from its folder."""
    engine = os.getppid()
    imported = _import_all()
    gc.collect()
    gc.freeze()
    os.chdir(folder)
    Path(SOCKET).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(SOCKET)
        listener.listen(16)
        job = Parent(listener, engine, imported).serve()
    if job is not None:
        job.run()
    elif os.getppid() == engine:  # to import what is there now
        os.execv(sys.executable, [sys.executable, "-m", "lakehouse.engine.worker_parent", folder])


if __name__ == "__main__":
    main(sys.argv[1])
