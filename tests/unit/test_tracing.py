"""Spans: a run has its batches, a batch its phases and its commit; what cannot be sent fails nothing."""

import json
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lakehouse.delta_commit import commit_of
from lakehouse.errors import ConfigurationError, StoreUnavailable
from lakehouse.settings import Settings
from lakehouse.streams.progress import BatchProgress, StreamReport
from lakehouse.streams.run import Run
from lakehouse.streams.trigger import Trigger
from lakehouse.tracing import asked_for, span, traced

TABLE = "bronze.t"
PHASES = {"addBatch": 600, "latestOffset": 300, "triggerExecution": 1000, "walCommit": 100}


class Log:
    """A lake of which only the table's log is asked."""

    def __init__(self, traces):
        self.settings = Settings.load(traces=traces)
        self.entries = []

    def commit(self, version, number, at):
        parameters = {"epochId": str(number), "queryId": "q"}
        milliseconds = round(at.timestamp() * 1000)
        self.entries.append({"version": version, "operationParameters": parameters, "timestamp": milliseconds})

    def commits_since(self, table, version, last):
        if not self.entries:
            raise StoreUnavailable("no answer", where="here", state="as it was", next_command="wait")
        return [commit_of(entry, lambda: False) for entry in self.entries[-last:]]


@pytest.fixture
def told(tmp_path):
    """The spans in the file, by their names."""
    path = tmp_path / "spans"
    path.touch()

    def read():
        made = [json.loads(line) for line in path.read_text().splitlines()]
        assert len({record["context"]["span_id"] for record in made}) == len(made)
        return {record["name"]: record for record in made}

    read.address = f"file://{path}"
    return read


def seconds(made, name="start_time"):
    return datetime.fromisoformat(made[name]).timestamp()


def length(made):
    return seconds(made, "end_time") - seconds(made)


def within(child, parent):
    inside = seconds(parent) <= seconds(child) <= seconds(child, "end_time") <= seconds(parent, "end_time")
    return child["parent_id"] == parent["context"]["span_id"] and inside


def bring(number, rows=10, **more):
    """A run of one batch."""

    def bring(run):
        batch = BatchProgress(TABLE, number, rows, 1.0, phases_milliseconds=PHASES, **more)
        run.on_batch(batch)
        return StreamReport(TABLE, (batch,), rows, 3, 4, 1.0)

    return bring


def test_a_run_has_its_batch_which_has_its_phases_and_its_commit(told):
    lake, heard = Log(told.address), []
    lake.commit(4, 7, datetime.now(UTC))
    before = time.time()
    with span(lake.settings, "lakehouse ingest"):
        report = traced(lake, TABLE, Run(on_batch=heard.append), bring(7, late_rows=2))
    after, made = time.time(), told()
    assert heard == list(report.batches)
    run, batch, commit = (made[name] for name in (f"run {TABLE}", f"batch {TABLE}", "commit"))
    assert run["parent_id"] == made["lakehouse ingest"]["context"]["span_id"]
    assert batch["parent_id"] == run["context"]["span_id"]
    assert length(batch) == pytest.approx(1.0, abs=1e-5) and before <= seconds(batch, "end_time") <= after
    assert [length(made[name]) for name in ("latestOffset", "walCommit", "addBatch")] == pytest.approx(
        [0.3, 0.1, 0.6], abs=1e-5
    )
    assert all(within(made[name], batch) for name in ("latestOffset", "walCommit", "addBatch", "commit"))
    assert seconds(made["walCommit"]) == pytest.approx(seconds(made["latestOffset"], "end_time"), abs=1e-5)
    assert seconds(commit, "end_time") == seconds(made["addBatch"], "end_time")
    assert commit["attributes"] == {"lakehouse.delta_version": 4}
    assert batch["attributes"]["lakehouse.late_rows"] == 2
    assert "lakehouse.state_rows" not in batch["attributes"], "what is not measured is not told"
    assert run["attributes"]["lakehouse.rows_added"] == 10
    assert (run["attributes"]["lakehouse.delta_version_before"], run["attributes"]["lakehouse.delta_version"]) == (3, 4)
    assert len({record["context"]["trace_id"] for record in made.values()}) == 1
    assert made["commit"]["resource"]["attributes"]["service.name"] == "lakehouse"


@pytest.mark.parametrize("year", [1970, 2100])
def test_a_commit_by_a_clock_that_is_wrong_stays_in_its_batch(told, year):
    lake = Log(told.address)
    lake.commit(4, 6, datetime.now(UTC))
    lake.commit(5, 7, datetime(year, 1, 2, tzinfo=UTC))
    lake.commit(6, 8, datetime.now(UTC))
    traced(lake, TABLE, Run(), bring(7))
    made = told()
    assert made["commit"]["attributes"] == {"lakehouse.delta_version": 5}
    assert within(made["commit"], made[f"batch {TABLE}"])


def test_a_batch_whose_commit_cannot_be_looked_up_is_told_all_the_same(told):
    report = traced(Log(told.address), TABLE, Run(), bring(7))
    assert report.rows_added == 10
    assert "commit" not in told() and f"batch {TABLE}" in told()


def test_a_run_that_fails_is_told_with_its_error_and_fails(told):
    def fail(run):
        raise StoreUnavailable("no answer", where="here", state="as it was", next_command="wait")

    with pytest.raises(StoreUnavailable):
        traced(Log(told.address), TABLE, Run(), fail)
    [failed] = told().values()
    assert failed["status"]["status_code"] == "ERROR" and "no answer" in failed["status"]["description"]


def test_each_batch_of_a_service_is_told_while_it_runs(told):
    lake = Log(told.address)
    lake.commit(4, 7, datetime.now(UTC))
    seen = []
    traced(lake, TABLE, Run(Trigger.parse("processing-time=1s"), lambda batch: seen.append(told())), bring(7))
    assert seen[0][f"batch {TABLE}"]["parent_id"] is None
    assert f"run {TABLE}" not in told()


def test_a_run_of_another_process_belongs_to_what_asked_for_it(told):
    settings = Settings.load(traces=told.address)
    began = time.time() - 2
    asked = asked_for(settings, "sensor new_files", began, {"lakehouse.new_files": 3})
    with span(settings, "step", parent=asked):
        pass
    sensor, step = told()["sensor new_files"], told()["step"]
    assert step["parent_id"] == sensor["context"]["span_id"]
    assert seconds(sensor) == pytest.approx(began, abs=1e-5) and length(sensor) > 2
    assert sensor["attributes"] == {"lakehouse.new_files": 3}
    with span(settings, "after a tag that somebody changed", parent="no parent"):
        pass
    assert told()["after a tag that somebody changed"]["parent_id"] is None


@pytest.fixture
def receiver():
    """The address of a receiver of OTLP, and the names that it took."""
    names = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = ExportTraceServiceRequest.FromString(body)
            scopes = [scope for resource in request.resource_spans for scope in resource.scope_spans]
            names.extend((self.path, made.name) for scope in scopes for made in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", names
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("path", ["", "/", "/v1/traces", "/another/path"])
def test_a_receiver_has_taken_the_spans_of_a_run_when_it_has_ended(receiver, path):
    address, names = receiver
    lake = Log(address + path)
    lake.commit(4, 7, datetime.now(UTC))
    traced(lake, TABLE, Run(), bring(7))
    expected = {"latestOffset", "walCommit", "addBatch", "commit", f"batch {TABLE}", f"run {TABLE}"}
    assert {name for _, name in names} == expected
    assert {at for at, _ in names} == {path if path.strip("/") else "/v1/traces"}


DEAD = """
import sys, time
sys.path.insert(0, sys.argv[2])
from unit.test_tracing import *
began = time.monotonic()
for number in range(5):
    assert traced(Log(sys.argv[1]), TABLE, Run(), bring(number)).rows_added == 10
print(time.monotonic() - began)
"""


def test_a_receiver_that_is_gone_fails_no_run_and_holds_none_up_for_long():
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", DEAD, "http://127.0.0.1:9", tests],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 30, "ten seconds each, if they waited as long as the exporter does by itself"
    assert done.stderr.count("LAKEHOUSE_TRACES: spans were not sent: ") == len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "address", ["collector:4318", "http://me:secret@host", "file://spans", "file:///folder/", "on"]
)
def test_a_wrong_address_is_named_with_its_cure(monkeypatch, address):
    monkeypatch.setenv("LAKEHOUSE_TRACES", address)
    with pytest.raises(ConfigurationError, match="LAKEHOUSE_TRACES must look like") as caught:
        Settings.load()
    assert "secret" not in str(caught.value)


def test_a_file_in_no_folder_is_told_before_anything_is_done(tmp_path):
    address = f"file://{tmp_path}/none/spans"
    with pytest.raises(ConfigurationError, match="no span can be written") as caught:
        traced(Log(address), TABLE, Run(), bring(7))
    assert caught.value.next_command


OFF = """
import sys
sys.path.insert(0, sys.argv[1])
from lakehouse.settings import Settings
from lakehouse.tracing import asked_for, span, traced
from lakehouse.streams.run import Run

class Log:
    settings = Settings.load()

with span(Log.settings, "lakehouse ingest") as made:
    assert made is None
run = Run()
assert traced(Log, "bronze.t", run, lambda given: given) is run, "a run is not even wrapped"
assert asked_for(Log.settings, "sensor", 0.0, {}) is None
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""


def test_off_nothing_is_loaded_and_nothing_wrapped():
    done = subprocess.run([sys.executable, "-c", OFF, "."], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("said", [None, "soon", True, 10**30, -(10**30), [], 1.5])
def test_a_log_that_gives_no_time_of_a_commit_is_read_all_the_same(said):
    assert commit_of({"version": 1, "timestamp": said}, lambda: False).at is None


def test_a_time_may_be_written_as_text():
    assert commit_of({"version": 1, "timestamp": "1000"}, lambda: False).at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
