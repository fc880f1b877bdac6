"""One trace from the tick of the sensor, through the run that it asked for, to the commit."""

import json

import dagster as dg
import pytest
from dagster_rooms import Room
from store.local_world import TABLE

from lakehouse.dagster import LakeResource
from lakehouse.dagster.names import TRACE_PARENT


@pytest.fixture
def room(lake, tmp_path, instance, monkeypatch):
    made = Room(lake, tmp_path, instance)
    for name, value in made.world.environment.items():
        monkeypatch.setenv(name, value)
    return made


def tick(room):
    given = {"instance": room.instance, "resources": {"lake": LakeResource()}}
    with dg.build_sensor_context(**given) as context:
        [request] = room.made.resolve_sensor_def("new_files").evaluate_tick(context).run_requests
    return request


def test_a_tick_that_asks_for_a_run_its_step_its_batch_and_its_commit_are_one_trace(room, tmp_path, monkeypatch):
    path = tmp_path / "spans"
    monkeypatch.setenv("LAKEHOUSE_TRACES", f"file://{path}")
    room.world.put("1.json", [{"id": 1}, {"id": 2}])
    request = tick(room)
    job = room.made.resolve_job_def("ingest")
    done = job.execute_in_process(instance=room.instance, tags=request.tags)
    assert done.success
    made = [json.loads(line) for line in path.read_text().splitlines()]
    by_id = {span["context"]["span_id"]: span for span in made}
    [commit] = [span for span in made if span["name"] == "commit"]
    way, at = [], commit
    while at is not None:
        way.append(at)
        at = by_id.get(at["parent_id"])
    assert [span["name"] for span in way] == [
        *("commit", f"batch {TABLE}", f"run {TABLE}", f"step {TABLE}", "sensor new_files")
    ]
    assert way[-1]["attributes"] == {"lakehouse.new_files": 1} and way[-1]["parent_id"] is None
    assert way[-2]["attributes"] == {"dagster.run_id": done.run_id, "dagster.job": "ingest"}
    assert len({span["context"]["trace_id"] for span in way}) == 1


def test_where_traces_are_off_a_run_has_no_tag_of_them(room):
    room.world.put("1.json", [{"id": 1}])
    assert TRACE_PARENT not in tick(room).tags
