"""Leases on a real store, held by processes and machines that a test makes up."""

import subprocess
from contextlib import ExitStack, contextmanager

import pytest

from lakehouse.errors import StoreUnavailable
from lakehouse.storage import hold_lease

HOLDER = """
import sys
from lakehouse.errors import LeaseHeld
from lakehouse.lake import Lake
from lakehouse.storage import hold_lease
lake = Lake.open()
key, ttl_seconds = sys.argv[1], float(sys.argv[2])
with hold_lease(lake.store, lake.settings.bucket, key, owner="bronze.t", ttl_seconds=ttl_seconds) as lease:
    print("held", flush=True)
    sys.stdin.read()
    try:
        lease.check()
        print("ours")
    except LeaseHeld:
        print("lost")
"""
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


class Clock:
    """Of one machine; ``wait`` lets its time pass, and what happens meanwhile happen."""

    def __init__(self, now=1_000_000.0):
        self.now, self.meanwhile = now, []

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds
        for happen in self.meanwhile:
            happen(seconds)


def lease(lake, key="t.lease", *, clock=None, **options):
    if clock is not None:
        options |= {"clock": clock, "wait": clock.wait}
    return hold_lease(lake.store, lake.settings.bucket, key, owner="bronze.t", **options)


def alive(held, clock):
    """Lets a holder's own time pass while another waits; it renews as often as its thread would."""
    due = clock.now + held.holder.ttl_seconds / 3

    def happen(seconds):
        nonlocal due
        clock.now += seconds
        if clock.now >= due:
            due += held.holder.ttl_seconds / 3
            held.renew()

    return happen


@contextmanager
def elsewhere(monkeypatch, host="elsewhere/1/"):
    """Whoever takes a lease here is on another machine."""
    with monkeypatch.context() as patch:
        patch.setattr("lakehouse.storage.leases.this_host", lambda: host)
        yield


@pytest.fixture
def held_elsewhere(lake, monkeypatch):
    """Makes leases whose holders are on another machine; none is given back before the test's end."""
    with ExitStack() as managers:

        def make(key="t.lease", **options):
            with elsewhere(monkeypatch):
                return managers.enter_context(lease(lake, key, **options))

        yield make


class Interrupted:
    """A real store behind a network that can be cut, before or after the server's work."""

    def __init__(self, store):
        self.store, self.cut, self.lose_next_reply = store, False, False

    def __getattr__(self, name):
        return getattr(self.store, name)

    def write(self, *arguments, **options):
        if self.cut:
            raise StoreUnavailable("cut off")
        done = self.store.write(*arguments, **options)
        if self.lose_next_reply:
            self.lose_next_reply = False
            raise StoreUnavailable("reply lost")
        return done
