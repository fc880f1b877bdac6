"""Who holds a lease, and whether that process still lives."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Holder:
    """The content of a lease object.

    Attributes:
        id: Of this one claim.
        owner: What is being written.
        host: The machine, see ``this_host``.
        pid: The process there.
        started: When that process began, see ``birth_of``.
        acquired_at: Seconds since the epoch.
        expires_at: Seconds since the epoch; 0 once released.
    """

    id: str
    owner: str
    host: str
    pid: int
    started: str
    acquired_at: float
    expires_at: float

    def encoded(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decoded(cls, content: bytes) -> Holder | None:
        """From JSON; None when it is something else."""
        try:
            found = cls(**json.loads(content))
            return cls(**{**asdict(found), "pid": int(found.pid), "expires_at": float(found.expires_at)})
        except (ValueError, TypeError):
            return None

    def may_write(self, now: float) -> bool:
        """Whether this holder has to be waited for."""
        if now > self.expires_at:
            return False
        return self.host != this_host() or birth_of(self.pid) in (self.started, _UNKNOWN)

    def described(self) -> str:
        """``pid 7 on lake1 since 10:00:00Z, for now until 10:01:00Z``."""
        since, until = (time.strftime("%H:%M:%SZ", time.gmtime(at)) for at in (self.acquired_at, self.expires_at))
        return f"pid {self.pid} on {self.host.split('/')[0]} since {since}, for now until {until}"


_UNKNOWN = "?"


def this_host() -> str:
    """This machine, this boot of it and this container: elsewhere the same pid is another process."""
    boot = str(int(psutil.boot_time()))
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    space = ""
    with suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()}/{boot}/{space}"


def birth_of(pid: int) -> str | None:
    """When a living process began, in ticks since boot where the system tells; None for a dead one.

    Not the time of day: when somebody sets the clock, a living holder would look like another process.
    """
    with suppress(OSError):
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in ("Z", "X") else fields[18]
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.0f}"
    except psutil.Error:
        return _UNKNOWN if _exists(pid) else None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True
