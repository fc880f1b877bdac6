"""Trouble beyond the plain GET of a plain key: unusual keys, the journal, lost replies, keys that are taken away."""

import pytest
import stamina
from lossy_proxy import lossy_proxy
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin
from pydantic import SecretStr
from store.landed import SCHEMA
from storm_proxy import storm_proxy

from lakehouse.errors import AccessDenied, StoreUnavailable, TransientError
from lakehouse.storage import StoreEndpoint
from lakehouse.storage.environment import environment_of

FILES = rb"GET /landing/\S+\.json"
UNUSUAL = "line\nbreak.json"  # the fast client does not take it: the SDK reads it
FAULTS = [["busy"], ["reset"], ["cut"], ["busy", "reset", "cut"]]


@pytest.fixture
def storm(world, monkeypatch):
    with storm_proxy(world.lake.endpoint.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture
def two_attempts():
    """The same bounds without the long waits."""
    with stamina.set_testing(True, attempts=2):
        yield


@pytest.fixture
def user(world, monkeypatch):
    """A key of its own for Spark, which can be taken away; the one of ``world.lake`` stays."""
    mine, name, secret = world.lake.endpoint, f"worker-{world.lake.settings.bucket}", "canary-of-the-worker"
    keys = StaticProvider(mine.access_key.get_secret_value(), mine.secret_key.get_secret_value())
    admin = MinioAdmin(endpoint=mine.host, credentials=keys, secure=mine.secure)
    admin.user_add(name, secret)
    admin.policy_set("readwrite", user=name)
    endpoint = StoreEndpoint(mine.url, SecretStr(name), SecretStr(secret), mine.region)
    for variable, value in environment_of(endpoint).items():
        monkeypatch.setenv(variable, value)
    yield admin, name, secret
    admin.user_remove(name)


def until_it_ends_well(world):
    """The rows of the first run that comes to its end; those before it may fail, if trying again can help."""
    for _ in range(10):
        try:
            return world.run(max_files=100)
        except TransientError:
            continue
    raise AssertionError("no run came to its end")


@pytest.mark.parametrize("faults", FAULTS, ids="+".join)
def test_a_storm_costs_no_row_of_files_with_unusual_keys(world, storm, faults):
    for number in range(12):
        world.put(f"{number:02d}\n.json", b'{"a": %d}\n' % number * 5)
    storm.strike(FILES, *faults, share=0.15)  # six faults in a row for one file are one in a hundred thousand
    rows = world.run(max_files=100)
    assert rows == sorted(((f"{n:02d}\n.json", row, n) for n in range(12) for row in range(5)), key=str)
    assert storm.met
    assert {state.ingestion_state for state in world.states().values()} == {"INGESTED"}


@pytest.mark.parametrize("key", ["a.json", UNUSUAL], ids=["plain key", "unusual key"])
@pytest.mark.parametrize("fault", ["busy", "cut"])
def test_a_storm_without_end_is_one_clear_error_whatever_its_kind(world, storm, two_attempts, key, fault):
    world.put(key)
    storm.strike(FILES, fault)
    with pytest.raises(StoreUnavailable, match="did not hand out a file") as raised:
        world.run()
    assert raised.value.next_command
    assert {state.ingestion_state for state in world.states().values()} == {None}
    storm.strike(FILES, fault, share=0.0)
    assert world.run() == [(key, 0, 1)]


def test_refused_keys_quarantine_no_file_with_an_unusual_key(world, storm):
    world.put(UNUSUAL)
    storm.strike(FILES, "denied")
    with pytest.raises(AccessDenied, match="refuses to hand out a file"):
        world.run()
    assert {state.ingestion_state for state in world.states().values()} == {None}
    storm.strike(FILES, "denied", share=0.0)
    assert world.run() == [(UNUSUAL, 0, 1)]


@pytest.mark.parametrize("faults", FAULTS, ids="+".join)
def test_a_storm_over_journal_listings_and_files_doubles_and_loses_nothing(world, storm, faults):
    for number in range(20):
        world.put(f"{number:02d}.json", b'{"a": %d}\n' % number)
    storm.strike(rb"(GET|PUT) ", *faults, share=0.2)
    rows = until_it_ends_well(world)
    assert storm.met
    storm.strike(rb"(GET|PUT) ", *faults, share=0.0)
    assert rows == [(f"{number:02d}.json", 0, number) for number in range(20)]
    assert [state.sequence for state in world.states().values()] == list(range(1, 21))
    assert {state.ingestion_state for state in world.states().values()} == {"INGESTED"}
    assert world.run() == []


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_write_to_the_journal_whose_reply_is_lost_numbers_no_file_twice(world, monkeypatch, count):
    for number in range(5):
        world.put(f"{number}.json", b'{"a": %d}\n' % number)
    with lossy_proxy(world.lake.endpoint.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        proxy.lose_replies = count
        rows = until_it_ends_well(world)
        assert proxy.lost == count
        assert rows == [(f"{number}.json", 0, number) for number in range(5)]
        assert [state.sequence for state in world.states().values()] == [1, 2, 3, 4, 5]
        assert world.run() == []


@pytest.mark.parametrize("key", ["a.json", UNUSUAL], ids=["plain key", "unusual key"])
def test_a_key_that_is_taken_away_between_plan_and_read_leaves_no_receipt(world, user, key):
    admin, name, secret = user
    world.put(key)
    stream = world.stream()
    stream.fix_target()
    start = stream.beginning()
    [part] = stream.parts(start, stream.next_end(start, max_files=9, max_bytes=None))
    admin.user_disable(name)
    receipts = []
    with pytest.raises(AccessDenied, match="refuses to hand out a file") as raised:
        list(stream.rows(part.spans, SCHEMA, receipts))
    assert receipts == []
    assert "s3:GetObject" in raised.value.next_command
    assert secret not in f"{raised.value}{raised.value.__cause__}"
    admin.user_enable(name)
    assert world.run() == [(key, 0, 1)]


@pytest.mark.parametrize("removed", [False, True], ids=["disabled", "removed"])
def test_a_run_whose_key_is_taken_away_says_what_to_do_and_the_next_one_loads_all(world, user, removed):
    admin, name, secret = user
    for number in range(4):
        world.put(f"{number}.json")
    with pytest.raises(AccessDenied) as raised:
        world.run(before_read=lambda: admin.user_remove(name) if removed else admin.user_disable(name))
    assert "correct the keys" in raised.value.next_command
    assert secret not in str(raised.value)
    assert {state.ingestion_state for state in world.states().values()} == {None}
    admin.user_add(name, secret)
    admin.policy_set("readwrite", user=name)
    assert world.run() == [(f"{number}.json", 0, 1) for number in range(4)]
