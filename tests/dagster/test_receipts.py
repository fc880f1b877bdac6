"""A run's receipt adds up, and stays in view while nothing comes; no session is opened."""

import pytest
from dagster_rooms import Room

from lakehouse.dagster.receipts import batch_rows
from lakehouse.streams.progress import BatchProgress


@pytest.fixture
def room(lake, tmp_path, instance):
    return Room(lake, tmp_path, instance)


def test_a_receipt_accounts_for_every_file_and_row_and_a_quiet_run_keeps_it(room):
    world = room.world.declare(options={"badRecordsPath": f"{room.world.lake.settings.lake_uri}/bad"}, schema="id INT")
    world.put("1.json", [{"id": 1}, {"id": 2}])
    world.put("2.json", b"\x1f\x8b\x08\x00broken")
    world.put("3.json", '{"id": 3}\n{"id": "three"}\n')
    [busy] = room.materialize()
    numbers = {name: value.value for name, value in busy.metadata.items()}
    files = ("files_offered", "files_ingested", "files_skipped", "files_quarantined")
    assert [numbers[name] for name in files] == [3, 2, 0, 1]
    rows = ("rows_in", "rows_out", "rows_quarantined", "rows_unaccounted")
    assert [numbers[name] for name in rows] == [4, 3, 1, 0]
    places = ("journal_from", "journal_to", "backlog_files", "backlog_oldest_seconds")
    assert [numbers[name] for name in places] == [0, 3, 0, 0]
    assert "| rows\\_in | 4 |" in numbers["last_run_with_data"]
    [quiet] = room.materialize()
    assert (quiet.metadata["rows_in"].value, quiet.metadata["journal_from"].value) == (0, 3)
    assert quiet.metadata["last_run_with_data"] == busy.metadata["last_run_with_data"]
    world.put("4.json", [{"id": 4}])
    [later] = room.materialize()
    assert (later.metadata["journal_from"].value, later.metadata["journal_to"].value) == (3, 4)
    assert later.metadata["rows_unaccounted"].value == 0
    taken = world.checkpoint()
    world.put("5.json", [{"id": 5}, {"id": 6}])
    world.load()
    world.set_checkpoint(taken)  # of another day: the run brings it up to the table first
    world.put("6.json", [{"id": 7}])
    [mended] = room.materialize()
    assert (mended.metadata["journal_from"].value, mended.metadata["rows_in"].value) == (5, 1)


def test_checks_can_be_executed_without_a_run_of_their_table(room):
    room.world.put("1.json", [{"id": 1}])
    room.materialize()
    [check, *others] = room.made.resolve_asset_graph().asset_check_keys
    job = room.made.resolve_implicit_global_asset_job_def()
    alone = job.get_subset(asset_check_selection={check}).execute_in_process(instance=room.instance)
    assert others and alone.success
    [found] = alone.get_asset_check_evaluations()
    assert (found.asset_check_key, found.passed) == (check, True)
    assert not alone.get_asset_materialization_events()
    every = job.get_subset(asset_check_selection={check, *others}).execute_in_process(instance=room.instance)
    assert {evaluation.asset_check_key for evaluation in every.get_asset_check_evaluations()} == {check, *others}


def test_a_micro_batch_shows_what_was_measured_and_its_phases_last():
    batches = [BatchProgress("silver.w", number, 10, 2.0, late_rows=number, watermark="w") for number in range(2)]
    rows = batch_rows([*batches, BatchProgress("silver.w", 2, 0, 1.0, phases_milliseconds={"addBatch": 900})])
    assert [*rows[0]] == [
        "batch_id", "input_rows", "late_rows", "watermark", "duration_seconds", "rows_per_second", "phases",
    ]  # fmt: skip
    assert [row["late_rows"] for row in rows] == [0, 1, "-"]
    assert rows[2]["phases"] == "addBatch 0.90 s"
    assert batch_rows([]) == []
