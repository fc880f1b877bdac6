"""A day of source files, loaded again from the page of partitions exactly once; no session is opened."""

from datetime import date

import dagster as dg
import pytest
from dagster_rooms import Room
from store.local_world import TABLE

from lakehouse.dagster.names import key_of
from lakehouse.maintenance.replay import day_in

JOB = "load_day_again_bronze__things"


@pytest.fixture
def room(lake, tmp_path, instance):
    return Room(lake, tmp_path, instance)


def load_again(room, day, **config):
    done = room.made.resolve_job_def(JOB).execute_in_process(
        instance=room.instance,
        partition_key=day,
        run_config={"ops": {f"{JOB}_step": {"config": config}}} if config else None,
    )
    [output] = [event.step_output_data for event in done.all_events if event.is_successful_output]
    made = [event.step_materialization_data.materialization for event in done.get_asset_materialization_events()]
    return {name: value.value for name, value in output.metadata.items()}, made


def test_the_files_of_a_day_are_loaded_again_and_no_others_and_no_row_twice(room):
    for name, row in (("day=2026-01-30/a.json", "1"), ("2026/01/31/a.json", "2"), ("b-2026-01-31.json", "3")):
        room.world.put(name, [{"id": row}, {"id": f"{row} again"}])
    room.world.load()
    before = room.world.rows("id")
    room.world.put("2026/01/31/a.json", [{"id": "corrected"}])
    room.world.put("day=2026-01-30/a.json", [{"id": "of another day"}])
    only_said, made = load_again(room, "2026-01-31", apply=False)
    assert (only_said["applied"], only_said["replayed_files"], made) == (False, 2, [])
    assert room.world.rows("id") == before
    told, [made] = load_again(room, "2026-01-31")
    assert (told["replayed_files"], told["replayed_rows"], told["rows_added"]) == (2, 4, 3)
    assert made.asset_key == key_of(TABLE) and made.metadata["rows_unaccounted"].value == 0
    check = dg.AssetCheckKey(key_of(TABLE), "every_file_loaded")
    [examined] = room.instance.event_log_storage.get_asset_check_execution_history(check, limit=5)
    assert (told["checks_failed"], examined.status.value) == (0, "SUCCEEDED")
    after = [("1",), ("1 again",), ("3",), ("3 again",), ("corrected",)]
    assert sorted(room.world.rows("id")) == after
    load_again(room, "2026-01-31")
    assert sorted(room.world.rows("id")) == after
    assert room.world.failed_checks() == set()
    assert load_again(room, "2026-02-01")[0]["replayed_files"] == 0


@pytest.mark.parametrize(
    ("key", "day"),
    [
        ("in/2026-01-31/a.json", date(2026, 1, 31)),
        ("in/2026/01/31/a.json", date(2026, 1, 31)),
        ("in/year=2026/month=1/day=31/a.json", date(2026, 1, 31)),
        ("in/2025-12-01/export-2026-01-31T10.json", date(2026, 1, 31)),
        ("in/2026-13-45/a.json", None),
        ("in/12026-01-31/a.json", None),
        ("in/2026-01/31.json", None),
        ("in/a.json", None),
    ],
)
def test_the_day_of_a_file_is_the_last_date_in_its_path(key, day):
    assert day_in(key) == day
