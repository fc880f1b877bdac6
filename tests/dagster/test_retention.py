"""The asset that removes old rows by a table's declaration."""

import json

import dagster as dg
from dagster_rooms import Room
from declared import with_declaration
from store.local_world import TABLE

from lakehouse.dagster.upkeep import RETENTION


def test_the_nightly_job_removes_old_rows_of_tables_that_say_how_long_they_keep_them(lake, tmp_path, instance):
    room = Room(lake, tmp_path, instance)
    flow = {"path": "{landing}/things/", "engine": "local", "hints": {"at": "TIMESTAMP"}}
    table = {"files": flow, "retention": {"column": "at", "keep": "90 days"}}
    room.world.lake = with_declaration(room.world.plain, tmp_path, json.dumps({"tables": {TABLE: table}}))
    room.world.put("a.json", [{"id": 1, "at": "2001-01-01T00:00:00Z"}, {"id": 2, "at": "2999-01-01T00:00:00Z"}])
    room.world.load()
    job, key = room.made.resolve_job_def("maintenance"), dg.AssetKey(["maintenance", RETENTION, *TABLE.split(".")])
    done = job.execute_in_process(instance=instance, asset_selection=[key])
    [made] = [one.step_materialization_data.materialization for one in done.get_asset_materialization_events()]
    assert (made.asset_key, made.metadata["rows_expired"].value) == (key, 1)
    assert room.world.rows("id") == [("2",)] and room.world.failed_checks() == set()
