"""What commits the batches of a Spark query whose tasks write the table: without Spark, at the same store."""

import json

import pyarrow as pa
import pytest
from pyspark.sql.types import LongType, StructField, StructType

from lakehouse.checkpoints.agreement import CheckpointMismatch
from lakehouse.direct.data_files import DataFiles
from lakehouse.direct.on_spark import DirectSink
from lakehouse.errors import TransientError
from lakehouse.storage.environment import environment_of

TABLE = "bronze.things"
COLUMNS = StructType([StructField("a", LongType())])


@pytest.fixture
def sink(lake, monkeypatch):
    """The sink of a query that has planned two batches, as a worker of Spark finds its keys."""
    for name, value in environment_of(lake.endpoint).items():
        monkeypatch.setenv(name, value)
    settings = lake.settings
    made = DirectSink(TABLE, settings.table_uri(TABLE), settings.checkpoint_uri(TABLE), COLUMNS.json())
    plan(lake, "metadata", '{"id": "query"}')
    for batch, end in ((0, 3), (1, 5)):
        plan(lake, f"offsets/{batch}", offset(end))
    return made


def offset(end):
    return "\n".join(["v1", "{}", json.dumps({"v": 1, "seq": end, "segment": "s", "journal": "j", "stream": "one"})])


def plan(lake, name, text):
    settings = lake.settings
    lake.store.write(settings.bucket, f"{settings.user}/_checkpoints/{TABLE}/{name}", text.encode())


def written(lake, *values):
    files = DataFiles(lake.endpoint, lake.settings.table_uri(TABLE))
    files.add(pa.record_batch({"a": pa.array(values, pa.int64())}))
    return files.finish()


def rows(lake):
    return sorted(lake.delta(TABLE).to_pyarrow_table()["a"].to_pylist())


def data_files(lake):
    folder = f"{lake.settings.user}/bronze/things/part-"
    return len(list(lake.store.list(lake.settings.bucket, folder)))


def test_a_batch_is_committed_once_and_what_comes_twice_leaves_no_file(lake, sink):
    sink.commit(0, written(lake, 1, 2), {3})
    sink.commit(0, written(lake, 1, 2), {3})
    sink.commit(1, written(lake, 3), {5})
    assert rows(lake) == [1, 2, 3]
    assert data_files(lake) == 2
    assert [commit.batch_id for commit in lake.commits_since(TABLE, None)] == [0, 1]
    assert DirectSink.parse(sink.to_json()) == sink


def test_it_tells_which_planned_batches_the_table_has(lake, sink):
    assert not sink.has({"seq": 3, "stream": "one"})
    sink.commit(0, written(lake, 1), {3})
    assert sink.has({"seq": 3, "stream": "one"})
    assert not sink.has({"seq": 5, "stream": "one"})
    assert not sink.has({"seq": 3, "stream": "another"})


def test_a_batch_that_another_writer_planned_anew_is_refused(lake, sink):
    plan(lake, "offsets/0", offset(4))
    with pytest.raises(TransientError, match="planned it anew"):
        sink.commit(0, written(lake, 1, 2), {3})
    assert lake.delta(TABLE) is None


def test_a_batch_without_rows_is_a_commit_too(lake, sink):
    sink.commit(0, [], set())
    assert rows(lake) == []
    assert sink.has({"seq": 3, "stream": "one"})


def test_a_table_that_was_removed_amid_a_query_is_not_made_anew_and_that_of_a_fork_is_made(lake, sink):
    sink.commit(0, written(lake, 1, 2), {3})
    plan(lake, "commits/0", "v1\n{}")
    lake.store.delete_prefix(lake.settings.bucket, f"{lake.settings.user}/bronze/things/")
    with pytest.raises(CheckpointMismatch, match="is gone, but its checkpoint stands at batch 0"):
        sink.commit(1, written(lake, 3), {5})
    assert lake.delta(TABLE) is None
    plan(lake, "forked.json", '{"batch": 0}')
    sink.commit(1, written(lake, 3), {5})
    assert rows(lake) == [3]
