"""Rows are forgotten in two steps: what was noted before a crash, and not removed, hides no loss."""

import pytest
from store.local_world import TABLE, LocalWorld, no_session

from lakehouse.errors import ConfigurationError
from lakehouse.forgetting import forget_rows
from lakehouse.maintenance.file_rows import RemovedRows
from lakehouse.maintenance.forget import accept_removals, noted, removed_rows
from lakehouse.places import reset_table
from lakehouse.upkeep import restore


@pytest.fixture
def things(lake, tmp_path):
    world = LocalWorld(lake, tmp_path)
    world.put("0.json", [{"a": 0}, {"a": 1}])
    world.load()
    return world


def test_what_a_killed_command_noted_and_did_not_remove_is_not_counted_as_removed(things):
    noted(things.lake, TABLE, things.lake.version(TABLE) + 1, removed_rows(things.lake, TABLE, {1: 2}), "keep")
    assert RemovedRows.of(things.lake, TABLE).files == set()
    with pytest.raises(ConfigurationError, match="no row is missing"):
        accept_removals(things.lake, TABLE, really=True)
    things.lake.delta(TABLE).delete("a = '1'")
    assert "every_file_loaded" in things.failed_checks()
    accept_removals(things.lake, TABLE, really=True)
    assert things.failed_checks() == set()


def test_a_note_of_rows_that_stayed_hides_no_loss_when_another_commit_takes_its_version(things):
    noted(things.lake, TABLE, things.lake.version(TABLE) + 1, removed_rows(things.lake, TABLE, {1: 2}), "keep")
    things.put("1.json", [{"a": 2}])
    things.load()  # the version that the killed command was to make
    assert RemovedRows.of(things.lake, TABLE).files == set()
    things.lake.delta(TABLE).delete("a = '1'")
    assert "every_file_loaded" in things.failed_checks()


def test_a_note_of_rows_that_stayed_hides_no_loss_when_a_table_taken_back_takes_its_version(things):
    """That commit says of itself what a removal on purpose says, for the tables behind."""
    things.put("1.json", [{"a": 2}])
    things.load()
    noted(things.lake, TABLE, things.lake.version(TABLE) + 1, removed_rows(things.lake, TABLE, {1: 2}), "keep")
    restore(things.lake, TABLE, 0, really=True)
    assert RemovedRows.of(things.lake, TABLE).files == set()
    things.load()
    things.lake.delta(TABLE).delete("a = '1'")
    assert "every_file_loaded" in things.failed_checks()


def test_what_was_removed_before_a_stream_began_anew_hides_no_loss_of_what_it_loaded_then(things):
    """The files come again in batches of the same numbers, with all their rows."""
    forget_rows(no_session, things.lake, TABLE, where="a = '1'", really=True)
    assert (things.failed_checks(), RemovedRows.of(things.lake, TABLE).files) == (set(), {1})
    reset_table(things.lake, TABLE, "empty", really=True)
    things.load()
    assert (things.rows("a"), things.failed_checks()) == ([("0",), ("1",)], set())
    assert RemovedRows.of(things.lake, TABLE).files == set()
    things.lake.delta(TABLE).delete("a = '0'")
    assert "every_file_loaded" in things.failed_checks()
