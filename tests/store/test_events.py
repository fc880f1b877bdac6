"""New files are told of by a real MinIO, taken from the inbox, and loaded without a listing."""

import json
import socket
import threading
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import pytest
from command import lakehouse_here
from minio.notificationconfig import NotificationConfig, PrefixFilterRule, QueueConfig
from pydantic import SecretStr
from store.local_world import TABLE
from store.notified_world import EVENTS, NotifiedWorld, until

from lakehouse.autoloader.files import notified
from lakehouse.autoloader.files.journal import Journal
from lakehouse.dagster.landing import landing_folders
from lakehouse.dagster.landing_checks import examined
from lakehouse.declaration import read_catalogue
from lakehouse.events import receiver_process, setup
from lakehouse.events.event import Event
from lakehouse.events.sqlite_inbox import SqliteInbox
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.storage import MinioStore, ensure_store, stop_store
from lakehouse.storage.bucket_rules import BucketRules
from lakehouse.storage.webhook import WEBHOOKS
from lakehouse.streams.queries import StopRequest
from lakehouse.streams.trigger import Trigger


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture(scope="module")
def told_home(tmp_path_factory):
    """A home whose store tells of new files."""
    folder = tmp_path_factory.mktemp("told")
    yield folder
    settings = Settings.load(home=folder, user="tester")
    receiver_process.stop_receiver(settings)
    stop_store(settings)


@pytest.fixture
def things(told_home, tmp_path):
    """A table whose first file is loaded."""
    name = uuid.uuid4().hex[:12]
    settings = Settings.load(home=told_home, user="tester", bucket=f"lake-{name}", landing_prefix=f"{name}/")
    setup.enable(settings, {settings.landing_bucket: [f"{name}/things/"]})
    world = NotifiedWorld(Lake.open(settings), tmp_path)
    world.put("0.json", [{"a": 0}])
    world.until_told("0.json")
    assert world.load_rows() == 1
    yield world
    world.inbox.close()


def rows_of(*numbers):
    return [(str(number),) for number in numbers]


def test_files_come_by_their_events_without_a_listing_and_with_what_a_listing_has(things):
    before = things.lists()
    for number, name in enumerate(["1.json", "deep/er/2 é+%.json", "~3&=.json"], 1):
        things.put(name, [{"a": number}])
        things.until_told(name)
        assert things.load_rows() == 1
    assert things.load().batches == ()
    assert things.lists() == before
    assert things.rows("a") == rows_of(0, 1, 2, 3)
    assert things.declare().load().batches == ()
    assert things.lists() > before, "the count is of this"
    listed = {landed.key: landed for landed in things.lake.store.list(things.bucket, things.folder)}
    for entry in things.entries():
        info = listed[entry.key]
        assert (entry.e_tag, entry.size_bytes, entry.last_modified) == (info.e_tag, info.size_bytes, info.last_modified)
    assert things.failed_checks() == set()


def test_events_that_were_lost_are_found_by_one_listing_which_says_how_many(things, monkeypatch):
    monkeypatch.setattr(notified, "GRACE", notified.timedelta(0))
    things.put("1.json", [{"a": 1}])
    things.until_told("1.json")
    assert things.load_rows() == 1
    rules = BucketRules(things.lake.endpoint, things.bucket)
    folders = rules.folders()
    rules.set(folders - {things.folder})
    for number in range(2, 5):
        things.put(f"{number}.json", [{"a": number}])
    rules.set(folders)
    assert things.load().batches == (), "nobody told"
    things.declare(options={**EVENTS, "cloudFiles.backfillInterval": "1 millisecond"})
    assert things.load_rows() == 3
    assert things.rows("a") == rows_of(0, 1, 2, 3, 4)
    assert (things.reader().lost_in_all, things.reader().loss_rate) == (3, 0.75)


def test_a_run_that_a_listing_asked_for_lists_too(things):
    rules = BucketRules(things.lake.endpoint, things.bucket)
    folders = rules.folders()
    rules.set(folders - {things.folder})
    things.put("1.json", [{"a": 1}])
    rules.set(folders)
    assert things.load().batches == (), "nobody told"
    settings = things.lake.settings
    [folder] = landing_folders(read_catalogue(settings))
    examine = partial(examined, settings, folder, datetime.now(UTC) + timedelta(minutes=2))
    assert examine().passed, "the last listing found none"
    found = examine(things.lake)
    numbers = {name: value.value for name, value in found.metadata.items()}
    assert (found.passed, numbers["files_listed"]) == (False, 2)
    assert (numbers["files_in_no_journal"], numbers["of_these_not_told_of"]) == (1, 1)
    assert things.load().batches == (), "the check writes nothing"
    assert things.load_rows(listing=True) == 1
    assert examine(things.lake).passed
    assert things.load(listing=True).batches == ()
    assert things.rows("a") == rows_of(0, 1)


def test_an_event_ends_the_pause_of_an_interval_that_nobody_asked_for(things):
    alive, loaded, stop = [], threading.Event(), StopRequest()
    run = {"trigger": Trigger.parse("processing-time=1h"), "woken": True, "stop": stop}
    run |= {"on_alive": lambda: alive.append(1), "on_batch": lambda batch: loaded.set()}
    running = threading.Thread(target=things.load, kwargs=run)
    running.start()
    until(lambda: len(alive) > 1)  # it has looked, and waits
    things.put("1.json", [{"a": 1}])
    assert loaded.wait(60)
    stop.ask()
    running.join()
    assert things.rows("a") == rows_of(0, 1)


@pytest.mark.soak("a restart of the store, and its look into its queue every three seconds")
def test_events_wait_at_the_store_while_nobody_listens_and_outlive_its_restart(things):
    settings = things.lake.settings
    assert receiver_process.stop_receiver(settings)
    things.put("1.json", [{"a": 1}])
    webhook = setup.webhook_of(setup.store_server(settings).folder)
    until(lambda: webhook.waiting() > 0)
    assert stop_store(settings)
    things.lake = Lake.open(settings)  # store and receiver are started again
    things.until_told("1.json")
    before = things.lists()
    assert things.load_rows() == 1
    assert things.lists() == before
    until(lambda: webhook.waiting() == 0)
    assert receiver_process.stop_receiver(settings)
    with socket.create_server(("127.0.0.1", urlsplit(webhook.url).port)):  # somebody else took its port
        said = []
        Lake.open(settings, say=said.append)
        assert any("cannot listen on 127.0.0.1" in message for message in said)
        setup.enable(settings, {})
        names = [f"{number}.json" for number in range(2, 12)]

        def one_is_told():  # of the first moments after its start the store may not tell
            name = names.pop(0)
            things.put(name, [{"a": 2}])
            time.sleep(1)
            return things.inbox.has(things.bucket, {things.folder + name})

        until(one_is_told)


def change_modes(things, place, monkeypatch):
    """Modes change places around crashes after calls of that name."""
    owner = SqliteInbox if place == "advance" else Journal
    number = 0
    for options in ({}, EVENTS, {}, EVENTS, EVENTS):
        for _ in range(2):
            number += 1
            things.put(f"{number}.json", [{"a": number}])
        things.until_told(f"{number - 1}.json", f"{number}.json")
        things.declare(options=options)
        with monkeypatch.context() as dying, pytest.raises(Crash):
            dying.setattr(owner, place, crashing(getattr(owner, place)))
            things.load()
            raise Crash  # a listing does not come by that place
    things.load()
    assert sorted(int(a) for (a,) in things.rows("a")) == list(range(number + 1))
    assert things.failed_checks() == set()


def test_modes_change_places_around_crashes_and_each_file_is_loaded_once(things, monkeypatch):
    change_modes(things, "advance", monkeypatch)


@pytest.mark.soak("a crash after the journal's write, and one at each look at it")
@pytest.mark.parametrize("place", ["append", "position"])
def test_modes_change_places_around_crashes_of_the_journal(things, place, monkeypatch):
    change_modes(things, place, monkeypatch)


def crashing(before):
    """Dies after the call has taken effect."""

    def call(self, *given, **named):
        before(self, *given, **named)
        raise Crash

    return call


def test_files_that_were_loaded_are_moved_away_and_their_events_bring_nothing(things):
    archive = things.lake.settings.landing_prefix + "archive/"
    things.declare(
        options={
            **EVENTS,
            "cloudFiles.cleanSource": "MOVE",
            "cloudFiles.cleanSource.retentionDuration": "0 seconds",
            "cloudFiles.cleanSource.moveDestination": f"s3a://{things.bucket}/{archive}",
        }
    )
    for number in (1, 2, 3):
        things.put(f"{number}.json", [{"a": number}])
        things.until_told(f"{number}.json")
        assert things.load_rows() == 1
    moved = {info.key.removeprefix(archive) for info in things.lake.store.list(things.bucket, archive)}
    assert moved >= {"0.json", "1.json", "2.json"}
    assert things.rows("a") == rows_of(0, 1, 2, 3)


def test_the_commands_switch_events_on_and_off_and_say_how_they_are(things):
    settings = things.lake.settings
    client = MinioStore(things.lake.endpoint).client
    given = client.get_bucket_notification(things.bucket)
    foreign = QueueConfig(
        queue=WEBHOOKS[0],
        events=["s3:ObjectRemoved:*"],
        config_id="somebody",
        prefix_filter_rule=PrefixFilterRule("theirs/"),
    )
    client.set_bucket_notification(
        things.bucket, NotificationConfig(queue_config_list=[*given.queue_config_list, foreign])
    )
    environment = {
        "LAKEHOUSE_HOME": str(settings.home),
        "LAKEHOUSE_USER": settings.user,
        "LAKEHOUSE_BUCKET": settings.bucket,
        "LAKEHOUSE_LANDING_PREFIX": settings.landing_prefix,
        "LAKEHOUSE_DECLARATION": str(things.lake.settings.declaration),
    }

    def ask(*words, fails=False):
        done = lakehouse_here(environment, "events", *words, "--json")
        assert done.returncode == fails, done.stdout + done.stderr
        assert setup.token_of(settings).get_secret_value() not in done.stdout + done.stderr
        return json.loads(done.stdout)

    assert ask("enable", TABLE)["folders"] == [f"s3a://{things.bucket}/{things.folder}"]
    said = ask("status", TABLE)
    assert [folder["rule"] for folder in said["folders"]] == [True]
    assert said["received"]["new"] > 0
    assert said["inbox"]["events"] > 0
    assert any(things.folder in reader["reader"] for reader in said["inbox"]["readers"])
    ask("disable", TABLE)
    assert [folder["rule"] for folder in ask("status", TABLE, fails=True)["folders"]] == [False]
    left = client.get_bucket_notification(things.bucket).queue_config_list
    assert [config.config_id for config in left if config.config_id == "somebody"] == ["somebody"]
    client.delete_bucket_notification(things.bucket)


def test_what_other_tables_are_told_of_stays_when_events_of_one_end(things):
    settings, bucket = things.lake.settings, things.bucket
    rules, deep = BucketRules(things.lake.endpoint, bucket), f"{things.folder}deep/"
    assert things.folder in rules.folders()
    left = setup.disable(settings, {bucket: [things.folder]}, all_of_it=False, needed={bucket: [deep, "no/"]})
    assert rules.folders() == left[bucket]
    assert {folder for folder in left[bucket] if folder.startswith(things.folder)} == {deep}
    assert "no/" not in left[bucket]


def test_a_receiver_that_was_killed_is_started_again_with_the_lake(things):
    settings = things.lake.settings
    server = receiver_process.receiver_server(settings)
    dead = server.running()
    dead.process().kill()
    until(lambda: server.running() is None)
    Lake.open(settings)
    assert server.running().pid != dead.pid


def test_a_forged_event_is_a_file_that_vanished_and_holds_up_no_other(things):
    now = datetime.now(UTC)
    forged = Event(things.bucket, things.folder + "never.json", "0" * 32, 9, now, "F" * 16, now)
    elsewhere = [replace(forged, bucket="another"), replace(forged, key="elsewhere/never.json")]
    old = replace(forged, key=things.folder + "never-old.json", modified=now - timedelta(hours=1))
    things.inbox.put([forged, old, *elsewhere], now)
    things.put("1.json", [{"a": 1}])
    things.until_told("1.json")
    assert things.load_rows() == 1
    assert things.rows("a") == rows_of(0, 1)
    [gone] = [state for state in things.file_states() if state.error]
    assert (gone.path.rsplit("/", 1)[-1], gone.error.split(":")[0]) == ("never.json", "VANISHED")
    assert things.failed_checks() == {"no_quarantined_files"}


def test_without_an_inbox_events_are_refused_with_what_to_do(things, tmp_path):
    lost = things.lake.settings.model_copy(update={"events_inbox": SecretStr(str(tmp_path / "none.sqlite"))})
    things.plain = Lake(lost, things.lake.endpoint, things.lake.store)
    things.declare(options=EVENTS)
    with pytest.raises(notified.ConfigurationError, match="there is no inbox") as refused:
        things.load()
    assert "lakehouse events enable" in refused.value.next_command
    assert ensure_store(lost).url == things.lake.endpoint.url
