"""Receipts are the same before, while and after they are folded, wherever that is cut short."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from unit.autoloader.memory_store import Crash, MemoryStore

from lakehouse.autoloader.outcomes import receipt_log
from lakehouse.autoloader.outcomes.receipt_log import fold_receipts, forget_receipts, read_receipts, receipts_table
from lakehouse.autoloader.outcomes.receipts import CORRECTIONS, Earlier, Receipt, State, TaskReceipts

PLACE = ("lake", "journal/")
NOON, SECONDS = datetime(2026, 1, 1, 12, tzinfo=UTC), count()


@pytest.fixture(autouse=True)
def folded_soon(monkeypatch):
    monkeypatch.setattr(receipt_log, "FOLDED_BATCHES", 4)
    monkeypatch.setattr(receipt_log, "_LEFT_SECONDS", 1.0)


def write(store, end, part, receipts, plan="p"):
    """The receipts of a task, written at a moment of their own."""
    task = TaskReceipts(store, *PLACE, "stream", end, part, plan)
    task.finish(receipts)
    key = ("lake", task._key)
    store.objects[key] = (store.objects[key][0], NOON + timedelta(seconds=next(SECONDS)))


def batch(store, end, plan="p", rows=1):
    good = Receipt(end, 0, rows, State.INGESTED, batch_id=end)
    write(store, end, "00000", [good, Receipt(end + 1000, 5, 0, State.QUARANTINED, "broken")], plan)
    write(store, end, "00001", [Receipt(end + 2000, 0, 7, State.INGESTED, bad_records=2)], plan)


def read(store, first_end=0):
    return list(read_receipts(store, *PLACE, "stream", first_end=first_end))


def fold(store, committed):
    return fold_receipts(store, *PLACE, "stream", committed)


def own(store):
    return [key for _, key in store.objects if key.startswith("journal/receipts/")]


def test_enough_finished_batches_are_folded_into_one_object_and_read_as_before():
    store = MemoryStore()
    for end in range(1, 4):
        batch(store, end)
    assert fold(store, 3) == 0
    for end in range(4, 12):
        batch(store, end)
    write(store, 5, CORRECTIONS, [Receipt(1, 0, 0, State.REPLACED, batch_id=5)], plan="")
    before = {first: read(store, first) for first in (0, 1, 5, 9, 12)}
    assert fold(store, 9) == 9
    assert len(own(store)) == 2 * 2
    assert {first: read(store, first) for first in before} == before
    assert sum(written.corrects for written in before[0]) == 1
    for end in range(12, 16):
        batch(store, end)
    before = read(store)
    assert fold(store, 15) == 6
    assert own(store) == []
    assert [key for _, key in store.objects] == ["journal/folded_receipts/stream/" + f"{1:020}-{15:020}.parquet"]
    assert read(store) == before


def test_a_large_fold_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(receipt_log, "_FOLD_BYTES", 1)
    store = MemoryStore()
    for end in range(1, 9):
        batch(store, end)
        fold(store, end)
    assert [key.rsplit("/", 1)[1][-28:-8] for _, key in store.objects] == [f"{4:020}", f"{8:020}"]
    assert [written.end for written in read(store, 4)] == [end for end in range(4, 9) for _ in range(3)]


def test_a_batch_that_is_done_again_after_it_was_folded_is_told_by_its_last_time():
    store = MemoryStore()
    for end in range(1, 6):
        batch(store, end)
    fold(store, 5)
    batch(store, 3, rows=30)  # cut as before
    batch(store, 4, plan="other", rows=40)
    write(store, 4, "00002", [Receipt(4444, 0, 1, State.INGESTED)], plan="other")
    told = {written.receipt.seq: written.receipt.rows for written in read(store)}
    assert (told[3], told[4], told[4444], told[5]) == (30, 40, 1, 1)
    assert len(told) == 5 * 3 + 1
    before = read(store)
    for end in range(6, 12):
        batch(store, end)
    assert fold(store, 11) == 6
    assert read(store, first_end=0)[: len(before)] == before
    assert {written.receipt.seq: written.receipt.rows for written in read(store, 3)}[3] == 30


@pytest.mark.parametrize("seed", range(3))
def test_a_fold_that_is_killed_anywhere_changes_nothing_and_can_be_done_again(seed):
    begun, chance = MemoryStore(), random.Random(seed)
    for end in range(1, 14):
        batch(begun, end, rows=chance.randrange(9))
        if end == 6:
            fold(begun, 5)
    expected = read(begun)
    for calls in range(200):
        whole = MemoryStore()
        whole.objects.update(begun.objects)
        dying = MemoryStore(crash_after=calls, shared=whole)
        try:
            fold(dying, 12)
        except Crash:
            assert read(whole) == expected, calls
            fold(whole, 12)
            assert read(whole) == expected, calls
            assert len(own(whole)) <= 2 * 4, calls
            continue
        break
    else:
        raise AssertionError("it never came to its end")
    assert calls > 20


def test_whoever_reads_while_others_fold_misses_nothing():
    for steps in range(30):
        store = MemoryStore()
        for end in range(1, 11):
            batch(store, end)
        fold(store, 5)
        expected = read(store)
        reading = read_receipts(store, *PLACE, "stream")
        found = [next(reading) for _ in range(steps)]
        fold(store, 10)
        assert [*found, *reading] == expected, steps


def test_what_is_forgotten_is_gone_from_folds_and_objects_alike_however_often_it_is_killed():
    for calls in range(60):
        store = MemoryStore()
        for end in range(1, 11):
            batch(store, end)
            if end == 8:
                fold(store, 8)
        expected = [written for written in read(store) if written.end <= 6]
        try:
            forget_receipts(MemoryStore(crash_after=calls, shared=store), *PLACE, "stream", 6)
        except Crash:
            forget_receipts(store, *PLACE, "stream", 6)
            assert read(store) == expected, calls
            continue
        break
    assert calls > 5
    assert read(store) == expected
    forget_receipts(store, *PLACE, "stream", 0)
    assert not store.objects


def test_two_who_fold_at_once_leave_what_one_would():
    store = MemoryStore()
    for end in range(1, 11):
        batch(store, end)
    expected, stale = read(store), MemoryStore(shared=store)
    stale.objects = dict(store.objects)
    fold(store, 7)
    fold(stale, 9)
    store.objects |= {key: value for key, value in stale.objects.items() if "folded" in key[1]}
    assert read(store) == expected


def test_a_fold_of_what_was_listed_before_a_later_plan_was_folded_by_others_loses_nothing(monkeypatch):
    store, folds = MemoryStore(), receipt_log._Log.folds
    for end in range(1, 6):
        batch(store, end)

    def others_fold_after_that(log):
        found = folds(log)
        monkeypatch.setattr(receipt_log._Log, "folds", folds)
        batch(store, 4, plan="q")
        assert fold(store, 4) == 4
        return found

    monkeypatch.setattr(receipt_log._Log, "folds", others_fold_after_that)
    fold(store, 5)
    assert [(written.end, written.receipt.seq) for written in read(store)] == [
        (end, end + more) for end in range(1, 6) for more in (0, 1000, 2000)
    ]


def test_what_an_attempt_has_said_stays_when_a_later_one_fails_or_dies():
    store, said = MemoryStore(), Receipt(1, 0, 3, State.INGESTED, batch_id=0)

    def task():
        return TaskReceipts(store, *PLACE, "stream", 1, "00000", "p")

    first = task()
    assert first.begin() == Earlier()
    first.finish([said])
    fails = task()
    assert fails.begin() == Earlier(receipts=(said,))
    assert [written.receipt for written in read(store)] == [said]
    fails.give_up()
    dies = task()
    assert dies.begin() == Earlier(receipts=(said,))
    later = task()
    assert later.begin() == Earlier(died=True, receipts=(said,))
    assert [written.receipt for written in read(store)] == [said]
    later.finish([said])
    assert task().begin() == Earlier(receipts=(said,))


@pytest.mark.parametrize("before", ["an error", "the whole batch"])
def test_what_one_attempt_says_while_another_begins_stays_when_that_one_fails(before, monkeypatch):
    store, said = MemoryStore(), Receipt(1, 0, 3, State.INGESTED, batch_id=0)
    first, other, late = (TaskReceipts(store, *PLACE, "stream", 1, "00000", "p") for _ in range(3))
    first.begin()
    first.give_up() if before == "an error" else first.finish([replace(said, rows=2)])
    plain = store.read

    def comes_to_its_end(bucket, key):
        found = plain(bucket, key)
        if late is not None:
            late.finish([said])
        return found

    monkeypatch.setattr(store, "read", comes_to_its_end)
    other.begin()
    late = None
    other.give_up()
    assert [written.receipt for written in read(store)] == [said]


def test_a_task_that_says_its_own_while_its_batch_is_folded_keeps_it(monkeypatch):
    monkeypatch.setattr(receipt_log, "_LEFT_SECONDS", 60.0)
    for ends in (0, 1, 2):
        store = MemoryStore()
        for end in range(1, 6):
            batch(store, end)
        before = {written.receipt.seq: written.receipt.rows for written in read(store)}
        tasks = [TaskReceipts(store, *PLACE, "stream", 3, f"0000{part}", "other") for part in range(2)]
        for task in tasks:
            task.begin()
            store.objects["lake", task._key] = (b"", NOON + timedelta(seconds=next(SECONDS)))
        said = [
            [Receipt(3, 0, 1, State.INGESTED), Receipt(1003, 5, 0, State.QUARANTINED)],
            [Receipt(2003, 0, 7, State.INGESTED)],
        ]
        plain, store.write = store.write, None

        def write(*given, plain=plain, ends=ends, tasks=tasks, said=said, store=store, **named):
            if "folded" in given[1]:  # all was read, and is not yet removed
                store.write = plain
                for task, own in list(zip(tasks, said, strict=True))[:ends]:
                    task.finish(own)
            return plain(*given, **named)

        store.write = write
        fold(store, 5)
        for finished in range(ends, 3):
            assert {written.receipt.seq: written.receipt.rows for written in read(store)} == before, (ends, finished)
            if finished < 2:
                tasks[finished].finish(said[finished])


def late_attempt(store, end, ends_with, part="00000", plan="p"):
    """Somebody who does not know that the batch is in the table reads it once more, and does not come to the end."""
    task = TaskReceipts(store, *PLACE, "stream", end, part, plan)
    task.begin()
    if ends_with == "an error":
        task.give_up()
    key = ("lake", task._key)
    store.objects[key] = (store.objects[key][0], NOON + timedelta(seconds=next(SECONDS)))


@pytest.mark.parametrize("ends_with", ["nothing yet", "an error"])
def test_an_attempt_that_says_nothing_after_the_fold_hides_nothing_and_leaves_nothing(ends_with):
    store = MemoryStore()
    for end in range(1, 6):
        batch(store, end)
    before = read(store)
    fold(store, 4)
    late_attempt(store, 3, ends_with)
    assert read(store) == before
    for end in range(6, 9):
        batch(store, end)
    fold(store, 7)
    assert read(store)[: len(before)] == before
    fold(store, 7)
    assert receipts_table(store, *PLACE, "stream") is not None, "all of it is in columns again"


@pytest.mark.parametrize("ends_with", ["nothing yet", "an error"])
def test_a_later_plan_whose_attempt_says_nothing_hides_no_earlier_one(ends_with):
    store = MemoryStore()
    for end in range(1, 6):
        batch(store, end)
    before = read(store)
    late_attempt(store, 5, ends_with, plan="other")
    assert read(store) == before
    fold(store, 5)
    assert read(store) == before


def test_a_batch_that_is_done_again_after_its_fold_as_before_leaves_nothing_beside_it():
    store = MemoryStore()
    for end in range(1, 6):
        batch(store, end)
    fold(store, 4)
    batch(store, 3)
    told = [written.receipt for written in read(store)]
    for end in range(6, 9):
        batch(store, end)
    fold(store, 7)
    assert receipts_table(store, *PLACE, "stream") is not None
    assert [written.receipt for written in read(store)][: len(told)] == told
