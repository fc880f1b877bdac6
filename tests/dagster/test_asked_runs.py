"""What a table's next run does when somebody asked for it: the sensor asks for that run, once; no session is opened."""

import json
from datetime import UTC, datetime

import dagster as dg
import pytest
from command import lakehouse_here
from dagster_rooms import Room
from declared import with_declaration
from store.local_world import TABLE

from lakehouse.checkpoints.agreement import writer_of
from lakehouse.dagster.names import DAY_AGAIN, LEVER_TAG
from lakehouse.maintenance.asked import asked_runs
from lakehouse.maintenance.replay import waiting_replays
from lakehouse.pipeline import replay_files, restart_table


@pytest.fixture
def room(lake, tmp_path, instance):
    made = Room(lake, tmp_path, instance)
    made.world.declare(options={"cloudFiles.schemaEvolutionMode": "rescue"})
    made.world.put("1.json", [{"id": "1"}])
    made.world.load()
    made.world.put("2.json", [{"id": "2", "floor": "a"}])
    made.world.load()
    return made


@pytest.fixture
def tick(room):
    """Looks as the daemon does, with the cursor of the look before."""
    state = {}

    def evaluate():
        made = room.made
        with dg.build_sensor_context(
            instance=room.instance, cursor=state.get("cursor"), resources=made.resources, definitions=made
        ) as context:
            outcome = made.resolve_sensor_def("new_files").evaluate_tick(context)
        state["cursor"] = outcome.cursor
        return outcome

    assert evaluate().run_requests == [], "all files are loaded"
    return evaluate


def run_of(request, room):
    job = room.made.resolve_job_def("ingest")
    return job.execute_in_process(instance=room.instance, tags=request.tags, raise_on_error=False)


def the_lever(room):
    room.launch("replay", files=["1.json"], apply=True)


def the_command(room):
    done = lakehouse_here(room.world.environment, "replay", "--files", "1.json", "--table", TABLE, "--yes")
    assert done.returncode == 0, done.stderr


def the_function(room):
    assert replay_files(room.world.lake, TABLE, files=["1.json"], really=True).done


def test_a_replay_is_followed_by_one_run_whoever_asks(room, tick):
    for ask in (the_lever, the_command, the_function):
        ask(room)
        [request] = tick().run_requests
        assert (request.tags["asked_of"], request.tags["new_files"]) == (TABLE, "0"), ask
        assert tick().run_requests == [], ask
        assert waiting_replays(room.world.lake, TABLE), ask
        assert run_of(request, room).success, ask
        assert waiting_replays(room.world.lake, TABLE) == [], ask
        assert room.world.rows("id") == [("1",), ("2",)], ask
        assert tick().run_requests == [], ask


def approved(room):
    room.pull("schema_approve", apply=True)


def emptied(room):
    room.pull("checkpoint_reset", apply=True, rows="empty")


def put_back(room):
    room.pull("checkpoint_backup", apply=True)
    room.world.set_checkpoint({})
    room.pull("checkpoint_restore", apply=True)


def test_whatever_waits_for_a_run_gets_it(room, tick):
    for do in (approved, emptied, put_back):
        do(room)
        [request] = tick().run_requests
        assert request.tags["asked_of"] == TABLE, do
        assert run_of(request, room).success, do
        assert room.world.rows("id") == [("1",), ("2",)], do
        assert tick().run_requests == [], do


def test_what_was_only_looked_at_starts_nothing(room, tick):
    room.launch("replay", files=["1.json"])
    room.pull("schema_approve")
    room.pull("checkpoint_reset", rows="empty")
    assert replay_files(room.world.lake, TABLE, files=["nothing.json"], really=True).files == ()
    assert tick().run_requests == []


def test_a_run_that_fails_is_tried_again_like_any_other_and_asking_again_is_heard(room, tick):
    room.world.declare(options={"cloudFiles.schemaEvolutionMode": "failOnNewColumns"})
    assert replay_files(room.world.lake, TABLE, files=["2.json"], really=True).done
    [request] = tick().run_requests
    assert not run_of(request, room).success
    told = tick()
    assert told.run_requests == [] and f"{TABLE} failed in run" in told.skip_message
    approved(room)
    [again] = tick().run_requests
    assert again.run_key != request.run_key
    assert run_of(again, room).success
    assert tick().run_requests == []


def test_it_waits_for_a_run_that_is_under_way(room, tick):
    job = room.made.resolve_job_def("ingest")
    running = room.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    the_function(room)
    told = tick()
    assert told.run_requests == []
    assert f"what was asked of {TABLE} waits until run {running.run_id[:8]} ends" in told.skip_message
    room.instance.report_run_failed(running)
    assert len(tick().run_requests) == 1


def test_it_waits_for_days_that_are_loaded_again_and_for_who_writes_the_table(room, tick):
    day = room.made.resolve_job_def(f"{DAY_AGAIN}_bronze__things")
    running = room.instance.create_run_for_job(day, status=dg.DagsterRunStatus.STARTED, tags={LEVER_TAG: DAY_AGAIN})
    the_function(room)
    assert f"waits until run {running.run_id[:8]} ends" in tick().skip_message
    room.instance.report_run_canceled(running)
    with writer_of(room.world.lake, TABLE):
        told = tick()
        assert told.run_requests == [] and "which writes it" in told.skip_message
    assert len(tick().run_requests) == 1


def test_a_computed_table_that_is_to_begin_anew_waits_for_a_run(lake, tmp_path):
    files = {"path": "{landing}/things/", "engine": "local"}
    tables = {TABLE: {"files": files}, "silver.things": {"latest": {"of": TABLE, "key": "id", "engine": "local"}}}
    declared = with_declaration(lake, tmp_path, json.dumps({"tables": tables}))
    assert not restart_table(declared, "silver.things").done
    assert asked_runs(declared) == {}
    assert restart_table(declared, "silver.things", really=True).done
    assert asked_runs(declared).keys() == {"silver.things"}


def test_a_day_that_is_loaded_again_is_followed_by_the_tables_behind_it(room, tick):
    day = datetime.now(UTC).date().isoformat()
    job = room.made.resolve_job_def(f"{DAY_AGAIN}_bronze__things")
    assert job.execute_in_process(instance=room.instance, partition_key=day).success
    [request] = tick().run_requests
    assert run_of(request, room).success
    assert tick().run_requests == []
