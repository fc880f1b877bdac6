"""MinIO writes its events into PostgreSQL itself, and new files are taken from there."""

import json

import pytest
from command import lakehouse_here
from postgres import postgres_server
from pydantic import SecretStr
from store.local_world import TABLE
from store.notified_world import NotifiedWorld, until

from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.errors import ConfigurationError
from lakehouse.events import setup
from lakehouse.events.address import InboxAddress
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.storage import stop_store
from lakehouse.storage.webhook import target_of

SECRET = "hidden-word"


@pytest.fixture
def things(tmp_path):
    """A table whose first file is loaded."""
    with postgres_server() as server:
        address = SecretStr(server.replace("@", f":{SECRET}@"))
        settings = Settings.load(home=tmp_path / "home", user="tester", landing_prefix="", events_inbox=address)
        setup.enable(settings, {settings.landing_bucket: ["things/"]})
        world = NotifiedWorld(Lake.open(settings), tmp_path)
        world.put("0.json", [{"a": 0}])
        world.until_told("0.json")
        assert world.load_rows() == 1
        yield world
        world.inbox.close()
        stop_store(settings)


def test_files_come_by_rows_that_the_store_writes_without_a_listing_and_no_secret_is_shown(things, capfd):
    settings = things.lake.settings
    before = things.lists()
    for number, name in enumerate(["1.json", "deep/er/2 é+%.json", "~3&='.json"], 1):
        things.put(name, [{"a": number}])
        things.until_told(name)
        assert things.load_rows() == 1
    assert things.load().batches == ()
    assert things.lists() == before
    assert things.rows("a") == [("0",), ("1",), ("2",), ("3",)]
    listed = {landed.key: landed for landed in things.lake.store.list(things.bucket, things.folder)}
    for entry in things.entries():
        info = listed[entry.key]
        assert (entry.e_tag, entry.size_bytes, entry.last_modified) == (info.e_tag, info.size_bytes, info.last_modified)
    target = target_of(setup.store_server(settings).folder)
    until(lambda: target.waiting() == 0)  # of each event the second one, from the queue
    assert things.inbox.last_number() == 4
    environment = {
        "LAKEHOUSE_HOME": str(settings.home),
        "LAKEHOUSE_USER": settings.user,
        "LAKEHOUSE_LANDING_PREFIX": "",
        "LAKEHOUSE_DECLARATION": str(settings.declaration),
        "LAKEHOUSE_EVENTS_INBOX": settings.events_inbox.get_secret_value(),
    }
    done = lakehouse_here(environment, "events", "status", TABLE, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert (said["inbox"]["events"], said["folders"][0]["rule"], said["waiting_events"]) == (4, True, 0)
    options = things.lake.delta(TABLE).history()
    shown = [done.stdout, done.stderr, repr(settings), repr(options), *capfd.readouterr()]
    shown += [path.read_text(errors="replace") for path in settings.home.rglob("*.log")]
    shown += [data.decode(errors="replace") for data in things.checkpoint().values()]
    assert not [text for text in shown if SECRET in text]
    assert (setup.store_server(settings).folder / "webhook.json").stat().st_mode & 0o077 == 0


def test_a_password_in_an_option_is_refused_and_not_shown():
    said = {"path": "s3a://landing/x/", "cloudFiles.format": "json", "cloudFiles.useNotifications": "true"}
    with pytest.raises(ConfigurationError) as refused:
        CloudFilesOptions.parse({**said, "cloudFiles.eventsInbox": f"postgresql://me:{SECRET}@127.0.0.1/lake"})
    assert "a password is no option" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_the_password_is_found_again_by_the_public_address(monkeypatch, tmp_path):
    whole = f"postgres://me:{SECRET}@db.internal:5432/lake?sslmode=require&password={SECRET}"
    public = "postgresql://me@db.internal:5432/lake?sslmode=require"
    assert InboxAddress.of_option(public).secret.get_secret_value() == public
    monkeypatch.setenv("LAKEHOUSE_EVENTS_INBOX", whole)
    assert InboxAddress.of_option(public).secret.get_secret_value() == whole
    assert InboxAddress.of(Settings.load(home=tmp_path)).public == public
    assert SECRET not in repr(Settings.load(home=tmp_path)) + repr(InboxAddress.of_option(public))


@pytest.mark.parametrize(
    "wrong",
    [f"mysql://me:{SECRET}@db/x", f"postgresql://me:{SECRET}@db", "sqs://q", f"postgresql://me:{SECRET}@db:x/y"],
)
def test_an_address_that_is_none_is_told_without_what_it_says(wrong, tmp_path):
    with pytest.raises((ConfigurationError, ValueError)) as refused:
        InboxAddress.of(Settings.load(home=tmp_path, events_inbox=wrong))
    assert SECRET not in str(refused.value)
