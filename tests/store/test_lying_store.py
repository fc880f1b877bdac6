"""A store, or something before it, that does not tell the truth: nothing is quarantined that the store can serve."""

import gzip
import resource
from contextlib import contextmanager

import pytest
import stamina
from lying_proxy import lying_proxy

from lakehouse.autoloader.reading.fetch import Fetcher
from lakehouse.errors import StoreUnavailable, StreamFailed
from lakehouse.storage import BucketMissing, ObjectExists, ObjectMissing
from lakehouse.storage.environment import endpoint_from_environment
from lakehouse.storage.fast_store import FastStore
from lakehouse.storage.minio_store import MinioStore

FILES = r"GET /landing/\S+\.json"
UNUSUAL = "line\nbreak.json"  # the fast client does not take it: the SDK reads it
KEYS = pytest.mark.parametrize("key", ["a.json", UNUSUAL], ids=["plain key", "unusual key"])
LIES = ["404 in HTML", "404 without a body", "403 in HTML", "412 in HTML", "416 in HTML", "a page", "a page with a tag"]


@pytest.fixture
def liar(world, monkeypatch):
    with lying_proxy(world.lake.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture
def two_attempts():
    """The same bounds without the long waits."""
    with stamina.set_testing(True, attempts=2):
        yield


@KEYS
def test_an_answer_that_no_store_gives_fails_the_batch_and_quarantines_nothing(world, liar, two_attempts, key):
    world.put(key)
    for lie in LIES:
        liar.lie(FILES, lie)
        with pytest.raises(StoreUnavailable, match="did not hand out a file") as raised:
            world.run()
        assert raised.value.next_command
        assert {state.ingestion_state for state in world.states().values()} <= {None}, lie
    assert {told.partition("json ")[2] for told in liar.told} == set(LIES)
    liar.honest()
    assert world.run() == [(key, 0, 1)]


@KEYS
def test_a_few_lies_cost_time_and_no_row(world, liar, two_attempts, key):
    for number, lie in enumerate(LIES):
        world.put(f"{number}{key}")
        liar.lie(FILES, lie, times=1)
        assert world.run() == [(f"{number}{key}", 0, 1)]
    assert [told.partition("json ")[2] for told in liar.told] == LIES
    assert {state.ingestion_state for state in world.states().values()} == {"INGESTED"}


@KEYS
@pytest.mark.parametrize("lie", ["412 in HTML", "412 of S3"])
def test_a_file_is_replaced_only_where_a_listing_agrees(world, liar, two_attempts, key, lie):
    world.put(key)
    liar.lie(FILES, lie)
    with pytest.raises(StoreUnavailable):
        world.run(allowOverwrites="true")
    assert liar.told
    liar.honest()
    assert world.run(allowOverwrites="true") == [(key, 0, 1)]


@KEYS
def test_a_bucket_that_is_said_to_be_missing_quarantines_nothing(world, liar, key):
    world.put(key)
    liar.lie(FILES, "404 of a bucket")
    with pytest.raises(BucketMissing):
        world.run()
    assert {state.ingestion_state for state in world.states().values()} <= {None}
    liar.honest()
    assert world.run() == [(key, 0, 1)]


@KEYS
def test_what_the_store_itself_says_is_gone_is_quarantined(world, liar, key):
    world.put(key)
    world.put("b.json")
    remove = lambda: world.lake.store.delete(world.bucket, world.folder + key)  # noqa: E731
    assert world.run(before_read=remove) == [("b.json", 0, 1)]
    assert world.states()[key].ingestion_state == "QUARANTINED"


@pytest.mark.parametrize("lie", ["404 in HTML", "403 in HTML"])
def test_a_store_that_fails_every_head_is_read_as_any_other(world, liar, lie):
    large = b'{"a": 1}\n' * 2_000
    world.put("large.json", large)
    world.put("b.json")
    liar.lie("HEAD ", lie)
    assert len(world.run(minPartitions="4", maxPartitionBytes="4k")) == 2_001
    assert {state.ingestion_state for state in world.states().values()} == {"INGESTED"}


@pytest.mark.parametrize("make", [FastStore, MinioStore])
@pytest.mark.parametrize("lie", ["404 in HTML", "404 without a body", "403 in HTML", "a page"])
def test_state_is_missing_only_where_the_store_says_so(world, liar, make, lie):
    store, bucket = make(endpoint_from_environment(None)), world.lake.settings.bucket
    store.write(bucket, "state", b"1")
    known = store.info(bucket, "state")
    liar.lie("(GET|HEAD) ", lie)
    for ask in (store.read, store.info, lambda *place: list(store.list(*place))):
        with pytest.raises(StoreUnavailable) as raised:
            ask(bucket, "state")
        assert raised.value.next_command
    liar.lie("HEAD ", lie)
    assert (store.info(bucket, "state"), store.bucket_exists(bucket)) == (known, True)
    assert store.info(bucket, "none") is None
    if lie != "a page":  # nothing tells a HEAD's 200 from another
        assert not store.bucket_exists("no-such-bucket-here")
        liar.lie("(GET|HEAD) ", lie)
        with pytest.raises(StoreUnavailable):
            store.bucket_exists(bucket)
    liar.honest()
    with pytest.raises(ObjectMissing):
        store.read(bucket, "none")


@pytest.mark.parametrize("make", [FastStore, MinioStore])
@pytest.mark.parametrize("lie", ["404 in HTML", "412 in HTML"])
def test_a_write_is_refused_only_where_the_store_says_so(world, liar, make, lie):
    store, bucket = make(endpoint_from_environment(None)), world.lake.settings.bucket
    liar.lie("PUT ", lie)
    with pytest.raises(StoreUnavailable):
        store.write(bucket, "state", b"1", if_absent=True)
    liar.honest()
    store.write(bucket, "state", b"1", if_absent=True)
    with pytest.raises(ObjectExists):
        store.write(bucket, "state", b"2", if_absent=True)


@pytest.mark.parametrize("overwrites", ["false", "true"])
def test_a_store_that_ignores_conditions_gives_no_row_of_another_version_twice(world, liar, overwrites):
    world.put("a.json")
    liar.lie(FILES, "unconditional")
    replace = lambda: world.put("a.json", b'{"a": 2}\n{"a": 3}\n')  # noqa: E731
    rows = world.run(before_read=replace, allowOverwrites=overwrites)
    rows += world.run(allowOverwrites=overwrites)
    assert rows == [("a.json", 0, 2), ("a.json", 1, 3)]
    assert liar.told


def test_a_connection_that_stays_silent_is_given_up_and_asked_again(world, liar):
    assert_one_silence_costs_time_only(world, liar, ["a.json", UNUSUAL], timeout_seconds=1)


@pytest.mark.soak("silence without end within the limits as they are")
def test_minutes_of_silence_are_not_waited_for(world, liar):
    assert_one_silence_costs_time_only(world, liar, ["a.json"], timeout_seconds=60)


def assert_one_silence_costs_time_only(world, liar, keys, timeout_seconds):
    stream = world.stream()
    stream._source.fetcher = Fetcher(endpoint_from_environment(None), world.bucket, timeout_seconds=timeout_seconds)
    world.stream = lambda query, **options: stream
    for key in keys:
        world.put(key)
        liar.lie(FILES, "silent", times=1)
        assert world.run() == [(key, 0, 1)]
    assert len(liar.told) == len(keys)
    assert {state.ingestion_state for state in world.states().values()} == {"INGESTED"}


@pytest.mark.parametrize("times", [1, 3])
def test_writes_whose_answers_are_lost_number_and_load_no_file_twice(world, liar, times):
    for number in range(4):
        world.put(f"{number}.json")
    liar.lie("PUT ", "lost", times)
    rows = []
    for _ in range(3):
        try:
            rows = world.run(max_files=10)
            break
        except StoreUnavailable:
            continue
    assert len(liar.told) == times
    assert [row[0] for row in rows] == [f"{number}.json" for number in range(4)]
    assert [state.sequence for state in world.states().values()] == [1, 2, 3, 4]
    assert world.run() == []


@contextmanager
def small_disk(size_bytes):
    """Files of this process cannot grow past that: what a full disk says as ENOSPC, this says as EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_temporary_disk_that_is_full_fails_the_batch_and_quarantines_nothing(world):
    line = b'{"a": 1, "b": "%s"}\n' % (b"x" * (1 << 20))
    world.put("large.json.gz", gzip.compress(line * 65, 1))  # grows past what is unpacked in memory
    source = world.stream()._source
    with small_disk(8 << 20), pytest.raises(StreamFailed, match="disk"):
        source.inferred_schema()
    assert source.schemas.latest() is None  # the sample was not left out
    with small_disk(8 << 20), pytest.raises(StreamFailed, match="disk") as raised:
        world.run()
    assert "TMPDIR" in raised.value.next_command
    assert "large.json.gz" in raised.value.where
    assert {state.ingestion_state for state in world.states().values()} == {None}
    assert len(world.run()) == 65
