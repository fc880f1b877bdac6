"""Background servers that outlive the command that started them, and are found again after any crash.

A server has one folder. In it: ``server.json`` (what runs), ``server.lock`` (one starter at a time), ``server.log``.
A record counts only while its process lives and started when the record says: a reused pid is a stranger.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import psutil
from filelock import FileLock, Timeout

from lakehouse.errors import ConfigurationError, TransientError

_STARTED = "--- started"
_LOWEST_PORT = 20_000
_PORTS_OF_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_LOWEST_PORT_OF_CONNECTIONS = 32_768  # Linux's; others begin higher
_LOG_LIMIT_BYTES = 20_000_000  # an old log is kept beside the new log, so a folder never holds more than twice this


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now. See ``free_ports``."""
    [port] = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """Different ports on 127.0.0.1 that nobody listens on now, and that no connection will take.

    The system gives each connection a port of its own range. A server's port in that range could be taken while the
    server is down, even by a client that looks for it: it would come back elsewhere, and nobody would find it.
    """
    outside = range(_LOWEST_PORT, _lowest_port_of_connections())
    found = (port for port in secrets.SystemRandom().sample(outside, len(outside)) if port_is_free(port))
    ports = list(islice(found, count))
    with ExitStack() as held:  # where that range leaves no room, any port
        for _ in range(count - len(ports)):
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
    return ports


def _lowest_port_of_connections() -> int:
    try:
        return int(_PORTS_OF_CONNECTIONS.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_LOWEST_PORT_OF_CONNECTIONS


def port_is_free(port: int) -> bool:
    """Whether ``port`` on 127.0.0.1 can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def private_folder(folder: Path) -> Path:
    """Makes ``folder``, or closes it to everybody but its owner.

    Raises:
        ConfigurationError: the folder cannot be written to, or belongs to another user: who could read its keys, or
            put servers of their own in our servers' place.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
        problem = "it belongs to another user" if found.st_uid != os.getuid() else ""
        if not problem:
            if found.st_mode & 0o077:
                folder.chmod(0o700)
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        problem = str(error.strerror)
    if problem:
        raise ConfigurationError(
            f"cannot write to {folder}: {problem}",
            where=str(folder),
            state="nothing was started or changed",
            next_command="set LAKEHOUSE_HOME to a folder of your own that you can write to",
        )
    return folder


def write_private(path: Path, text: str) -> None:
    """Writes ``path`` whole or not at all, with mode 0600."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


HEARING = [
    # a shell's background job ignores SIGINT, Dagster makes SIGTERM the same, and a child inherits what is ignored
    *(sys.executable, "-I", "-S", "-c"),
    "import os, signal, sys; [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)]; "
    "os.execvp(sys.argv[1], sys.argv[1:])",
]
"""Runs a command that hears signals. Not ``preexec_fn``: it runs in a fork of a process that has threads."""


_WITHOUT_SECRETS = """
import json, os, sys
hidden = [text.encode() for text in json.loads(os.environ["HIDDEN"])]
for line in sys.stdin.buffer:
    for secret in hidden:
        line = line.replace(secret, b"***")
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
"""
"""Copies what a server prints into its log; it ends when nobody can print any more."""
_SETTLE_SECONDS = 2.0


def birth_of(pid: int) -> str | None:
    """Which boot of the machine a living process began in, and how many ticks after it; None for a dead process.

    Not the time of day: when somebody sets the clock, a living server would look like another process. Where the system
    does not tell ticks it is the time, in seconds since the epoch.

    Raises:
        psutil.Error: the system does not tell.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in ("Z", "X") else f"{boot}/{fields[18]}"
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.0f}"
    except psutil.NoSuchProcess:
        return None


@dataclass(frozen=True)
class Running:
    """A server that lives now: its process id and what its starter recorded of it."""

    pid: int
    record: Mapping[str, Any]

    def process(self) -> psutil.Process:
        """For memory and children; raises ``psutil.NoSuchProcess`` when it just died."""
        return psutil.Process(self.pid)


def dagster_pages(home: Path) -> Server:
    """Dagster's webserver and daemon on the tables of ``home``, as ``./dev ui`` starts them, not in the background."""
    return Server(home / "ui")


@dataclass(frozen=True)
class Server:
    """One background server with a folder of its own.

    Attributes:
        folder: Holds record, lock and log; made when needed, readable by the owner only.
    """

    folder: Path

    @property
    def log(self) -> Path:
        """Standard output and error of the server."""
        return self.folder / "server.log"

    @contextmanager
    def lock(self, timeout_seconds: float = 300) -> Iterator[None]:
        """Held while starting or stopping, so that two commands never make two servers.

        Raises:
            TransientError: another process holds it for so long.
        """
        lock = FileLock(private_folder(self.folder) / "server.lock")
        try:
            lock.acquire(timeout=timeout_seconds)
        except Timeout:
            raise TransientError(
                f"another process has been starting or stopping the server for {timeout_seconds:g} s",
                where=lock.lock_file,
                state="nothing was started or stopped",
                next_command=f"see which process that is: fuser -v {lock.lock_file}; then run the same again",
            ) from None
        try:
            yield
        finally:
            lock.release()

    def running(self) -> Running | None:
        """The living server, or None. A stale record is not removed: the next start writes over it."""
        try:
            record = json.loads((self.folder / "server.json").read_text())
            pid, born = record["pid"], birth_of(record["pid"])
            if born is None:
                return None
            if "started" in record:
                same = born == record["started"]
            else:  # a record of an older version
                same = abs(psutil.Process(pid).create_time() - record["created"]) < 1.0
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None
        return Running(pid, record) if same else None

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        record: Mapping[str, Any],
        ready: Callable[[], bool],
        timeout_seconds: float,
        hidden: Sequence[str] = (),
    ) -> Running | None:
        """Starts ``command`` apart from this process, waits until ``ready()``; call it with the lock held.

        Args:
            command: Program and arguments.
            environment: All of its variables.
            record: What is kept of it beside its process.
            ready: Whether it can be used.
            timeout_seconds: How long that may take.
            hidden: Secrets that it may print: its log has ``***`` in their place.

        Returns:
            The server, or None when it died or was not ready in time; then nothing of it is left running
            and the log says why.
        """
        private_folder(self.folder)
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            log.write(f"{_STARTED} {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n".encode())
            log.flush()  # before anything that the server prints
            copier = self._copier(log, hidden) if hidden else None
            printed = copier.stdin if copier else log
            child = subprocess.Popen(
                [*HEARING, *command],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                env=dict(environment),
                cwd=self.folder,
                start_new_session=True,  # a Ctrl-C or a closed terminal of the starter is not the server's
            )
        kept = {**record, "pid": child.pid, "started": birth_of(child.pid)}
        if copier is not None and copier.stdin is not None:
            copier.stdin.close()  # or it would wait for this process, too
            kept["log_pid"] = copier.pid
        write_private(self.folder / "server.json", json.dumps(kept, indent=1))
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if child.poll() is not None:
                return None
            if ready():
                return self.running()
            time.sleep(0.1)
        self.stop()
        return None

    def take_place(self, **record: Any) -> None:
        """Makes this process the server; it stays that when it becomes another program."""
        private_folder(self.folder)
        kept = {**record, "pid": os.getpid(), "started": birth_of(os.getpid())}
        write_private(self.folder / "server.json", json.dumps(kept, indent=1))

    def _copier(self, log: IO[bytes], hidden: Sequence[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WITHOUT_SECRETS],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={"HIDDEN": json.dumps(list(hidden))},
            cwd=self.folder,
            start_new_session=True,
        )

    def end(self) -> bool:
        """Stops the server unless another command is starting or stopping it; True when the server was running."""
        if not self.folder.exists():
            return False
        with self.lock():
            return self.stop()

    def stop(self, timeout_seconds: float = 20) -> bool:
        """Asks the server to end, then kills it; True when the server was running."""
        running = self.running()
        if running is None:
            return False
        servers: list[psutil.Process] = []
        children: list[psutil.Process] = []
        with suppress(psutil.Error):  # it may end by itself at any of these steps
            servers = [running.process()]
            children = servers[0].children(recursive=True)
        with suppress(psutil.Error):
            for process in servers:
                process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(servers, timeout=timeout_seconds)
        for process in (*left, *children):
            with suppress(psutil.Error):
                process.kill()
        with suppress(OSError):
            (self.folder / "server.json").unlink()
        return True

    def log_tail(self, lines: int = 15) -> str:
        """The end of what the last server wrote, for an error message; of those before it nothing."""
        self._settle()
        try:
            text = self.log.read_text(errors="replace").rpartition(_STARTED)[2]
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _settle(self) -> None:
        """Waits until the last words of a dead server are in its log."""
        if self.running() is not None:
            return
        with suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
            copier = psutil.Process(json.loads((self.folder / "server.json").read_text())["log_pid"])
            copier.wait(_SETTLE_SECONDS)
