"""Files joined and removed beside running streams and readers; a table taken back."""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command import lakehouse_here, lakehouse_json_here
from deltalake import CommitProperties
from store.local_world import TABLE, LocalWorld

from lakehouse.checkpoints.agreement import CheckpointMismatch
from lakehouse.counting.data_files import DataFiles
from lakehouse.delta_commit import FORGOTTEN
from lakehouse.errors import ConfigurationError, TerminalError
from lakehouse.maintenance import versions
from lakehouse.maintenance.optimize import Thresholds
from lakehouse.maintenance.positions import alone
from lakehouse.maintenance.table_files import TableFiles
from lakehouse.maintenance.vacuum import vacuum
from lakehouse.pipeline import repair_table, replay_files
from lakehouse.upkeep import optimize_tables, restore, vacuum_tables

LATER = datetime.now(UTC) + timedelta(days=8)


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(options={"cloudFiles.inferColumnTypes": True})


def load(things, first, files):
    """Each file by a run of its own: a version and a data file each."""
    for number in range(first, first + files):
        things.put(f"{number:03}.json", [{"a": number * 10 + row} for row in range(3)])
        things.load()


def keys(lake):
    return {info.key: info.e_tag for info in lake.store.list(lake.settings.bucket)}


def values(things):
    return sorted(a for (a,) in things.rows("a"))


def expected(files):
    return [number * 10 + row for number in range(files) for row in range(3)]


def stand(things, reader, version, *, snapshot=False):
    """A stream that reads the table and stands so: what Spark's offset log says of it."""
    lake = things.lake
    offset = {"reservoirId": str(lake.delta(TABLE).metadata().id), "reservoirVersion": version, "index": -1}
    lines = ["v1", "{}", json.dumps({**offset, "isStartingVersion": snapshot})]
    base = f"{lake.settings.user}/_checkpoints/{reader}"
    for name, text in (("offsets/7", "\n".join(lines)), ("commits/7", "v1\n{}")):
        lake.store.write(lake.settings.bucket, f"{base}/{name}", text.encode())


def test_small_files_are_joined_where_that_pays_and_nothing_else_changes(things):
    load(things, 0, 3)
    two = Thresholds(least_fewer=2)
    [dry] = optimize_tables(things.lake, thresholds=two)
    assert (dry.files_before, dry.files_after, dry.why_not, dry.done) == (3, 1, "", False)
    [not_worth] = optimize_tables(things.lake, really=True)
    assert not_worth.why_not == "2 files fewer; it pays from 8 on" and not not_worth.done
    assert things.lake.version(TABLE) == 2 and things.failed_checks() == set()
    [done] = optimize_tables(things.lake, thresholds=two, really=True)
    assert (done.files_before, done.files_after, done.version, done.done) == (3, 1, 3, True)
    [newest] = things.lake.commits_since(TABLE, 2)
    assert newest.only_adds, "a stream reads on"
    assert optimize_tables(things.lake, thresholds=two, really=True)[0].why_not
    assert values(things) == expected(3) and things.failed_checks() == set()
    load(things, 3, 1)
    assert values(things) == expected(4) and things.failed_checks() == set()


def test_a_table_whose_batches_write_files_again_is_left_alone_while_it_is_written(things):
    things.declare(options={"cloudFiles.inferColumnTypes": True, "cloudFiles.allowOverwrites": "replace"})
    load(things, 0, 2)
    easy = Thresholds(least_fewer=1)
    with alone(things.lake, TABLE):
        [left] = optimize_tables(things.lake, [TABLE], easy, really=True)
    assert "is being written by pid" in left.why_not and things.lake.version(TABLE) == 1
    assert optimize_tables(things.lake, [TABLE], easy, really=True)[0].done
    with pytest.raises(ConfigurationError, match=r"no table bronze\.nothing"):
        optimize_tables(things.lake, ["bronze.nothing"])


def test_rows_are_put_in_order_by_columns_when_there_are_enough_of_them(things):
    load(things, 0, 3)
    [left] = optimize_tables(things.lake, [TABLE], Thresholds(z_order=("a",)), really=True)
    assert "all rows fit into a file" in left.why_not
    small = Thresholds(target_bytes=1000, z_order=("a",))
    [done] = optimize_tables(things.lake, [TABLE], small, really=True)
    assert done.done and values(things) == expected(3) and things.failed_checks() == set()
    [again] = optimize_tables(things.lake, [TABLE], small, really=True)
    assert "nothing has come since version 3" in again.why_not
    with pytest.raises(ConfigurationError, match="no column b to order by"):
        optimize_tables(things.lake, [TABLE], Thresholds(z_order=("b",)))


def stray(things, name="part-of-a-killed-run.parquet"):
    key = f"{things.lake.settings.user}/bronze/things/{name}"
    things.lake.store.write(things.lake.settings.bucket, key, b"never committed")


def test_a_vacuum_removes_what_nobody_needs_and_keeps_what_anybody_may(things):
    lake = things.lake
    load(things, 0, 4)
    optimize_tables(lake, thresholds=Thresholds(least_fewer=1), really=True)
    load(things, 4, 1)
    for name in ("stray.parquet", "_copy_into/segments/0.parquet", "_change_data/x.parquet", "_SUCCESS"):
        stray(things, name)
    there = things.objects()
    assert vacuum(lake, TABLE, {}, really=True).files_after == len(there) - 2, "seven days stay"
    assert things.objects() == there
    # a reader of version 2 needs the files of that version, and of all after it
    kept = vacuum(lake, TABLE, {"silver.things": 2}, now=LATER)
    assert kept.kept_for == ("silver.things: it has read up to version 2",)
    assert (kept.old_files, kept.unnamed_files, kept.oldest_version) == (0, 2, 2)
    done = vacuum(lake, TABLE, {"silver.things": 4}, now=LATER, really=True)
    assert (done.old_files, done.unnamed_files, done.files_after) == (4, 2, 2)
    live = TableFiles.of(lake, lake.settings.table_uri(TABLE)).active
    assert things.objects() == {*live, "_SUCCESS", "_copy_into/segments/0.parquet"}
    assert values(things) == expected(5) and things.failed_checks() == set()


NAMES = ["a b", "ü", "50%", "x=y", "a%20b", "q?#", "plus+", ""]


def test_folders_with_any_name_are_joined_and_removed_as_others(things):
    things.declare(partition_by=["p"], options={"cloudFiles.inferColumnTypes": True})
    for number in range(2):
        things.put(f"{number}.json", [{"p": name, "a": place} for place, name in enumerate(NAMES)])
        things.load()
    before = things.rows("p", "a")
    [done] = optimize_tables(things.lake, [TABLE], Thresholds(least_fewer=1), really=True)
    assert (done.files_before, done.files_after) == (2 * len(NAMES), len(NAMES))
    removed = vacuum(things.lake, TABLE, {}, now=LATER, really=True)
    assert (removed.refused, removed.old_files, removed.files_after) == ("", 2 * len(NAMES), len(NAMES))
    assert things.rows("p", "a") == before and len(before) == 2 * len(NAMES)
    assert len(things.objects()) == len(NAMES) and things.failed_checks() == set()


def test_a_table_whose_files_are_not_where_its_log_says_is_left_alone(things):
    load(things, 0, 2)
    stray(things)
    [first, _] = things.adds()
    things.lake.store.delete(things.lake.settings.bucket, f"{things.lake.settings.user}/bronze/things/{first['path']}")
    left = vacuum(things.lake, TABLE, {}, now=LATER, really=True)
    assert left.refused == f"1 file of the newest version not found, such as {first['path']}" and not left.done


def test_a_short_retention_waits_for_every_reader_and_leaves_what_a_run_may_commit(things):
    lake = things.lake
    load(things, 0, 2)
    stand(things, "silver.things", 1)
    [dry] = vacuum_tables(lake, [TABLE], retention_hours=0)
    assert dry.refused == "silver.things has not read all of bronze.things" and not dry.done
    with pytest.raises(ConfigurationError, match=r"silver\.things has not read all") as refused:
        vacuum_tables(lake, [TABLE], retention_hours=0, really=True)
    assert refused.value.next_command.startswith("lakehouse ingest silver.things")
    optimize_tables(lake, thresholds=Thresholds(least_fewer=1), really=True)
    stand(things, "silver.things", 2)  # it has read all rows, and not the commit that only joined them
    stray(things)
    with alone(lake, TABLE):
        [beside] = vacuum_tables(lake, [TABLE], retention_hours=0, really=True)
    assert (beside.old_files, beside.unnamed_files) == (0, 0), "the reader needs version 1 until it goes on"
    assert "files that it has not committed yet" in "".join(beside.kept_for)
    stand(things, "silver.things", 3)
    [done] = vacuum_tables(lake, [TABLE], retention_hours=0, really=True)
    assert (done.old_files, done.unnamed_files, done.files_after) == (2, 1, 1)
    assert values(things) == expected(2)


@pytest.mark.parametrize("damaged", [b"", b'v1\n{}\n{"reservoirId": "', b"\xff"])
def test_a_reader_whose_place_cannot_be_read_stops_the_vacuum(things, damaged):
    load(things, 0, 1)
    lake = things.lake
    stand(things, "silver.things", 0)
    lake.store.write(lake.settings.bucket, f"{lake.settings.user}/_checkpoints/silver.things/offsets/7", damaged)
    with pytest.raises(TerminalError, match=r"the stream into silver\.things cannot be read"):
        vacuum_tables(lake, really=True)


def test_a_reader_whose_commits_the_log_has_lost_stops_the_vacuum(things):
    load(things, 0, 3)
    bucket, base = things.lake.settings.bucket, f"{things.lake.settings.user}/bronze/things/_delta_log/"
    things.lake.delta(TABLE).create_checkpoint()
    for version in (0, 1):
        things.lake.store.delete(bucket, f"{base}{version:020}.json")
    stand(things, "silver.things", 0, snapshot=True)
    [left] = vacuum_tables(things.lake, [TABLE], really=True)
    assert "silver.things stands at version 1, which the log has lost" in left.refused and not left.done


WRITER = """
import sys
from store.local_world import TABLE, no_session
from lakehouse.lake import Lake
from lakehouse.pipeline import run_table
from lakehouse.settings import Settings
lake = Lake.open(Settings.load())
for number in range(int(sys.argv[1])):
    key = f"{lake.settings.landing_prefix}things/{number:03}.json"
    rows = "".join(f'{{"a": {number * 10 + row}}}\\n' for row in range(3))
    lake.store.write(lake.settings.landing_bucket, key, rows.encode())
    run_table(no_session, lake, TABLE)
    print(number, flush=True)
"""


class Follower:
    """Reads each commit once, as a stream does, and says in a checkpoint where it stands."""

    def __init__(self, things):
        self.things, self.read, self.rows = things, -1, []

    def follow(self):
        files = TableFiles.of(self.things.lake, self.things.lake.settings.table_uri(TABLE))
        if files is None:
            return
        reader = DataFiles.of(self.things.lake, TABLE)
        for commit in files.logged(self.read):
            paths = sorted(commit.paths) if commit.changes_data else []
            for _, batch in reader.batches(paths, ["a"]):
                self.rows += batch.column(0).to_pylist()
            self.read = commit.version
        stand(self.things, "silver.things", self.read + 1)


def test_files_are_joined_and_removed_while_another_process_loads_and_a_reader_follows(things, environment):
    lake, many = things.lake, 12
    told = {**environment, "LAKEHOUSE_DECLARATION": str(lake.settings.declaration)}
    folders = os.pathsep.join(str(Path(__file__).parents[up]) for up in (1, 2))
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(many)],
        env={**told, "PYTHONPATH": folders},
        stdout=subprocess.PIPE,
        text=True,
    )
    follower, joined, easy = Follower(things), 0, Thresholds(least_fewer=2)
    for _ in writer.stdout:
        joined += sum(optimized.done for optimized in optimize_tables(lake, [TABLE], easy, really=True))
        follower.follow()
        with suppress(ConfigurationError):  # where the writer was faster than the reader
            vacuum_tables(lake, [TABLE], retention_hours=0, really=True)
    assert writer.wait() == 0
    follower.follow()
    assert values(things) == sorted(follower.rows) == expected(many)
    [last] = vacuum_tables(lake, [TABLE], retention_hours=0, really=True)
    assert joined > 2 and last.files_after == len(things.adds()) == len(things.objects())
    assert values(things) == expected(many) and things.failed_checks() == set()


def test_a_table_taken_back_has_every_file_once_after_the_next_run(things):
    load(things, 0, 3)
    things.lake.delta(TABLE).delete("a = 1")  # somebody's mistake, in version 3
    load(things, 3, 2)
    assert things.failed_checks() == {"every_file_loaded"}
    dry = restore(things.lake, TABLE, 2)
    assert (dry.rows_before, dry.rows_after, dry.again, dry.again_rows, dry.done) == (14, 9, 2, 6, False)
    assert things.lake.version(TABLE) == 5
    done = restore(things.lake, TABLE, 2, really=True)
    assert done.delta_version == 6 and values(things) == expected(3)
    [commit] = things.lake.commits_since(TABLE, 5)
    assert not commit.only_adds and commit.forgotten == "follow", "tables behind are computed again"
    things.load()
    assert values(things) == expected(5) and things.failed_checks() == set()
    restore(things.lake, TABLE, 0, really=True)
    load(things, 5, 1)
    assert values(things) == expected(6) and things.failed_checks() == set()


def test_files_that_wait_to_be_loaded_again_still_do_when_their_table_was_taken_back(things):
    load(things, 0, 3)
    things.put("000.json", [{"a": 7}])
    replay_files(things.lake, TABLE, files=["000.json"], really=True)
    restore(things.lake, TABLE, 1, really=True)
    things.load()
    assert values(things) == [7, *expected(3)[3:]] and things.failed_checks() == set()


def test_files_that_were_loaded_again_since_are_named_with_what_loads_them_once_more(things):
    load(things, 0, 2)
    things.put("000.json", [{"a": 7}])
    replay_files(things.lake, TABLE, files=["000.json"], really=True)
    things.load()
    assert values(things) == [7, *expected(2)[3:]]
    said = lakehouse_here(things.environment, "maintain", "restore-version", TABLE, "1", "--yes")
    assert said.returncode == 0
    [command] = re.findall(r"lakehouse (replay --table \S+ --files 000\.json --yes)", said.stdout)
    things.load()
    assert values(things) == expected(2) and things.failed_checks() == set()
    assert lakehouse_here(things.environment, *command.split()).returncode == 0
    things.load()
    assert values(things) == [7, *expected(2)[3:]] and things.failed_checks() == set()


def test_a_crash_while_a_table_is_taken_back_is_noticed_and_repaired_to_the_same_end(things, monkeypatch):
    load(things, 0, 3)

    def crash(*given, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(versions, "repair", crash)
        with pytest.raises(KeyboardInterrupt):
            restore(things.lake, TABLE, 0, really=True)
    with pytest.raises(CheckpointMismatch, match="lakehouse checkpoint repair"):
        things.load()
    assert repair_table(things.lake, TABLE, really=True).done
    things.load()
    assert values(things) == expected(3) and things.failed_checks() == set()


def test_a_table_is_not_taken_back_where_that_would_not_be_exact(things):
    load(things, 0, 3)
    for version in (2, 7, -1):
        with pytest.raises(ConfigurationError, match=f"no older version {version}"):
            restore(things.lake, TABLE, version)
    with pytest.raises(ConfigurationError, match="--then ask is no choice"):
        restore(things.lake, TABLE, 1, then="ask")
    things.put("002.json", [{"a": 99}])
    with pytest.raises(ConfigurationError, match=r"not have 1 later file .* as loaded, \S+/002\.json among them"):
        restore(things.lake, TABLE, 1)
    optimize_tables(things.lake, [TABLE], Thresholds(least_fewer=1), really=True)
    vacuum(things.lake, TABLE, {}, now=LATER, really=True)
    with pytest.raises(ConfigurationError, match="version 2 lacks 3 data files: a vacuum removed what it needs"):
        restore(things.lake, TABLE, 2)
    said = CommitProperties(custom_metadata={"userMetadata": json.dumps({FORGOTTEN: "follow"})})
    things.lake.delta(TABLE).delete("a = 20", commit_properties=said)
    with pytest.raises(ConfigurationError, match=r"version 4 removed rows of bronze\.things on purpose"):
        restore(things.lake, TABLE, 3)


def test_the_commands_say_the_same_as_the_library_and_remove_nothing_by_themselves(things, environment):
    told = {**environment, "LAKEHOUSE_DECLARATION": str(things.lake.settings.declaration)}
    load(things, 0, 2)
    stray(things)
    [table] = lakehouse_json_here(told, "tables")["tables"]
    assert (table["rows"], table["files"], table["version"], table["last_batch"]) == (6, 2, 1, 1)
    assert 0 <= table["age_seconds"] < 600 and table["fresh"] is None and table["declared"]
    renamed = things.tmp / "renamed.yaml"
    renamed.write_text("tables: {bronze.renamed: {files: {path: s3a://landing/things/}}}")
    listed = lakehouse_here({**told, "LAKEHOUSE_DECLARATION": str(renamed)}, "tables").stdout
    assert f"not declared, so nothing fills them; their data stay: {TABLE}" in listed
    newest, first = lakehouse_json_here(told, "history", TABLE)["versions"]
    assert (newest["version"], newest["batch"], newest["rows_added"], first["version"]) == (1, 1, 3, 0)
    detail = lakehouse_json_here(told, "detail", TABLE)
    assert detail["objects"]["unnamed"] == {"files": 1, "size_bytes": 15}
    assert [text.split(":")[0] for text in detail["layout"]["advice"]] == ["no partitioning", "no z-order"]
    du = lakehouse_json_here(told, "du")
    assert du["size_bytes"] == sum(info.size_bytes for info in things.lake.store.list(things.lake.settings.bucket))
    areas = {area["what"] for area in du["areas"]}
    assert {"data files of tables", "data files that no commit names", "checkpoints", "journals", "receipts"} <= areas
    before = keys(things.lake)
    for words in (
        ("maintain", "optimize", "--least-fewer", "1"),
        ("maintain", "vacuum", "--retention-hours", "0"),
        ("maintain", "restore-version", TABLE, "0"),
        ("maintain", "orphans"),
        ("cleanup", "--all"),
        ("tables",),
        ("history", TABLE),
        ("detail", TABLE),
        ("du",),
    ):
        done = lakehouse_here(told, *words)
        assert done.returncode == 0, done.stderr
    assert {key for key in before if not key.endswith(".lease")} == {
        key for key in keys(things.lake) if not key.endswith(".lease")
    }
    for words in (("cleanup",), ("maintain", "orphans", "--yes"), ("detail", "bronze.nothing")):
        assert lakehouse_here(told, *words).returncode == 1
    offsets = f"{things.lake.settings.user}/_checkpoints/silver.damaged/offsets/0"
    things.lake.store.write(things.lake.settings.bucket, offsets, b"")
    assert lakehouse_json_here(told, "detail", TABLE)["readers"] is None
    assert (
        "not known: the newest batch of the stream into silver.damaged" in lakehouse_here(told, "detail", TABLE).stdout
    )
    things.lake.store.delete(things.lake.settings.bucket, offsets)
    log = f"{things.lake.settings.user}/gold/broken/_delta_log/{0:020}.json"
    things.lake.store.write(things.lake.settings.bucket, log, b"no json")
    done = lakehouse_here(told, "tables")
    assert done.returncode == 1 and TABLE in done.stdout and "gold.broken cannot be read" in done.stderr
    assert lakehouse_here(told, "detail", "gold.broken").returncode == 1
    broken = [lakehouse_json_here(told, "maintain", what)["tables"][1] for what in ("optimize", "vacuum")]
    assert broken[0]["why_not"] and broken[1]["refused"]
