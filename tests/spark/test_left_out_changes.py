"""A stream of Spark that may leave out removals leaves out nothing else, whenever that comes: it is told, not lost."""

import json

import pytest
from deltalake import CommitProperties
from spark.test_computed_tables import STATES, Tables, state

from lakehouse.delta_commit import REPLACES
from lakehouse.flows import following
from lakehouse.flows.following import RowsRemoved
from lakehouse.pipeline import restart_table, run_table
from lakehouse.streams.failures import SourceChanged
from lakehouse.streams.queries import StopRequest
from lakehouse.streams.run import Run
from lakehouse.streams.trigger import Trigger

SOURCE, COPY = "bronze.states", "silver.stock"
DECLARED = """
  bronze.states: {files: {path: s3a://landing/states/}}
  silver.stock:
    after_removals: keep
    latest: {of: bronze.states, key: [sku, shop], order: updated, engine: spark}
"""


@pytest.fixture
def kept(spark, lake, tmp_path):
    """A table that keeps a row which its source has lost, and a source with a further row."""
    tables = Tables(spark, lake, tmp_path)
    tables.declare(DECLARED)
    tables.write(SOURCE, [state(0, "a", 1.0, 1), state(1, "a", 1.0, 1, 1)], STATES)
    tables.run(COPY)
    tables.lake.delta(SOURCE).delete("shop = 1")
    tables.write(SOURCE, [state(2, "a", 1.0, 2)], STATES)
    return tables


def load_again(tables):
    """What a replay does: one commit takes the rows of a file out, and brings them as they are now; others follow."""
    replay = {"epochId": 7, "queryId": "bronze", REPLACES: True}
    tables.write(
        SOURCE,
        [state(0, "a", 5.0, 3)],
        STATES,
        mode="overwrite",
        predicate="shop = 0",
        commit_properties=CommitProperties(custom_metadata={"userMetadata": json.dumps(replay)}),
    )
    tables.write(SOURCE, [state(3, "a", 1.0, 4)], STATES)


def run_beside_a_replay(tables):
    """A run without an end, in whose first batch files are loaded again; it is stopped behind the second."""
    stop, batches = StopRequest(), []

    def on_batch(batch):
        batches.append(batch.batch_id)
        if len(batches) == 1:
            load_again(tables)
        else:
            stop.ask()

    run_table(tables.spark, tables.lake, COPY, Run(Trigger("default"), on_batch, stop=stop))
    return batches


def assert_told_until_it_is_computed_again(tables):
    for _ in range(2):
        with pytest.raises(RowsRemoved, match="would lose what it kept") as raised:
            tables.run(COPY)
        assert f"lakehouse checkpoint restart {COPY} --yes" in raised.value.next_command
    restart_table(tables.lake, COPY, really=True)
    tables.run(COPY)
    assert {row["shop"]: row["updated"] for row in tables.rows(COPY)} == {0: 5.0, 2: 1.0, 3: 1.0}


def test_a_replay_beside_it_ends_it_and_is_told_at_each_start(kept):
    with pytest.raises(SourceChanged, match=f"of {SOURCE} changed rows while {COPY} was computed from it"):
        run_beside_a_replay(kept)
    assert_told_until_it_is_computed_again(kept)


def test_a_replay_is_told_also_when_it_was_killed_before_it_looked(kept, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(following, "stop_at_changes", lambda *_, **__: lambda progress: {})
        assert len(run_beside_a_replay(kept)) == 2
    assert_told_until_it_is_computed_again(kept)


def test_a_further_removal_beside_it_is_kept_and_ends_nothing(kept):
    stop, batches = StopRequest(), []

    def on_batch(batch):
        batches.append(batch.batch_id)
        if len(batches) == 1:
            kept.lake.delta(SOURCE).delete("shop = 2")
            kept.write(SOURCE, [state(3, "a", 1.0, 4)], STATES)
        else:
            stop.ask()

    run_table(kept.spark, kept.lake, COPY, Run(Trigger("default"), on_batch, stop=stop))
    kept.run(COPY)
    assert sorted(row["shop"] for row in kept.rows(COPY)) == [0, 1, 2, 3]
