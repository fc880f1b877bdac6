"""New files are told of by a real MinIO, taken from the inbox, and loaded without a listing."""

import json
import urllib.request
import uuid

import pytest
from store.local_world import TABLE, LocalWorld

from lakehouse.events import setup
from lakehouse.events.sqlite_inbox import SqliteInbox
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.storage import stop_store

EVENTS = {"cloudFiles.useNotifications": True}


@pytest.fixture(scope="module")
def told_home(tmp_path_factory):
    """A home whose store tells of new files."""
    folder = tmp_path_factory.mktemp("told")
    yield folder
    settings = Settings.load(home=folder, user="tester")
    setup.stop_receiver(settings)
    stop_store(settings)


@pytest.fixture
def things(told_home, tmp_path):
    name = uuid.uuid4().hex[:12]
    settings = Settings.load(
        home=told_home,
        user="tester",
        bucket=f"lake-{name}",
        landing_prefix=f"{name}/",
        events_inbox=told_home / "events" / "inbox.sqlite",
    )
    setup.enable(settings, {settings.landing_bucket: [f"{name}/things/"]})
    return LocalWorld(Lake.open(settings), tmp_path).declare(options=EVENTS)


def inbox_of(world):
    return SqliteInbox(world.lake.settings.inbox_path)


def until(condition, seconds=30):
    """Waits for what happens in other processes."""
    import time

    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def until_told(world, *names):
    keys = {world.folder + name for name in names}
    until(lambda: inbox_of(world).has(world.bucket, keys) == keys)


def lists_of(world):
    """LIST requests that the store has answered since it was started."""
    with urllib.request.urlopen(f"{world.lake.endpoint.url}/minio/v2/metrics/cluster") as said:
        lines = said.read().decode().splitlines()
    counted = [one for one in lines if one.startswith("minio_s3_requests_total") and 'api="listobjectsv' in one]
    return sum(float(one.rsplit(" ", 1)[1]) for one in counted)


def test_a_file_comes_from_the_store_by_its_event_into_the_table(things):
    things.put("1.json", [{"a": 1}])
    assert things.load_rows() == 1  # the first look lists
    things.put("2 é+%.json", [{"a": 2}])
    until_told(things, "2 é+%.json")
    assert things.load_rows() == 1
    assert things.rows("a") == [("1",), ("2",)]
    assert things.load().batches == ()
    print(json.dumps([lists_of(things), TABLE]))
