"""SeaweedFS has many ports: who has no keys reads, writes and removes nothing through any of them."""

import ssl
from contextlib import nullcontext

import grpc
import pytest
import requests
import urllib3

from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.storage import stop_store
from lakehouse.storage.embedded import store_server

KEY, DATA = "orders/a.json", b"x" * 2_000_000


class Store:
    """A store with one object, and the addresses of its ports."""

    def __init__(self, settings):
        self.lake = Lake.open(settings)
        self.bucket = settings.landing_bucket
        self.lake.store.ensure_bucket(self.bucket)
        self.lake.store.write(self.bucket, KEY, DATA)
        process = store_server(settings).running().process()
        options = [
            argument[1:].split("=") for argument in process.cmdline() if argument.startswith("-") and "port" in argument
        ]
        self.ports = {name: int(port) for name, port in options if port != "0"}
        self.listening = {
            connection.laddr.port for connection in process.net_connections("inet") if connection.status == "LISTEN"
        }

    def ask(self, method, part, path, scheme="http"):
        """Status of a request without keys; 0 where none is answered."""
        url = f"{scheme}://127.0.0.1:{self.ports[f'{part}.port']}{path}"
        try:
            with pytest.warns(urllib3.exceptions.InsecureRequestWarning) if scheme == "https" else nullcontext():
                # not the body: behind its answer the server may reset the connection
                return requests.request(method, url, data=b"y", timeout=10, verify=False, stream=True).status_code
        except requests.ConnectionError:
            return 0

    def call(self, part, method, credentials=None):
        """Status of an empty gRPC call without keys."""
        address = f"127.0.0.1:{self.ports[f'{part}.port.grpc']}"
        channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
        with channel:
            try:
                channel.unary_unary(method, lambda data: data, lambda data: data)(b"", timeout=10)
            except grpc.RpcError as error:
                return error.code()
        return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    settings = Settings.load(home=tmp_path_factory.mktemp("home"), user="tester", store="seaweedfs")
    yield Store(settings)
    stop_store(settings)


def test_every_port_is_known_here(store):
    assert store.listening == set(store.ports.values())
    parts = ("master", "volume", "filer", "admin", "s3")
    assert set(store.ports) == {f"{part}.{kind}" for part in parts for kind in ("port", "port.grpc")}


REFUSED = [
    *(("GET", "filer", path) for path in ("/", f"/buckets/landing/{KEY}", "/buckets/landing/")),
    *(("DELETE", "filer", path) for path in (f"/buckets/landing/{KEY}", "/buckets/landing?recursive=true")),
    *(("PUT", "filer", path) for path in ("/buckets/landing/new.json", f"/buckets/landing/{KEY}")),
    *((method, "volume", "/1,01637037d6") for method in ("GET", "DELETE", "PUT", "HEAD")),
]


@pytest.mark.parametrize(("method", "part", "path"), REFUSED, ids=[" ".join(case) for case in REFUSED])
def test_filer_and_volumes_want_a_token(store, method, part, path):
    assert store.ask(method, part, path) == 401
    assert store.lake.store.read(store.bucket, KEY) == DATA


@pytest.mark.parametrize(
    "path", ["/dir/assign", "/dir/lookup?volumeId=1", "/dir/lookup?fileId=1,01637037d6&read=yes", "/col/delete", "/"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_master_gives_no_token_away(store, scheme, path):
    assert store.ask("GET", "master", path, scheme) == (400 if scheme == "http" else 0)


CALLS = {
    "master": "/master_pb.Seaweed/GetMasterConfiguration",
    "volume": "/volume_server_pb.VolumeServer/VolumeServerStatus",
    "filer": "/filer_pb.SeaweedFiler/GetFilerConfiguration",
    "s3": "/s3_pb.SeaweedS3/Configure",
    "admin": "/worker_pb.WorkerService/WorkerStream",
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS without a certificate"])
@pytest.mark.parametrize(("part", "method"), CALLS.items(), ids=CALLS)
def test_grpc_wants_the_certificate(store, part, method, tls):
    known = ssl.get_server_certificate(("127.0.0.1", store.ports["filer.port.grpc"])) if tls else ""
    credentials = grpc.ssl_channel_credentials(known.encode()) if tls else None
    assert store.call(part, method, credentials) == grpc.StatusCode.UNAVAILABLE


def test_grpc_answers_who_has_the_certificate(store):
    folder = store_server(store.lake.settings).folder
    certificate, key = ((folder / name).read_bytes() for name in ("cert.pem", "key.pem"))
    ours = grpc.ssl_channel_credentials(certificate, key, certificate)
    assert store.call("filer", CALLS["filer"], ours) == grpc.StatusCode.OK


def test_what_the_server_is_told_is_for_its_owner_only(store):
    folder = store_server(store.lake.settings).folder
    for name in ("security.toml", "key.pem", "s3.json", "credentials.json"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600


def test_s3_works_for_who_has_keys_and_for_nobody_else(store):
    assert store.ask("GET", "s3", f"/landing/{KEY}") == 403
    assert store.ask("DELETE", "s3", f"/landing/{KEY}") == 403
    assert [info.key for info in store.lake.store.list(store.bucket, "orders/")] == [KEY]
    store.lake.store.write(store.bucket, "orders/b.json", DATA, if_absent=True)
    store.lake.store.copy(store.bucket, KEY, "orders/c.json", if_match=store.lake.store.info(store.bucket, KEY).e_tag)
    assert store.lake.store.delete_prefix(store.bucket, "orders/b") == 1
    assert store.lake.store.read(store.bucket, "orders/c.json") == DATA
