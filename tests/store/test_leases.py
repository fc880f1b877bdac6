import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from store.leasing import HOLDER, PIPES, Clock, Interrupted, lease

from lakehouse.errors import LeaseHeld
from lakehouse.storage import hold_lease


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


@pytest.mark.parametrize("content", [b"", b"not json", b"[1]", b'{"a": 1}', b"\xff"])
def test_a_foreign_object_in_the_place_of_a_lease_is_named_and_left(lake, content):
    lake.store.write(lake.settings.bucket, "t.lease", content)
    with pytest.raises(LeaseHeld, match="is no lease") as caught, lease(lake):
        pass
    assert "delete that object" in caught.value.next_command
    assert lake.store.read(lake.settings.bucket, "t.lease") == content


def test_a_lease_is_renewed_while_it_is_held(lake):
    with lease(lake, ttl_seconds=0.6) as held:
        before = held.e_tag
        deadline = time.monotonic() + 10
        while held.e_tag == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert held.e_tag != before
        held.check()
