"""Files in a bucket of another cloud: read from ``obstore``'s store in memory, which stands in for it."""

import json

import obstore
import pytest
from obstore.store import MemoryStore
from store.local_world import LocalWorld

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath, key_uri, split_uri
from lakehouse.autoloader.reading.fetch import Changed, Vanished
from lakehouse.autoloader.reading.fetch_local import fetcher_of
from lakehouse.errors import AccessDenied, ConfigurationError, StoreUnavailable, TerminalError
from lakehouse.storage import cloud_store
from lakehouse.storage.cloud_store import CloudStore

PLACES = ["gs://landing-there", "abfss://landing@account.dfs.core.windows.net"]


@pytest.fixture
def memory(monkeypatch):
    made = MemoryStore()
    monkeypatch.setattr(cloud_store, "_cloud_bucket", lambda bucket, process: made)
    return made


@pytest.mark.parametrize("place", PLACES[1:])
def test_files_are_loaded_each_once_and_a_newer_version_is_another(lake, tmp_path, memory, place):
    world = LocalWorld(lake, tmp_path).declare(path=f"{place}/things/*.json")
    for number in range(3):
        obstore.put(memory, f"things/{number}.json", json.dumps({"a": number}).encode())
    obstore.put(memory, "things/_hidden.json", b"{}")
    obstore.put(memory, "other/1.json", b"{}")
    assert world.load_rows() == 3
    obstore.put(memory, "things/a b.json", b'{"a": 3}')
    obstore.put(memory, "things/bad.json.gz", b"no gzip")
    assert world.load_rows() == 1
    assert world.load_rows() == 0
    states = {state.path: state.ingestion_state for state in world.file_states()}
    assert states[f"{place}/things/a%20b.json"] == "INGESTED"
    assert states[f"{place}/things/bad.json.gz"] == "QUARANTINED"
    assert sorted(int(row[0]) for row in world.rows("a")) == [0, 1, 2, 3]


@pytest.mark.parametrize("place", PLACES)
def test_a_version_that_changed_or_went_is_told(memory, place):
    bucket, _ = split_uri(place)
    obstore.put(memory, "a", b"0123456789")
    store, fetcher = CloudStore(), fetcher_of(bucket, lambda: pytest.fail("keys of S3"))
    found = store.info(bucket, "a")
    span = Span(1, "a", found.e_tag, 10, found.last_modified, 0, 10)
    assert fetcher.whole(span) == b"0123456789"
    assert b"".join(fetcher.stream(span)) == b"0123456789"
    obstore.put(memory, "a", b"other")
    with pytest.raises(Changed):
        fetcher.whole(span)
    assert fetcher.whole(fetcher.newest(span)) == b"other"
    obstore.delete(memory, "a")
    with pytest.raises(Vanished):
        fetcher.whole(span)
    assert store.info(bucket, "a") is None


def test_a_listing_has_the_keys_in_order_from_where_it_is_asked(memory):
    for key in ("b/2", "a/1", "b/1", "b/c/3", "bb"):
        obstore.put(memory, key, b"x")
    store = CloudStore()
    assert [info.key for info in store.list("gs:x", "b/")] == ["b/1", "b/2", "b/c/3"]
    assert [info.key for info in store.list("gs:x", "b/", start_after="b/1")] == ["b/2", "b/c/3"]
    assert [info.key for info in store.list("gs:x", "b")] == ["b/1", "b/2", "b/c/3", "bb"]
    assert list(store.folders("gs:x", "b/")) == ["c"]
    for refused in (
        lambda: store.write("gs:x", "a", b""),
        lambda: store.delete("gs:x", "a/1"),
        lambda: store.delete_prefix("gs:x", "a/"),
        lambda: store.copy("gs:x", "a/1", "a/2", if_match="0"),
        lambda: store.ensure_bucket("gs:x"),
    ):
        with pytest.raises(TerminalError, match="are only read"):
            refused()
    assert store.read("gs:x", "a/1") == b"x"


@pytest.mark.parametrize("error", [obstore.exceptions.PermissionDeniedError, obstore.exceptions.GenericError])
def test_what_the_store_refuses_or_does_not_answer_is_told_apart(memory, monkeypatch, error):
    def fails(*arguments, **options):
        raise error("no")

    monkeypatch.setattr(obstore, "get", fails)
    monkeypatch.setattr("lakehouse.autoloader.reading.fetch._ATTEMPTS", 1)
    kind = AccessDenied if error is obstore.exceptions.PermissionDeniedError else StoreUnavailable
    with pytest.raises(kind):
        CloudStore().read("gs:x", "a")


def parsed(**options):
    given = {f"cloudFiles.{name}": value for name, value in {"format": "json", **options}.items()}
    return CloudFilesOptions.parse({"path": "gs://landing/orders/", **given})


def test_only_the_load_path_may_be_there():
    assert SourcePath.parse("gs://landing/orders/*.json").bucket == "gs:landing"
    assert key_uri("abfss:c@a.dfs.core.windows.net", "a b") == "abfss://c@a.dfs.core.windows.net/a%20b"
    assert parsed(cleanSource="OFF").path == "gs://landing/orders/"
    for options, said in (
        (
            {"schemaLocation": "gs://landing/schema"},
            "schemaLocation is 'gs://landing/schema': it must be on the object",
        ),
        ({"cleanSource": "DELETE"}, "cleanSource DELETE: buckets of gs: are only read"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            parsed(**options)
    for path in ("gs:///x", "abfss://account.dfs.core.windows.net/x", "abfss://c@/x", "gs://user:pw@host/x"):
        with pytest.raises(ConfigurationError, match=r"path is .*write it as") as caught:
            CloudFilesOptions.parse({"path": path, "cloudFiles.format": "json"})
        assert "pw" not in str(caught.value)


def test_clients_of_other_clouds_are_made_by_their_names(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    assert cloud_store.cloud_bucket("abfss:c@account.dfs.core.windows.net").config["account_name"] == "account"
    assert cloud_store.cloud_bucket("gs:landing").config["bucket"] == "landing"
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", "/nowhere.json")
    with pytest.raises(ConfigurationError, match="no way to a bucket"):
        cloud_store.cloud_bucket("gs:other-landing")
