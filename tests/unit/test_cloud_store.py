"""A bucket of another cloud behind something that leaves out conditions of requests, as caches and stand-ins do."""

import obstore
import pytest
from obstore.store import MemoryStore

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.reading.fetch import Changed
from lakehouse.autoloader.reading.fetch_cloud import CloudFetcher
from lakehouse.storage import cloud_store
from lakehouse.storage.cloud_store import CloudStore


@pytest.fixture
def memory(monkeypatch):
    made, get, listed = MemoryStore(), obstore.get, obstore.list

    def without_condition(store, key, options=None):
        return get(store, key, options={name: value for name, value in (options or {}).items() if name != "if_match"})

    monkeypatch.setattr(cloud_store, "_cloud_bucket", lambda bucket, process: made)
    monkeypatch.setattr(obstore, "get", without_condition)
    monkeypatch.setattr(obstore, "list", lambda store, prefix, offset=None: listed(store, prefix))
    return made


def test_another_version_of_the_same_size_is_not_taken_for_the_one_that_was_found(memory):
    obstore.put(memory, "a", b"0123456789")
    found = CloudStore().info("gs:landing", "a")
    span = Span(1, "a", found.e_tag, 10, found.last_modified, 0, 10)
    fetcher = CloudFetcher("gs:landing")
    assert fetcher.whole(span) == b"0123456789"
    obstore.put(memory, "a", b"9876543210")
    for read in (fetcher.whole, fetcher.beginning, lambda span: b"".join(fetcher.stream(span))):
        with pytest.raises(Changed):
            read(span)
    assert fetcher.whole(fetcher.newest(span)) == b"9876543210"


def test_a_listing_begins_behind_the_key_that_is_asked_for(memory):
    for key in ("a/1", "a/2", "a/3"):
        obstore.put(memory, key, b"x")
    assert [info.key for info in CloudStore().list("gs:landing", "a/", start_after="a/2")] == ["a/3"]
