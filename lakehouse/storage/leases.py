"""One writer at a time: a lease is an object that only one writer can make.

It is written with ``If-None-Match: *``, renewed while its holder lives and marked as free at the end. Every change but
the first is a write with ``If-Match``, so that of two writers one wins. A free lease stays as an object: MinIO deletes
without looking at ``If-Match``, and a late delete could remove a lease that is somebody else's by then.

Clocks of two machines are never compared. A holder on this machine is judged by its process: a dead holder is replaced
at once, a living holder never. Of any other holder only its silence is known: whoever comes second watches the object,
and takes the lease when it has not changed for as long as the holder itself would write without a renewal.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from lakehouse.errors import LakehouseError, LeaseHeld
from lakehouse.storage.lease_holder import EngineUse, Holder, birth_of, this_host
from lakehouse.storage.store import ObjectExists, ObjectMissing, ObjectStore

_TTL_SECONDS = 60.0
_TRIES = 3
_RELEASE_SECONDS = 5.0
_LOOKS = 20  # in one TTL, while the object is watched

_log = logging.getLogger(__name__)
_claims_of_this_process: set[str] = set()


def seconds_since_boot() -> float:
    """A clock that nobody can set, and that goes on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True)
class Takeover:
    """What is known of a holder beyond its lease.

    Attributes:
        end_writes: Given a holder that is dead or was silent: makes sure that nothing which it started still writes.
            True when nothing does, False when that cannot be known from here. Raises ``LeaseHeld`` when something does
            and cannot be ended.
        signs_of_life: Something that changes while anybody writes what the lease protects.
    """

    end_writes: Callable[[Holder], bool] = lambda holder: True
    signs_of_life: Callable[[], object] = lambda: None


@dataclass
class Lease:
    """A held lease.

    Attributes:
        store: Where it is kept, with ``bucket`` and ``key``.
        holder: What the object says: who holds it.
        takeover: What is done about the holder before.
        clock: Seconds since any moment; never set back, and goes on while the machine is suspended.
        wait: Sleeps for so many seconds of that clock.
        patience_seconds: How long ``check`` waits for a store that does not answer.
        e_tag: Of the object as this holder wrote it last.
        valid_until: By ``clock``; nobody else takes the lease before.
        lost: Why it is no longer held; empty while it is.
    """

    store: ObjectStore
    bucket: str
    key: str
    holder: Holder
    takeover: Takeover
    clock: Callable[[], float]
    wait: Callable[[float], None]
    patience_seconds: float
    e_tag: str = ""
    valid_until: float = 0.0
    lost: str = ""
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)
    _busy: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def check(self) -> None:
        """Makes sure that nobody else may write now; waits no longer than ``patience_seconds``.

        Raises:
            LeaseHeld: somebody took the lease over, or it ran out and cannot be renewed: this writer must stop.
        """
        if not self.lost and self.clock() > self.valid_until:
            # a process that slept wakes up late: still ours if nobody wrote over it
            _within(self.patience_seconds, self.renew)
            if not self.lost and self.clock() > self.valid_until:
                self.lost = f"it ran out, and the store did not answer for {self.patience_seconds:g} s"
        if self.lost:
            raise LeaseHeld(
                f"lost the right to write {self.holder.owner}: {self.lost}",
                where=f"{self.bucket}/{self.key}",
                state="batches committed before stay committed",
                next_command="find out who else writes to this table, then run again",
            )

    def renew(self) -> None:
        """Makes it last longer, only over our own lease; when it is not ours any more, ``lost`` says so."""
        with self._busy:
            if self.lost:
                return
            try:
                if not self._write_over_ours():
                    self.lost = "another process took the lease over"
            except Exception as error:  # of whatever kind: the thread that renews has to go on
                if self.clock() > self.valid_until:
                    what = error.what if isinstance(error, LakehouseError) else f"{type(error).__name__}: {error}"
                    self.lost = f"it ran out while the store did not answer ({what})"

    def look(self) -> tuple[str, Holder | None] | None:
        """ETag and holder of the object as it is now; None without an object.

        The ETag is read first: when the object changes in between, a write with that ETag is refused, which is safe.
        """
        info = self.store.info(self.bucket, self.key)
        if info is None:
            return None
        try:
            return info.e_tag, Holder.decoded(self.store.read(self.bucket, self.key))
        except ObjectMissing:
            return None

    def _write_over_ours(self) -> bool:
        if self._write_over(self.e_tag):
            return True
        current = self.look()
        # ours after all when the reply to an earlier renewal was lost
        ours = current is not None and current[1] is not None and current[1].id == self.holder.id
        return current is not None and ours and self._write_over(current[0])

    def _write_over(self, e_tag: str | None) -> bool:
        """Writes our claim over that version (None: over nothing); whether the store agreed."""
        self.holder = replace(self.holder, renewals=self.holder.renewals + 1)
        sent = self.clock()  # whoever watches begins to count later than this
        try:
            self.e_tag = self.store.write(
                self.bucket, self.key, self.holder.encoded(), if_absent=e_tag is None, if_match=e_tag
            )
        except (ObjectExists, ObjectMissing):
            return False
        self.valid_until = sent + self.holder.ttl_seconds
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
            if self._is_free(e_tag, holder) and self._write_over(e_tag):
                return
        raise self._held("other processes that were faster")

    def _is_free(self, e_tag: str, holder: Holder) -> bool:
        """Whether that version may be written over; False to look again."""
        if holder.released:
            return True
        lives = holder.lives()
        if lives and not (holder.pid == os.getpid() and holder.id not in _claims_of_this_process):
            raise self._held(holder.described())
        if lives is None:
            if not self._is_silent(e_tag, holder):
                return False
            self.takeover.end_writes(holder)
            return True
        return self.takeover.end_writes(holder) or self._is_silent(e_tag, holder)

    def _is_silent(self, e_tag: str, holder: Holder) -> bool:
        """Watches for a whole TTL of our own clock; False when the lease was given back or taken meanwhile."""
        since, signs = self.clock(), self.takeover.signs_of_life()
        _log.warning(
            "%s was last written by %s, which cannot be judged from here: watching for up to %.0f s whether it goes on",
            *(holder.owner, holder.described(), holder.ttl_seconds),
        )
        while self.clock() - since < holder.ttl_seconds:
            self.wait(holder.ttl_seconds / _LOOKS)
            current = self.look()
            if current is None or (current[1] is not None and current[1].released):
                return False
            if current[0] != e_tag:
                raise self._held("nobody that can be named" if current[1] is None else current[1].described())
            if self.takeover.signs_of_life() != signs:
                raise self._held(f"a query that {holder.described()} started and that runs without it")
        return True

    def _release(self) -> None:
        """A store that does not answer is not waited for long: others then learn of our end by our silence."""

        def free() -> None:
            with self._busy, suppress(LakehouseError):
                self.lost = self.lost or "released"
                self.holder = replace(self.holder, released=True)
                self._write_over_ours()

        _within(_RELEASE_SECONDS, free)

    def _keep(self) -> None:
        while not self._stop.wait(self.holder.ttl_seconds / 3) and not self.lost:
            self.renew()

    def _held(self, who: str) -> LeaseHeld:
        return LeaseHeld(
            f"{self.holder.owner} is being written by {who}",
            where=f"{self.bucket}/{self.key}",
            state="nothing was read or written; the other run goes on",
            next_command="wait until it ends, or end it; then run the same again",
        )

    def _held_by_something_else(self) -> LeaseHeld:
        return LeaseHeld(
            f"{self.holder.owner} cannot be claimed: the object in the place of its lease is no lease",
            where=f"{self.bucket}/{self.key}",
            state="nothing was read or written",
            next_command="when no other run writes to this table, delete that object, then run the same again",
        )


def _within(seconds: float, work: Callable[[], None]) -> None:
    """Waits so long for ``work``, which then goes on by itself."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)


@contextmanager
def hold_lease(
    store: ObjectStore,
    bucket: str,
    key: str,
    *,
    owner: str,
    engine: EngineUse | None = None,
    takeover: Takeover = Takeover(),
    ttl_seconds: float = _TTL_SECONDS,
    clock: Callable[[], float] = seconds_since_boot,
    wait: Callable[[float], None] = time.sleep,
    patience_seconds: float = 10.0,
) -> Iterator[Lease]:
    """Holds the lease ``key`` while the body runs.

    Of a holder on another machine only its silence can be seen: that is waited for, up to that holder's own
    ``ttl_seconds``, and a holder that renews meanwhile is never replaced.

    Args:
        store: Where the lease is kept.
        bucket: Its bucket.
        key: Its name: one for each thing that has one writer.
        owner: What is being written, for the message of whoever comes second.
        engine: What this process writes through, for whoever comes after it died.
        takeover: What is done about a holder that died.
        ttl_seconds: How long this holder may be silent before it counts as dead.
        clock: Seconds since any moment; never set back, and goes on while the machine is suspended.
        wait: Sleeps for so many seconds of that clock.
        patience_seconds: How long ``Lease.check`` waits for a store that does not answer.

    Raises:
        LeaseHeld: a living process holds it, or what a dead process started cannot be ended. The message says
            which.
        StoreUnavailable: the store does not answer.
    """
    pid = os.getpid()
    claim = Holder(
        uuid.uuid4().hex,
        owner,
        this_host(),
        pid,
        birth_of(pid) or "",
        acquired_at=time.time(),
        ttl_seconds=ttl_seconds,
        engine=engine,
    )
    lease = Lease(store, bucket, key, claim, takeover, clock, wait, patience_seconds)
    _claims_of_this_process.add(claim.id)
    try:
        lease._acquire()
        keeper = threading.Thread(target=lease._keep, name=f"lease {owner}", daemon=True)
        keeper.start()
        try:
            yield lease
        finally:
            lease._stop.set()
            lease._release()
    finally:
        _claims_of_this_process.discard(claim.id)
