"""Discovery and journal without servers: whatever happens, each file version gets one number, and keeps it."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from unit.autoloader.memory_store import Crash, MemoryStore

from lakehouse.autoloader.files import discovery
from lakehouse.autoloader.files.discovery import discover
from lakehouse.autoloader.files.journal import Journal, JournalMismatch, Position
from lakehouse.autoloader.options.paths import SourcePath
from lakehouse.errors import ConfigurationError
from lakehouse.storage.store import ObjectInfo

START = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = SourcePath.parse("s3a://landing/in/")
KEYS = [f"in/{name}" for name in ("a", "b", "c/1", "c/2", "Z", "z é", "m#1", "m%2", "0", "~", "c.json", "c/x y")]


def opened(store, **options):
    return Journal(store, "lake", "j/", now=lambda: START, **options)


def look(store, journal, source=SOURCE, at=START):
    return discover(store, source, journal, ("lake", "j/audit.json"), now=lambda: at, audit_interval_seconds=3600)


class Discoverers(RuleBasedStateMachine):
    """Senders, several discoverers with views of any age, crashes at any call, merges all the time."""

    @initialize()
    def begin(self):
        self.world = MemoryStore()
        self.journals = [opened(MemoryStore(shared=self.world), fan_in=2) for _ in range(2)]
        self.seen = {}

    @rule(key=st.sampled_from(KEYS), minutes=st.integers(-100_000, 100_000), content=st.integers(0, 9))
    def put(self, key, minutes, content):
        """New or overwritten, also with what it once was, and any time: backdated, in the future, another's."""
        data = f"{content}".encode() * (content // 4 + 1)
        self.world.put("landing", key, data, START + timedelta(minutes=minutes))

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key):
        self.world.objects.pop(("landing", key), None)

    @rule(key=st.sampled_from(KEYS))
    def empty(self, key):
        self.world.put("landing", key, b"")

    @rule(who=st.integers(0, 1))
    def discover(self, who):
        journal = self.journals[who]
        look(journal._store, journal)
        newest = {file.key: file for file in journal.files(0, journal.high_water)}
        have = {(file.key, file.e_tag, file.size_bytes) for file in newest.values()}
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
            look(store, opened(store, fan_in=2))
        self.journals[who] = opened(MemoryStore(shared=self.world), fan_in=2)

    @invariant()
    def numbers_are_for_ever(self):
        if not hasattr(self, "world"):
            return
        journal = opened(MemoryStore(shared=self.world))
        files = list(journal.files(0, journal.high_water))
        assert [file.seq for file in files] == list(range(1, len(files) + 1))
        newest = {}
        for file in files:
            version = (file.e_tag, file.size_bytes)
            assert newest.get(file.key) != version, "twice"
            newest[file.key] = version
        assert sum(file.first for file in files) == len({file.key for file in files})
        for file in files:
            assert self.seen.setdefault(file.seq, file) == file, "another file under a number that was given"
        assert len(self.seen) == len(files), "a number disappeared"


def examples(count):
    return settings(max_examples=count, stateful_step_count=40, suppress_health_check=list(HealthCheck))


class TestDiscoverers(Discoverers.TestCase):
    settings = examples(30)


@pytest.mark.soak("fifty times as many histories")
class TestManyDiscoverers(Discoverers.TestCase):
    settings = examples(1500)


def fill(world, names, data=b"x"):
    for name in names:
        world.put("landing", f"in/{name}", data + name.encode())


def test_a_batch_has_the_same_files_after_any_number_of_later_runs_and_merges():
    world = MemoryStore()
    journal = opened(world)
    batches = []
    for number in range(70):
        fill(world, [f"{number:03d}-{part}" for part in "abc"])
        look(world, journal)
        batches.append(tuple(journal.files(number * 3, number * 3 + 3)))
    assert len([key for bucket, key in world.objects if bucket == "lake"]) < 25  # 70 writes, merged
    again = opened(world)
    assert [tuple(again.files(number * 3, number * 3 + 3)) for number in range(70)] == batches


def test_an_unknown_place_is_refused():
    world = MemoryStore()
    journal = opened(world)
    fill(world, ["a", "b"])
    look(world, journal)
    here = journal.position(2)
    journal.verify(here)
    journal.verify(Position(0))
    with pytest.raises(JournalMismatch, match="stands at file 3"):
        journal.verify(Position(3, here.segment))
    with pytest.raises(JournalMismatch):
        journal.verify(Position(2, "another"))


def test_a_restored_journal_that_grew_again_is_refused_too():
    world = MemoryStore()
    fill(world, ["a"])
    journal = opened(world)
    look(world, journal)
    copy = dict(world.objects)
    fill(world, ["b"])
    look(world, journal)
    place = journal.position(2)
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
    journal = opened(world)
    fill(world, [f"b{number:02d}" for number in range(12)])
    assert look(world, journal).full  # nothing is proven by the first
    fill(world, ["c00"])
    assert look(world, journal).full  # this one proves it
    fill(world, ["c01"])
    fast = look(world, journal)
    assert (fast.full, fast.listed, fast.found) == (False, 1, 1)
    fill(world, ["a00", "c02"])
    assert look(world, journal, at=START + timedelta(minutes=59)).found == 1  # a00 arrived behind the last key
    audit = look(world, journal, at=START + timedelta(minutes=61))
    assert (audit.full, audit.found) == (True, 1)
    fill(world, ["c03"])
    assert look(world, journal, at=START + timedelta(minutes=62)).full  # not trusted any more


def test_a_clock_that_jumps_back_only_costs_a_full_listing(monkeypatch):
    monkeypatch.setattr(discovery, "FAST_FROM_FILES", 2)
    world = MemoryStore()
    journal = opened(world)
    fill(world, ["b1", "b2"])
    look(world, journal)
    fill(world, ["b3"])
    look(world, journal)
    fill(world, ["a", "b4"])
    assert look(world, journal, at=START - timedelta(days=1)).found == 2


def test_markers_and_empty_objects_are_looked_at_again():
    world = MemoryStore()
    journal = opened(world)
    world.put("landing", "in/folder/", b"")
    world.put("landing", "in/late.json", b"")
    first = look(world, journal)
    assert (first.listed, first.found, first.ignored) == (2, 0, 2)
    world.put("landing", "in/late.json", b"now")
    look(world, journal)
    assert [file.key for file in journal.files(0, 9)] == ["in/late.json"]


def test_of_two_who_number_files_at_the_same_moment_one_wins_and_the_other_takes_the_next_numbers():
    world = MemoryStore()
    fill(world, ["a", "b"])
    a, b = world.list("landing", "in/")
    first, second = opened(world), opened(world)
    assert first.append("landing", [a]) == 1
    assert second.append("landing", [b, a]) == 1, "its view is older than the first's write"
    for journal in (second, opened(world)):
        assert [(file.seq, file.key) for file in journal.files(0, 9)] == [(1, "in/a"), (2, "in/b")]


def keys_of(journal):
    return [file.key.removeprefix("in/") for file in journal.files(0, journal.high_water)]


def numbered(world, journal, *names):
    """Numbers each of these files with a write of its own."""
    for name in names:
        fill(world, [name])
        assert (
            journal.append("landing", [info for info in world.list("landing", "in/") if info.key == f"in/{name}"]) == 1
        )


@pytest.mark.parametrize("crashes", [False, True])
def test_who_slept_over_a_merge_gives_no_number_that_others_gave(crashes):
    """The journal ends with a merged block: the ordinals in it are free, and nothing comes after them."""
    world = MemoryStore()
    first = opened(world)
    names = [f"a{number:02d}" for number in range(16)]
    numbered(world, first, *names[:12])
    store = MemoryStore(shared=world)
    second, third = opened(store), opened(world)
    numbered(world, first, *names[12:])
    assert first.merge() == 15
    fill(world, ["z0", "z1", "z2", "z3"])
    store.crash_after = 1 if crashes else None  # behind the write, before it sees what it wrote
    with suppress(Crash):
        second.append("landing", list(world.list("landing", "in/z")))
    store.crash_after = None
    third.refresh()
    batch = [file.key.removeprefix("in/") for file in third.files(12, 16)]
    assert batch == names[12:], "the numbers of a batch that others have read"
    for journal in (third, second, first, opened(world)):
        look(journal._store, journal)
        assert keys_of(journal) == [*names, "z0", "z1", "z2", "z3"]


def test_what_was_written_in_a_merged_place_is_removed_at_once():
    world = MemoryStore()
    first = opened(world)
    numbered(world, first, *(f"a{number:02d}" for number in range(12)))
    second = opened(world)
    numbered(world, first, "b12", "b13", "b14", "b15")
    first.merge()
    fill(world, ["z"])
    second.append("landing", list(world.list("landing", "in/z")))
    segments_left = [key.rsplit("/")[-1] for bucket, key in sorted(world.objects) if bucket == "lake"]
    assert segments_left == ["0000000001-0000000016.parquet", "0000000016.parquet", "0000000017.parquet"]
    first.refresh()
    first.merge()
    assert len([key for bucket, key in world.objects if bucket == "lake"]) == 2


def test_nothing_is_numbered_twice_when_the_journal_was_merged_while_it_was_looked_up():
    world = MemoryStore()
    first, second = opened(world, fan_in=4), opened(world, fan_in=4)
    numbered(world, first, "a0", "a1", "a2")
    second.refresh()
    numbered(world, first, "a3", "n", "a5", "a6", "a7")
    first.merge()
    world.put("landing", "in/a0", b"overwritten")  # whether its key is there is looked up in segments that are gone
    assert (
        second.append("landing", [info for info in world.list("landing", "in/") if info.key in ("in/a0", "in/n")]) == 1
    )
    assert sorted(keys_of(opened(world))) == ["a0", "a0", "a1", "a2", "a3", "a5", "a6", "a7", "n"]


def test_content_that_comes_back_is_a_new_version():
    world = MemoryStore()
    journal = opened(world)
    for data in (b"A", b"A", b"B", b"A", b"A"):
        world.put("landing", "in/a", data)
        look(world, journal)
        look(world, opened(world))
    journal.refresh()
    files = list(journal.files(0, journal.high_water))
    assert [file.first for file in files] == [True, False, False]
    assert files[0].e_tag == files[2].e_tag != files[1].e_tag


class Interrupted(MemoryStore):
    """Others do something right before the first write to the journal."""

    def __init__(self, shared, others):
        super().__init__(shared=shared)
        self.others = others

    def write(self, bucket, key, data, **conditions):
        others, self.others = self.others, None
        if others:
            others()
        return super().write(bucket, key, data, **conditions)


@pytest.mark.parametrize("known", [False, True], ids=["new", "known before"])
def test_what_was_listed_before_another_version_was_found_is_not_numbered_after_it(known):
    world = MemoryStore()
    contents = [b"A", b"B"] if known else [b"B"]
    for data in contents:
        world.put("landing", "in/a", data)
        look(world, opened(world))
    world.put("landing", "in/a", b"A")  # is listed
    fill(world, ["b"])

    def others():
        world.put("landing", "in/a", b"C")
        look(world, opened(world))

    store = Interrupted(world, others)
    look(store, opened(store))
    journal = opened(world)
    assert keys_of(journal)[len(contents) :] == ["a", "b"], "C and b"
    look(world, journal)
    assert journal.high_water == len(contents) + 2, "C is still there"


def test_a_journal_of_another_bucket_is_refused():
    world = MemoryStore()
    fill(world, ["a"])
    look(world, opened(world))
    world.put("other", "in/a", b"xa")
    other = SourcePath.parse("s3a://other/in/")
    with pytest.raises(ConfigurationError, match=r"is of files in s3a://landing/, not in s3a://other/") as refused:
        look(world, opened(world), other)
    assert "cloudFiles.journalLocation" in refused.value.next_command
    assert opened(world).high_water == 1


def test_files_that_no_listing_found_may_be_of_any_bucket():
    """What COPY INTO loaded, in a lake that was moved."""
    journal = opened(MemoryStore())
    for number, bucket in enumerate(["old", "new"]):
        assert journal.append(bucket, [ObjectInfo(f"landing/{number}", 1, "e", START)]) == 1


def test_of_two_buckets_that_begin_a_journal_one_is_refused():
    world = MemoryStore()
    fill(world, ["a"])
    world.put("other", "in/a", b"xa")
    other = SourcePath.parse("s3a://other/in/")
    store = Interrupted(world, lambda: look(world, opened(world)))
    with pytest.raises(ConfigurationError, match="not in s3a://other/"):
        look(store, opened(store), other)
    assert [file.bucket for file in opened(world).files(0, 9)] == ["landing"]


def test_folders_that_share_a_journal_are_not_listed_from_each_others_last_key(monkeypatch):
    monkeypatch.setattr(discovery, "FAST_FROM_FILES", 2)
    world = MemoryStore()
    low, high = SourcePath.parse("s3a://landing/in/"), SourcePath.parse("s3a://landing/zone/")
    journal = opened(world)
    fill(world, ["a", "b"])
    world.put("landing", "zone/a", b"1")
    for _ in range(2):
        look(world, journal, high)
        look(world, journal, low)
    world.put("landing", "zone/b", b"1")
    look(world, journal, high)
    fill(world, ["c"])
    assert look(world, journal, low).found == 1


def test_a_path_that_is_a_files_own_key_finds_that_file_and_no_other():
    world = MemoryStore()
    fill(world, ["a.json", "a.json.old", "b.json"])
    source = SourcePath.parse("s3a://landing/in/a.json")
    journal = opened(world)
    assert look(world, journal, source).found == 1
    world.put("landing", "in/a.json", b"replaced")
    assert look(world, journal, source).found == 1
    assert [(file.key, file.first) for file in journal.files(0, 9)] == [("in/a.json", True), ("in/a.json", False)]


def test_a_path_with_files_below_it_is_a_folder():
    world = MemoryStore()
    world.put("landing", "in", b"what some client left as the folder's marker")
    fill(world, ["a.json"])
    journal = opened(world)
    assert look(world, journal, SourcePath.parse("s3a://landing/in")).found == 1
    assert [file.key for file in journal.files(0, 9)] == ["in/a.json"]
