"""One writer at a time: a lease is an object that only one writer can make.

It is written with ``If-None-Match: *``, renewed while its holder lives and marked as free at the end. A holder that
died on this machine is replaced at once, one on another machine when its lease runs out. Every change but the first is
a write with ``If-Match``, so that of two who try one wins. A free lease stays as an object: MinIO deletes without
looking at ``If-Match``, and a late delete could remove a lease that is somebody else's by then.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from lakehouse.errors import LakehouseError, LeaseHeld
from lakehouse.storage.contract import ObjectExists, ObjectMissing, ObjectStore
from lakehouse.storage.lease_holder import Holder, birth_of, this_host

_TTL_SECONDS = 60.0
_TRIES = 3


@dataclass
class Lease:
    """A held lease.

    Attributes:
        store: Where it is kept, with ``bucket`` and ``key``.
        holder: What the object says: who holds it, and until when.
        ttl_seconds: How long it lasts after each renewal.
        clock: Seconds since the epoch.
        e_tag: Of the object as this holder wrote it last.
        lost: Why it is no longer held; empty while it is.
    """

    store: ObjectStore
    bucket: str
    key: str
    holder: Holder
    ttl_seconds: float
    clock: Callable[[], float]
    e_tag: str = ""
    lost: str = ""
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _busy: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def check(self) -> None:
        """Makes sure that nobody else may write now.

        Raises:
            LeaseHeld: somebody took the lease over, or it ran out and cannot be renewed: this writer must stop.
        """
        if not self.lost and self.clock() > self.holder.expires_at:
            self.renew()  # a suspended machine wakes up late: still ours if nobody wrote over it
        if self.lost:
            raise LeaseHeld(
                f"lost the right to write {self.holder.owner}: {self.lost}",
                where=f"{self.bucket}/{self.key}",
                state="batches committed before stay committed",
                next_command="find out who else writes to this table, then run again",
            )

    def renew(self) -> None:
        """Writes a later end, only over our own lease; when it is not ours any more, ``lost`` says so."""
        with self._busy:
            if self.lost:
                return
            try:
                if not self._write_over(self.e_tag):
                    current = self.look()
                    # ours after all when the reply to an earlier renewal was lost
                    ours = current is not None and current[1] is not None and current[1].id == self.holder.id
                    if current is None or not ours or not self._write_over(current[0]):
                        self.lost = "another process took the lease over"
            except LakehouseError as error:
                if self.clock() > self.holder.expires_at:
                    self.lost = f"it ran out while the store did not answer ({error.what})"

    def look(self) -> tuple[str, Holder | None] | None:
        """ETag and holder of the object as it is now; None without one.

        The ETag is read first: when the object changes in between, a write with that ETag is refused, which is safe.
        """
        info = next((one for one in self.store.list(self.bucket, self.key) if one.key == self.key), None)
        if info is None:
            return None
        try:
            return info.e_tag, Holder.decoded(self.store.read(self.bucket, self.key))
        except ObjectMissing:
            return None

    def _write_over(self, e_tag: str | None) -> bool:
        """Writes our claim with a new end over that version (None: over nothing); whether the store agreed."""
        claim = replace(self.holder, expires_at=self.clock() + self.ttl_seconds)
        try:
            self.e_tag = self.store.write(
                self.bucket, self.key, claim.encoded(), if_absent=e_tag is None, if_match=e_tag
            )
        except (ObjectExists, ObjectMissing):
            return False
        self.holder = claim  # only now: a renewal that failed makes nothing last longer
        return True

    def _acquire(self) -> None:
        for _ in range(_TRIES):
            if self._write_over(None):
                return
            current = self.look()
            if current is None:
                continue
            e_tag, holder = current
            if holder is None:
                raise self._held_by_something_else()
            if holder.may_write(self.clock()):
                raise self._held(holder)
            if self._write_over(e_tag):
                return
        raise self._held(None)

    def _release(self) -> None:
        # a renewal that hangs on a silent store is not waited for: the lease then runs out by itself
        if self.lost or not self._busy.acquire(timeout=5):
            return
        try:
            self.lost = "released"
            free = replace(self.holder, expires_at=0.0)
            with suppress(LakehouseError):
                self.store.write(self.bucket, self.key, free.encoded(), if_match=self.e_tag)
        finally:
            self._busy.release()

    def _keep(self) -> None:
        while not self._stop.wait(self.ttl_seconds / 3) and not self.lost:
            self.renew()

    def _held(self, holder: Holder | None) -> LeaseHeld:
        who = "other processes that were faster" if holder is None else holder.described()
        return LeaseHeld(
            f"{self.holder.owner} is being written by {who}",
            where=f"{self.bucket}/{self.key}",
            state="nothing was read or written; the other run goes on",
            next_command="wait until it ends, then run the same again",
        )

    def _held_by_something_else(self) -> LeaseHeld:
        return LeaseHeld(
            f"{self.holder.owner} cannot be claimed: the object in the place of its lease is no lease",
            where=f"{self.bucket}/{self.key}",
            state="nothing was read or written",
            next_command="when no other run writes to this table, delete that object, then run the same again",
        )


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
        StoreUnavailable: the store does not answer.
    """
    pid, now = os.getpid(), clock()
    claim = Holder(uuid.uuid4().hex, owner, this_host(), pid, birth_of(pid) or "", now, now)
    lease = Lease(store, bucket, key, claim, ttl_seconds, clock)
    lease._acquire()
    keeper = threading.Thread(target=lease._keep, name=f"lease {owner}", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        lease._stop.set()
        lease._release()
