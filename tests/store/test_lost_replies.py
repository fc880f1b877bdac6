"""Commits of maintenance whose reply is lost are done; those that somebody else was faster than are not."""

import pytest
from store.local_world import TABLE, LocalWorld
from store.test_checkpoint_backups import LIMIT, Story
from store.test_upkeep import expected, load, values

from lakehouse.errors import ConfigurationError
from lakehouse.lake import LakeTable
from lakehouse.maintenance.backup import back_up
from lakehouse.maintenance.optimize import Thresholds
from lakehouse.places import restore_table
from lakehouse.upkeep import optimize_tables, restore


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(options={"cloudFiles.inferColumnTypes": True})


def lost(monkeypatch, owner, name):
    """The next call of a method is done, and its caller is told that the connection broke."""
    method = getattr(owner, name)

    def called(self, *arguments, **more):
        monkeypatch.setattr(owner, name, method)
        method(self, *arguments, **more)
        raise OSError("the connection was reset")

    monkeypatch.setattr(owner, name, called)


@pytest.mark.parametrize(("name", "z_order"), [("compact", ()), ("z_order", ("a",))])
def test_files_that_were_joined_while_the_reply_was_lost_are_joined(things, monkeypatch, name, z_order):
    load(things, 0, 4)
    wanted = Thresholds(least_fewer=1, z_order=z_order, target_bytes=1 if z_order else Thresholds.target_bytes)
    lost(monkeypatch, type(things.lake.delta(TABLE).optimize), name)
    [done] = optimize_tables(things.lake, [TABLE], wanted, really=True)
    assert (done.done, done.why_not, done.version) == (True, "", 4)
    assert values(things) == expected(4) and things.failed_checks() == set()


def test_a_table_that_was_taken_back_while_the_reply_was_lost_is_taken_back(things, monkeypatch):
    load(things, 0, 3)
    lost(monkeypatch, LakeTable, "restore")
    assert restore(things.lake, TABLE, 1, really=True).delta_version == 3
    assert values(things) == expected(2)
    things.load()
    assert values(things) == expected(3) and things.failed_checks() == set()


def test_a_table_that_somebody_else_wrote_meanwhile_is_not_taken_back(things, monkeypatch):
    load(things, 0, 3)
    taking = LakeTable.restore

    def beaten(self, *arguments, **more):
        things.lake.delta(TABLE).alter.set_table_properties({"delta.logRetentionDuration": "interval 40 days"})
        taking(self, *arguments, **more)

    with monkeypatch.context() as patch, pytest.raises(ConfigurationError, match="was not taken back"):
        patch.setattr(LakeTable, "restore", beaten)
        restore(things.lake, TABLE, 1, really=True)
    load(things, 3, 1)
    assert values(things) == expected(4) and things.failed_checks() == set()


def test_a_backup_whose_table_went_back_while_the_reply_was_lost_is_put_back(lake, tmp_path, monkeypatch):
    story = Story(lake, tmp_path).declare(options=LIMIT)
    story.run(2)
    taken = back_up(story.lake, TABLE)
    story.run(2)
    lost(monkeypatch, LakeTable, "restore")
    assert restore_table(story.lake, TABLE, taken.taken, with_table=True, really=True).done
    assert len(story.rows()) == 6
    story.run()
    story.assert_exact()
