"""Levers from the launchpad: dry until told, and each does what its command does; no session is opened."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster_rooms import Room, command_exists
from store.local_world import TABLE, no_session

from assets.samples import sample_lever
from lakehouse.checkpoints.agreement import writer_of
from lakehouse.dagster.levers import Pull, levers_of
from lakehouse.dagster.names import LEVER_TAG
from lakehouse.declaration import read_catalogue
from lakehouse.errors import ConfigurationError, LeaseHeld
from lakehouse.settings import Settings
from lakehouse.table import Catalogue, Retention


def levers_of_all():
    first, *others = read_catalogue(Settings.load())
    kept = replace(first, retention=Retention(column="order_date", keep=timedelta(days=90)))
    return [*levers_of(Catalogue((kept, *others))), sample_lever()]


@pytest.fixture
def room(lake, tmp_path, instance):
    return Room(lake, tmp_path, instance)


def test_files_are_loaded_again_when_the_form_says_so_and_only_then(room):
    room.world.put("a.json", [{"id": 1}, {"id": 2}])
    room.world.put("b.json", [{"id": 3}])
    room.world.load()
    room.world.put("a.json", [{"id": 1}])
    asked = room.launch("replay", files=["a.json"])
    assert (asked["applied"], asked["replayed_files"], asked["replayed_rows"]) == (False, 1, 2)
    assert asked["command"] == f"lakehouse replay --files a.json --table {TABLE}"
    assert room.world.load_rows() == 0
    done = room.launch("replay", files=["a.json"], apply=True)
    assert done["command"].endswith("--yes") and "| INGESTED | 2 |" in done["result"]
    assert done["what"] == f"asked to load 1 file with 2 rows again; the next run of {TABLE} does it"
    room.world.load()
    assert room.world.rows("id") == [("1",), ("3",)]


def test_a_form_that_cannot_be_is_refused_in_plain_words(room):
    assert "replay of everything was not asked for" in room.launch("replay", fails=True, apply=True).description
    wrong = room.launch("replay", fails=True, since="yesterday")
    assert "since cannot be yesterday" in wrong.description
    assert wrong.metadata["where"].value == "ops.replay.config.since"
    few = room.launch("maintain_optimize", fails=True, target_mb=0)
    assert "target_mb: Input should be greater than or equal to 1" in few.description
    for form in ({"table": "bronze.nobody"}, {"tabel": TABLE}, {"apply": "yes"}):
        with pytest.raises(dg.DagsterInvalidConfigError):
            room.launch("replay", **form)


def test_a_lever_leaves_a_table_alone_that_is_written_now(room):
    room.world.put("a.json", [{"id": 1}])
    room.world.load()
    with writer_of(room.world.lake, TABLE):
        refused = room.launch("replay", files=["a.json"], apply=True, fails=True)
        assert room.launch("replay", files=["a.json"])["replayed_files"] == 1
    assert refused.metadata["error"].value == "LeaseHeld"
    assert room.world.load_rows() == 0, "nothing was asked for"


def test_every_lever_shows_a_whole_form_that_changes_nothing(room):
    made, catalogue = room.made, read_catalogue(room.world.lake.settings)
    for lever in levers_of(catalogue):
        job = made.resolve_job_def(lever.job)
        form = job.run_config["ops"][lever.step]["config"]
        fields = job.get_node_named(lever.step).definition.config_schema.config_type.fields
        assert form["apply"] is False
        assert form.keys() == fields.keys()
        assert all(field.description for field in fields.values()), lever.job
        assert job.tags[LEVER_TAG] == lever.step
        assert {job.get_node_named(lever.step).definition.pool} == {"levers"}


def test_a_file_that_was_broken_is_read_again_when_its_sender_has_corrected_it(room):
    room.world.put("1.json", [{"id": "1"}])
    room.world.put("2.json", b"\x1f\x8b\x08\x00broken")
    room.world.load()
    room.world.put("2.json", [{"id": "2"}])
    assert room.pull("replay_quarantined")["replayed_files"] == 1
    room.pull("replay_quarantined", apply=True)
    assert room.pull("replay_quarantined")["files_waiting"] == 1, "asked for twice is asked for once"
    room.world.load()
    assert room.world.rows("id") == [("1",), ("2",)]
    assert room.pull("replay_quarantined")["replayed_files"] == 0


def test_a_checkpoint_is_copied_begun_anew_and_put_back(room):
    room.world.put("1.json", [{"id": "1"}])
    room.world.load()
    before = room.world.checkpoint()
    assert "would back up 1 table" in room.pull("checkpoint_backup")["said"]
    assert room.pull("checkpoint_backup", apply=True, tables=[TABLE], keep=3)["backups"] == 1
    assert "would: load 1 file again" in room.pull("checkpoint_reset")["said"]
    assert room.world.load_rows() == 0
    assert room.pull("checkpoint_reset", apply=True)["steps"] == 3
    room.world.load()
    assert room.world.rows("id") == [("1",)]
    room.world.set_checkpoint({})
    assert "would" in room.pull("checkpoint_restore")["said"]
    room.pull("checkpoint_restore", apply=True)
    assert room.world.checkpoint().keys() >= before.keys()


def test_a_run_is_killed_on_purpose_and_the_next_one_is_exact(room):
    def rows(told):
        assert told["checks_failed"] == 0
        return [told[f"rows_{when}"] for when in ("before", "after_kill", "after")]

    room.world.put("1.json", [{"id": "1"}])
    room.world.load()
    room.world.put("2.json", [{"id": "2"}, {"id": "3"}])
    assert "would load bronze.things in a process of its own, kill it when" in room.pull("crash")["said"]
    assert room.world.rows("id") == [("1",)]
    with writer_of(room.world.lake, TABLE), pytest.raises(LeaseHeld):
        room.pull("crash", apply=True)
    assert room.world.rows("id") == [("1",)]
    planned = room.pull("crash", apply=True)
    assert (rows(planned), "killed in batch 1" in planned["said"]) == ([1, 1, 3], True)
    room.world.put("3.json", [{"id": "4"}])
    assert rows(room.pull("crash", apply=True, moment="committed")) == [3, 4, 4]
    assert room.world.rows("id") == [("1",), ("2",), ("3",), ("4",)]
    assert "no file was new, and nothing was killed" in room.pull("crash", apply=True)["said"]


def test_small_files_are_joined_old_ones_told_and_all_rows_counted(room):
    for number in range(3):
        room.world.put(f"{number}.json", [{"id": f"{number}"}])
        room.world.load()
    assert "would leave 1 table with about 2 files fewer" in room.pull("maintain_optimize", least_fewer=1)["said"]
    done = room.pull("maintain_optimize", least_fewer=1, apply=True, tables=[TABLE])
    assert (done["table_files_before"], done["table_files_after"]) == (3, 1)
    assert room.pull("maintain_vacuum")["stored_files_before"] == 4
    assert r"no\_file\_loaded\_twice" in room.pull("check_all_rows")["result"]
    done = room.pull("check_all_rows", apply=True)
    assert (done["checks"] > 2, done["checks_failed"]) == (True, 0)
    room.world.lake.delta(TABLE).delete("id = '1'")
    lost = room.launch("check_all_rows", apply=True, fails=True)
    assert "every_file_loaded failed on bronze.things" in lost.description
    assert lost.metadata["checks_failed"].value == 1 and "| FAIL |" in lost.metadata["result"].value


def test_a_column_that_waits_is_approved_and_taken_back(room):
    room.world.declare(options={"cloudFiles.schemaEvolutionMode": "rescue"})
    room.world.put("1.json", [{"id": "1"}])
    room.world.load()
    room.world.put("2.json", [{"id": "2", "room": "a"}])
    room.world.load()
    asked = room.pull("schema_approve")
    assert (asked["columns_waiting"], asked["columns_approved"]) == (1, 0) and "| room |" in asked["result"]
    assert room.pull("schema_approve", apply=True)["columns_approved"] == 1
    assert "would write version 2" in room.pull("schema_rollback", version=0)["said"]
    assert room.pull("schema_rollback", version=0, apply=True)["schema_version"] == 2
    with pytest.raises(ConfigurationError, match="the schema has no version 9") as wrong:
        room.pull("schema_rollback", version=9)
    assert wrong.value.next_command == "name one of 0 to 2"


def test_rows_that_somebody_removed_are_recorded_and_a_wrong_wish_is_refused(room):
    room.world.put("1.json", [{"id": "1"}, {"id": "2"}])
    room.world.load()
    with pytest.raises(ConfigurationError, match="say which rows"):
        room.pull("forget", apply=True)
    room.world.lake.delta(TABLE).delete("id = '1'")
    assert room.pull("forget", already_removed=True)["forgotten_rows"] == 1
    assert room.pull("forget", already_removed=True, apply=True, then="keep")["forgotten_rows"] == 1
    assert room.world.failed_checks() == set()


def test_sample_files_are_put_with_the_flaw_that_is_asked_for(lake):
    def put(**form):
        lever = sample_lever()
        return lever.pull(Pull(lake, lever.config(**form), no_session))

    assert put(apply=False).totals()["sample_files"] == 3
    assert [*lake.store.list(lake.settings.landing_bucket, lake.settings.landing_prefix)] == []
    for kind, number in (("late", "late_rows"), ("duplicate", "duplicate_rows"), ("broken", "bad_lines")):
        assert put(apply=True, kind=kind, files=2).totals()[number] > 0
    evolving = put(apply=True, kind="evolving", files=1)
    [file] = [row["file"] for row in evolving.rows]
    written = lake.store.read(lake.settings.landing_bucket, lake.settings.landing_prefix + file)
    assert file == "orders_stream_006.json" and b'"coupon"' in written
    command_exists(sample_lever().command_line(evolving.arguments))


def test_the_page_of_levers_is_what_there_is():
    text = (Path(__file__).parents[2] / "docs" / "levers.md").read_text()
    rows = [
        [cell.strip().strip("`") for cell in line.split("|")[1:4]] for line in text.splitlines() if "| `lever_" in line
    ]
    assert rows == [[lever.job, f"lakehouse {lever.command}", lever.needs] for lever in levers_of_all()]
