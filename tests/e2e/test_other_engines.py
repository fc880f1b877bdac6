"""The same pipeline on other engines and on another store, with the same result."""

import psutil
import pytest
from command import lakehouse_json
from e2e.standalone_cluster import WORKERS, standalone_cluster
from e2e.test_pipeline import MIXED, assert_silver_is, bronze_rows, lines_of

from lakehouse.engine import connect, disconnect, engine_status, explain, stop_engine
from lakehouse.lake import Lake
from lakehouse.orders.samples import file_name, generate_orders
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.settings import Settings
from lakehouse.storage import stop_store

HUNGRY = "SELECT size(collect_list(repeat(cast(id AS STRING), 100000000))) FROM range(1, 10, 1, 1)"

pytestmark = pytest.mark.usefixtures("own_engine")


@pytest.fixture
def small(lake):
    """The lake with an engine of little memory."""
    made = Lake(lake.settings.model_copy(update={"engine_memory": "512m"}), lake.endpoint, lake.store)
    yield made
    disconnect()
    stop_engine(made.settings)


def test_an_engine_without_enough_memory_says_so(small):
    assert_runs_out_of_memory(small)


def assert_runs_out_of_memory(small):
    spark = connect(small)
    engine = psutil.Process(engine_status(small.settings).pid)
    with pytest.raises(Exception) as caught:
        spark.sql(HUNGRY).collect()
    engine.wait(30)
    reason = explain(small.settings, caught.value)
    assert reason is not None
    assert "ran out of memory (heap 512m)" in str(reason)
    assert "LAKEHOUSE_ENGINE_MEMORY=1024m" in reason.next_command


@pytest.mark.soak("the engine that the next command starts, which dies of something else; the test above has the first")
def test_after_an_engine_without_enough_memory_the_next_command_starts_another(small):
    assert_runs_out_of_memory(small)
    assert connect(small).sql("SELECT 1").collect()[0][0] == 1
    other = psutil.Process(engine_status(small.settings).pid)
    other.kill()
    other.wait(30)
    again = explain(small.settings, ConnectionError())
    assert "ended while it was in use" in str(again), "what the one before died of is not its cause"


@pytest.fixture
def seaweedfs(tmp_path):
    made = Settings.load(home=tmp_path / "seaweedfs", user="tester", store="seaweedfs")
    yield made
    stop_store(made)


@pytest.mark.soak(
    "Spark in the command's process, on the other store; test_drop_in.py and test_storage.py have one each"
)
def test_in_process_on_seaweedfs(seaweedfs):
    lake = ingested_in_process(seaweedfs, BRONZE)
    assert_every_line_is_in_bronze_once(lake, 3)


@pytest.mark.soak("windows, too; in every run they have a remote engine and our own")
def test_windows_in_process_on_seaweedfs(seaweedfs):
    lake = ingested_in_process(seaweedfs, BRONZE, SILVER)
    assert_silver_is(lake, [[lines_of(lake, 0, 3)]])


def ingested_in_process(seaweedfs, *tables):
    """The lake with three files in these tables."""
    lake = Lake.open(seaweedfs)
    bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix
    generate_orders(lambda name, data: lake.store.write(bucket, prefix + name, data), files=3, **MIXED)
    variables = {
        "LAKEHOUSE_HOME": str(seaweedfs.home),
        "LAKEHOUSE_USER": "tester",
        "LAKEHOUSE_STORE": "seaweedfs",
        "LAKEHOUSE_SPARK_REMOTE": "local[2]",
    }
    report = lakehouse_json(variables, "ingest", *tables)
    assert report["tables"][0]["rows_added"] == 180
    assert not (seaweedfs.home / "engine" / "tester" / "server.json").exists(), "no server was needed"
    return lake


@pytest.fixture
def cluster(lake, tmp_path):
    with standalone_cluster(tmp_path, lake.endpoint, lake.settings.bucket) as made:
        yield made


@pytest.mark.soak(
    "an endpoint that nobody here started, and two workers; test_engine.py has an endpoint without either"
)
def test_on_a_cluster_of_two_workers(cluster, lake, land, environment):
    before = cluster.completed_tasks()
    landed = land(files=6, **MIXED)
    told = {"LAKEHOUSE_BRONZE_MAX_FILES_PER_TRIGGER": "4", "LAKEHOUSE_SPARK_REMOTE": cluster.remote}
    bronze, _ = lakehouse_json(environment, "ingest", BRONZE, SILVER, **told)["tables"]
    assert (bronze["rows_added"], len(bronze["batches"])) == (landed.rows, 2)
    assert [key.rsplit("/", 1)[1] for key in bronze["source_files"]] == [file.name for file in landed.files]
    assert_every_line_is_in_bronze_once(lake, 6)
    assert_silver_is(lake, [[lines_of(lake, 0, 6)]])
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
