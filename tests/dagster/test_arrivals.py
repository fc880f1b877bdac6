"""What a look at a landing folder finds, and what it costs: a listing that each test writes down, and a real store."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from lakehouse.dagster import arrivals
from lakehouse.dagster.arrivals import Seen, look
from lakehouse.storage import ObjectInfo

NOON = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
HOUR_SECONDS = 3600.0


class Listing:
    """A folder as a store lists it, with the requests that this takes: a page has 1,000 keys."""

    def __init__(self):
        self.objects = {}
        self.requests = 0

    def put(self, key, seconds=0.0, e_tag="e", size_bytes=10):
        self.objects[key] = ObjectInfo(key, size_bytes, e_tag, NOON + timedelta(seconds=seconds))

    def list(self, bucket, prefix="", start_after=None):
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > (start_after or ""))
        self.requests += max(-(-len(keys) // 1000), 1)
        return map(self.objects.__getitem__, keys)


@pytest.fixture
def listing(monkeypatch):
    monkeypatch.setattr(arrivals, "FAST_FROM_FILES", 3)
    made = Listing()
    for number in range(4):
        made.put(f"in/{number}", seconds=number)
    return made


def seen_after(listing, seen, *, minutes=0.0, interval_seconds=HOUR_SECONDS, **more):
    found = look(
        listing,
        "landing",
        "in/",
        lambda info: info.size_bytes > 0,
        seen,
        now=NOON + timedelta(minutes=minutes),
        interval_seconds=interval_seconds,
        **more,
    )
    return found, found.after


def test_where_keys_grow_a_look_costs_one_request_whatever_is_known(monkeypatch):
    listing = Listing()
    for number in range(30_000):
        listing.put(f"in/{number:07d}", seconds=number)
    found, seen = seen_after(listing, Seen())
    assert (found.new, found.whole, listing.requests) == (30_000, True, 30)
    for more in range(30_000, 30_003):
        listing.requests = 0
        listing.put(f"in/{more:07d}", seconds=more)
        found, seen = seen_after(listing, seen, minutes=1)
        assert (found.new, found.files, found.whole, listing.requests) == (1, more + 1, False, 1)
    found, _ = seen_after(listing, seen, minutes=2)
    assert (found.new, found.whole) == (0, False)


def test_a_key_behind_the_last_one_is_found_by_the_next_listing_of_everything(listing):
    _, seen = seen_after(listing, Seen())
    listing.put("in/0b", seconds=60)
    assert seen_after(listing, seen, minutes=30)[0].new == 0
    found, seen = seen_after(listing, seen, minutes=61)
    assert (found.new, found.fresh.count, found.whole) == (1, 1, True)
    assert not seen.grows
    assert seen_after(listing, seen, minutes=62)[0].whole, "keys do not grow here: all of them are listed each time"


def test_keys_that_grow_again_are_listed_from_the_last_one_again(listing):
    _, seen = seen_after(listing, dataclasses.replace(seen_after(listing, Seen())[1], grows=False))
    assert not seen.grows, "nothing new says nothing"
    listing.put("in/9", seconds=9)
    _, seen = seen_after(listing, seen, minutes=1)
    assert seen.grows
    assert not seen_after(listing, seen, minutes=2)[0].whole


def test_a_folder_whose_last_key_is_not_its_newest_is_not_trusted_to_grow(listing):
    listing.put("in/0", seconds=100)
    _, seen = seen_after(listing, Seen())
    assert not seen.grows


def test_a_large_folder_whose_keys_do_not_grow_is_listed_the_less_often_the_larger_it_is(listing, monkeypatch):
    monkeypatch.setattr(arrivals, "LISTED_FILES_PER_SECOND", 0.01)
    seen = dataclasses.replace(seen_after(listing, Seen())[1], grows=False)
    listing.put("in/0b", seconds=60)
    listing.put("in/9", seconds=61)
    listing.requests = 0
    quick, seen = seen_after(listing, seen, minutes=1)
    assert (quick.new, quick.whole, listing.requests) == (1, False, 1), "what follows the last key is found by any look"
    assert not seen_after(listing, seen, minutes=8)[0].whole, "five files may be listed once in 500 seconds"
    assert seen_after(listing, seen, minutes=8, interval_seconds=0.0)[0].whole, "unless somebody asks for it"
    assert not seen_after(listing, seen, minutes=8, interval_seconds=0.0, in_a_hurry=True)[0].whole
    found, seen = seen_after(listing, seen, minutes=9)
    assert (found.new, found.whole, seen.grows) == (1, True, False)
    monkeypatch.setattr(arrivals, "LISTED_FILES_PER_SECOND", 0.0001)
    assert seen_after(listing, seen, minutes=70)[0].whole, "the interval of the tables holds here, too"


@pytest.mark.parametrize("key", ["in/0b", "in/5b"])
def test_a_restored_file_with_an_old_time_is_found_by_the_number_of_files(listing, key):
    _, seen = seen_after(listing, Seen())
    listing.put("in/5", seconds=5)
    listing.put("in/6", seconds=6)
    _, seen = seen_after(listing, seen, minutes=1)
    assert seen.ahead == 2
    listing.put(key, seconds=-86_400)
    found, seen = seen_after(listing, seen, minutes=61)
    assert (found.unnamed, found.fresh.count) == (1, 0)
    assert seen_after(listing, seen, minutes=62)[0].new == 0


def test_a_file_that_was_overwritten_after_a_fast_look_is_found_by_its_time(listing):
    _, seen = seen_after(listing, Seen())
    listing.put("in/5", seconds=5)
    _, seen = seen_after(listing, seen, minutes=1)
    listing.put("in/5", seconds=120, e_tag="other")
    found, _ = seen_after(listing, seen, minutes=61)
    assert (found.fresh.count, found.unnamed) == (1, 0)


def test_files_that_were_cleaned_up_hide_no_file_with_a_time_of_today(listing):
    _, seen = seen_after(listing, Seen())
    for number in range(3):
        del listing.objects[f"in/{number}"]
    listing.put("in/2b", seconds=60)
    found, seen = seen_after(listing, seen, minutes=61)
    assert found.new == 1
    assert seen.known == 2


def test_an_empty_object_is_looked_at_again_when_it_has_bytes(listing):
    _, seen = seen_after(listing, Seen())
    listing.put("in/5", size_bytes=0)
    found, seen = seen_after(listing, seen, minutes=1)
    assert (found.new, found.ignored) == (0, 1)
    listing.put("in/5", seconds=5)
    assert seen_after(listing, seen, minutes=2)[0].new == 1


def test_a_clock_that_was_set_back_costs_a_listing_of_everything(listing):
    _, seen = seen_after(listing, Seen(), minutes=10)
    assert seen_after(listing, seen, minutes=5)[0].whole


def test_a_listing_that_is_due_waits_for_those_in_a_hurry(listing):
    _, seen = seen_after(listing, Seen())
    assert not seen_after(listing, seen, minutes=90, in_a_hurry=True)[0].whole
    assert seen_after(listing, seen, minutes=90)[0].whole


@pytest.mark.parametrize(
    "said",
    [
        {"v": 2, "at_high": [], "known": "3"},
        {"v": 2, "at_high": [], "listed_at": "noon"},
        {"v": 2, "at_high": [], "unheard": 1},
        {"v": 2, "at_high": 7},
        [],
    ],
)
def test_what_is_remembered_in_another_way_counts_as_nothing(said):
    assert Seen.read(said) == Seen()


def test_what_the_tables_have_loaded_is_not_new_at_the_first_look(listing):
    had = lambda page: {info.key for info in page} - {"in/2"}  # noqa: E731
    found, seen = seen_after(listing, Seen(), loaded=had)
    assert (found.new, found.files, seen.grows) == (1, 4, True)
    listing.put("in/5", seconds=5)
    found, _ = seen_after(listing, seen, minutes=61, loaded=had)
    assert (found.new, found.whole) == (1, True)


def test_a_real_store_lists_what_follows_the_last_key(lake, monkeypatch):
    monkeypatch.setattr(arrivals, "FAST_FROM_FILES", 3)
    bucket, folder = lake.settings.landing_bucket, lake.settings.landing_prefix

    def looked(seen, minutes):
        now = datetime.now(UTC) + timedelta(minutes=minutes)
        takes = lambda info: info.size_bytes > 0  # noqa: E731
        return look(lake.store, bucket, folder, takes, seen, now=now, interval_seconds=HOUR_SECONDS)

    for number in range(4):
        lake.store.write(bucket, f"{folder}{number} ü.json", b"{}")
    first = looked(Seen(), 0)
    assert (first.new, first.whole) == (4, True)
    lake.store.write(bucket, f"{folder}1b.json", b"{}")
    lake.store.write(bucket, f"{folder}4 ü.json", b"{}")
    second = looked(first.after, 1)
    assert (second.new, second.fresh.last_key, second.whole) == (1, f"{folder}4 ü.json", False)
    third = looked(second.after, 90)
    assert (third.new, third.whole, third.files) == (1, True, 6)
    assert looked(third.after, 91).new == 0
