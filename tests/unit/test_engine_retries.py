"""A client asks an engine again while it may answer; the engine's own death is in tests/e2e."""

import gc
import subprocess

import grpc
import pytest
from pyspark.sql.connect.client import SparkConnectClient

from lakehouse.engine import connect, retries
from lakehouse.engine.retries import WhileItLives
from lakehouse.errors import EngineUnavailable
from lakehouse.lake import Lake
from lakehouse.processes import free_port
from lakehouse.settings import Settings


@pytest.fixture
def process():
    """Something that lives and is no Spark."""
    made = subprocess.Popen(["sleep", "600"])
    yield made
    made.kill()
    made.wait()


@pytest.fixture
def unanswered():
    """What a client of gRPC meets where nobody listens."""
    with grpc.insecure_channel(f"127.0.0.1:{free_port()}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/any/method")(b"", timeout=30)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        yield caught.value


def test_an_engine_is_asked_again_until_its_process_is_gone(process, unanswered):
    policy = WhileItLives(process.pid)
    assert policy.can_retry(unanswered)
    process.kill()
    process.wait()
    assert not policy.can_retry(unanswered)


def test_a_server_whose_process_nobody_knows_is_asked_again(unanswered):
    assert WhileItLives(0).can_retry(unanswered)
    assert not WhileItLives(0).can_retry(ValueError("no answer of a server"))


class Hasty(WhileItLives):
    """As many requests, without the growing pauses between them."""

    def __init__(self, pid):
        super().__init__(pid)
        self.max_backoff = self.initial_backoff


def test_a_client_that_reached_no_server_asks_nothing_more_at_the_end_of_its_process(tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "WhileItLives", Hasty)
    address = f"localhost:{free_port()}"
    settings = Settings.load(home=tmp_path, user="tester", spark_remote=f"sc://{address}")
    with pytest.raises(EngineUnavailable):
        connect(Lake(settings, None, None))
    mine = [
        client
        for client in gc.get_objects()
        if isinstance(client, SparkConnectClient) and address in str(client._builder.url)
    ]
    assert [client.is_closed for client in mine] == [True]
