"""What the sensor finds by events: a real inbox, and a listing only where it is due."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from lakehouse.dagster import definitions, sensors
from lakehouse.dagster.arrivals import Seen, look
from lakehouse.dagster.cursor import Cursor
from lakehouse.dagster.event_times import of_report, of_request, tags_of_request
from lakehouse.dagster.landing import landing_folders
from lakehouse.dagster.landing_checks import CHECK, examined
from lakehouse.dagster.notified import LISTED, UNKNOWN, look_by_events
from lakehouse.dagster.resources import LakeResource
from lakehouse.declaration import read_catalogue
from lakehouse.events.event import Event
from lakehouse.events.inbox import KEPT_AT_MOST, Reader
from lakehouse.events.sqlite_inbox import SqliteInbox
from lakehouse.settings import Settings
from lakehouse.storage.store import ObjectInfo
from lakehouse.streams.progress import BatchProgress, StreamReport

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVENTS = {"cloudFiles.useNotifications": True}


class Listing:
    """A folder as a store lists it."""

    def __init__(self):
        self.objects, self.requests = {}, 0

    def list(self, bucket, prefix="", start_after=None):
        self.requests += bucket == "landing"
        keys = [key for key in sorted(self.objects) if key.startswith(prefix) and key > (start_after or "")]
        return iter([self.objects[key] for key in keys] if bucket == "landing" else [])


class Watched:
    """A folder, its inbox, and the sensor's memory."""

    def __init__(self, tmp_path, *options):
        said = {"path": "s3a://landing/in/", "glob": "*.json", "engine": "local"}
        tables = {
            f"bronze.t{n}": {"files": {**said, "options": table_options}} for n, table_options in enumerate(options)
        }
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
        seconds = self.folder.listing_interval_seconds() if said.upto == UNKNOWN else 0.0
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


def test_a_large_folder_is_listed_as_a_whole_when_its_events_were_forgotten(watched, monkeypatch):
    monkeypatch.setattr("lakehouse.dagster.arrivals.FAST_FROM_FILES", 1)
    watched.put("in/-behind.json")
    watched.inbox.prune(NOON + KEPT_AT_MOST + timedelta(seconds=1))
    found = watched.look()
    assert (found.new, found.whole) == (1, True)


def test_a_folder_is_listed_while_a_table_of_it_has_no_events(tmp_path):
    watched = Watched(tmp_path, EVENTS, {})
    watched.put("in/0.json")
    for requests in (1, 2, 3):
        watched.look()
        assert watched.store.requests == requests
    watched.inbox.close()


def test_the_check_of_a_landing_folder_says_what_share_of_files_no_event_told_of(watched):
    def check():
        return examined(watched.settings, watched.folder, NOON)

    assert check().passed, "nobody has read yet"
    name = watched.folder.uri
    watched.inbox.listed(Reader(f"{name} 1", 9, 9, "x", NOON, told_in_all=97, lost_in_all=0, told_before=97))
    assert check().passed
    watched.inbox.listed(
        Reader(f"{name} 2", 9, 9, "x", NOON, told_in_all=9, lost_in_all=3, told_before=97, lost_before=3)
    )
    watched.inbox.listed(Reader(f"{name}other/ 3", 9, 9, "x", NOON, lost_in_all=50, lost_before=50))
    found = check()
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    said = {key: value.value for key, value in found.metadata.items()}
    assert said == {"loss_rate": 0.03, "files_by_events": 97, "files_not_told_of": 3}
    watched.inbox.close()
    Path(watched.settings.inbox.get_secret_value()).unlink()
    assert "no inbox" in check().description


@pytest.fixture
def tick(watched, instance, monkeypatch):
    """Ticks of the sensor itself, whose lake is the listing."""

    class OpenedLake:
        settings = watched.settings
        store = watched.store

    monkeypatch.setattr(LakeResource, "open", lambda self: OpenedLake)
    resource = LakeResource(home=str(watched.settings.home), declaration=str(watched.settings.declaration))
    made = definitions(lake=resource)
    sensor, cursors = made.resolve_sensor_def("new_files"), [None]

    def evaluate(now=NOON):
        monkeypatch.setattr(sensors, "_now", lambda: now)
        with dg.build_sensor_context(
            instance=instance, cursor=cursors[-1], resources={"lake": resource}, definitions=made
        ) as context:
            outcome = sensor.evaluate_tick(context)
        cursors.append(outcome.cursor)
        return outcome

    evaluate.cursors, evaluate.sensor = cursors, sensor
    return evaluate


def test_a_run_that_a_listing_asked_for_is_told_so_and_one_by_events_is_not(watched, tick):
    [first] = tick().run_requests
    assert first.tags[LISTED] == "in"
    watched.put("in/1.json", at=NOON + timedelta(minutes=1))
    [told] = tick(NOON + timedelta(minutes=1)).run_requests
    assert LISTED not in told.tags
    assert told.tags["put_to_run_request_p95_seconds"] == "0.0"
    watched.put("in/0-lost.json", told=False, at=NOON + timedelta(minutes=2))
    assert tick(NOON + timedelta(minutes=3)).run_requests == []
    [listed] = tick(NOON + timedelta(hours=25)).run_requests
    assert (listed.tags[LISTED], listed.tags["new_files"]) == ("in", "1")
    assert "put_to_run_request_p95_seconds" not in listed.tags


def test_events_of_others_are_read_once(watched, tick):
    tick()
    watched.inbox.put([Event("landing", f"out/{n}", "e", 1, NOON, str(n), NOON) for n in range(50)], NOON)
    assert tick().run_requests == []
    [(_, seen)] = Cursor.read(tick.cursors[-1]).seen.values()
    assert seen.told == watched.inbox.last_number()


def test_a_sensor_whose_folders_are_all_told_of_looks_every_five_seconds(tick, tmp_path):
    assert tick.sensor.minimum_interval_seconds < 5, "at each look of the daemon"
    (tmp_path / "listed").mkdir()
    watched = Watched(tmp_path / "listed", {})
    resource = LakeResource(home=str(watched.settings.home), declaration=str(watched.settings.declaration))
    assert definitions(lake=resource).resolve_sensor_def("new_files").minimum_interval_seconds == 15
    watched.inbox.close()


def test_latencies_are_numbers_with_names_that_stay_where_events_tell_of_files(watched):
    [table] = watched.folder.tables
    tags = of_request([NOON - timedelta(seconds=n) for n in range(101)], NOON)
    assert tags == {"put_to_run_request_p50_seconds": 50.0, "put_to_run_request_p95_seconds": 95.0}
    batch = BatchProgress(table.name, 4, 500, 1.0, files=2, latencies_seconds=tuple(map(float, range(201))))
    report = StreamReport(table.name, (batch,), 500, 3, 4, 1.5)
    said = tags_of_request([NOON - timedelta(seconds=n) for n in range(101)], NOON) | {"other": "x"}
    later = NOON + timedelta(seconds=8)
    told = of_report(table, report, said, later)
    both = {**tags, "run_request_to_commit_seconds": 8.0}
    assert told == {**both, "put_to_commit_p50_seconds": 100.0, "put_to_commit_p95_seconds": 190.0}
    assert of_report(table, dataclasses.replace(report, batches=()), said, later) == of_request([], NOON) == {}
    behind = dataclasses.replace(table, flow=None)
    found = of_report(behind, report, said, later)
    assert found == {**both, "put_to_commit_p50_seconds": 58.0, "put_to_commit_p95_seconds": 103.0}
    assert of_report(behind, report, {"other": "x"}, later) == tags_of_request([], NOON) == {}
    listing = dataclasses.replace(table, flow=table.flow.model_copy(update={"options": {}}))
    assert of_report(listing, report, said, later) == {}


def test_definitions_have_the_check_and_the_run_of_all_tables_includes_it(watched):
    resource = LakeResource(home=str(watched.settings.home), declaration=str(watched.settings.declaration))
    made = definitions(lake=resource)
    dg.Definitions.validate_loadable(made)
    selected = made.resolve_job_def("ingest").asset_layer.asset_graph.asset_check_keys
    assert dg.AssetCheckKey(watched.folder.key, CHECK) in selected
