import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest

from lakehouse.errors import LeaseHeld, StoreUnavailable
from lakehouse.storage import hold_lease
from lakehouse.storage.lease_holder import birth_of

HOLDER = """
import sys, time
from lakehouse.lake import Lake
from lakehouse.storage import hold_lease
lake = Lake.open()
with hold_lease(lake.store, lake.settings.bucket, sys.argv[1], owner="bronze.t"):
    print("held", flush=True)
    time.sleep(600)
"""


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


def lease(lake, key="t.lease", **options):
    return hold_lease(lake.store, lake.settings.bucket, key, owner="bronze.t", **options)


def test_a_second_writer_is_told_who_writes(lake):
    with lease(lake), pytest.raises(LeaseHeld, match=f"bronze.t is being written by pid {os.getpid()}"), lease(lake):
        pass
    with lease(lake) as again:
        again.check()


def test_of_many_writers_one_wins_each_round(lake):
    for round_number in range(50):
        entered, losers, finish = [], [], threading.Event()
        key = f"{round_number}.lease"

        def attempt(number, key=key, entered=entered, losers=losers, finish=finish):
            try:
                with lease(lake, key):
                    entered.append(number)
                    finish.wait(30)  # held until all others have lost
            except LeaseHeld:
                losers.append(number)
                if len(losers) == 3:
                    finish.set()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(attempt, range(4)))
        assert (len(entered), len(losers)) == (1, 3)


def test_a_killed_holder_is_replaced_at_once(lake, environment):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, "k.lease"], env=environment, stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"held"
    with pytest.raises(LeaseHeld, match=str(process.pid)), lease(lake, "k.lease"):
        pass
    process.kill()
    process.wait()
    with lease(lake, "k.lease") as taken:
        taken.check()


def elsewhere(monkeypatch, host="elsewhere/1/"):
    monkeypatch.setattr("lakehouse.storage.leases.this_host", lambda: host)


def test_a_silent_holder_elsewhere_is_replaced_when_its_lease_runs_out(lake, monkeypatch):
    clock = Clock()
    elsewhere(monkeypatch)
    with lease(lake, clock=clock) as first:
        monkeypatch.undo()
        with pytest.raises(LeaseHeld), lease(lake, clock=clock):
            pass
        clock.now += 61
        with lease(lake, clock=clock) as second:
            second.check()
            with pytest.raises(LeaseHeld, match="lost the right to write"):
                first.check()
        second.look()
        with pytest.raises(LeaseHeld, match="lost the right to write"):
            first.check()


def test_whoever_lost_a_lease_does_not_release_the_next_holders(lake, monkeypatch):
    clock = Clock()
    elsewhere(monkeypatch)
    first = lease(lake, clock=clock)
    first.__enter__()
    monkeypatch.undo()
    clock.now += 61
    with lease(lake, clock=clock) as second:
        first.__exit__(None, None, None)
        second.check()
        with pytest.raises(LeaseHeld), lease(lake, clock=clock):
            pass


def test_of_many_who_take_over_one_wins_each_round(lake, monkeypatch):
    clock = Clock()
    for round_number in range(50):
        key = f"{round_number}.lease"
        elsewhere(monkeypatch)
        dead = lease(lake, key, clock=clock)
        dead.__enter__()
        monkeypatch.undo()
        clock.now += 61
        taken = threading.Barrier(4)
        won = []

        def attempt(number, key=key, taken=taken, won=won):
            taken.wait(30)
            try:
                with lease(lake, key, clock=clock) as held:
                    won.append(number)
                    taken.wait(30)  # held until all others have lost
                    held.check()
            except LeaseHeld:
                taken.wait(30)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(attempt, range(4)))
        assert len(won) == 1, key
        dead.__exit__(None, None, None)


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


def test_a_lease_that_cannot_be_renewed_is_lost_when_it_runs_out(lake):
    clock, store = Clock(), Interrupted(lake.store)
    with hold_lease(store, lake.settings.bucket, "t.lease", owner="bronze.t", clock=clock) as held:
        store.cut = True
        clock.now += 40
        held.renew()
        held.check()
        clock.now += 40
        held.renew()
        with pytest.raises(LeaseHeld, match="did not answer"):
            held.check()


def test_a_lease_that_ran_out_unnoticed_is_renewed_when_nobody_took_it(lake):
    clock = Clock()
    with lease(lake, clock=clock) as held:
        clock.now += 3600  # the machine slept
        held.check()
        assert held.holder.expires_at > clock.now


def test_a_renewal_whose_reply_was_lost_is_no_lost_lease(lake):
    clock, store = Clock(), Interrupted(lake.store)
    with hold_lease(store, lake.settings.bucket, "t.lease", owner="bronze.t", clock=clock) as held:
        clock.now += 20
        store.lose_next_reply = True
        held.renew()
        clock.now += 20
        held.renew()
        held.check()
        assert held.holder.expires_at == clock.now + 60


@pytest.mark.parametrize("content", [b"", b"not json", b"[1]", b'{"a": 1}', b"\xff"])
def test_a_foreign_object_in_the_place_of_a_lease_is_named_and_left(lake, content):
    lake.store.write(lake.settings.bucket, "t.lease", content)
    with pytest.raises(LeaseHeld, match="is no lease") as caught, lease(lake):
        pass
    assert "delete that object" in caught.value.next_command
    assert lake.store.read(lake.settings.bucket, "t.lease") == content


def test_the_same_process_id_in_another_process_is_not_the_holder(lake):
    with lease(lake, "old.lease") as held:
        reused = replace(held.holder, started="1")
    lake.store.write(lake.settings.bucket, "t.lease", replace(reused, expires_at=time.time() + 600).encoded())
    with lease(lake) as taken:
        taken.check()


def test_a_process_is_born_once_and_dead_after_its_end():
    child = subprocess.Popen(["sleep", "600"])
    born = birth_of(child.pid)
    assert born == birth_of(child.pid) not in (None, birth_of(os.getpid()))
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert birth_of(child.pid) is None, "a zombie writes nothing"
    child.wait()
    assert birth_of(child.pid) is None


def test_a_lease_is_renewed_while_it_is_held(lake):
    with lease(lake, ttl_seconds=0.6) as held:
        before = held.e_tag
        deadline = time.monotonic() + 10
        while held.e_tag == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert held.e_tag != before
        held.check()
