"""The session that ``get_spark()`` gives, and the engine behind it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from command import lakehouse_json
from e2e.test_pipeline import MIXED, assert_silver_is, lines_of

from lakehouse.engine import connect, engine_status, ensure_engine, get_spark, spark_log
from lakehouse.engine.server import server
from lakehouse.errors import ConfigurationError, EngineUnavailable
from lakehouse.lake import Lake
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.settings import Settings


def in_another_process(program, **variables):
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def named(home):
    """The one lake whose tables the suite's engine knows by name."""
    return Lake.open(Settings.load(home=home, user="tester"))


def test_tables_have_their_names_in_every_new_session(named):
    spark = get_spark(lake=named)
    spark.sql("CREATE OR REPLACE TABLE bronze.by_sql (id INT)")
    spark.sql("INSERT INTO bronze.by_sql VALUES (1), (2)")
    spark.range(3).write.mode("overwrite").saveAsTable("silver.by_writer")
    program = (
        "from lakehouse import get_spark; s = get_spark();"
        "print(s.table('bronze.by_sql').count(), s.sql('SELECT count(*) FROM silver.by_writer').first()[0])"
    )
    variables = {"LAKEHOUSE_HOME": str(named.settings.home), "LAKEHOUSE_USER": "tester"}
    assert in_another_process(program, **variables).split() == ["2", "3"]
    assert named.describe("bronze.by_sql").rows == 2
    assert named.describe("silver.by_writer").uri == "s3a://lakehouse/tester/silver/by_writer"


def test_folders_that_cannot_be_tables_are_left_out_with_a_word(named):
    get_spark(lake=named).sql("CREATE OR REPLACE TABLE bronze.plain AS SELECT 1 AS id")
    bucket, folder = named.settings.bucket, f"{named.settings.user}/bronze/"
    odd = ["a`; drop database bronze cascade", "it's", "back\\slash", "with-dash", "a.b", "[/x]".replace("/", "")]
    try:
        for name in odd:
            for info in list(named.store.list(bucket, f"{folder}plain/")):
                key = info.key.replace(f"{folder}plain/", f"{folder}{name}/")
                named.store.write(bucket, key, named.store.read(bucket, info.key))
        said = []
        spark = get_spark(lake=named, say=said.append)
        assert spark.table("bronze.plain").count() == 1
        assert {
            odd_name for odd_name in odd if any(f"/bronze/{odd_name} has no name in Spark" in line for line in said)
        } == set(odd)
        names = {row["tableName"] for row in spark.sql("SHOW TABLES IN bronze").collect()}
        assert "plain" in names
        assert not names & set(odd)
    finally:
        for name in odd:
            named.store.delete_prefix(bucket, f"{folder}{name}/")


def test_names_of_three_parts_are_those_of_the_lake(named):
    spark = get_spark(lake=named)
    source, checkpoint = f"{named.settings.lake_uri}/_three", f"{named.settings.lake_uri}/_checkpoints/bronze.three"
    spark.range(3).write.format("delta").mode("overwrite").save(source)
    rows = spark.readStream.format("delta").load(source)
    writer = rows.writeStream.option("checkpointLocation", checkpoint).trigger(availableNow=True)
    writer.toTable("lakehouse.bronze.three").awaitTermination()
    assert spark.table("bronze.three").count() == spark.table("lakehouse.bronze.three").count() == 3


@pytest.mark.soak("a stream into a table that has its name from an earlier engine; test_recovery.py kills one in a run")
def test_a_dead_engine_is_started_again_and_streams_go_on_into_tables_that_the_earlier_one_made(named):
    spark = get_spark(lake=named)
    source, checkpoint = f"{named.settings.lake_uri}/_source", f"{named.settings.lake_uri}/_checkpoints/bronze.streamed"
    spark.range(5).write.format("delta").mode("overwrite").save(source)

    def drain(session):
        rows = session.readStream.format("delta").load(source)
        writer = rows.writeStream.option("checkpointLocation", checkpoint).trigger(availableNow=True)
        writer.toTable("bronze.streamed").awaitTermination()

    drain(spark)
    before = engine_status(named.settings)
    assert ensure_engine(named.settings, named.endpoint).pid == before.pid, "it is found again"
    killed = psutil.Process(before.pid)
    killed.kill()
    killed.wait(10)
    again = get_spark(lake=named)
    assert engine_status(named.settings).pid != before.pid
    assert again.table("bronze.streamed").count() == 5
    again.range(5, 7).write.format("delta").mode("append").save(source)
    drain(again)
    assert again.table("bronze.streamed").count() == 7


def test_a_busy_engine_is_left_alone_when_somebody_wants_other_settings(lake, spark):
    assert_a_busy_engine_is_left_alone(lake, lake.settings.model_copy(update={"engine_memory": "3900m"}))


@pytest.mark.soak("the engine is replaced when nobody is connected, which costs all after it a warm one")
def test_other_settings_are_noticed_and_a_busy_engine_is_left_alone(lake, spark):
    pid = engine_status(lake.settings).pid
    larger = lake.settings.model_copy(update={"engine_memory": "3900m"})
    assert_a_busy_engine_is_left_alone(lake, larger)
    said = []
    assert ensure_engine(larger, lake.endpoint, said.append).pid != pid
    assert any("other settings" in text for text in said)


def assert_a_busy_engine_is_left_alone(lake, larger):
    pid = engine_status(lake.settings).pid
    program = (
        "import sys; from lakehouse.engine import connect; from lakehouse.lake import Lake; s = connect(Lake.open());"
        "s.sql('SELECT 1').collect(); print('connected', flush=True); sys.stdin.read()"
    )
    same_by_another_name = Path(sys.executable).parent / ".." / "bin" / "python"
    client = subprocess.Popen(
        [same_by_another_name, "-c", program],
        env={**os.environ, "LAKEHOUSE_HOME": str(lake.settings.home), "LAKEHOUSE_USER": "tester"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert client.stdout.readline().strip() == b"connected"
        with pytest.raises(EngineUnavailable, match=f"in use by pid {client.pid}"):
            ensure_engine(larger, lake.endpoint)
        assert engine_status(lake.settings).pid == pid
    finally:
        client.communicate(timeout=60)


def test_the_session_is_the_active_one_also_after_another_was_closed(lake, spark):
    kind, remote = type(spark), ensure_engine(lake.settings, lake.endpoint).remote.get_secret_value()
    closed = kind.builder.remote(remote).create()
    kind._active_session.session = kind._default_session = closed
    closed.client.close()
    assert kind.getActiveSession() is None, "Spark does not replace it"
    assert connect(lake) is spark
    assert kind.active() is spark
    assert kind._get_default_session() is spark


def test_one_engine_refuses_the_names_of_a_second_lake(named, lake):
    get_spark(lake=named)
    with pytest.raises(ConfigurationError, match="belongs to another lake"):
        get_spark(lake=lake)


def test_the_engine_listens_on_this_machine_only(lake, spark):
    process = psutil.Process(engine_status(lake.settings).pid)
    listening = [c.laddr.ip.removeprefix("::ffff:") for c in process.net_connections("tcp") if c.status == "LISTEN"]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_a_client_without_the_token_is_refused(lake, spark):
    port = engine_status(lake.settings).port
    program = (
        "from pyspark.sql import SparkSession\n"
        f"try: SparkSession.builder.remote('sc://localhost:{port}/;token=wrong').create().sql('SELECT 1').collect()\n"
        "except Exception as error: print(type(error).__name__, str(error)[:300])\n"
        "else: print('let in')"
    )
    answer = in_another_process(program)
    assert "let in" not in answer
    assert "UNAUTHENTICATED" in answer or "token" in answer.lower(), answer


def test_no_secret_is_in_settings_plans_logs_or_the_process_list(lake, spark):
    spark.range(1).write.format("delta").save(f"{lake.settings.lake_uri}/rows")
    stream = spark.readStream.format("delta").load(f"{lake.settings.lake_uri}/rows").writeStream
    stream = stream.option("checkpointLocation", f"{lake.settings.lake_uri}/checkpoint").trigger(availableNow=True)
    # Spark's worker for it prints the address that it was given
    stream.foreachBatch(lambda frame, batch_id: None).start().awaitTermination()
    secrets = [lake.endpoint.secret_key.get_secret_value(), lake.endpoint.access_key.get_secret_value()]
    secrets.append((server(lake.settings).folder / "token").read_text())
    shown = {name: str(spark.sql(name).collect()) for name in ("SET -v", "SET")}
    shown["process"] = " ".join(psutil.Process(engine_status(lake.settings).pid).cmdline())
    files = (spark_log(lake.settings), server(lake.settings).log, server(lake.settings).folder / "spark.properties")
    shown |= {path.name: path.read_text(errors="replace") for path in files}
    found = [(name, text.index(secret)) for secret in secrets for name, text in shown.items() if secret in text]
    assert [(name, shown[name][max(at - 300, 0) : at]) for name, at in found] == []
    assert "is starting with url" in shown["server.log"], "it still prints it"


def test_sessions_of_an_engine_share_its_python_and_pyspark_is_not_compiled_in_each_process(named):
    program = (
        "from lakehouse import get_spark; from pyspark.sql.functions import udf;"
        "print(get_spark().range(1).select(udf(lambda n: __import__('pyspark').__cached__, 'string')('id')).first()[0])"
    )
    variables = {"LAKEHOUSE_HOME": str(named.settings.home), "LAKEHOUSE_USER": "tester"}

    def daemons():
        engine = psutil.Process(engine_status(named.settings).pid)
        return {process.pid for process in engine.children() if "pyspark.daemon" in process.cmdline()}

    compiled = Path(in_another_process(program, **variables).strip())
    assert compiled.is_file(), "a module of a zip has none"
    after_the_first = daemons()
    assert after_the_first
    assert in_another_process(program, **variables).strip() == str(compiled)
    assert daemons() == after_the_first


def test_every_spark_key_has_a_reason_and_is_written_in_one_file():
    from lakehouse.engine import conf

    keys = [*conf._EVERYWHERE, *conf._SHARED, *conf._ENGINE, *conf._CONNECT]
    assert len({key.name for key in keys}) == len(keys)
    assert all(key.reason for key in keys)
    root = Path(conf.__file__).parents[1]
    elsewhere = [path for path in root.rglob("*.py") if path.name != "conf.py" and '"spark.sql' in path.read_text()]
    assert elsewhere == []


@pytest.mark.usefixtures("spark")
def test_a_connect_server_that_is_named_is_used_and_no_engine_is_started(lake, land, environment):
    land(files=2, **MIXED)
    remote = ensure_engine(lake.settings, lake.endpoint).remote.get_secret_value()
    theirs = {**environment, "LAKEHOUSE_USER": "visitor", "LAKEHOUSE_SPARK_REMOTE": remote}
    report = lakehouse_json(theirs, "ingest", BRONZE, SILVER)
    assert report["tables"][0]["rows_added"] == 120
    assert_silver_is(Lake.open(lake.settings.model_copy(update={"user": "visitor"})), [[lines_of(lake, 0, 2)]])
    assert not (lake.settings.home / "engine" / "visitor").exists()
