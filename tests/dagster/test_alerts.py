"""Runs of Dagster tell what goes wrong: once, whoever finds it, also when the run's process was killed."""

import json

import dagster as dg
import pytest
from declared import with_declaration

from lakehouse.dagster import LakeResource, definitions
from lakehouse.dagster.alerts import SENSOR

TABLE = "bronze.things"
DECLARED = {
    "files": {"path": "{landing}/things/", "engine": "local"},
    "checks": [{"row_count": {"min": 2}, "on_failure": "block"}],
}


@pytest.fixture
def place(lake, lake_resource, tmp_path, monkeypatch):
    """The lake, what Dagster makes of it, and what the channel was told since it was asked last."""
    monkeypatch.setenv("LAKEHOUSE_ALERTS", f"file://{tmp_path}/told.jsonl")
    lake = with_declaration(lake, tmp_path, json.dumps({"tables": {TABLE: DECLARED}}))
    resource = LakeResource(**{**lake_resource.model_dump(), "declaration": str(lake.settings.declaration)})
    file = tmp_path / "told.jsonl"

    def told():
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        file.unlink(missing_ok=True)
        return [(alert["news"], alert["kind"], alert["table"]) for alert in lines]

    return lake, definitions(lake=resource), told


def put(lake, name):
    lake.store.write(lake.settings.landing_bucket, f"{lake.settings.landing_prefix}things/{name}", b'{"a": 1}\n')


def test_steps_tell_what_they_find_and_the_sensor_what_they_could_not(place, instance):
    lake, defs, told = place
    job, sensor = defs.resolve_job_def("ingest"), defs.resolve_sensor_def(SENSOR)

    def run():
        return job.execute_in_process(instance=instance, raise_on_error=False)

    def tick(event, run):
        """What the daemon does with a failed run."""
        context = dg.build_run_status_sensor_context(SENSOR, event, instance, run)
        sensor(context.for_run_failure(), lake=defs.resources["lake"])

    def failure(result):
        return next(
            dagster_event
            for dagster_event in result.all_events
            if dagster_event.event_type == dg.DagsterEventType.RUN_FAILURE
        )

    put(lake, "0.json")
    blocked = run()
    assert (blocked.success, told()) == (False, [("begun", "check failed", TABLE)])
    tick(failure(blocked), blocked.dagster_run)
    assert told() == [], "the check has told it"
    killed = instance.create_run_for_job(job)
    event = instance.report_run_failed(killed, "the worker of the run is gone")
    for _ in range(2):
        tick(event, instance.get_run_by_id(killed.run_id))
    assert told() == [("begun", "run failed", "")]
    put(lake, "1.json")
    assert run().success
    assert set(told()) == {("recovered", "run failed", ""), ("recovered", "check failed", TABLE)}
    lake.store.delete_prefix(lake.settings.bucket, f"{lake.settings.user}/bronze/things/")
    failed = run()
    assert told() == [("begun", "run failed", TABLE)]
    tick(failure(failed), failed.dagster_run)
    assert told() == [], "the step has told it"
    lever = defs.resolve_job_def("lever_replay")
    pulled = instance.create_run_for_job(lever, tags=lever.tags)
    tick(instance.report_run_failed(pulled, "no such file"), instance.get_run_by_id(pulled.run_id))
    assert told() == [], "whoever pulled a lever sees why it failed"
