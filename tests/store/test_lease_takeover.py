"""A holder that died, fell silent or cannot be judged: when its lease is taken, and what is done before."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest
from store.leasing import HOLDER, PIPES, Clock, Interrupted, alive, elsewhere, lease

from lakehouse.errors import LeaseHeld
from lakehouse.storage import hold_lease
from lakehouse.storage.lease_holder import UNKNOWN, EngineUse, Holder, birth_of
from lakehouse.storage.leases import Takeover


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


def test_the_same_process_id_in_another_process_is_not_the_holder(lake):
    dead(lake)
    with lease(lake) as taken:
        taken.check()


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
    assert_one_wins_each_round(lake, held_elsewhere, 5)


@pytest.mark.soak("four times the rounds")
def test_of_many_who_take_over_one_wins_through_many_rounds(lake, held_elsewhere):
    assert_one_wins_each_round(lake, held_elsewhere, 20)


def assert_one_wins_each_round(lake, held_elsewhere, rounds):
    for round_number in range(rounds):
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
