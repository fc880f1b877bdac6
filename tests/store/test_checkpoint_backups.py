"""Checkpoints: backed up while a stream moves, put back without a loss; streams that begin anew, or elsewhere."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from threading import Lock

import pytest
from command import lakehouse_here, lakehouse_json_here
from declared import with_declaration
from store.local_world import TABLE, LocalWorld, no_session

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import ConfigurationError, LeaseHeld
from lakehouse.maintenance.backup import back_up, backup_key, backups, damage, prune
from lakehouse.orders.samples import file_name, generate_orders
from lakehouse.orders.tables import CHECKPOINT_DEMO
from lakehouse.pipeline import run_table
from lakehouse.places import fork_table, reset_table, restore_table

LIMIT = {"cloudFiles.maxFilesPerTrigger": 1}
NEW = "bronze.newer"


class Story(LocalWorld):
    """Files of three rows each, one a batch."""

    landed = 0

    def land(self, count=1):
        for _ in range(count):
            self.put(f"{self.landed:03}.json", [{"a": self.landed, "n": row} for row in range(3)])
            self.landed += 1

    def run(self, count=1):
        """Runs, each with a file of its own."""
        for _ in range(count):
            self.land()
            self.load()

    def assert_exact(self, first=0, table=TABLE):
        rows = self.lake.delta(table).to_pyarrow_table(columns=["a", "n"]).to_pylist()
        found = sorted((int(row["a"]), int(row["n"])) for row in rows)
        assert found == [(a, n) for a in range(first, self.landed) for n in range(3)]
        if table == TABLE:
            assert self.failed_checks() == set()


@pytest.fixture
def story(lake, tmp_path):
    return Story(lake, tmp_path).declare(options=LIMIT)


@pytest.mark.parametrize("with_table", [False, True], ids=["the checkpoint", "the table, too"])
def test_a_backup_put_back_after_five_batches_loses_and_doubles_nothing(story, with_table):
    story.run(2)
    taken = back_up(story.lake, TABLE)
    story.land(5)
    story.load()
    before, version = story.checkpoint(), story.lake.version(TABLE)
    dry = restore_table(story.lake, TABLE, with_table=with_table)
    assert (dry.done, dry.takes_table_back) == (False, with_table)
    assert (story.checkpoint(), story.lake.version(TABLE)) == (before, version), "nothing is done without being told to"
    done = restore_table(story.lake, TABLE, taken.taken, with_table=with_table, really=True)
    assert done.done
    assert len(story.rows()) == 3 * (2 if with_table else 7)
    story.land()
    assert story.load_rows() == (18 if with_table else 3)
    story.assert_exact()
    assert story.load().batches == ()
    # what was there before is a backup, too, and goes back as any other
    assert [backup.taken for backup in backups(story.lake, TABLE)] == [taken.taken, done.kept_as]
    assert restore_table(story.lake, TABLE, done.kept_as, really=True).done
    story.run()
    story.assert_exact()


def test_a_lost_checkpoint_comes_back_as_it_was(story):
    story.run(3)
    taken, before = back_up(story.lake, TABLE), story.checkpoint()
    assert (taken.finished, taken.written, taken.at_rest) == (2, 2, True)
    story.set_checkpoint({})
    assert not restore_table(story.lake, TABLE, really=True).takes_table_back
    assert story.checkpoint() == before
    story.run()
    story.assert_exact()


def test_what_cannot_be_restored_without_a_loss_is_refused(story):
    story.run(2)
    back_up(story.lake, TABLE)
    story.run(2)
    # a file that came after it is gone: taken back, the table would lack its rows for ever
    story.lake.store.delete(story.bucket, f"{story.folder}002.json")
    with pytest.raises(ConfigurationError, match=r"1 file such as .*002.json are not in the bucket any more"):
        restore_table(story.lake, TABLE, with_table=True, really=True)
    [backup] = backups(story.lake, TABLE)
    bucket, folder = story.lake.settings.bucket, backup_key(story.lake, TABLE, backup.taken)
    story.lake.store.write(bucket, f"{folder}checkpoint/offsets/1", b"changed")
    assert damage(story.lake, backup) == "checkpoint/offsets/1 is not what was copied"
    with pytest.raises(ConfigurationError, match="the backup is damaged"):
        restore_table(story.lake, TABLE, really=True)
    with pytest.raises(ConfigurationError, match=r"0 backups of .* begin with 1999"):
        restore_table(story.lake, TABLE, "1999", really=True)
    assert len(story.rows()) == 12


def test_a_backup_is_of_one_moment_whatever_runs_meanwhile(story, monkeypatch):
    story.run()
    copy, runs, one_by_one = type(story.lake.store).copy, iter(range(2)), Lock()

    def while_it_is_copied(store, *given, **named):
        with one_by_one:
            if next(runs, None) is not None:
                story.run()
        return copy(store, *given, **named)

    monkeypatch.setattr(type(story.lake.store), "copy", while_it_is_copied)
    taken = back_up(story.lake, TABLE)
    assert (taken.planned, taken.finished, taken.written, taken.delta_version) == (2, 2, 2, story.lake.version(TABLE))
    assert [backup.taken for backup in backups(story.lake, TABLE)] == [taken.taken], "what was given up is gone"
    assert damage(story.lake, taken) == ""
    restore_table(story.lake, TABLE, with_table=True, really=True)
    story.run()
    story.assert_exact()
    with checkpoints.writer_of(story.lake, TABLE):
        assert back_up(story.lake, TABLE).at_rest, "a stream that rests keeps nobody from it"
        with pytest.raises(LeaseHeld):
            restore_table(story.lake, TABLE, really=True)


def test_only_older_complete_backups_of_that_table_are_removed(story):
    story.run()
    made = [back_up(story.lake, TABLE).taken for _ in range(4)]
    bucket = story.lake.settings.bucket
    unfinished = backup_key(story.lake, TABLE, "20000101T000000.000Z") + "checkpoint/metadata"
    other = backup_key(story.lake, "bronze.other", made[0]) + "manifest.json"
    half_removed = backup_key(story.lake, TABLE, "20000102T000000.000Z") + "removing"
    for key in (unfinished, other, half_removed):
        story.lake.store.write(bucket, key, b"{}")
    assert [backup.taken for backup in prune(story.lake, TABLE, 2)] == made[:2]
    assert [backup.taken for backup in backups(story.lake, TABLE)] == made[2:]
    there = {info.key for info in story.lake.store.list(bucket, f"{story.lake.settings.user}/_backups/")}
    assert {unfinished, other} <= there and half_removed not in there
    assert not [key for key in there if f"/{made[0]}/" in key and "bronze.other" not in key]


def test_a_stream_that_begins_anew_loses_and_doubles_nothing(story):
    story.run(2)
    for rows, why in (("keep", "would be there twice"), ("nothing", "rows cannot be nothing")):
        refused = lakehouse_here(environment_of(story), "checkpoint", "reset", TABLE, "--rows", rows)
        assert refused.returncode == 1 and why in refused.stderr
    assert not reset_table(story.lake, TABLE).done
    assert reset_table(story.lake, TABLE, really=True).rows == "replace"
    assert story.load_rows() > 0
    story.assert_exact()
    assert reset_table(story.lake, TABLE, "empty", really=True).kept_as
    assert story.rows() == []
    story.load()
    story.assert_exact()
    story.lake.store.delete(story.bucket, f"{story.folder}000.json")
    with pytest.raises(ConfigurationError, match=r"1 file with 3 rows .*000.json: their rows would not come again"):
        reset_table(story.lake, TABLE, "empty", really=True)
    assert reset_table(story.lake, TABLE, "replace").gone
    assert len(story.rows()) == 6


def environment_of(story):
    settings = story.lake.settings
    return {
        "LAKEHOUSE_HOME": str(settings.home),
        "LAKEHOUSE_USER": settings.user,
        "LAKEHOUSE_BUCKET": settings.bucket,
        "LAKEHOUSE_LANDING_PREFIX": settings.landing_prefix,
        "LAKEHOUSE_DECLARATION": str(settings.declaration),
    }


def test_a_new_table_begins_where_another_stands(story, tmp_path):
    files = {"path": "{landing}/things/", "engine": "local", "options": LIMIT}
    other = {**files, "path": "{landing}/others/"}
    tables = {TABLE: {"files": files}, NEW: {"files": files}, "bronze.elsewhere": {"files": other}}
    story.lake = with_declaration(story.plain, tmp_path, json.dumps({"tables": tables}))
    story.run(2)
    with pytest.raises(ConfigurationError, match="its path differ"):
        fork_table(story.lake, TABLE, "bronze.elsewhere", really=True)
    assert not fork_table(story.lake, TABLE, NEW).done
    assert checkpoints.read_checkpoint(story.lake, NEW) is None
    assert fork_table(story.lake, TABLE, NEW, really=True).done
    with pytest.raises(ConfigurationError, match="has a checkpoint already"):
        fork_table(story.lake, TABLE, NEW, really=True)
    assert run_table(no_session, story.lake, NEW).rows_added == 0, "it is all older"
    story.run(2)
    assert run_table(no_session, story.lake, NEW).rows_added == 6
    story.assert_exact(first=2, table=NEW)
    story.run()
    assert run_table(no_session, story.lake, NEW).rows_added == 3
    story.assert_exact()


def test_the_commands_tell_what_is_there_and_what_they_did(story):
    story.run(2)
    here = environment_of(story)
    [listed] = lakehouse_json_here(here, "checkpoint", "list")["streams"]
    assert (listed["table"], listed["finished"], listed["rows"], listed["disagreement"]) == (TABLE, 1, 6, "")
    shown = lakehouse_json_here(here, "checkpoint", "show", TABLE)["standing"]
    assert (shown["covered"], shown["rows_of_batch"]) == ("file 2 of the journal", 3)
    assert {part["name"]: part["objects"] for part in shown["parts"]} == {"commits": 2, "metadata": 1, "offsets": 2}
    assert "batch 1 was finished" in lakehouse_here(here, "checkpoint", "show", TABLE).stdout
    [made] = lakehouse_json_here(here, "checkpoint", "backup", "--all", "--keep", "1")["backups"]
    story.land(8)
    story.load()
    again = lakehouse_json_here(here, "checkpoint", "backup", TABLE, "--keep", "1")
    assert [backup["taken"] for backup in again["removed"]] == [made["taken"]]
    size = lakehouse_json_here(here, "checkpoint", "size", TABLE)
    assert [backup["finished"] for backup in size["backups"]] == [9]
    assert {part["part"] for part in size["parts"]} == {"commits", "metadata", "offsets", "schema", "all"}
    story.set_checkpoint({})
    assert "no" in lakehouse_here(here, "checkpoint", "list").stdout
    done = lakehouse_json_here(here, "checkpoint", "restore", TABLE, "--yes")
    assert done["done"] and not done["takes_table_back"]
    assert lakehouse_here(here, "checkpoint", "show", TABLE).returncode == 0
    nothing = lakehouse_here(here, "checkpoint", "backup")
    assert nothing.returncode == 1 and "--all" in nothing.stderr
    code = f"""
import sys
from lakehouse.cli.main import app
for words in ("list", "restore {TABLE}", "reset {TABLE}"):
    app(["checkpoint", *words.split(), "--json"], standalone_mode=False)
sys.exit("pyspark" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **here}, timeout=120, check=False)
    assert done.returncode == 0, "they start at once: PySpark is not even loaded"


def test_the_orders_table_about_checkpoints_goes_on_behind_what_it_has(lake):
    local = replace(lake, settings=lake.settings.model_copy(update={"engine": "local"}))
    bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix

    def run(first_file, files):
        made = {"files": files, "first_file": first_file, "rows_per_file": 20}
        generate_orders(lambda name, data: lake.store.write(bucket, prefix + name, data), **made)
        report = run_table(no_session, local, CHECKPOINT_DEMO)
        return [batch.files for batch in report.batches], report.source_files

    assert run(0, 5)[0] == [3, 2]
    batches, files = run(5, 3)
    assert batches == [3]
    assert sorted(file.removeprefix(prefix) for file in files) == [file_name(number) for number in (5, 6, 7)]
    rows = lake.delta(CHECKPOINT_DEMO).to_pyarrow_table(columns=["_source_file"])["_source_file"]
    assert (len(rows), len(rows.unique())) == (160, 8)
