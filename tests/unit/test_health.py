import socket

import pytest
import requests

from lakehouse.errors import ConfigurationError, StoreUnavailable
from lakehouse.service.health import ServiceHealth, latency, serve
from lakehouse.streams.progress import BatchProgress

GONE = StoreUnavailable("the object store does not answer", where="here", state="nothing", next_command="wait")


@pytest.fixture
def health():
    return ServiceHealth(["bronze.a", "silver.b"])


def batch(number, **changes):
    known = {"table": "bronze.a", "batch_id": number, "input_rows": 10, "duration_seconds": 1.0, "files": 2}
    return BatchProgress(**{**known, "backlog_files": 4, "latencies_seconds": (1.0, 3.0), **changes})


def metrics(health):
    with serve(health, 0) as address:
        answer = requests.get(f"{address}/metrics", timeout=10)
    assert answer.headers["Content-Type"].startswith("text/plain")
    lines = [line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def test_batches_add_up_in_json_and_for_prometheus(health):
    health.streams["bronze.a"].alive()
    health.batch(batch(6))
    health.batch(batch(7, latencies_seconds=(2.0,)))
    first, second = health.as_dict()["tables"]
    assert (first["state"], second["state"]) == ("running", "starting")
    assert (first["batches"], first["rows"], first["files"], first["last_batch_id"]) == (2, 20, 4, 7)
    assert first["latency_p50_seconds"] == 2.0
    assert second["last_batch_id"] is second["latency_p50_seconds"] is None
    told = metrics(health)
    assert told['lakehouse_stream_rows_total{table="bronze.a"}'] == 20
    assert told['lakehouse_stream_last_batch_id{table="bronze.a"}'] == 7
    assert told['lakehouse_stream_latency_seconds_count{table="bronze.a"}'] == 3
    assert told['lakehouse_stream_latency_seconds_bucket{le="1.0",table="bronze.a"}'] == 1
    assert told['lakehouse_stream_state{lakehouse_stream_state="running",table="bronze.a"}'] == 1
    assert 'lakehouse_stream_last_batch_id{table="silver.b"}' not in told


def test_a_service_is_well_while_every_stream_runs_or_waits(health):
    codes = []
    with serve(health, 0) as address:
        for change in (
            health.streams["bronze.a"].alive,
            health.streams["silver.b"].wait,
            lambda: health.streams["silver.b"].failed(GONE, again=True),
            health.streams["silver.b"].alive,
            lambda: health.streams["bronze.a"].failed(GONE, again=False),
        ):
            change()
            answer = requests.get(f"{address}/health", timeout=10)
            codes.append(answer.status_code)
            assert answer.json()["healthy"] == (answer.status_code == 200)
        last = answer.json()["tables"]
    assert codes == [200, 200, 503, 200, 503]
    assert "the object store does not answer" in last[0]["last_error"]
    assert (last[1]["restarts"], last[1]["last_error"]) == (1, None)


def test_latencies_of_a_long_service_do_not_pile_up(health):
    for number in range(3_000):
        health.batch(batch(number, latencies_seconds=(float(number), float(number))))
    assert len(health.streams["bronze.a"].latencies_seconds) == 1_000
    assert health.streams["bronze.a"].as_dict()["latency_p50_seconds"] > 2_000


def test_percentiles_of_nothing_are_nothing():
    assert latency([]) == {"latency_p50_seconds": None, "latency_p95_seconds": None}
    assert latency(map(float, range(101))) == {"latency_p50_seconds": 50.0, "latency_p95_seconds": 95.0}


def test_a_taken_port_is_one_clear_error(health):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"), serve(health, port):
            pass


def test_it_is_reached_from_this_machine_only(health):
    with serve(health, 0) as address:
        assert address.startswith("http://127.0.0.1:")
        assert requests.get(f"{address}/etc/passwd", timeout=10).status_code == 404


class Clock:
    """Monotonic seconds, set by hand."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


def test_a_stream_that_has_not_been_heard_of_for_too_long_is_not_well():
    clock = Clock()
    health = ServiceHealth(["bronze.a"], stale_after_seconds=60, now=clock)
    stream = health.streams["bronze.a"]
    codes = []
    with serve(health, 0) as address:
        for seconds, heard in ((60, None), (1, None), (0, stream.alive), (60, None), (1, None), (0, stream.wait)):
            clock.seconds += seconds
            if heard:
                heard()
            answer = requests.get(f"{address}/health", timeout=10)
            told = answer.json()
            codes.append((answer.status_code, told["healthy"], told["tables"][0]["stale"]))
    well, stale = (200, True, False), (503, False, True)
    assert codes == [well, stale, well, well, stale, well]


def test_a_batch_is_a_sign_of_life():
    clock = Clock()
    health = ServiceHealth(["bronze.a"], stale_after_seconds=60, now=clock)
    for _ in range(3):
        clock.seconds += 50
        health.batch(batch(1))
        assert health.well
    clock.seconds += 61
    assert not health.well


def test_metrics_tell_that_a_stream_is_stale():
    clock = Clock()
    health = ServiceHealth(["bronze.a"], stale_after_seconds=60, now=clock)
    assert metrics(health)['lakehouse_stream_stale{table="bronze.a"}'] == 0
    clock.seconds += 61
    told = metrics(health)
    assert told['lakehouse_stream_stale{table="bronze.a"}'] == 1
    assert told['lakehouse_stream_seconds_since_progress{table="bronze.a"}'] == 61
