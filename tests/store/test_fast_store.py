"""The store that starts soon answers as the SDK's does, which it asks for the rest."""

import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest
from lossy_proxy import lossy_proxy
from pydantic import SecretStr

from lakehouse.errors import AccessDenied, StoreUnavailable
from lakehouse.processes import free_port
from lakehouse.storage import MinioStore, ObjectExists, ObjectMissing, StoreEndpoint
from lakehouse.storage.fast_store import FastStore
from lakehouse.storage.s3_errors import Refused, error_of, obstore_answers

KEYS = [
    "plain",
    "with space",
    "100%+#?&=",
    "emoji-\U0001f9ca",
    "%2F",
    "a/b/c",
    "quote'\"`",
    "line\nbreak",
    "x" * 250,
    "dir/",
]


@pytest.fixture
def fast(lake):
    return FastStore(lake.endpoint)


@pytest.fixture
def sdk(lake):
    return MinioStore(lake.endpoint)


@pytest.fixture
def bucket(lake):
    return lake.settings.bucket


@pytest.mark.parametrize("key", [*(object_key for object_key in KEYS if "\n" not in object_key), "dir/"])
def test_what_one_writes_the_other_reads(sdk, fast, bucket, key):
    e_tag = fast.write(bucket, key, key.encode())
    assert sdk.read(bucket, key) == fast.read(bucket, key) == key.encode()
    assert sdk.info(bucket, key) == fast.info(bucket, key)
    assert fast.info(bucket, key).e_tag == e_tag
    fast.delete(bucket, key)
    assert fast.info(bucket, key) is None


def test_listings_agree_whatever_the_keys(sdk, fast, bucket):
    for key in (*KEYS, "dir/"):
        sdk.write(bucket, f"some/{key}", b"x")
    for prefix, after in (("", None), ("some/", None), ("some/", "some/plain"), ("some/a", None), ("none/", None)):
        assert list(fast.list(bucket, prefix, after)) == list(sdk.list(bucket, prefix, after))
    for key in ("", "a/", "b c/x", "100%/x", "d/e/f", "d/g", "%2F/x", "y"):
        sdk.write(bucket, f"other/{key}", b"x")
    for prefix in ("", "some/", "other/", "other/d/", "none/"):
        assert list(fast.folders(bucket, prefix)) == list(sdk.folders(bucket, prefix)), prefix


def put_many(store, bucket, keys):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.write(bucket, key, b"x"), keys))


def test_markers_of_folders_and_empty_objects_are_listed_as_they_are(sdk, fast, bucket):
    """``obstore`` lists ``a/`` as ``a``; Spark makes such objects of no bytes."""
    keys = ["a", "a-b", "a/", "a/b", "b/", "b/c", "c", "d/e/", "d/e/f", "e-", "e/"]
    put_many(fast, bucket, (f"m/z/{number:04d}" for number in range(1_010)))
    for key in keys:
        sdk.write(bucket, f"m/{key}", b"x" if key.endswith(("b", "f")) else b"")
    for prefix, after in (("m/", None), ("m/", "m/a"), ("m/", "m/a-b"), ("m/a/", None), ("m/d/", None), ("", None)):
        assert list(fast.list(bucket, prefix, after)) == list(sdk.list(bucket, prefix, after)), (prefix, after)
    assert len(list(fast.list(bucket, "m/"))) > 1_010


@pytest.mark.parametrize(
    "keys", [["a"], ["a/"], ["a", "a/"], ["a", "a-b", "a/"], ["a-b", "a/"], ["a/", "a/b"], ["d/e/", "d/e/f", "x"]]
)
def test_a_few_of_them_are_told_apart_one_by_one(sdk, fast, bucket, keys, monkeypatch):
    for key in keys:
        sdk.write(bucket, f"m/{key}", b"x" if key.endswith(("b", "f")) else b"")
    monkeypatch.setattr(FastStore, "_exactly", None)
    starts = [None, *(f"m/{key}" for key in keys)]
    for after in starts:
        assert list(fast.list(bucket, "m/", after)) == list(sdk.list(bucket, "m/", after)), after
    for prefix in ("m/a/", "m/d/e/", "m/x/"):
        assert list(fast.list(bucket, prefix)) == list(sdk.list(bucket, prefix)), prefix


def test_a_listing_of_several_pages_is_whole(lake, fast, bucket):
    put_many(fast, bucket, (f"many/{number:05d}" for number in range(1_050)))
    assert [info.key for info in fast.list(bucket, "many/")] == [f"many/{number:05d}" for number in range(1_050)]


def test_of_two_conditional_writers_one_wins(fast, bucket):
    e_tag = fast.write(bucket, "k", b"1", if_absent=True)
    with pytest.raises(ObjectExists):
        fast.write(bucket, "k", b"2", if_absent=True)
    fast.write(bucket, "k", b"3", if_match=e_tag)
    with pytest.raises(ObjectExists):
        fast.write(bucket, "k", b"4", if_match=e_tag)
    assert fast.read(bucket, "k") == b"3"
    fast.delete(bucket, "k")
    with pytest.raises(ObjectMissing):
        fast.write(bucket, "k", b"5", if_match=e_tag)
    with pytest.raises(ObjectExists):
        fast.write(bucket, "a", b"1") and fast.write(bucket, "a", b"2", if_match="")
    assert fast.read(bucket, "a") == b"1"


def test_a_large_conditional_write_keeps_its_condition(fast, bucket):
    data = b"x" * (20 << 20)
    fast.write(bucket, "large", data, if_absent=True)
    with pytest.raises(ObjectExists):
        fast.write(bucket, "large", data, if_absent=True)


def test_what_is_large_may_take_longer_than_a_request(lake, bucket):
    data = os.urandom(20 << 20)
    known = lake.endpoint
    with lossy_proxy(known.url) as proxy:
        proxy.pause_seconds = 0.005  # 12 MB/s
        endpoint = StoreEndpoint(proxy.url, known.access_key, known.secret_key, known.region)
        slow = FastStore(endpoint, timeout_seconds=1, retried=False)
        slow.write(bucket, "large", data, if_absent=True)
        assert slow.read(bucket, "large") == data


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


def test_of_a_bucket_both_say_the_same_and_what_is_missing_is_made(sdk, fast, bucket):
    assert fast.bucket_exists(bucket) is True
    made = f"{bucket}-made"
    assert fast.bucket_exists(made) is sdk.bucket_exists(made) is False
    fast.ensure_bucket(made)
    fast.ensure_bucket(made)
    assert fast.bucket_exists(made) is sdk.bucket_exists(made) is True


def test_every_call_with_wrong_keys_says_so(lake, bucket):
    wrong = FastStore(StoreEndpoint(lake.endpoint.url, SecretStr("nobody"), SecretStr("wrong-secret"), "us-east-1"))
    calls = {
        "read": lambda: wrong.read(bucket, "k"),
        "list": lambda: list(wrong.list(bucket, "k/")),
        "folders": lambda: wrong.folders(bucket, "k/"),
        "info": lambda: wrong.info(bucket, "k"),
        "write": lambda: wrong.write(bucket, "k", b"x"),
        "delete": lambda: wrong.delete(bucket, "k"),
        "bucket_exists": lambda: wrong.bucket_exists(bucket),
        "ensure_bucket": lambda: wrong.ensure_bucket(bucket),
    }
    for name, call in calls.items():
        with pytest.raises(AccessDenied) as denied:
            call()
        assert "wrong-secret" not in str(denied.value), name


@pytest.mark.parametrize(("code", "cure"), [("RequestTimeTooSkewed", "clock"), ("PermanentRedirect", "REGION")])
def test_what_a_refusal_says_of_itself_decides_over_its_status(code, cure):
    """Of a listing ``obstore`` has no class for a refusal, and a wrong clock has the status of wrong keys."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>m</Message></Error>'
    for made in (obstore.exceptions.PermissionDeniedError, obstore.exceptions.GenericError):
        said = f"Generic S3 error: Error performing GET x: Server returned non-2xx status code: 403 Forbidden: {body}"
        with pytest.raises(Refused) as raised, obstore_answers():
            raise made(said)
        assert cure in error_of(raised.value, "where", "bucket").next_command


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


def test_ctrl_c_is_heard_while_a_store_is_silent():
    """Waited for in this thread, each call would last an hour."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = FastStore(StoreEndpoint(url, SecretStr("a"), SecretStr("b"), "us-east-1"), timeout_seconds=3600)
        calls = [
            lambda: store.read("bucket", "k"),
            lambda: list(store.list("bucket")),
            lambda: store.write("bucket", "k", b""),
            lambda: store.info("bucket", "k"),
            lambda: store.folders("bucket", "k/"),
            lambda: store.bucket_exists("bucket"),
        ]
        for call in calls:
            threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
            with pytest.raises(KeyboardInterrupt):
                call()
