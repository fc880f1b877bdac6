"""Keys that end: of a role, a profile or a machine, handed out anew while they are used."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from lying_proxy import ANSWERS, lying_proxy
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin
from moto.server import ThreadedMotoServer
from store.landed import World
from store.local_world import LocalWorld

from lakehouse.errors import AccessDenied, ConfigurationError, StoreUnavailable
from lakehouse.storage import keys
from lakehouse.storage.environment import endpoint_from_environment, keys_of_profile
from lakehouse.storage.fast_store import FastStore
from lakehouse.storage.keys import KeySource, Role
from lakehouse.storage.minio_store import MinioStore

ROLE = "arn:aws:iam::123456789012:role/reader"


class Machine:
    """Hands out keys to whoever runs on it, as a container's service does, each pair with an end that is near."""

    def __init__(self):
        self.keys, self.asked = ("", ""), 0
        machine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                machine.asked += 1
                ends = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
                access, secret = machine.keys
                said = {"AccessKeyId": access, "SecretAccessKey": secret, "Token": "", "Expiration": ends}
                data = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(autouse=True)
def _asked_anew():
    keys._credentials.cache_clear()
    yield
    keys._credentials.cache_clear()


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", made.url)
    yield made
    made.server.shutdown()


@pytest.fixture
def users(lake):
    """Makes users of the store, with all rights, who can be removed."""
    mine = lake.endpoint
    root = StaticProvider(mine.access_key.get_secret_value(), mine.secret_key.get_secret_value())
    admin = MinioAdmin(endpoint=mine.host, credentials=root, secure=False)

    @contextmanager
    def user(name):
        pair = f"{name}-{lake.settings.bucket}", f"canary-secret-{name}"
        admin.user_add(*pair)
        admin.policy_set("readwrite", user=pair[0])
        try:
            yield pair
        finally:
            admin.user_remove(pair[0])

    return user


@pytest.fixture
def world(lake, tmp_path):
    return LocalWorld(lake, tmp_path)


def test_who_holds_a_client_goes_on_when_the_keys_of_the_machine_change(lake, users, machine, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", lake.endpoint.url)
    monkeypatch.setattr(keys, "HELD_FOR", timedelta(seconds=1))
    bucket = lake.settings.bucket
    with users("first") as machine.keys:
        endpoint = endpoint_from_environment()
        stores = FastStore(endpoint), MinioStore(endpoint)
        for number, store in enumerate(stores):
            store.write(bucket, f"a{number}", b"x")
        assert "canary-secret" not in repr(endpoint)
    with users("second") as machine.keys:
        assert [store.read(bucket, "a0") for store in stores] == [b"x", b"x"]
        assert endpoint.deltalake_options()["AWS_ACCESS_KEY_ID"] == machine.keys[0]
    assert machine.asked > 2


def test_a_profile_that_runs_a_program_or_takes_on_a_role_has_keys(tmp_path, monkeypatch):
    said = {"Version": 1, "AccessKeyId": "mine", "SecretAccessKey": "canary-secret"}
    (tmp_path / "keys.json").write_text(json.dumps(said))
    (tmp_path / "config").write_text(
        f"[profile program]\ncredential_process = cat {tmp_path}/keys.json\n"
        f"[profile role]\nrole_arn = {ROLE}\nsource_profile = program\nregion = us-east-1\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert endpoint_from_environment("program").access_key.get_secret_value() == "mine"
    sts = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    sts.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{sts.get_host_and_port()[1]}")
    try:
        found = endpoint_from_environment("role")
        assert found.session_token and found.access_key.get_secret_value() != "mine"
        (tmp_path / "identity").write_text("a.b.c")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "identity"))
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        assert endpoint_from_environment().session_token
    finally:
        sts.stop()
    with pytest.raises(ConfigurationError, match="there is no profile nobody"):
        endpoint_from_environment("nobody")


def test_files_are_read_with_the_role_that_an_option_names_and_the_lake_with_its_own_keys(world, lake, users, tmp_path):
    world.put("1.json", [{"a": 1}])
    with users("reader") as (access, secret):
        (tmp_path / "config").write_text(
            f"[profile reader]\naws_access_key_id={access}\naws_secret_access_key={secret}\n"
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
            patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
            assert keys_of_profile(lake.endpoint, "reader").access_key.get_secret_value() == access
            options = {"cloudFiles.roleArn": ROLE, "cloudFiles.stsEndpoint": lake.endpoint.url}
            world.declare(options={**options, "cloudFiles.profile": "reader"})
            assert world.load_rows() == 1
    world.put("2.json", [{"a": 2}])
    world.declare(options={"cloudFiles.roleArn": ROLE, "cloudFiles.stsEndpoint": "http://127.0.0.1:9"})
    with pytest.raises(StoreUnavailable, match="nobody hands out keys for the role"):
        world.load()
    world.declare(options={"cloudFiles.roleArn": ROLE})
    assert world.load_rows() == 1, "a role of Amazon's is nothing to another store"


def test_a_role_is_refused_with_its_reason_and_shows_no_key(lake):
    wrong = KeySource(given=lake.endpoint.key_source.given).of_role(Role(ROLE, sts_url=lake.endpoint.url))
    other = lake.endpoint.with_keys(wrong)  # MinIO knows no roles: whoever asks gets keys of the asker's rights
    assert other.session_token and other.access_key != lake.endpoint.access_key
    assert FastStore(other).write(lake.settings.bucket, "by-role", b"x")
    nobody = KeySource(given=keys.Keys(lake.endpoint.access_key, lake.endpoint.access_key)).of_role(wrong.role)
    with pytest.raises(AccessDenied, match=r"the role arn:aws:iam::123456789012:role/reader is refused") as caught:
        nobody.now()
    assert lake.endpoint.access_key.get_secret_value() not in str(caught.value)
    with pytest.raises(ConfigurationError, match="cannot be asked for"):
        wrong.of_role(Role("reader", sts_url=lake.endpoint.url)).now()


@pytest.mark.parametrize("status", [400, 403])
def test_keys_that_end_within_a_batch_cost_a_run_and_no_file(lake, monkeypatch, status):
    landed = World(lake, monkeypatch)
    for number in range(4):
        landed.put(f"{number}.json")
    body = b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"
    monkeypatch.setitem(ANSWERS, "expired", (status, body, {}))
    monkeypatch.setattr("lakehouse.autoloader.reading.fetch._ATTEMPTS", 2)
    with lying_proxy(lake.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        proxy.lie(r"GET /[^?]*/2\.json", "expired")
        with pytest.raises(StoreUnavailable, match="ExpiredToken"):
            landed.run(max_files=10)
        assert proxy.told
        proxy.honest()
        assert len(landed.run(max_files=10)) == 4
    assert {state.ingestion_state for state in landed.states().values()} == {"INGESTED"}
