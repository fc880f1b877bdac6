"""The asset and the lever that remove old rows by a table's declaration."""

import json

import dagster as dg
from dagster_rooms import Room, command_exists
from declared import with_declaration
from store.local_world import TABLE

from lakehouse.checkpoints.agreement import loader_of, writer_of
from lakehouse.dagster.upkeep import RETENTION


def test_the_nightly_job_and_a_lever_remove_old_rows_of_tables_that_say_how_long_they_keep_them(
    lake, tmp_path, instance
):
    room = Room(lake, tmp_path, instance)
    flow = {"path": "{landing}/things/", "engine": "local", "hints": {"at": "TIMESTAMP"}}
    table = {"files": flow, "retention": {"column": "at", "keep": "90 days"}}
    room.world.lake = with_declaration(room.world.plain, tmp_path, json.dumps({"tables": {TABLE: table}}))
    room.world.put("a.json", [{"id": 1, "at": "2001-01-01T00:00:00Z"}, {"id": 2, "at": "2999-01-01T00:00:00Z"}])
    room.world.load()
    asked = room.pull("maintain_retention")
    assert (asked["rows_expired"], asked["said"]) == (1, "would remove 1 row of 1 table")
    with writer_of(room.world.lake, TABLE):
        refused = room.launch("maintain_retention", apply=True, fails=True)
    assert refused.metadata["state"].value == "these tables were not changed" and TABLE in refused.description
    assert room.world.rows("id") == [("1",), ("2",)]
    job, key = room.made.resolve_job_def("maintenance"), dg.AssetKey(["maintenance", RETENTION, *TABLE.split(".")])

    def night():
        done = job.execute_in_process(instance=instance, asset_selection=[key])
        [made] = [event.step_materialization_data.materialization for event in done.get_asset_materialization_events()]
        assert made.asset_key == key
        return {name: value.value for name, value in made.metadata.items()}

    with writer_of(room.world.lake, TABLE):
        put_off = night()
    assert put_off["rows_expired"] == 0 and "is being written by pid" in put_off["put_off"], "the job does not fail"
    command_exists(put_off["put_off"].rpartition(": ")[2])
    assert room.world.rows("id") == [("1",), ("2",)]
    with loader_of(room.world.lake, TABLE):
        assert night() == {"rows_expired": 1, "rows_without_time": 0}, "beside a stream"
    assert room.world.rows("id") == [("2",)] and room.world.failed_checks() == set()
    room.world.put("b.json", [{"id": 3, "at": "2001-01-01T00:00:00Z"}])
    room.world.load()
    assert room.pull("maintain_retention", apply=True, tables=[TABLE])["rows_expired"] == 1
    assert room.world.rows("id") == [("2",)] and room.world.failed_checks() == set()
