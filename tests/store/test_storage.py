import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from lossy_proxy import lossy_proxy

from lakehouse.errors import AccessDenied, ConfigurationError, StoreUnavailable, TerminalError
from lakehouse.processes import free_port
from lakehouse.settings import Settings
from lakehouse.storage import (
    BucketMissing,
    MinioStore,
    ObjectExists,
    ObjectMissing,
    StoreEndpoint,
    ensure_store,
    stop_store,
    store_status,
)
from lakehouse.storage.embedded import store_server
from lakehouse.storage.fast_store import FastStore

KEYS = [
    "plain.json",
    "with space.json",
    "100%+#?&=.json",
    "emoji-🧊-żółć.json",
    "deep/" * 20 + "x.json",
    "quote'\"`.json",
    "x" * 250 + ".json",
    "%2F%20.json",
    "*[{~^}]|<>!$&,;:@().json",
    "line\nbreak-and\ttab.json",
    "e\u0301-is-not-\u00e9.json",
    "_hidden/.dot/a..b.json",
    "dir/",
    "back\\slash.json",
]


@pytest.fixture(scope="module", params=["minio", "seaweedfs"])
def own(request, tmp_path_factory):
    """Settings of a store that each test may break: the next one finds it again, or starts it on its data."""
    made = Settings.load(home=tmp_path_factory.mktemp("own"), user="tester", store=request.param)
    yield made
    stop_store(made)


@pytest.fixture(params=[FastStore, MinioStore])
def client(request):
    """Both clients: the second is asked for what the first cannot."""
    return request.param


@pytest.fixture
def store(lake, client):
    return client(lake.endpoint)


def test_what_is_written_is_read_and_listed(lake, store):
    bucket = lake.settings.bucket
    for key in KEYS:
        store.write(bucket, f"keys/{key}", key.encode())
    listed = {info.key: info for info in store.list(bucket, "keys/")}
    assert sorted(listed) == sorted(f"keys/{key}" for key in KEYS)
    for key in KEYS:
        assert store.read(bucket, f"keys/{key}") == key.encode()
        assert listed[f"keys/{key}"].size_bytes == len(key.encode())
        assert listed[f"keys/{key}"].last_modified.tzinfo is not None
    assert store.delete_prefix(bucket, "keys/") == len(KEYS)
    assert list(store.list(bucket, "keys/")) == []


def test_listing_goes_past_one_page_starts_where_told_and_a_whole_prefix_is_removed(lake, store):
    bucket = lake.settings.bucket
    names = [f"many/{i:04d}" for i in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.write(bucket, name, b"x"), names))
    assert [info.key for info in store.list(bucket, "many/")] == names
    assert [info.key for info in store.list(bucket, "many/", start_after="many/1001")] == names[1002:]
    store.write(bucket, "many/sub/one", b"x")
    assert list(store.folders(bucket, "many/")) == ["sub"]
    store.write(bucket, "many.json", b"x")
    assert store.delete_prefix(bucket, "many/") == 1006
    assert [info.key for info in store.list(bucket)] == ["many.json"], "its neighbours stay"
    assert store.delete_prefix(bucket, "many/") == 0


@pytest.mark.parametrize("key", ["/begins/with/a/slash", "two//slashes", "up/../down", ""])
def test_a_key_that_would_not_come_back_as_written_is_refused(lake, store, key):
    with pytest.raises(TerminalError):
        store.write(lake.settings.bucket, key, b"x")
    assert list(store.list(lake.settings.bucket)) == []


def winners(attempt, count=6):
    """Results of ``attempt(number)`` that was not refused, all started at once."""

    def writer(number):
        try:
            return attempt(number)
        except (ObjectExists, ObjectMissing):
            return None

    with ThreadPoolExecutor(count) as pool:
        return [e_tag for e_tag in pool.map(writer, range(count)) if e_tag]


# 12 MB: where the SDK would send parts, and forget the condition
@pytest.mark.parametrize(("size_bytes", "rounds"), [(10, 3), (12_000_000, 1)])
def test_of_many_writers_one_wins_on_both_stores_whatever_the_size(own, client, size_bytes, rounds):
    assert_one_wins_each_round(client(ensure_store(own)), own, size_bytes, rounds)


@pytest.mark.soak("more than ten times the rounds")
@pytest.mark.parametrize(("size_bytes", "rounds"), [(10, 50), (12_000_000, 10)])
def test_of_many_writers_one_wins_through_many_rounds(own, client, size_bytes, rounds):
    assert_one_wins_each_round(client(ensure_store(own)), own, size_bytes, rounds)


def assert_one_wins_each_round(store, own, size_bytes, rounds):
    for round_number in range(rounds):
        key = f"{type(store).__name__}-{size_bytes}-bytes-{round_number}"

        def content(number, generation):
            return bytes([number, generation]) * (size_bytes // 2)

        first = winners(lambda n, key=key: store.write(own.bucket, key, content(n, 0), if_absent=True))
        assert len(first) == 1
        second = winners(lambda n, key=key: store.write(own.bucket, key, content(n, 1), if_match=first[0]))  # noqa: B023
        assert len(second) == 1
        assert [info.e_tag for info in store.list(own.bucket, key) if info.key == key] == second


def test_a_condition_is_never_dropped_silently(lake, store):
    bucket = lake.settings.bucket
    e_tag = store.write(bucket, "one", b"1")
    with pytest.raises(ObjectExists):
        store.write(bucket, "one", b"2", if_match="")
    with pytest.raises(ValueError, match="exclude"):
        store.write(bucket, "one", b"2", if_match=e_tag, if_absent=True)
    assert store.read(bucket, "one") == b"1"


def test_a_write_whose_reply_is_lost_knows_its_own_success(own, client):
    endpoint, key = ensure_store(own), f"one-{client.__name__}"
    with lossy_proxy(endpoint.url) as proxy:
        store = client(StoreEndpoint(proxy.url, endpoint.access_key, endpoint.secret_key, endpoint.region))
        proxy.lose_replies = 1
        e_tag = store.write(own.bucket, key, b"mine", if_absent=True)
        proxy.lose_replies = 1
        e_tag = store.write(own.bucket, key, b"mine again", if_match=e_tag)
        assert proxy.lost == 2
        with pytest.raises(ObjectExists):
            store.write(own.bucket, key, b"mine again", if_absent=True)
    assert MinioStore(endpoint).read(own.bucket, key) == b"mine again"
    assert [info.e_tag for info in MinioStore(endpoint).list(own.bucket, key)] == [e_tag]


def test_an_absent_object_and_an_absent_bucket_are_told_apart(lake, store):
    with pytest.raises(ObjectMissing):
        store.read(lake.settings.bucket, "nothing")
    with pytest.raises(BucketMissing) as caught:
        store.read("no-such-bucket-here", "nothing")
    assert "LAKEHOUSE_BUCKET" in caught.value.next_command


def test_the_server_is_found_again_and_keeps_data_keys_and_port(own):
    first = ensure_store(own)
    MinioStore(first).write(own.bucket, "kept", b"data")
    assert ensure_store(own) == first
    pid = store_status(own).pid
    assert stop_store(own)
    assert store_status(own) is None
    again = ensure_store(own)
    assert (again, store_status(own).pid != pid) == (first, True)
    assert MinioStore(again).read(own.bucket, "kept") == b"data"


def test_a_killed_server_is_started_again_on_its_data(own):
    endpoint = ensure_store(own)
    MinioStore(endpoint).write(own.bucket, "kept", b"data")
    psutil.Process(store_status(own).pid).kill()
    assert MinioStore(ensure_store(own)).read(own.bucket, "kept") == b"data"


def test_nothing_listens_outside_of_this_machine(own):
    ensure_store(own)
    process = psutil.Process(store_status(own).pid)
    listening = [c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1"}


def servers_on(folder):
    """Process ids of all servers on the data of this store folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(f"{folder}/data-" in part for part in process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_a_server_that_no_record_names_is_replaced_not_doubled(own):
    first = ensure_store(own)
    MinioStore(first).write(own.bucket, "kept", b"data")
    folder = store_server(own).folder
    (folder / "server.json").unlink()  # as when its starter was killed before it wrote the record
    again = ensure_store(own)
    assert servers_on(folder) == [store_status(own).pid]
    assert MinioStore(again).read(own.bucket, "kept") == b"data"


def test_a_record_of_a_reused_process_id_is_not_believed(own):
    ensure_store(own)
    stop_store(own)
    record = {"kind": own.store, "url": "http://127.0.0.1:9", "data": "", "pid": os.getpid(), "created": 1.0}
    (store_server(own).folder / "server.json").write_text(json.dumps(record))
    assert store_status(own) is None
    ensure_store(own)
    assert store_status(own).pid != os.getpid()


def test_lost_credentials_are_made_anew_and_the_data_stays(tmp_path):
    own = Settings.load(home=tmp_path / "home", user="tester")
    MinioStore(ensure_store(own)).write(own.bucket, "kept", b"data")
    file = store_server(own).folder / "credentials.json"
    try:
        for content in (None, "", "{}", "[1]"):
            file.unlink()
            if content is not None:
                file.write_text(content)
            assert MinioStore(ensure_store(own)).read(own.bucket, "kept") == b"data"
            assert file.stat().st_mode & 0o777 == 0o600
    finally:
        stop_store(own)


def test_a_server_survives_the_command_that_started_it(tmp_path):
    command = "from lakehouse.settings import Settings; from lakehouse.storage import ensure_store; import time;"
    command += "print(ensure_store(Settings.load()).url, flush=True); time.sleep(600)"
    variables = {**os.environ, "LAKEHOUSE_HOME": str(tmp_path / "home"), "LAKEHOUSE_USER": "tester"}
    starter = subprocess.Popen([sys.executable, "-c", command], env=variables, stdout=subprocess.PIPE, text=True)
    own = Settings.load(home=tmp_path / "home", user="tester")
    try:
        url = starter.stdout.readline().strip()
        starter.kill()
        starter.wait()
        pid = store_status(own).pid
        assert (ensure_store(own).url, store_status(own).pid) == (url, pid)
    finally:
        stop_store(own)


def test_a_port_taken_by_a_stranger_is_left_to_it(tmp_path):
    own = Settings.load(home=tmp_path / "home", user="tester")
    first = ensure_store(own)
    stop_store(own)
    port = int(first.url.rsplit(":", 1)[1])
    stranger = subprocess.Popen([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"])
    try:
        deadline = time.monotonic() + 10
        while not psutil.Process(stranger.pid).net_connections("tcp") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ensure_store(own).url != first.url
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        stop_store(own)


def test_two_homes_of_one_folder_share_one_server(tmp_path):
    command = "from lakehouse.settings import Settings; from lakehouse.storage import ensure_store, store_status;"
    command += "s = Settings.load(); ensure_store(s); print(store_status(s).pid)"
    variables = {**os.environ, "LAKEHOUSE_HOME": str(tmp_path / "home"), "LAKEHOUSE_USER": "tester"}
    racing = [
        subprocess.Popen([sys.executable, "-c", command], env=variables, stdout=subprocess.PIPE) for _ in range(4)
    ]
    pids = {process.communicate()[0].strip() for process in racing}
    stop_store(Settings.load(home=tmp_path / "home", user="tester"))
    assert len(pids) == 1
    assert all(process.returncode == 0 for process in racing)


def test_credentials_are_generated_private_and_not_in_the_process_list(lake):
    folder = store_server(lake.settings).folder
    keys = json.loads((folder / "credentials.json").read_text())
    assert (folder / "credentials.json").stat().st_mode & 0o777 == 0o600
    command = " ".join(psutil.Process(store_status(lake.settings).pid).cmdline())
    assert keys["secret_key"] not in command + repr(lake.endpoint) + (folder / "server.log").read_text()


def external(lake, **changes):
    known = {
        "s3_endpoint": lake.endpoint.url,
        "s3_access_key": lake.endpoint.access_key,
        "s3_secret_key": lake.endpoint.secret_key,
        "bucket": lake.settings.bucket,
        "home": lake.settings.home,
    }
    return Settings.load(**{**known, **changes})


def test_another_servers_bucket_is_not_made_but_named(lake, store):
    assert ensure_store(external(lake)).url == lake.endpoint.url
    with pytest.raises(BucketMissing, match="not-there"):
        ensure_store(external(lake, bucket="not-there"))
    assert not store.bucket_exists("not-there")


def test_wrong_credentials_are_named_without_being_shown(lake):
    with pytest.raises(AccessDenied) as caught:
        ensure_store(external(lake, s3_secret_key="canary-wrong-secret"))
    assert "LAKEHOUSE_S3_SECRET_KEY" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_an_unreachable_endpoint_is_an_error_within_its_time_limits(lake):
    with pytest.raises(StoreUnavailable) as caught:
        ensure_store(external(lake, s3_endpoint=f"http://127.0.0.1:{free_port()}"))
    assert "LAKEHOUSE_S3_ENDPOINT" in caught.value.next_command


@pytest.mark.parametrize(("address", "error"), [("http://host:port", ConfigurationError), ("https://", TerminalError)])
def test_an_address_of_no_s3_server_is_an_error_with_a_cure(lake, address, error):
    if address == "https://":
        address += lake.endpoint.host  # a server that speaks plain HTTP there
    with pytest.raises(error) as caught:
        ensure_store(external(lake, s3_endpoint=address))
    assert "LAKEHOUSE_S3_ENDPOINT" in caught.value.next_command


def test_a_home_that_cannot_be_written_is_an_error_with_a_cure(tmp_path):
    (tmp_path / "home").write_text("a file, where a folder is needed")
    with pytest.raises(ConfigurationError, match="LAKEHOUSE_HOME"):
        ensure_store(Settings.load(home=tmp_path / "home"))


def test_the_servers_of_two_kinds_do_not_share_a_home(lake):
    with pytest.raises(ConfigurationError, match="runs minio, not seaweedfs"):
        ensure_store(lake.settings.model_copy(update={"store": "seaweedfs"}))


def test_a_minio_on_path_that_is_another_program_is_not_used(tmp_path, monkeypatch):
    from lakehouse.storage.minio_binary import ensure_minio_binary

    (tmp_path / "minio").write_text("#!/bin/sh\necho some other tool\n")
    (tmp_path / "minio").chmod(0o755)
    cached = ensure_minio_binary()
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert ensure_minio_binary() != Path(tmp_path / "minio")
    shutil.copy(cached, tmp_path / "minio")
    assert ensure_minio_binary() == tmp_path / "minio"
