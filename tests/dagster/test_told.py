"""What the sensor finds by events: a real inbox, and a listing only where it is due."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lakehouse.dagster.arrivals import Seen, look
from lakehouse.dagster.landing import landing_folders
from lakehouse.dagster.told import look_by_events
from lakehouse.declaration import read_catalogue
from lakehouse.events.event import Event
from lakehouse.events.inbox import KEPT_AT_MOST
from lakehouse.events.sqlite_inbox import SqliteInbox
from lakehouse.settings import Settings
from lakehouse.storage.store import ObjectInfo

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVENTS = {"cloudFiles.useNotifications": True}


class Listing:
    """A folder as a store lists it."""

    def __init__(self):
        self.objects, self.requests = {}, 0

    def list(self, bucket, prefix="", start_after=None):
        self.requests += 1
        return iter([self.objects[key] for key in sorted(self.objects)])


class Watched:
    """A folder, its inbox, and the sensor's memory."""

    def __init__(self, tmp_path, *options):
        said = {"path": "s3a://landing/in/", "glob": "*.json", "engine": "local"}
        tables = {f"bronze.t{n}": {"files": {**said, "options": one}} for n, one in enumerate(options)}
        (tmp_path / "lakehouse.yaml").write_text(json.dumps({"tables": tables}))
        self.settings = Settings.load(home=tmp_path / "home", declaration=tmp_path / "lakehouse.yaml")
        [self.folder] = landing_folders(read_catalogue(self.settings))
        self.inbox = SqliteInbox(Path(self.settings.inbox.get_secret_value()), create=True)
        self.store, self.seen, self.events = Listing(), Seen(), 0

    def put(self, *keys, told=True, size_bytes=3, at=NOON):
        for key in keys:
            self.events += 1
            self.store.objects[key] = ObjectInfo(key, size_bytes, f"e{self.events}", at)
            if told:
                self.inbox.put([Event("landing", key, f"e{self.events}", size_bytes, at, f"{self.events:9}", at)], at)

    def look(self, now=NOON):
        """What ``look_around`` does with one folder."""
        said = look_by_events(self.settings, self.folder, self.seen, now)
        seconds = self.folder.listing_interval_seconds()
        found = said.look or look(
            *(self.store, "landing", "in/", self.folder.takes(), self.seen), now=now, interval_seconds=seconds
        )
        self.seen = Seen(**{**found.after.write(), "told": said.upto})
        return found


@pytest.fixture
def watched(tmp_path):
    made = Watched(tmp_path, EVENTS)
    made.put("in/0.json")
    assert (made.look().new, made.store.requests) == (1, 1)
    yield made
    made.inbox.close()


def test_new_files_are_found_by_their_events_and_nothing_is_listed(watched):
    watched.put("in/2.json", "in/1.json", "in/1.txt", "other/3.json")
    watched.put("in/empty.json", size_bytes=0)
    found = watched.look()
    assert (found.new, found.fresh.size_bytes, found.ignored, found.files) == (2, 6, 2, 3)
    assert watched.look().new == 0
    assert watched.store.requests == 1


def test_events_that_come_twice_or_late_ask_for_one_file_once(watched):
    watched.put("in/1.json")
    watched.put("in/1.json")
    assert watched.look().new == 1
    assert Seen.read(json.loads(json.dumps(watched.seen.write()))) == watched.seen


def test_a_listing_on_the_interval_finds_what_no_event_told_of_and_takes_the_rest_for_known(watched):
    watched.put("in/1.json", at=NOON + timedelta(minutes=1))
    assert watched.look().new == 1
    watched.put("in/2.json", told=False, at=NOON + timedelta(minutes=2))
    assert watched.look(NOON + timedelta(hours=23)).new == 0
    found = watched.look(NOON + timedelta(hours=25))
    assert (found.new, found.fresh.last_key, watched.store.requests) == (1, "in/2.json", 2)


def test_forgotten_events_and_another_inbox_make_a_listing(watched):
    watched.put("in/1.json")
    watched.inbox.prune(NOON + KEPT_AT_MOST + timedelta(seconds=1))
    assert (watched.look().whole, watched.store.requests) == (True, 2)
    watched.inbox.close()
    Path(watched.settings.inbox.get_secret_value()).unlink()
    assert watched.look().whole, "no inbox"
    watched.inbox = SqliteInbox(Path(watched.settings.inbox.get_secret_value()), create=True)
    watched.seen = Seen(**{**watched.seen.write(), "told": 5})
    assert watched.look().whole, "its numbers begin anew"


def test_a_folder_is_listed_while_a_table_of_it_has_no_events(tmp_path):
    watched = Watched(tmp_path, EVENTS, {})
    watched.put("in/0.json")
    for requests in (1, 2, 3):
        watched.look()
        assert watched.store.requests == requests
    watched.inbox.close()
