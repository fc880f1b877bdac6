"""A stream of Spark that may leave out removals leaves out nothing else, whenever that comes: it is told, not lost."""

import json

import pytest
from deltalake import CommitProperties
from spark.test_computed_tables import STATES, Tables, state

from lakehouse.checkpoints.kept import judged_up_to
from lakehouse.delta_commit import REPLACES
from lakehouse.flows import following
from lakehouse.flows.following import RowsRemoved
from lakehouse.lake import Lake
from lakehouse.pipeline import restart_table
from lakehouse.streams.failures import SourceChanged

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


def run_beside(tables, monkeypatch, change):
    """A run that has looked at the source, and whose query then begins: in between the source changes."""
    looks = following.may_leave_out_changes

    def look_and_change(*arguments, **more):
        leaves_out = looks(*arguments, **more)
        change(tables)
        return leaves_out

    with monkeypatch.context() as patch:
        patch.setattr(following, "may_leave_out_changes", look_and_change)
        return tables.run(COPY)


def assert_told_until_it_is_computed_again(tables):
    for _ in range(2):
        with pytest.raises(RowsRemoved, match="would lose what it kept") as raised:
            tables.run(COPY)
        assert f"lakehouse checkpoint restart {COPY} --yes" in raised.value.next_command
    restart_table(tables.lake, COPY, really=True)
    tables.run(COPY)
    assert {row["shop"]: row["updated"] for row in tables.rows(COPY)} == {0: 5.0, 2: 1.0, 3: 1.0}


@pytest.mark.soak("a run that ends by itself; in the test below it is killed before it can")
def test_a_replay_beside_it_ends_it_and_is_told_at_each_start(kept, monkeypatch):
    with pytest.raises(SourceChanged, match=f"of {SOURCE} changed rows while {COPY} was computed from it"):
        run_beside(kept, monkeypatch, load_again)
    assert_told_until_it_is_computed_again(kept)


def test_a_replay_is_told_also_when_it_was_killed_before_it_looked(kept, monkeypatch):
    assert_told_after_a_kill(kept, monkeypatch, more_batches=0)


@pytest.mark.soak("further batches of that query; the test above has none")
def test_a_replay_is_told_also_when_the_query_went_on_before_it_was_killed(kept, monkeypatch):
    assert_told_after_a_kill(kept, monkeypatch, more_batches=2)


def assert_told_after_a_kill(kept, monkeypatch, *, more_batches):
    with monkeypatch.context() as patch:
        patch.setattr(following, "stop_at_changes", lambda *_, **__: lambda progress: {})
        assert len(run_beside(kept, monkeypatch, load_again).batches) == 1
        # further batches of that query: it goes on without a further look at the source
        patch.setattr(following, "may_leave_out_changes", lambda *_, **__: True)
        for number in range(more_batches):
            kept.write(SOURCE, [state(3, "a", 1.0, 5 + number)], STATES)
            assert len(kept.run(COPY).batches) == 1
    assert_told_until_it_is_computed_again(kept)


@pytest.mark.soak("what the next start need not look at; the others of this file have what it looks at")
def test_a_stream_notes_what_it_has_looked_at_so_that_its_next_start_looks_at_what_is_new(kept, monkeypatch):
    monkeypatch.setattr(following, "_NOTED_VERSIONS", 1)
    kept.run(COPY)
    read = kept.lake.version(SOURCE)
    assert judged_up_to(kept.lake, COPY) == read
    for number in range(2):  # Spark asks for its last batch again: that is looked at twice
        kept.write(SOURCE, [state(3, "a", 1.0, 4 + number)], STATES)
        kept.run(COPY)
    kept.write(SOURCE, [state(3, "a", 1.0, 6)], STATES)
    asked, since = [], Lake.commits_since

    def watched(lake, table, version, **more):
        asked.append((table, version))
        return since(lake, table, version, **more)

    monkeypatch.setattr(Lake, "commits_since", watched)
    kept.run(COPY)
    assert min(version for table, version in asked if table == SOURCE) == read + 1
    assert judged_up_to(kept.lake, COPY) == read + 2


@pytest.mark.soak("a removal that is kept while the query runs; the replay above is what must not be left out")
def test_a_further_removal_beside_it_is_kept_and_ends_nothing(kept, monkeypatch):
    def remove(tables):
        tables.lake.delta(SOURCE).delete("shop = 2")
        tables.write(SOURCE, [state(3, "a", 1.0, 4)], STATES)

    run_beside(kept, monkeypatch, remove)
    kept.run(COPY)
    assert {0, 1, 3} <= {row["shop"] for row in kept.rows(COPY)}, (
        "1 is kept; 2 went before anybody had read it, or after"
    )
