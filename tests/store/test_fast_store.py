"""The store that the source uses inside Spark answers as the SDK's does."""

import pytest
from pydantic import SecretStr

from lakehouse.errors import AccessDenied, StoreUnavailable
from lakehouse.processes import free_port
from lakehouse.storage import ObjectExists, ObjectMissing, StoreEndpoint
from lakehouse.storage.fast_store import FastStore

KEYS = ["plain", "with space", "100%+#?&=", "emoji-\U0001f9ca", "%2F", "a/b/c", "quote'\"`", "line\nbreak", "x" * 250]


@pytest.fixture
def fast(lake):
    return FastStore(lake.endpoint)


@pytest.fixture
def bucket(lake):
    return lake.settings.bucket


@pytest.mark.parametrize("key", [object_key for object_key in KEYS if "\n" not in object_key])
def test_what_one_writes_the_other_reads(lake, fast, bucket, key):
    e_tag = fast.write(bucket, key, key.encode())
    assert lake.store.read(bucket, key) == fast.read(bucket, key) == key.encode()
    assert lake.store.info(bucket, key) == fast.info(bucket, key)
    assert fast.info(bucket, key).e_tag == e_tag
    fast.delete(bucket, key)
    assert fast.info(bucket, key) is None


def test_listings_agree_whatever_the_keys(lake, fast, bucket):
    for key in KEYS:
        lake.store.write(bucket, f"some/{key}", b"x")
    for prefix, after in (("", None), ("some/", None), ("some/", "some/plain"), ("some/a", None), ("none/", None)):
        assert list(fast.list(bucket, prefix, after)) == list(lake.store.list(bucket, prefix, after))
    assert fast.folders(bucket, "some/") == lake.store.folders(bucket, "some/")


def test_a_listing_of_several_pages_is_whole(lake, fast, bucket):
    for number in range(1_050):
        fast.write(bucket, f"many/{number:05d}", b"x")
    assert [info.key for info in fast.list(bucket, "many/")] == [f"many/{number:05d}" for number in range(1_050)]


def test_of_two_conditional_writers_one_wins(fast, bucket):
    e_tag = fast.write(bucket, "k", b"1", if_absent=True)
    with pytest.raises(ObjectExists):
        fast.write(bucket, "k", b"2", if_absent=True)
    fast.write(bucket, "k", b"3", if_match=e_tag)
    with pytest.raises(ObjectExists):
        fast.write(bucket, "k", b"4", if_match=e_tag)
    assert fast.read(bucket, "k") == b"3"


def test_a_large_conditional_write_keeps_its_condition(fast, bucket):
    data = b"x" * (20 << 20)
    fast.write(bucket, "large", data, if_absent=True)
    with pytest.raises(ObjectExists):
        fast.write(bucket, "large", data, if_absent=True)


def test_only_the_version_that_was_meant_is_copied(fast, bucket):
    e_tag = fast.write(bucket, "from", b"1")
    fast.copy(bucket, "from", "to", if_match=e_tag)
    assert fast.read(bucket, "to") == b"1"
    fast.write(bucket, "from", b"2")
    with pytest.raises(ObjectExists):
        fast.copy(bucket, "from", "to", if_match=e_tag)
    with pytest.raises(ObjectMissing):
        fast.copy(bucket, "none", "to", if_match=e_tag)
    assert fast.read(bucket, "to") == b"1"


def test_an_object_that_is_not_there(fast, bucket):
    with pytest.raises(ObjectMissing):
        fast.read(bucket, "none")
    assert fast.info(bucket, "none") is None
    fast.delete(bucket, "none")


def test_wrong_keys_and_a_server_that_is_away_are_named_without_a_secret(lake, bucket):
    keys = (SecretStr("nobody"), SecretStr("wrong-secret-key"), "us-east-1")
    wrong = StoreEndpoint(lake.endpoint.url, *keys)
    with pytest.raises(AccessDenied) as denied:
        FastStore(wrong).read(bucket, "k")
    away = StoreEndpoint(f"http://127.0.0.1:{free_port()}", *keys)
    with pytest.raises(StoreUnavailable) as unreachable:
        FastStore(away).read(bucket, "k")
    for raised in (denied, unreachable):
        assert "wrong-secret-key" not in str(raised.value)
        assert raised.value.next_command
