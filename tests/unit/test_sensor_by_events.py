"""What a tick looks for in a folder that events tell of: the inbox, and a listing only where one is due."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from lakehouse.dagster import arrivals
from lakehouse.dagster.cursor import Cursor
from lakehouse.dagster.landing import landing_folders
from lakehouse.dagster.looking import look_around
from lakehouse.declaration import read_catalogue
from lakehouse.events.event import Event
from lakehouse.events.inbox import KEPT_AT_MOST, Reader
from lakehouse.events.sqlite_inbox import SqliteInbox
from lakehouse.flows.files import Files
from lakehouse.settings import Settings
from lakehouse.storage.store import ObjectInfo

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Listing:
    """A bucket as a store lists it."""

    def __init__(self):
        self.objects, self.listings = {}, []

    def list(self, bucket, prefix="", start_after=None):
        if bucket == "landing":
            self.listings.append("rest" if start_after else "whole")
        keys = [key for key in sorted(self.objects) if key.startswith(prefix) and key > (start_after or "")]
        return iter([self.objects[key] for key in keys])


class Watched:
    """A folder, its inbox, and the sensor's memory."""

    def __init__(self, folder):
        files = {"path": "s3a://landing/in/", "glob": "*.json", "engine": "local"}
        tables = {"bronze.t": {"files": {**files, "options": {"cloudFiles.useNotifications": True}}}}
        (folder / "lakehouse.yaml").write_text(json.dumps({"tables": tables}))
        self.settings = Settings.load(home=folder / "home", declaration=folder / "lakehouse.yaml")
        self.folders = landing_folders(read_catalogue(self.settings))
        self.file = Path(self.settings.inbox.get_secret_value())
        self.inbox = SqliteInbox(self.file, create=True)
        self.store, self.cursor, self.events = Listing(), Cursor(), 0

    def put(self, *keys, told=True, at=NOON):
        for key in keys:
            self.events += 1
            self.store.objects[key] = ObjectInfo(key, 3, f"e{self.events}", at)
            if told:
                self.inbox.put([Event("landing", key, f"e{self.events}", 3, at, f"{self.events:9}", at)], at)

    def look(self, now=NOON, hurry=False):
        """One tick; the names that it found, and what it listed."""
        self.store.listings.clear()
        lake = SimpleNamespace(settings=self.settings, store=self.store)
        looked = look_around(lake, self.folders, self.cursor, now=now, in_a_hurry=lambda folder: hurry)
        [(folder, found)] = looked.found
        self.cursor = self.cursor.after(folder, found.after)
        return found.new, found.listed, self.store.listings


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A folder that is listed behind its greatest key where that is enough."""
    monkeypatch.setattr(arrivals, "FAST_FROM_FILES", 1)
    made = Watched(tmp_path)
    made.put("in/0.json")
    assert made.look() == (1, True, ["whole"])
    yield made
    made.inbox.close()


def test_events_alone_say_what_is_new(watched):
    watched.put("in/1.json", "in/0-late.json", "in/1.txt")
    assert watched.look() == (2, False, [])
    assert watched.look() == (0, False, [])


def test_after_a_loss_the_sensor_lists_as_soon_as_its_reader_does(watched):
    watched.put("in/0-lost.json", told=False)
    later = NOON + timedelta(hours=7)
    assert watched.look(later) == (0, False, [])
    reader = Reader(f"{watched.folders[0].uri} 1", 1, 1, "x", NOON, interval_seconds=6 * 3600.0)
    watched.inbox.listed(Reader(f"{watched.folders[0].uri} 2", 1, 1, "x", NOON - timedelta(days=9), 900.0))
    watched.inbox.listed(Reader(f"{watched.folders[0].uri}other/ 3", 1, 1, "x", NOON, 900.0))
    watched.inbox.listed(reader)
    assert watched.look(NOON + timedelta(hours=5)) == (0, False, [])
    assert watched.look(later) == (1, True, ["whole"])
    assert watched.look(later) == (0, False, [])


def test_where_events_were_forgotten_the_whole_folder_is_listed(watched):
    watched.put("in/0-old.json")
    watched.inbox.prune(NOON + KEPT_AT_MOST + timedelta(seconds=1))
    assert watched.look() == (1, True, ["whole"])


def test_a_listing_that_is_due_waits_while_no_run_would_start(watched):
    watched.put("in/0-lost.json", told=False)
    later = NOON + timedelta(hours=25)
    assert watched.look(later, hurry=True) == (0, False, [])
    assert watched.look(later) == (1, True, ["whole"])


def test_what_came_while_the_inbox_could_not_be_read_is_found_once(watched):
    watched.put("in/1.json")
    hidden = watched.file.rename(watched.file.with_name("hidden"))
    assert watched.look() == (1, True, ["rest"])
    hidden.rename(watched.file)
    watched.put("in/2.json")
    assert watched.look() == (1, True, ["whole"])
    assert watched.look() == (0, False, [])


@pytest.mark.parametrize("given", [{}, {"cloudFiles.listOnStart": "false"}, {"CLOUDFILES.LISTONSTART": "false"}])
def test_a_run_that_a_listing_asked_for_begins_with_a_listing(watched, given):
    flow = Files(path="s3a://landing/in/", options={"cloudFiles.useNotifications": "true", **given})
    assert not flow.cloud_files(watched.settings, "bronze.t").list_on_start
    listing = flow.listed_on_start().cloud_files(watched.settings, "bronze.t")
    assert (listing.list_on_start, listing.use_notifications) == (True, True)
