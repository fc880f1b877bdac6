import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import psutil
import pytest

from lakehouse.errors import LeaseHeld, StoreUnavailable
from lakehouse.storage import hold_lease
from lakehouse.storage.lease_holder import UNKNOWN, EngineUse, Holder, birth_of
from lakehouse.storage.leases import Takeover

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
    process = subprocess.Popen([sys.executable, "-c", HOLDER, "k.lease", "60"], env=environment, **PIPES)
    assert process.stdout.readline().strip() == b"held"
    with pytest.raises(LeaseHeld, match=str(process.pid)), lease(lake, "k.lease"):
        pass
    process.kill()
    process.wait()
    with lease(lake, "k.lease") as taken:
        taken.check()


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


def test_a_silent_holder_elsewhere_is_replaced_after_a_whole_ttl_of_our_own_clock(lake, held_elsewhere):
    theirs, ours = Clock(), Clock()
    first = held_elsewhere(clock=theirs)
    began = ours.now
    with lease(lake, clock=ours) as second:
        assert ours.now - began == pytest.approx(60)
        second.check()
        theirs.now += 61
        with pytest.raises(LeaseHeld, match="lost the right to write"):
            first.check()
        second.check()


@pytest.mark.parametrize("ahead_seconds", [86_400, -86_400, 61, -61])
def test_a_living_holder_elsewhere_is_never_replaced_whatever_either_clock_says(lake, held_elsewhere, ahead_seconds):
    theirs, ours = Clock(), Clock(1_000_000.0 + ahead_seconds)
    first = held_elsewhere(clock=theirs)
    ours.meanwhile.append(alive(first, theirs))
    began = ours.now
    with pytest.raises(LeaseHeld, match=r"bronze\.t is being written by pid"), lease(lake, clock=ours):
        pass
    assert ours.now - began <= 23, "the next renewal shows that it lives"
    first.check()
    first._release()
    with lease(lake, clock=ours):
        pass


@pytest.mark.parametrize("ahead_seconds", [86_400, -86_400, 61, -61])
def test_a_living_holder_of_this_machine_is_refused_at_once_whatever_the_clock_says(lake, ahead_seconds):
    with lease(lake, clock=Clock()) as first:
        ours = Clock(1_000_000.0 + ahead_seconds)
        began = ours.now
        with pytest.raises(LeaseHeld, match=f"pid {os.getpid()} on"), lease(lake, clock=ours):
            pass
        assert ours.now == began
        first.check()


def test_a_process_of_this_machine_that_hangs_is_refused_and_named_and_when_it_goes_on_the_lease_is_its_own(
    lake, environment
):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, "k.lease", "0.5"], env=environment, **PIPES)
    assert process.stdout.readline().strip() == b"held"
    process.send_signal(signal.SIGSTOP)
    time.sleep(1)
    with pytest.raises(LeaseHeld, match=f"written by pid {process.pid} on") as caught, lease(lake, "k.lease"):
        pass
    assert "end it" in caught.value.next_command
    process.send_signal(signal.SIGCONT)
    process.stdin.close()
    assert process.stdout.read().split() == [b"ours"]
    process.wait(30)


def test_a_process_that_was_stopped_while_another_machine_took_over_notices_before_it_writes(
    lake, environment, monkeypatch
):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, "k.lease", "1"], env=environment, **PIPES)
    assert process.stdout.readline().strip() == b"held"
    process.send_signal(signal.SIGSTOP)
    # from another machine this process is a stranger's: only its silence can be seen
    monkeypatch.setattr("lakehouse.storage.lease_holder.this_host", lambda: "elsewhere/1/")
    with elsewhere(monkeypatch), lease(lake, "k.lease") as taken:
        process.send_signal(signal.SIGCONT)
        process.stdin.close()
        assert process.stdout.read().split() == [b"lost"]
        taken.check()
    process.wait(30)


def test_a_holder_whose_life_cannot_be_told_is_watched(lake, monkeypatch):
    ours = Clock()
    with lease(lake, clock=Clock()):
        monkeypatch.setattr("lakehouse.storage.lease_holder.birth_of", lambda pid: UNKNOWN)
        with lease(lake, clock=ours):
            assert ours.now == pytest.approx(1_000_060)


def test_whoever_gives_it_back_is_not_waited_for(lake, held_elsewhere):
    ours = Clock()
    first = held_elsewhere(clock=Clock())
    ours.meanwhile.append(lambda seconds: first._release())
    with lease(lake, clock=ours):
        assert ours.now < 1_000_004


def test_a_writer_that_outlives_its_silent_client_keeps_the_lease_from_others(lake, held_elsewhere):
    ours, written = Clock(), []
    first = held_elsewhere(clock=Clock())
    ours.meanwhile.append(lambda seconds: ours.now > 1_000_030 and written.append(1))
    signs = Takeover(signs_of_life=lambda: len(written))
    with pytest.raises(LeaseHeld, match="a query that pid"), lease(lake, clock=ours, takeover=signs):
        pass
    ours.meanwhile.clear()
    with lease(lake, clock=ours, takeover=signs) as taken:
        taken.check()
    first.renew()
    assert first.lost


def dead(lake, key="t.lease", **changes):
    """The lease of a process of this machine that has died."""
    with lease(lake, "other.lease") as held:
        gone = replace(held.holder, id="gone", started="1", **changes)
    lake.store.write(lake.settings.bucket, key, gone.encoded())
    return gone


def test_what_a_dead_holder_started_is_ended_before_its_lease_is_taken(lake):
    gone, told = dead(lake, engine=EngineUse("sc://localhost:1", 7, "3", "session")), []

    def end(holder):
        told.append(holder)
        assert Holder.decoded(lake.store.read(lake.settings.bucket, "t.lease")) == gone, "not yet taken"
        return True

    with lease(lake, takeover=Takeover(end)):
        assert told == [gone]


def test_a_lease_is_not_taken_while_what_a_dead_holder_started_cannot_be_ended(lake):
    dead(lake)

    def end(holder):
        raise LeaseHeld("the engine with pid 7 does not answer")

    with pytest.raises(LeaseHeld, match="pid 7"), lease(lake, takeover=Takeover(end)):
        pass


def test_where_nobody_can_tell_whether_a_dead_holder_left_a_writer_its_silence_is_waited_for(lake):
    dead(lake)
    ours = Clock()
    with lease(lake, clock=ours, takeover=Takeover(lambda holder: False)):
        assert ours.now == pytest.approx(1_000_060)


def test_a_claim_that_this_process_gave_up_is_not_held_against_it(lake):
    store = Interrupted(lake.store)
    with hold_lease(store, lake.settings.bucket, "t.lease", owner="bronze.t"):
        store.cut = True  # the end cannot be told
    with lease(lake) as again:
        again.check()


def test_whoever_lost_a_lease_does_not_release_the_next_holders(lake, held_elsewhere):
    first = held_elsewhere(clock=Clock())
    with lease(lake, clock=Clock()) as second:
        first._release()
        second.check()
        with pytest.raises(LeaseHeld), lease(lake):
            pass


def test_of_many_who_take_over_one_wins_each_round(lake, held_elsewhere):
    for round_number in range(20):
        key = f"{round_number}.lease"
        first = held_elsewhere(key, clock=Clock())
        taken = threading.Barrier(4)
        won = []

        def attempt(number, key=key, taken=taken, won=won):
            taken.wait(30)
            clock = Clock()
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
        first.renew()
        assert first.lost


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


def test_a_check_does_not_wait_for_a_renewal_that_hangs(lake):
    clock, answer = Clock(), threading.Event()

    class Silent(Interrupted):
        def write(self, *arguments, **options):
            if self.cut:
                answer.wait(60)
            return self.store.write(*arguments, **options)

    store = Silent(lake.store)
    with hold_lease(
        store, lake.settings.bucket, "t.lease", owner="bronze.t", clock=clock, patience_seconds=0.3
    ) as held:
        store.cut = True
        hanging = threading.Thread(target=held.renew)
        hanging.start()
        while not held._busy.locked():
            time.sleep(0.01)
        held.check()  # still within its time
        clock.now += 61
        started = time.monotonic()
        with pytest.raises(LeaseHeld, match=r"did not answer for 0\.3 s"):
            held.check()
        assert time.monotonic() - started < 5
        answer.set()
        hanging.join()
        with pytest.raises(LeaseHeld):
            held.check()


def test_a_lease_that_ran_out_unnoticed_is_renewed_when_nobody_took_it(lake):
    clock = Clock()
    with lease(lake, clock=clock) as held:
        clock.now += 3600  # the machine slept
        held.check()
        assert held.valid_until > clock.now


def test_a_renewal_whose_reply_was_lost_is_no_lost_lease(lake):
    clock, store = Clock(), Interrupted(lake.store)
    with hold_lease(store, lake.settings.bucket, "t.lease", owner="bronze.t", clock=clock) as held:
        clock.now += 20
        store.lose_next_reply = True
        held.renew()
        assert held.valid_until == clock.now + 40, "what nobody confirmed does not count"
        clock.now += 20
        held.renew()
        held.check()
        assert held.valid_until == clock.now + 60


def test_each_renewal_is_another_object_whatever_the_clock_says(lake):
    with lease(lake, clock=Clock()) as held:
        seen = {held.e_tag}
        for _ in range(5):
            held.renew()
            seen.add(held.look()[0])
        assert len(seen) == 6


OLD = {
    "id": "a",
    "owner": "bronze.t",
    "host": "elsewhere/1/",
    "pid": 7,
    "started": "3",
    "acquired_at": 1e9,
    "expires_at": 2e9,
}


def test_a_lease_of_an_older_version_is_understood(lake):
    clock = Clock()
    for end, waited in ((2e9, 60), (1.0, 60), (0.0, 0), (0, 0)):
        lake.store.write(lake.settings.bucket, "t.lease", json.dumps({**OLD, "expires_at": end}).encode())
        began = clock.now
        with lease(lake, clock=clock):
            assert clock.now - began == pytest.approx(waited)


@pytest.mark.parametrize("content", [b"", b"not json", b"[1]", b'{"a": 1}', b"\xff"])
def test_a_foreign_object_in_the_place_of_a_lease_is_named_and_left(lake, content):
    lake.store.write(lake.settings.bucket, "t.lease", content)
    with pytest.raises(LeaseHeld, match="is no lease") as caught, lease(lake):
        pass
    assert "delete that object" in caught.value.next_command
    assert lake.store.read(lake.settings.bucket, "t.lease") == content


def test_the_same_process_id_in_another_process_is_not_the_holder(lake):
    dead(lake)
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
