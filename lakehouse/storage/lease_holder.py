"""Who holds a lease, whether that process still lives, and through which Spark engine it writes."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil


@dataclass(frozen=True)
class EngineUse:
    """The Spark engine that a holder writes through: what was started there may go on when the holder is dead.

    Attributes:
        address: ``sc://host:port`` without a token, or ``local[2]`` for an engine of the holder's process.
        pid: Its process on the holder's machine; 0 for a server of somebody else's.
        started: When that process began, see ``birth_of``.
        session_id: The holder's session on a Connect server; empty for ``local[2]``.
        user_id: Whose session that is; empty where the client said none.
        folder: Where a warm engine keeps its token; empty for another engine.
    """

    address: str
    pid: int = 0
    started: str = ""
    session_id: str = ""
    user_id: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Holder:
    """The content of a lease object.

    Attributes:
        id: Of this claim.
        owner: What is being written.
        host: The machine, see ``this_host``.
        pid: The process there.
        started: When that process began, see ``birth_of``.
        acquired_at: Seconds since the epoch by that machine's clock: for people, nothing is computed from it.
        ttl_seconds: The holder stops writing when it could not renew for so long.
        renewals: Makes each renewal another object: whoever watches sees another ETag.
        released: Whether the holder gave it back.
        engine: What it writes through; None while it is connected to none.
    """

    id: str
    owner: str
    host: str
    pid: int
    started: str
    acquired_at: float
    ttl_seconds: float = 60.0
    renewals: int = 0
    released: bool = False
    engine: EngineUse | None = None

    def encoded(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decoded(cls, content: bytes) -> Holder | None:
        """From JSON, of older versions too; None when it is something else."""
        try:
            record = dict(json.loads(content))
            if "expires_at" in record:  # leases once had an end by the holder's clock, and 0 meant free
                record["released"] = float(record["expires_at"]) == 0
            known = {field.name: record[field.name] for field in fields(cls) if field.name in record}
            numbers = {"pid": int(record["pid"]), "ttl_seconds": float(record.get("ttl_seconds", cls.ttl_seconds))}
            engine = EngineUse(**record["engine"]) if record.get("engine") else None
            return cls(**{**known, **numbers, "acquired_at": float(record["acquired_at"]), "engine": engine})
        except (ValueError, TypeError, KeyError):
            return None

    def lives(self) -> bool | None:
        """Whether its process does; None when that cannot be told from here. No clock has a say in it."""
        if self.host != this_host():
            return None
        born = birth_of(self.pid)
        return None if born == UNKNOWN else born == self.started

    def described(self) -> str:
        """``pid 7 on lake1 since 2026-01-01 10:00:00Z``."""
        since = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(self.acquired_at))
        return f"pid {self.pid} on {self.host.split('/')[0]} since {since}"


UNKNOWN = "?"
"""The birth of a process that lives and tells nothing more."""


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
    """When a living process began, in ticks since boot where the system tells; None for a dead process.

    Not the time of day: when somebody sets the clock, a living holder would look like another process.
    """
    with suppress(OSError):
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in ("Z", "X") else rest[18]
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.0f}"
    except psutil.Error:
        return UNKNOWN if _exists(pid) else None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True
