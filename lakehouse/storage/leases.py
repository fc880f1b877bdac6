"""One writer at a time: a lease is an object that only one writer can make.

It is written with ``If-None-Match: *``, renewed while its holder lives and removed at the end. A holder that died on
this machine is replaced at once, one on another machine when its lease runs out; both by a write with ``If-Match``, so
that of two who try one wins.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from lakehouse.errors import LakehouseError, LeaseHeld
from lakehouse.storage.object_store import ObjectExists, ObjectMissing, ObjectStore

_TTL_SECONDS = 60.0


@dataclass
class Lease:
    """A held lease."""

    store: ObjectStore
    bucket: str
    key: str
    body: dict[str, Any]
    ttl_seconds: float
    clock: Callable[[], float]
    e_tag: str = ""
    lost: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises ``LeaseHeld`` when somebody took the lease over: then this writer must stop."""
        if self.lost:
            raise LeaseHeld(
                f"lost the right to write: {self.lost}",
                where=f"{self.bucket}/{self.key}",
                state="batches committed before stay committed",
                next_command="find out who else writes to this table, then run again",
            )

    def renew(self) -> None:
        """Writes a later end, only over our own lease."""
        try:
            self.e_tag = self.store.write(self.bucket, self.key, self._encoded(), if_match=self.e_tag)
        except (ObjectExists, ObjectMissing):
            self.lost = "another process took the lease over"
        except LakehouseError as error:
            if self.clock() > self.body["expires_at"]:
                self.lost = f"the lease ran out while the store did not answer ({error.what})"

    def _encoded(self) -> bytes:
        self.body = {**self.body, "expires_at": self.clock() + self.ttl_seconds}
        return json.dumps(self.body).encode()

    def _keep(self) -> None:
        while not self._stop.wait(self.ttl_seconds / 3) and not self.lost:
            self.renew()


@contextmanager
def hold_lease(
    store: ObjectStore,
    bucket: str,
    key: str,
    *,
    owner: str,
    ttl_seconds: float = _TTL_SECONDS,
    clock: Callable[[], float] = time.time,
) -> Iterator[Lease]:
    """Holds the lease ``key`` while the body runs.

    Args:
        store: Where the lease is kept.
        bucket: Its bucket.
        key: Its name: one for each thing that has one writer.
        owner: What is being written, for the message of whoever comes second.
        ttl_seconds: How long a holder on another machine may be silent before it counts as dead.
        clock: Seconds since the epoch.

    Raises:
        LeaseHeld: a living process holds it; the message names it.
    """
    body = {
        "owner": owner,
        "id": uuid.uuid4().hex,
        "host": _host(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "acquired_at": clock(),
    }
    lease = Lease(store, bucket, key, body, ttl_seconds, clock)
    _acquire(lease)
    keeper = threading.Thread(target=lease._keep, name=f"lease {owner}", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        lease._stop.set()
        keeper.join()
        _release(lease)


def _acquire(lease: Lease) -> None:
    try:
        lease.e_tag = lease.store.write(lease.bucket, lease.key, lease._encoded(), if_absent=True)
        return
    except ObjectExists:
        pass
    # the listing gives body and ETag of one moment only if the ETag is read first
    info = next((one for one in lease.store.list(lease.bucket, lease.key) if one.key == lease.key), None)
    try:
        holder = json.loads(lease.store.read(lease.bucket, lease.key))
    except (ObjectMissing, ValueError):
        holder = {}
    if info is None:
        raise _held(lease, {})
    if holder and not _is_dead(holder, lease.clock()):
        raise _held(lease, holder)
    try:
        lease.e_tag = lease.store.write(lease.bucket, lease.key, lease._encoded(), if_match=info.e_tag)
    except (ObjectExists, ObjectMissing):
        raise _held(lease, {}) from None


def _release(lease: Lease) -> None:
    if lease.lost:
        return
    with suppress(LakehouseError, ValueError):
        if json.loads(lease.store.read(lease.bucket, lease.key)).get("id") == lease.body["id"]:
            lease.store.delete(lease.bucket, lease.key)


def _is_dead(holder: dict[str, Any], now: float) -> bool:
    if now > holder["expires_at"]:
        return True
    if holder["host"] != _host():
        return False
    try:
        process = psutil.Process(holder["pid"])
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - holder["started"]) > 1
    except psutil.NoSuchProcess:
        return True


def _held(lease: Lease, holder: dict[str, Any]) -> LeaseHeld:
    who = f"pid {holder['pid']} on {holder['host'].split('/')[0]}" if holder else "another process that was faster"
    since = time.strftime("%H:%M:%SZ", time.gmtime(holder["acquired_at"])) if holder else "this moment"
    return LeaseHeld(
        f"{lease.body['owner']} is being written by {who} since {since}",
        where=f"{lease.bucket}/{lease.key}",
        state="nothing was read or written; the other run goes on",
        next_command="wait until it ends, then run the same again",
    )


def _host() -> str:
    """This machine and this boot of it: a pid means nothing elsewhere."""
    return f"{socket.gethostname()}/{int(psutil.boot_time())}"
