"""Discovery by events without servers: whatever events do, each file version gets one number, and none is missed."""

import tracemalloc
from contextlib import suppress
from datetime import timedelta
from hashlib import md5
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import initialize, invariant, rule
from unit.autoloader.memory_store import Crash, MemoryStore
from unit.autoloader.test_discovery import KEYS, SOURCE, START, Discoverers, examples, fill, look, opened

from lakehouse.autoloader.files import notified
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.notified import Folder, discover_notified
from lakehouse.errors import ConfigurationError
from lakehouse.events.event import Event
from lakehouse.events.inbox import KEPT_AT_MOST
from lakehouse.events.sqlite_inbox import SqliteInbox

FEW = KEYS[:3]
LATER = START + timedelta(hours=1)


def event_of(key, data, at=START, bucket="landing"):
    return Event(bucket, key, md5(data).hexdigest(), len(data), at, f"{at.timestamp():020.6f}", at)


def look_by_events(store, journal, inbox, at=START, interval_seconds=86_400.0, **options):
    folder = Folder(store, SOURCE, journal, ("lake", "j/audit.json"))
    return discover_notified(folder, inbox, now=lambda: at, interval_seconds=interval_seconds, **options)


@pytest.fixture
def inbox(tmp_path):
    made = SqliteInbox(tmp_path / "inbox" / "one.sqlite", create=True)
    yield made
    made.close()


class Notified(Discoverers):
    """The same world, in which events come late, twice, in any order, of what is gone, or not at all."""

    @initialize()
    def begin(self):
        self.world = MemoryStore()
        self.journals = [opened(MemoryStore(shared=self.world), fan_in=2) for _ in range(2)]
        self.seen = {}
        self.folder = TemporaryDirectory()
        self.inbox = SqliteInbox(Path(self.folder.name) / "inbox.sqlite", create=True)
        self.under_way = []
        self.history, put = {}, self.world.put

        def remembered(bucket, key, data, modified=None):
            self.history.setdefault(key, []).append((md5(data).hexdigest(), len(data)))
            put(bucket, key, data, modified)

        self.world.put = remembered
        look_by_events(self.journals[0]._store, self.journals[0], self.inbox)

    def teardown(self):
        if hasattr(self, "inbox"):
            self.inbox.close()
            self.folder.cleanup()

    @rule(key=st.sampled_from(FEW), content=st.integers(0, 3), sent=st.integers(0, 2), minutes=st.integers(-15, 5))
    def put(self, key, content, sent, minutes):
        data, at = f"{content}".encode(), START + timedelta(minutes=minutes)
        self.world.put("landing", key, data, at)
        self.under_way += [event_of(key, data, at)] * sent

    @rule(data=st.data())
    def deliver(self, data):
        if self.under_way:
            event = data.draw(st.sampled_from(self.under_way))
            self.inbox.put([event], START)

    @rule(who=st.integers(0, 1), minutes=st.sampled_from([0, 0, 0, 20]))
    def discover_by_events(self, who, minutes):
        journal = self.journals[who]
        look_by_events(journal._store, journal, self.inbox, START + timedelta(minutes=minutes))

    @rule(who=st.integers(0, 1), calls=st.integers(0, 12))
    def crash_at_events(self, who, calls):
        store = MemoryStore(calls, shared=self.world)
        with suppress(Crash):
            look_by_events(store, opened(store, fan_in=2), self.inbox)
        self.journals[who] = opened(MemoryStore(shared=self.world), fan_in=2)

    @rule(who=st.integers(0, 1))
    def a_listing_finds_the_rest(self, who):
        journal = self.journals[who]
        look_by_events(journal._store, journal, self.inbox, listing=True)
        newest = {file.key: (file.e_tag, file.size_bytes) for file in journal.files(0, journal.high_water)}
        for info in self.world.list("landing", "in/"):
            if info.size_bytes:
                assert newest[info.key] == (info.e_tag, info.size_bytes), "skipped"

    @invariant()
    def versions_have_the_order_in_which_they_were_written(self):
        if not hasattr(self, "world"):
            return
        journal = opened(MemoryStore(shared=self.world))
        written = {key: iter(versions) for key, versions in self.history.items()}
        for file in journal.files(0, journal.high_water):
            assert (file.e_tag, file.size_bytes) in written[file.key], "an older version came after a newer one"


class TestNotified(Notified.TestCase):
    settings = examples(12)


@pytest.mark.soak("fifty times as many histories")
class TestManyNotified(Notified.TestCase):
    settings = examples(600)


def told_of(world, inbox, names, at=START, data=b"x"):
    """Files with their events."""
    for name in names:
        world.put("landing", f"in/{name}", data + name.encode(), at)
    inbox.put([event_of(f"in/{name}", data + name.encode(), at) for name in names], at)


@pytest.fixture
def begun(inbox):
    """A world with one file, known by a first listing."""
    world = MemoryStore()
    journal = opened(world)
    fill(world, ["0"])
    first = look_by_events(world, journal, inbox)
    assert (first.listed, first.found, journal.high_water) == ("the first look", 0, 1)
    return world, journal


def test_fresh_events_of_new_files_ask_nothing_of_the_store(begun, inbox):
    world, journal = begun
    told_of(world, inbox, [f"{number:04d}" for number in range(1_200)])
    listed = []
    world.list = lambda bucket, *rest, **more: (
        listed.append(bucket) if bucket == "landing" else MemoryStore.list(world, bucket, *rest, **more)
    )
    world.info = None
    found = look_by_events(world, journal, inbox)
    assert (found.found, found.asked, found.listed, listed) == (1_200, 0, "", [])


def test_an_entry_that_an_event_brought_is_what_a_listing_would_have_brought(begun, inbox):
    world, journal = begun
    told_of(world, inbox, ["a"])
    look_by_events(world, journal, inbox)
    [entry] = journal.files(1, 2)
    [there] = world.list("landing", "in/a")
    assert (entry.key, entry.e_tag, entry.size_bytes, entry.last_modified) == (
        *(there.key, there.e_tag, there.size_bytes),
        there.last_modified,
    )


def test_old_events_are_held_against_the_store_and_what_is_gone_does_not_come(begun, inbox):
    world, journal = begun
    told_of(world, inbox, ["gone", "replaced", "the same again", "there"])
    world.delete("landing", "in/gone")
    world.put("landing", "in/the same again", b"xthe same again", LATER)
    world.put("landing", "in/replaced", b"newer", LATER)
    found = look_by_events(world, journal, inbox, LATER)
    assert (found.asked, found.found) == (4, 3)
    assert {file.key: (file.e_tag, file.last_modified) for file in journal.files(1, 4)} == {
        "in/replaced": (md5(b"newer").hexdigest(), LATER),
        "in/the same again": (md5(b"xthe same again").hexdigest(), LATER),
        "in/there": (md5(b"xthere").hexdigest(), START),
    }


def test_a_fresh_event_of_an_older_version_is_held_against_the_store_where_its_key_is_known(begun, inbox):
    world, journal = begun
    world.put("landing", "in/a", b"first", START)
    world.put("landing", "in/a", b"second", START)
    look(world, journal)
    inbox.put([event_of("in/a", b"first")], START)
    found = look_by_events(world, journal, inbox)
    assert (found.asked, found.found, journal.high_water) == (1, 0, 2)


def test_a_month_of_events_that_come_again_asks_nothing_of_files_that_are_known(begun, inbox):
    world, journal = begun
    names = [f"{number:04d}" for number in range(3_000)]
    told_of(world, inbox, names)
    assert look_by_events(world, journal, inbox).found == 3_000
    again = [event_of(f"in/{name}", b"x" + name.encode(), START - timedelta(seconds=1)) for name in names]
    inbox.put(again, LATER)
    found = look_by_events(world, journal, inbox, LATER)
    assert (found.events, found.found, found.asked, found.listed) == (3_000, 0, 0, "")


def test_ever_more_events_take_no_more_memory(begun, inbox, monkeypatch):
    world, journal = begun
    monkeypatch.setattr(notified, "_PAGE", 100)
    names = [f"{number:02d}" for number in range(20)]
    told_of(world, inbox, names)
    assert look_by_events(world, journal, inbox).found == 20

    def peak_bytes(rounds, day):
        """Of a look at known files that are told of again so often."""
        at = [START - timedelta(days=day, milliseconds=number) for number in range(rounds)]
        inbox.put([event_of(f"in/{name}", b"x" + name.encode(), moment) for moment in at for name in names], START)
        tracemalloc.start()
        found = look_by_events(world, journal, inbox)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (found.events, found.found, found.asked, found.listed) == (20 * rounds, 0, 0, "")
        return peak

    assert peak_bytes(200, 2) < 1.5 * peak_bytes(20, 1)


def test_a_listing_on_the_interval_finds_what_no_event_told_of_and_says_how_much(begun, inbox):
    world, journal = begun
    told_of(world, inbox, ["a", "b", "c"])
    look_by_events(world, journal, inbox)
    fill_at(world, ["lost"], START + timedelta(minutes=5))
    fill_at(world, ["just now"], START + timedelta(days=1))
    found = look_by_events(world, journal, inbox, START + timedelta(days=1))
    assert (found.listed, found.lost, journal.high_water) == ("the interval is over", 1, 6)
    [reader] = inbox.readers()
    assert (reader.lost_in_all, reader.told_in_all, reader.loss_rate, reader.interval_seconds) == (1, 3, 0.25, 21_600)


def fill_at(world, names, at):
    for name in names:
        world.put("landing", f"in/{name}", name.encode(), at)


def test_losses_shorten_the_interval_and_their_absence_lengthens_it_again(begun, inbox):
    world, journal = begun
    at, seconds = START, []
    for losses in (1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0):
        fill_at(world, [f"{len(seconds)}-{number}" for number in range(losses)], at)
        at += timedelta(days=1)
        assert look_by_events(world, journal, inbox, at).lost == losses
        seconds.append(inbox.readers()[0].interval_seconds)
    assert seconds == [21_600, 5_400, 1_350, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400]


def test_another_journal_and_forgotten_events_make_a_listing_that_measures_nothing(begun, inbox):
    world, journal = begun
    told_of(world, inbox, ["a"])
    look_by_events(world, journal, inbox)
    for key in [key for bucket, key in world.objects if bucket == "lake"]:
        world.delete("lake", key)
    again = opened(world)
    found = look_by_events(world, again, inbox, LATER)
    assert (found.listed, found.lost, again.high_water) == ("the journal is another one", 0, 2)
    told_of(world, inbox, ["b"])
    inbox.prune(START + KEPT_AT_MOST + timedelta(seconds=1))
    found = look_by_events(world, again, inbox, LATER)
    assert (found.listed, found.lost, again.high_water) == ("events were forgotten before they were read", 0, 3)


def test_more_old_events_than_can_be_asked_of_one_by_one_make_a_listing(begun, inbox, monkeypatch):
    world, journal = begun
    monkeypatch.setattr(notified, "_ASKED", 10)
    told_of(world, inbox, [f"{number:04d}" for number in range(38)])
    fill_at(world, ["lost", "lost, too"], START)
    found = look_by_events(world, journal, inbox, LATER)
    assert found.listed.startswith("more events than") and journal.high_water == 41
    [reader] = inbox.readers()
    assert (found.lost, reader.lost_in_all, reader.told_in_all, reader.loss_rate) == (2, 2, 38, 0.05)


def test_other_folders_empty_objects_and_folder_marks_are_no_files(begun, inbox):
    world, journal = begun
    inbox.put([event_of("in/empty", b""), event_of("in/mark/", b"x"), event_of("inside/a", b"x")], START)
    inbox.put([event_of("in/a", b"x", bucket="other")], START)
    assert look_by_events(world, journal, inbox).found == 0


def test_switching_between_listing_and_events_numbers_each_file_once(begun, inbox):
    world, journal = begun
    told_of(world, inbox, ["a"])
    look(world, journal)
    told_of(world, inbox, ["b"])
    assert look_by_events(world, journal, inbox).found == 1
    told_of(world, inbox, ["c"])
    look(world, journal)
    assert look_by_events(world, journal, inbox).found == 0
    assert [file.key for file in journal.files(0, journal.high_water)] == ["in/0", "in/a", "in/b", "in/c"]


def test_listing_on_start_lists(begun, inbox):
    world, journal = begun
    fill_at(world, ["a"], START)
    assert look_by_events(world, journal, inbox, listing=True).listed == "asked for"
    assert journal.high_water == 2


@pytest.mark.parametrize("place", [None, "inbox.sqlite"])
def test_an_inbox_that_nobody_names_with_a_whole_path_is_refused(place):
    with pytest.raises(ConfigurationError, match="nothing says with a whole address"), notified.opened_inbox(place):
        pass


def test_what_another_numbered_in_the_middle_of_a_look_is_asked_for_again(begun, inbox, monkeypatch):
    world, journal = begun
    world.put("landing", "in/a", b"first", START)
    inbox.put([event_of("in/a", b"first")], START)
    append, other = Journal.append, opened(world)

    def late(self, *given):
        """Before the first write another lists, and then a newer version comes."""
        monkeypatch.setattr(Journal, "append", append)
        look(world, other)
        world.put("landing", "in/a", b"second", LATER)
        inbox.put([event_of("in/a", b"second", LATER)], START)
        return append(self, *given)

    monkeypatch.setattr(Journal, "append", late)
    look_by_events(world, journal, inbox)
    look_by_events(world, journal, inbox)
    versions = [md5(data).hexdigest() for data in (b"first", b"second")]
    assert [file.e_tag for file in journal.files(1, journal.high_water)] == versions
