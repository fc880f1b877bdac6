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

from lakehouse.errors import AccessDenied, ConfigurationError, StoreUnavailable
from lakehouse.processes import free_port
from lakehouse.settings import Settings
from lakehouse.storage import (
    BucketMissing,
    MinioStore,
    ObjectExists,
    ObjectMissing,
    ensure_store,
    stop_store,
    store_status,
)
from lakehouse.storage.embedded import store_server

KEYS = [
    "plain.json",
    "with space.json",
    "100%+#?&=.json",
    "emoji-🧊-żółć.json",
    "deep/" * 20 + "x.json",
    "quote'\"`.json",
    "x" * 250 + ".json",
]


@pytest.fixture(params=["minio", "seaweedfs"])
def own(request, tmp_path):
    """Settings of a store that this test may break."""
    made = Settings.load(home=tmp_path / "home", user="tester", store=request.param)
    yield made
    stop_store(made)


def test_what_is_written_is_read_and_listed(lake):
    bucket = lake.settings.bucket
    for key in KEYS:
        lake.store.write(bucket, f"keys/{key}", key.encode())
    listed = {info.key: info for info in lake.store.list(bucket, "keys/")}
    assert sorted(listed) == sorted(f"keys/{key}" for key in KEYS)
    for key in KEYS:
        assert lake.store.read(bucket, f"keys/{key}") == key.encode()
        assert listed[f"keys/{key}"].size_bytes == len(key.encode())
        assert listed[f"keys/{key}"].last_modified.tzinfo is not None
    assert lake.store.delete_prefix(bucket, "keys/") == len(KEYS)
    assert list(lake.store.list(bucket, "keys/")) == []


def test_listing_goes_past_one_page_and_starts_where_told(lake):
    bucket = lake.settings.bucket
    names = [f"many/{i:04d}" for i in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: lake.store.write(bucket, name, b"x"), names))
    assert [info.key for info in lake.store.list(bucket, "many/")] == names
    assert [info.key for info in lake.store.list(bucket, "many/", start_after="many/1001")] == names[1002:]
    lake.store.write(bucket, "many/sub/one", b"x")
    assert list(lake.store.folders(bucket, "many/")) == ["sub"]


def test_of_many_writers_of_an_absent_object_one_wins(lake):
    def attempt(number):
        try:
            return lake.store.write(lake.settings.bucket, "only-one", str(number).encode(), if_absent=True)
        except ObjectExists:
            return None

    with ThreadPoolExecutor(8) as pool:
        won = [e_tag for e_tag in pool.map(attempt, range(32)) if e_tag]
    assert len(won) == 1
    changed = lake.store.write(lake.settings.bucket, "only-one", b"again", if_match=won[0])
    with pytest.raises(ObjectExists):
        lake.store.write(lake.settings.bucket, "only-one", b"too late", if_match=won[0])
    assert changed != won[0]
    assert lake.store.read(lake.settings.bucket, "only-one") == b"again"


def test_an_absent_object_and_an_absent_bucket_are_told_apart(lake):
    with pytest.raises(ObjectMissing):
        lake.store.read(lake.settings.bucket, "nothing")
    with pytest.raises(BucketMissing) as caught:
        lake.store.read("no-such-bucket-here", "nothing")
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


def test_conditional_writes_hold_on_this_store(own):
    store = MinioStore(ensure_store(own))
    e_tag = store.write(own.bucket, "one", b"1", if_absent=True)
    with pytest.raises(ObjectExists):
        store.write(own.bucket, "one", b"2", if_absent=True)
    store.write(own.bucket, "one", b"3", if_match=e_tag)
    with pytest.raises(ObjectExists):
        store.write(own.bucket, "one", b"4", if_match=e_tag)


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


def test_another_servers_bucket_is_not_made_but_named(lake):
    assert ensure_store(external(lake)).url == lake.endpoint.url
    with pytest.raises(BucketMissing, match="not-there"):
        ensure_store(external(lake, bucket="not-there"))
    assert not lake.store.bucket_exists("not-there")


def test_wrong_credentials_are_named_without_being_shown(lake):
    with pytest.raises(AccessDenied) as caught:
        ensure_store(external(lake, s3_secret_key="canary-wrong-secret"))
    assert "LAKEHOUSE_S3_SECRET_KEY" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_an_unreachable_endpoint_is_an_error_within_its_time_limits(lake):
    with pytest.raises(StoreUnavailable) as caught:
        ensure_store(external(lake, s3_endpoint=f"http://127.0.0.1:{free_port()}"))
    assert "LAKEHOUSE_S3_ENDPOINT" in caught.value.next_command


def test_a_home_that_cannot_be_written_is_an_error_with_a_cure(tmp_path):
    (tmp_path / "home").write_text("a file, where a folder is needed")
    with pytest.raises(ConfigurationError, match="LAKEHOUSE_HOME"):
        ensure_store(Settings.load(home=tmp_path / "home"))


def test_the_servers_of_two_kinds_do_not_share_a_home(lake):
    with pytest.raises(StoreUnavailable, match="runs minio, not seaweedfs"):
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
