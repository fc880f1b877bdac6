"""Discovery and journal without servers: whatever happens, each file version gets one number, and keeps it."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from unit.autoloader.memory_store import Crash, MemoryStore

from lakehouse.autoloader import discovery, journal
from lakehouse.autoloader.discovery import discover
from lakehouse.autoloader.journal import Journal, JournalMismatch, Position
from lakehouse.autoloader.location import SourcePath

START = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = SourcePath.parse("s3a://landing/in/")
KEYS = [f"in/{name}" for name in ("a", "b", "c/1", "c/2", "Z", "z é", "m#1", "m%2", "0", "~", "c.json", "c/x y")]


def opened(store):
    return Journal(store, "lake", "j/", now=lambda: START)


def look(store, one, source=SOURCE, at=START):
    return discover(store, source, one, ("lake", "j/audit.json"), now=lambda: at, audit_interval_seconds=3600)


class Discoverers(RuleBasedStateMachine):
    """Senders, several discoverers with views of any age, crashes at any call, merges all the time."""

    @initialize()
    def begin(self):
        journal._FAN_IN, self.fan_in = 2, journal._FAN_IN
        self.world = MemoryStore()
        self.journals = [opened(MemoryStore(shared=self.world)) for _ in range(2)]
        self.number = 0
        self.seen = {}

    @rule(key=st.sampled_from(KEYS), minutes=st.integers(-100_000, 100_000), size=st.integers(1, 3))
    def put(self, key, minutes, size):
        """New or overwritten, with any time: backdated, in the future, the same as another's."""
        self.number += 1
        data = f"{self.number}".encode() * size
        self.world.put("landing", key, data, START + timedelta(minutes=minutes))

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key):
        self.world.objects.pop(("landing", key), None)

    @rule(key=st.sampled_from(KEYS))
    def empty(self, key):
        self.world.put("landing", key, b"")

    @rule(who=st.integers(0, 1))
    def discover(self, who):
        one = self.journals[who]
        look(one._store, one)
        have = {(file.key, file.e_tag, file.size_bytes) for file in one.files(0, one.high_water)}
        there = {
            (info.key, info.e_tag, info.size_bytes)
            for info in self.world.list("landing", "in/")
            if info.size_bytes and not info.key.endswith("/")
        }
        assert there <= have, "skipped"

    @rule(who=st.integers(0, 1), calls=st.integers(0, 12))
    def crash(self, who, calls):
        """Dies at some call; the one who comes after begins with what is on the store."""
        store = MemoryStore(calls, shared=self.world)
        with suppress(Crash):
            look(store, opened(store))
        self.journals[who] = opened(MemoryStore(shared=self.world))

    @invariant()
    def numbers_are_for_ever(self):
        if not hasattr(self, "world"):
            return
        one = opened(MemoryStore(shared=self.world))
        files = list(one.files(0, one.high_water))
        assert [file.seq for file in files] == list(range(1, len(files) + 1))
        versions = [(file.key, file.e_tag, file.size_bytes) for file in files]
        assert len(set(versions)) == len(versions), "twice"
        assert sum(file.first for file in files) == len({file.key for file in files})
        for file in files:
            assert self.seen.setdefault(file.seq, file) == file, "another file under a number that was given"
        assert len(self.seen) == len(files), "a number disappeared"

    def teardown(self):
        if hasattr(self, "fan_in"):
            journal._FAN_IN = self.fan_in


def examples(count):
    return settings(max_examples=count, stateful_step_count=40, suppress_health_check=list(HealthCheck))


class TestDiscoverers(Discoverers.TestCase):
    settings = examples(150)


@pytest.mark.soak("twenty times as many histories")
class TestManyDiscoverers(Discoverers.TestCase):
    settings = examples(3000)


def fill(world, names, data=b"x"):
    for name in names:
        world.put("landing", f"in/{name}", data + name.encode())


def test_a_batch_has_the_same_files_after_any_number_of_later_runs_and_merges():
    world = MemoryStore()
    one = opened(world)
    batches = []
    for number in range(70):
        fill(world, [f"{number:03d}-{part}" for part in "abc"])
        look(world, one)
        batches.append(tuple(one.files(number * 3, number * 3 + 3)))
    assert len([key for bucket, key in world.objects if bucket == "lake"]) < 25  # 70 writes, merged
    again = opened(world)
    assert [tuple(again.files(number * 3, number * 3 + 3)) for number in range(70)] == batches


def test_an_unknown_place_is_refused():
    world = MemoryStore()
    one = opened(world)
    fill(world, ["a", "b"])
    look(world, one)
    here = one.position(2)
    one.verify(here)
    one.verify(Position(0))
    with pytest.raises(JournalMismatch, match="stands at file 3"):
        one.verify(Position(3, here.segment))
    with pytest.raises(JournalMismatch):
        one.verify(Position(2, "another"))


def test_a_restored_journal_that_grew_again_is_refused_too():
    world = MemoryStore()
    fill(world, ["a"])
    one = opened(world)
    look(world, one)
    copy = dict(world.objects)
    fill(world, ["b"])
    look(world, one)
    place = one.position(2)
    world.objects.clear()
    world.objects.update(copy)
    fill(world, ["c", "d"])
    restored = opened(world)
    look(world, restored)
    assert restored.high_water == 3
    with pytest.raises(JournalMismatch):
        restored.verify(place)


def test_only_what_follows_the_last_key_is_listed_while_keys_prove_to_be_ordered(monkeypatch):
    monkeypatch.setattr(discovery, "FAST_FROM_FILES", 10)
    world = MemoryStore()
    one = opened(world)
    fill(world, [f"b{number:02d}" for number in range(12)])
    assert look(world, one).full  # nothing is proven by the first
    fill(world, ["c00"])
    assert look(world, one).full  # this one proves it
    fill(world, ["c01"])
    fast = look(world, one)
    assert (fast.full, fast.listed, fast.found) == (False, 1, 1)
    fill(world, ["a00", "c02"])
    assert look(world, one, at=START + timedelta(minutes=59)).found == 1  # a00 arrived behind the last key
    audit = look(world, one, at=START + timedelta(minutes=61))
    assert (audit.full, audit.found) == (True, 1)
    fill(world, ["c03"])
    assert look(world, one, at=START + timedelta(minutes=62)).full  # not trusted any more


def test_a_clock_that_jumps_back_only_costs_a_full_listing(monkeypatch):
    monkeypatch.setattr(discovery, "FAST_FROM_FILES", 2)
    world = MemoryStore()
    one = opened(world)
    fill(world, ["b1", "b2"])
    look(world, one)
    fill(world, ["b3"])
    look(world, one)
    fill(world, ["a", "b4"])
    assert look(world, one, at=START - timedelta(days=1)).found == 2


def test_markers_and_empty_objects_are_looked_at_again():
    world = MemoryStore()
    one = opened(world)
    world.put("landing", "in/folder/", b"")
    world.put("landing", "in/late.json", b"")
    first = look(world, one)
    assert (first.listed, first.found, first.ignored) == (2, 0, 2)
    world.put("landing", "in/late.json", b"now")
    look(world, one)
    assert [file.key for file in one.files(0, 9)] == ["in/late.json"]


def test_of_two_who_number_files_at_the_same_moment_one_wins_and_the_other_takes_the_next_numbers():
    world = MemoryStore()
    fill(world, ["a", "b"])
    a, b = world.list("landing", "in/")
    first, second = opened(world), opened(world)
    assert first.append("landing", [a]) == 1
    assert second.append("landing", [b, a]) == 1, "its view is older than the first's write"
    for one in (second, opened(world)):
        assert [(file.seq, file.key) for file in one.files(0, 9)] == [(1, "in/a"), (2, "in/b")]
