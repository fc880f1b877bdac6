"""A table is computed from another that gets no rows for long, while maintenance goes on committing to its log."""

from datetime import timedelta

import pytest
from store.local_world import TABLE as THINGS
from store.local_world import LocalWorld
from store.test_local_latest import SOURCE, TABLE, World, state

from lakehouse.direct import delta_source
from lakehouse.errors import TerminalError


@pytest.fixture
def world(lake, tmp_path):
    world = World(lake, tmp_path)
    world.write([state(1, "a", 1.0, 1)])
    world.merge()
    return world


def commit_without_rows(world, count):
    for number in range(count):
        world.lake.delta(SOURCE).alter.set_table_properties({"delta.logRetentionDuration": f"interval {number} days"})


def lose_old_log(world):
    """As a clean-up of the log does: commits before the newest checkpoint go."""
    opened = world.lake.delta(SOURCE)
    opened.create_checkpoint()
    bucket, prefix = world.lake.settings.bucket, f"{world.lake.settings.user}/bronze/states/_delta_log/"
    for version in range(opened.version()):
        world.lake.store.delete(bucket, f"{prefix}{version:020d}.json")


def test_the_place_of_an_idle_stream_moves_on_so_that_a_clean_up_of_the_log_takes_nothing_that_it_needs(
    world, monkeypatch
):
    monkeypatch.setattr(delta_source, "_OFFSET_AGE_LIMIT", timedelta(0))
    for _ in range(3):
        commit_without_rows(world, 4)
        assert [batch.input_rows for batch in world.merge().batches] == [0]
        assert world.merge().batches == ()
    lose_old_log(world)
    assert world.findings()["matches"].passed
    world.write([state(1, "a", 2.0, 2)])
    assert world.merge().rows_updated == 1
    assert world.findings()["matches"].passed


def test_commits_without_rows_are_no_batch_before_a_day_has_passed(world):
    commit_without_rows(world, 4)
    assert world.merge().batches == ()


def test_a_stream_that_the_log_has_left_behind_names_itself_in_the_cure(world):
    commit_without_rows(world, 4)
    lose_old_log(world)
    world.write([state(1, "a", 2.0, 2)])
    with pytest.raises(TerminalError, match="not in its log any more") as refused:
        world.merge()
    assert f"lakehouse checkpoint restart {TABLE} --yes" in refused.value.next_command
    assert SOURCE in refused.value.what


def test_a_stream_whose_journal_is_lost_names_its_table_in_the_cure(lake, tmp_path):
    things = LocalWorld(lake, tmp_path)
    things.put("1.json", [{"a": 1}])
    things.load()
    [journal] = {part.split('"')[0] for part in things.checkpoint()["offsets/0"].decode().split('"journal": "')[1:]}
    things.lake.store.delete_prefix(lake.settings.bucket, f"{journal.split('/', 3)[3].rstrip('/')}/segments/")
    with pytest.raises(TerminalError) as refused:
        things.load()
    assert refused.value.next_command.startswith(f"lakehouse checkpoint repair {THINGS}")
