"""A table that somebody takes back to an older version while its stream runs: what is gone is not passed over."""

import pytest
from counted import write
from store.local_world import TABLE, LocalWorld
from store.test_local_latest import TABLE as LATEST
from store.test_local_latest import World, expected, same, state

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.agreement import CheckpointMismatch
from lakehouse.direct import commit as commits
from lakehouse.direct import delta_source
from lakehouse.errors import TerminalError, TransientError
from lakehouse.pipeline import repair_table, restart_table


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(options={"cloudFiles.maxFilesPerTrigger": 1})


def test_restore_amid_a_run_ends_it_before_the_next_batch_and_the_printed_cure_mends_it(things):
    for number in range(4):
        things.put(f"{number}.json", [{"a": number}])

    def take_back(batch):
        if batch.batch_id == 2:
            things.lake.delta(TABLE).restore(0)

    with pytest.raises(CheckpointMismatch, match="RESTORE took") as refused:
        things.load(on_batch=take_back)
    assert [int(a) for (a,) in things.rows("a")] == [0], "nothing is committed behind rows that are gone"
    assert refused.value.next_command.startswith(f"lakehouse checkpoint repair {TABLE}")
    assert repair_table(things.lake, TABLE, really=True).done
    things.load()
    assert sorted(int(a) for (a,) in things.rows("a")) == [0, 1, 2, 3]
    assert things.failed_checks() == set()


def test_restore_of_a_table_of_latest_versions_amid_a_run_ends_it_and_the_printed_cure_mends_it(
    lake, tmp_path, monkeypatch
):
    world = World(lake, tmp_path)
    monkeypatch.setattr(delta_source, "_MOST_FILES", 1)
    rows = [state(1, sku, 1.0, number) for number, sku in enumerate("abc")]
    for row in rows:
        world.write([row])

    def take_back(batch):
        if batch.batch_id == 1:
            world.lake.delta(LATEST).restore(1)

    with pytest.raises(CheckpointMismatch, match="RESTORE took") as refused:
        world.merge(on_batch=take_back)
    assert refused.value.next_command.startswith(f"lakehouse checkpoint repair {LATEST}")
    assert repair_table(world.lake, LATEST, really=True).done
    world.merge()
    assert same(world.rows()[0], expected(rows))
    assert world.findings()["matches"].passed


def test_restore_between_the_look_at_the_table_and_the_commit_beats_the_commit(things, monkeypatch):
    for number in range(2):
        things.put(f"{number}.json", [{"a": number}])
        things.load()
    things.put("2.json", [{"a": 2}])
    looked = commits.require_not_taken_back

    def take_back(*given):
        looked(*given)
        things.lake.delta(TABLE).restore(0)

    with monkeypatch.context() as patch, pytest.raises(TransientError, match="another writer was faster"):
        patch.setattr(commits, "require_not_taken_back", take_back)
        things.load()
    with pytest.raises(CheckpointMismatch, match="RESTORE took"):
        things.load()
    assert [int(a) for (a,) in things.rows("a")] == [0]


def test_a_computed_table_that_only_spark_can_empty_keeps_its_checkpoint_when_it_is_to_begin_anew(lake, tmp_path):
    world = World(lake, tmp_path)
    world.write([state(1, "a", 1.0, 1)])
    world.merge()
    world.lake.delta(LATEST).alter.set_table_properties({"delta.appendOnly": "true"})
    before = checkpoints.read_checkpoint(world.lake, LATEST)
    with pytest.raises(TerminalError, match="cannot be emptied without Spark") as refused:
        restart_table(world.lake, LATEST, really=True)
    assert refused.value.state == "nothing was changed"
    assert checkpoints.read_checkpoint(world.lake, LATEST) == before


def removed(lake, table):
    """Takes a table away, as a person does who thinks that nobody needs it."""
    layer, name = table.split(".")
    lake.store.delete_prefix(lake.settings.bucket, f"{lake.settings.user}/{layer}/{name}/")


@pytest.mark.parametrize("after", [0, 2], ids=["that this run made", "that was there"])
def test_a_table_that_is_removed_amid_a_run_is_not_made_anew_without_its_rows(things, after):
    for number in range(4):
        things.put(f"{number}.json", [{"a": number}])

    def remove(batch):
        if batch.batch_id == after:
            removed(things.lake, TABLE)

    with pytest.raises(
        CheckpointMismatch, match=f"the table is gone, but its checkpoint stands at batch {after}"
    ) as refused:
        things.load(on_batch=remove)
    assert things.lake.version(TABLE) is None and things.rows() == []
    assert refused.value.next_command.startswith(f"lakehouse checkpoint repair {TABLE}")
    assert repair_table(things.lake, TABLE, really=True).done
    things.load()
    assert sorted(int(a) for (a,) in things.rows("a")) == [0, 1, 2, 3]
    assert things.failed_checks() == set()


def test_another_table_in_its_place_amid_a_run_gets_no_row(things):
    for number in range(3):
        things.put(f"{number}.json", [{"a": number}])

    def replace_it(batch):
        if batch.batch_id == 1:
            removed(things.lake, TABLE)
            write(things.lake, [{"a": "somebody else's"}])

    with pytest.raises(CheckpointMismatch, match="the table holds no batch of it"):
        things.load(on_batch=replace_it)
    assert things.rows("a") == [("somebody else's",)]


def test_a_table_of_latest_versions_that_is_removed_amid_a_run_is_not_made_anew(lake, tmp_path, monkeypatch):
    world = World(lake, tmp_path)
    monkeypatch.setattr(delta_source, "_MOST_FILES", 1)
    rows = [state(1, sku, 1.0, number) for number, sku in enumerate("abc")]
    for row in rows:
        world.write([row])

    def remove(batch):
        if batch.batch_id == 1:
            removed(world.lake, LATEST)

    with pytest.raises(CheckpointMismatch, match="the table is gone"):
        world.merge(on_batch=remove)
    assert world.lake.version(LATEST) is None
    assert repair_table(world.lake, LATEST, really=True).done
    world.merge()
    assert same(world.rows()[0], expected(rows))
