"""The same pipeline on a real standalone cluster: one master, two workers, with the same result."""

import pytest
from command import lakehouse_json
from e2e.test_pipeline import MIXED, assert_silver_is, bronze_rows, lines_of
from spark.standalone_cluster import WORKERS, standalone_cluster

from lakehouse.samples import file_name


@pytest.fixture
def cluster(lake, tmp_path):
    with standalone_cluster(tmp_path, lake.endpoint, lake.settings.bucket) as made:
        yield made


def test_the_same_pipeline_on_a_cluster_of_two_workers(cluster, lake, land, environment):
    runs, large_batches = [], {"LAKEHOUSE_BRONZE_MAX_FILES_PER_TRIGGER": "6"}
    for first, count in ((0, 6), (6, 3)):
        before = cluster.completed_tasks()
        landed = land(files=count, first_file=first, **MIXED)
        report = lakehouse_json(environment, "ingest", **large_batches, LAKEHOUSE_SPARK_REMOTE=cluster.remote)
        bronze = report["tables"][0]
        assert bronze["rows_added"] == landed.rows
        assert [key.rsplit("/", 1)[1] for key in bronze["source_files"]] == [one.name for one in landed.files]
        runs.append([lines_of(lake, first, count)])
        assert_every_line_is_in_bronze_once(lake, first + count)
        assert_silver_is(lake, runs)
        after = cluster.completed_tasks()
        assert len(after) == WORKERS
        assert all(after[executor] > before[executor] for executor in after), (before, after)
    assert [worker["coresused"] for worker in cluster.workers()] == [1] * WORKERS, "an executor on each"


def assert_every_line_is_in_bronze_once(lake, files):
    places = [(row["_source_file"].rsplit("/", 1)[1], row["_source_record"]) for row in bronze_rows(lake)]
    names = map(file_name, range(files))
    assert sorted(places) == [
        (name, at) for number, name in enumerate(names) for at in range(len(lines_of(lake, number, 1)))
    ]
