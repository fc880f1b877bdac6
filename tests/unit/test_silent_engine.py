"""A server that is frozen: a client says that it waits, and ends. One that is slow is waited for without a word."""

import copy
import logging
import re
import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest
from pyspark.sql.connect.client import DefaultChannelBuilder

from lakehouse.engine import connect, waiting
from lakehouse.engine.waiting import Watch, is_silent, require_answer, watched
from lakehouse.errors import EngineUnavailable
from lakehouse.lake import Lake
from lakehouse.settings import Settings

SERVER = """
import sys, time, grpc
from concurrent import futures

def answer(request, context):
    time.sleep(float(request))
    return b"done"

def answers(request, context):
    for _ in range(2):
        yield answer(request, context)

class Slow(grpc.GenericRpcHandler):
    def service(self, call):
        if call.method.endswith("Many"):
            return grpc.unary_stream_rpc_method_handler(answers)
        return grpc.unary_unary_rpc_method_handler(answer)

pings = [("grpc.http2.min_ping_interval_without_data_ms", 10), ("grpc.http2.max_ping_strikes", 0)]
server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Slow()], options=pings)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


class Server:
    """Something that answers as slowly as it is asked to."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
        self.remote = f"sc://127.0.0.1:{int(self.process.stdout.readline())}"

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def wake(self):
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.wake()
    made.process.kill()
    made.process.wait()


def watching(server, answer_seconds):
    """A channel whose requests are looked at after half a second."""
    builder = DefaultChannelBuilder(server.remote)
    silent = lambda _: is_silent(server.remote, answer_seconds)  # noqa: E731
    builder.add_interceptor(Watch(silent, server.remote, server.process.pid, 0.5))
    return builder


def until(said, text):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not re.search(text, said.text):
        time.sleep(0.05)
    assert re.search(text, said.text), said.text


def test_a_server_that_is_slow_is_waited_for_without_a_word(server, caplog):
    with watching(server, 60).toChannel() as channel:
        assert channel.unary_unary("/spark.Connect/Config")(b"2") == b"done"
        assert list(channel.unary_stream("/spark.Connect/Many")(b"1")) == [b"done"] * 2
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["Config", "Many"])
def test_a_frozen_server_is_named_while_it_is_waited_for_and_when_it_goes_on(server, caplog, name):
    got = []
    with watching(server, 1).toChannel() as channel:
        asked = channel.unary_stream("/spark.Connect/Many") if name == "Many" else None
        one = channel.unary_unary("/spark.Connect/Config")
        assert one(b"0") == b"done"
        server.freeze()
        answer = lambda: got.extend(asked(b"1") if asked else [one(b"1")])  # noqa: E731
        waits = threading.Thread(target=answer, daemon=True)
        waits.start()
        until(caplog, rf"Spark at {server.remote} \(pid {server.process.pid}\) is silent; waiting since \d+ s for an ")
        assert f"answer to {name}: its process is stopped; kill -CONT {server.process.pid} lets" in caplog.text
        assert "lakehouse down" in caplog.text
        server.wake()
        waits.join(60)
        assert set(got) == {b"done"}


def test_a_request_to_a_frozen_server_ends_when_no_ping_is_answered(server, caplog):
    caplog.set_level(logging.CRITICAL)
    with watched(server.remote, server.process.pid, ping_seconds=1, pong_seconds=1).toChannel() as channel:
        one = channel.unary_unary("/spark.Connect/Config")
        assert one(b"3") == b"done", "pings that are answered end nothing"
        server.freeze()
        with pytest.raises(grpc.RpcError) as ended:
            one(b"0", timeout=120)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE


def test_nobody_connects_to_a_frozen_server(server, monkeypatch, tmp_path):
    require_answer(server.remote, server.process.pid, 60)
    server.freeze()
    with pytest.raises(EngineUnavailable, match=r"not answer within 0\.5 s: its process is stopped") as refused:
        require_answer(server.remote, server.process.pid, 0.5)
    assert refused.value.next_command.startswith("lakehouse down ")
    monkeypatch.setattr(waiting, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(EngineUnavailable, match="does not answer within") as refused:
        connect(Lake(Settings.load(home=tmp_path, user="tester", spark_remote=server.remote), None, None))
    assert "unset LAKEHOUSE_SPARK_REMOTE" in refused.value.next_command
    server.process.kill()
    server.process.wait()
    assert not is_silent(server.remote, 60), "where nobody listens a connection is refused at once"


def test_a_clone_of_a_session_has_the_same_watch(server):
    builder = watched(server.remote, server.process.pid)
    assert copy.deepcopy(builder)._interceptors == builder._interceptors
