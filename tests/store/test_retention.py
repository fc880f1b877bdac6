"""Rows older than a table keeps them: removed by declaration, recorded, and followed or not by who is computed."""

import re

import pytest
from command import lakehouse_here, lakehouse_json_here
from deltalake.exceptions import CommitFailedError
from store.ageing import NOW, SILVER, Ageing
from store.local_world import TABLE

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import ConfigurationError
from lakehouse.lake import LakeTable
from lakehouse.maintenance.file_rows import RemovedRows
from lakehouse.pipeline import replay_files
from lakehouse.upkeep import remove_old_rows


@pytest.fixture
def things(lake, tmp_path):
    return Ageing(lake, tmp_path)


@pytest.mark.parametrize(("then", "left"), [("keep", [0, 1, 2, 3]), ("follow", [2, 3])])
def test_old_rows_go_are_recorded_and_tables_behind_keep_or_follow(things, then, left):
    things.declare({"column": "at", "keep": "90 days", "then": then}).put_ages("0.json", 200, 91, 89)
    things.merge()
    [dry] = remove_old_rows(things.lake, now=NOW)
    assert (dry.rows_before, dry.rows, dry.files, dry.timeless_rows, dry.done) == (4, 2, {1: 2}, 1, False)
    assert things.column() == [0, 1, 2, 3] and things.lake.version(TABLE) == 0
    [done] = remove_old_rows(things.lake, now=NOW, really=True)
    assert (done.rows, done.version, done.done) == (2, 1, True)
    assert things.column() == [2, 3] and things.failed(TABLE) == set()
    [commit] = things.lake.commits_since(TABLE, 0)
    assert (commit.rows_removed, commit.forgotten) == (2, then)
    things.merge()
    assert things.column(SILVER) == left and things.failed(SILVER) == set()
    [again] = remove_old_rows(things.lake, now=NOW, really=True)
    assert (again.rows, again.version, again.done, things.lake.version(TABLE)) == (0, None, False, 1)
    things.lake.delta(TABLE).delete("a = 3")
    assert "every_file_loaded" in things.failed(TABLE), "what nobody recorded is a loss still"


def test_a_day_is_old_when_all_of_it_is_and_an_age_before_all_time_removes_nothing(things):
    things.declare({"column": "day", "keep": "37 hours"}).put_ages("0.json", 3, 2, 1)
    [done] = remove_old_rows(things.lake, now=NOW, really=True)  # an hour of 30 May is younger
    assert (done.rows, things.column()) == (1, [1, 2, 3])
    things.declare({"column": "day", "keep": "900000 days"})
    assert remove_old_rows(things.lake, now=NOW, really=True)[0].rows == 0


def test_what_cannot_be_removed_is_told_and_nothing_is_noted(things, monkeypatch):
    old = {"column": "at", "keep": "1 day"}
    things.declare(old)
    assert remove_old_rows(things.lake) == [], "there is no table yet"
    things.put_ages("0.json", 200)
    with checkpoints.writer_of(things.lake, TABLE):
        [left] = remove_old_rows(things.lake, really=True)
        assert "is being written by pid" in left.refused and not left.done
        said = lakehouse_here(things.environment, "maintain", "retention", "--yes")
        assert (said.returncode, "is being written by" in said.stdout) == (1, True)

    def refuse(*_, **__):
        raise CommitFailedError("somebody was faster")

    with monkeypatch.context() as patch:
        patch.setattr(LakeTable, "create_write_transaction", refuse)
        assert "not removed" in remove_old_rows(things.lake, really=True)[0].refused
    things.put_ages("1.json", 1)  # a commit with the number that the removal was to have
    assert RemovedRows.of(things.lake, TABLE).files == set()
    for column, why in {"said": "has no times", "other": "is not there"}.items():
        things.declare({**old, "column": column})
        with pytest.raises(ConfigurationError, match=why) as refused:
            remove_old_rows(things.lake, really=True)
        assert refused.value.next_command == "name one of: at, day, _processing_time"
    things.declare()
    with pytest.raises(ConfigurationError, match="how long"):
        remove_old_rows(things.lake, [TABLE])


def test_old_rows_stay_while_a_file_that_could_bring_them_back_waits(things):
    things.declare({"column": "at", "keep": "90 days"}).put_ages("0.json", 200, 10)
    things.put_ages("1.json", 300)
    replay_files(things.lake, TABLE, files=["0.json"], really=True)
    before = things.lake.version(TABLE)
    for really in (False, True):
        [left] = remove_old_rows(things.lake, now=NOW, really=really)
        assert (left.rows, left.done, things.lake.version(TABLE)) == (2, False, before)
        assert re.search(r"files of bronze\.things wait.*\(1\): \S+/0\.json; first: lakehouse ingest ", left.refused)
    assert RemovedRows.of(things.lake, TABLE).files == set(), "nothing is noted of the load that is to be replaced"
    things.load()
    [done] = remove_old_rows(things.lake, now=NOW, really=True)
    assert (done.refused, done.rows, done.files) == ("", 2, {1: 1, 2: 1})
    assert things.failed(TABLE) == set()


def test_a_removal_whose_reply_was_lost_is_done(things, monkeypatch):
    things.declare({"column": "at", "keep": "90 days"}).put_ages("0.json", 200, 10)
    commit = LakeTable.create_write_transaction

    def lost(self, *arguments, **more):
        commit(self, *arguments, **more)
        raise OSError("the connection was reset")

    with monkeypatch.context() as patch:
        patch.setattr(LakeTable, "create_write_transaction", lost)
        [done] = remove_old_rows(things.lake, now=NOW, really=True)
    assert (done.refused, done.done, done.version, things.column()) == ("", True, 1, [1, 2])
    assert things.failed(TABLE) == set()


def test_the_command_is_dry_until_it_is_told(things):
    things.declare({"column": "at", "keep": "30 days"}).put_ages("0.json", 4000)
    told = lakehouse_json_here(things.environment, "maintain", "retention")
    assert (told["done"], told["tables"][0]["rows"], things.lake.version(TABLE)) == (False, 1, 0)
    told = lakehouse_json_here(things.environment, "maintain", "retention", TABLE, "--yes")
    assert (told["tables"][0]["version"], things.column()) == (1, [1])
