"""Rows are forgotten in two steps: what was noted before a crash, and not removed, hides no loss."""

import pytest
from store.local_world import TABLE, LocalWorld

from lakehouse.errors import ConfigurationError
from lakehouse.maintenance.file_rows import RemovedRows
from lakehouse.maintenance.forget import _record, accept_removals


@pytest.fixture
def things(lake, tmp_path):
    world = LocalWorld(lake, tmp_path)
    world.put("0.json", [{"a": 0}, {"a": 1}])
    world.load()
    return world


def test_what_a_killed_command_noted_and_did_not_remove_is_not_counted_as_removed(things):
    _record(things.lake, TABLE, f"{things.lake.version(TABLE) + 1:020d}", {1: 2})
    assert RemovedRows.of(things.lake, TABLE).files == set()
    with pytest.raises(ConfigurationError, match="no row is missing"):
        accept_removals(things.lake, TABLE, really=True)
    things.lake.delta(TABLE).delete("a = '1'")
    assert "every_file_loaded" in things.failed_checks()
    accept_removals(things.lake, TABLE, really=True)
    assert things.failed_checks() == set()


def test_a_note_of_rows_that_stayed_hides_no_loss_when_another_commit_takes_its_version(things):
    _record(things.lake, TABLE, f"{things.lake.version(TABLE) + 1:020d}", {1: 2})
    things.put("1.json", [{"a": 2}])
    things.load()  # the version that the killed command was to make
    assert RemovedRows.of(things.lake, TABLE).files == set()
    things.lake.delta(TABLE).delete("a = '1'")
    assert "every_file_loaded" in things.failed_checks()
