"""A run whose process is gone is ended by the sensors, and every other one is left alone."""

import json
import subprocess
import sys

import dagster as dg
import pytest
from dagster_instances import instance_in
from dagster_rooms import Room
from store.local_world import TABLE

from lakehouse.dagster.dead_runs import PROCESS_TAG, end_dead_runs, note_process
from lakehouse.storage.lease_holder import this_host

STARTED, CANCELING = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING
FAILURE, CANCELED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED


@dg.job
def nothing():
    pass


@pytest.fixture
def instance(request, tmp_path, empty_instance):
    """Of one run in memory; a persistent one where runs are real."""
    real = "lake" in request.fixturenames
    with instance_in(tmp_path, empty_instance) if real else dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def begun(instance):
    """A run under way that has noted this process, with what is changed of that."""

    def make(status=STARTED, started_in=None, **changes):
        run = instance.create_run_for_job(nothing, status=status)
        note_process(instance, run.run_id)
        said = json.loads(instance.get_run_by_id(run.run_id).tags[PROCESS_TAG]) | changes
        instance.add_run_tags(run.run_id, {PROCESS_TAG: json.dumps(said)})
        instance.report_engine_event(f"Started process for run (pid: {started_in or said['pid']}).", run)
        return run.run_id

    return make


def test_a_run_whose_process_ended_is_ended_and_dagster_may_try_it_again(begun, instance):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    dead, stopped, alive = begun(pid=process.pid), begun(CANCELING, pid=process.pid), begun()
    assert set(end_dead_runs(instance)) == {dead, stopped}
    assert [instance.get_run_by_id(run).status for run in (dead, stopped, alive)] == [FAILURE, CANCELED, STARTED]
    assert instance.get_run_by_id(dead).tags["dagster/failure_reason"] == "UNEXPECTED_TERMINATION"
    assert end_dead_runs(instance) == []


def test_a_number_that_another_process_has_now_is_not_the_run_s(begun, instance):
    run = begun(born="1")
    assert end_dead_runs(instance) == [run]


def test_a_run_of_before_the_machine_was_booted_is_ended(begun, instance):
    name, _, space = this_host().split("/", 2)
    run = begun(host=f"{name}/another boot/{space}")
    assert end_dead_runs(instance) == [run]


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "elsewhere/boot/space", "machine": "elsewhere/7", "pid": 1},
        {"host": "elsewhere/boot/space", "pid": 1, "machine": "elsewhere/7", "born": None},
        {"run": "the run of which this is the second try", "born": "1"},
        {"pid": "none"},
        {"born": "1", "started_in": 7},  # a process of a step
    ],
)
def test_what_cannot_be_told_from_here_is_left_alone(begun, instance, changes):
    begun(**changes)
    untold = instance.create_run_for_job(nothing, status=STARTED)
    assert end_dead_runs(instance) == []
    assert instance.get_run_by_id(untold.run_id).status == STARTED


def test_another_container_of_this_machine_is_left_alone(begun, instance):
    name, boot, _ = this_host().split("/", 2)
    begun(host=f"{name}/{boot}/pid:[1]", born="1")
    assert end_dead_runs(instance) == []


def test_a_run_of_a_table_notes_its_process_and_a_sensor_ends_the_one_that_is_gone(lake, tmp_path, begun, instance):
    room = Room(lake, tmp_path, instance)
    room.world.put("1.json", [{"id": 1}])
    room.materialize(TABLE)
    [run] = instance.get_runs()
    assert json.loads(run.tags[PROCESS_TAG])["run"] == run.run_id
    dead = begun(born="1")
    for name in ("new_files", "commits_from_elsewhere"):
        given = {"instance": instance, "resources": {"lake": room.made.resources["lake"]}, "definitions": room.made}
        with dg.build_sensor_context(**given) as context:
            room.made.resolve_sensor_def(name).evaluate_tick(context)
        assert instance.get_run_by_id(dead).status == FAILURE, name
        dead = begun(born="1")
