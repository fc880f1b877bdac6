import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lakehouse.errors import LeaseHeld
from lakehouse.storage import hold_lease

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
    for round_number in range(20):
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


def test_a_silent_holder_elsewhere_is_replaced_when_its_lease_runs_out(lake, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("lakehouse.storage.leases._host", lambda: "elsewhere/1")
    with lease(lake, clock=clock) as first:
        monkeypatch.undo()
        with pytest.raises(LeaseHeld), lease(lake, clock=clock):
            pass
        clock.now += 61
        with lease(lake, clock=clock) as second:
            second.check()
            first.renew()
            with pytest.raises(LeaseHeld, match="lost the right to write"):
                first.check()
        second.check()


def test_a_lease_is_renewed_while_it_is_held(lake):
    with lease(lake, ttl_seconds=0.6) as held:
        before = held.e_tag
        deadline = time.monotonic() + 10
        while held.e_tag == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert held.e_tag != before
        held.check()
