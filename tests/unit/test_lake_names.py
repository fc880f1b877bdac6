"""Names of tables in plans that a client of Spark Connect has executed."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
from pyspark.sql.connect.proto import AnalyzePlanRequest, ExecutePlanRequest
from pyspark.sql.connect.streaming.readwriter import DataStreamWriter

from lakehouse.autoloader.option_notes import TellOfOptions, add_hook
from lakehouse.engine.lake_names import LakeNames, watch_names
from lakehouse.settings import Settings


@pytest.fixture
def hook(tmp_path):
    return LakeNames(Settings(home=tmp_path, catalogs="main,prod.sales=silver"))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("main.bronze.orders", "bronze.orders"),
        ("`main`.`bronze`.`orders`", "bronze.orders"),
        ("prod.sales.orders", "silver.orders"),
        ("sales.orders", "silver.orders"),
        ("bronze.orders", "bronze.orders"),
        ("orders", "orders"),
        ("iceberg.db.orders", "iceberg.db.orders"),
        ("delta.`s3a://a/b.c`", "delta.`s3a://a/b.c`"),
        ("delta.`s3a://a/b`", "delta.`s3a://a/b`"),
    ],
)
def test_a_stream_and_a_query_name_tables_of_the_lake(hook, given, meant):
    request = ExecutePlanRequest()
    start = request.plan.command.write_stream_operation_start
    start.table_name = given
    start.input.project.input.read.named_table.unparsed_identifier = given
    hook.on_execute_plan(request)
    assert start.table_name == start.input.project.input.read.named_table.unparsed_identifier == meant
    for command, target in (("write_operation", "table"), ("write_operation_v2", None)):
        request = ExecutePlanRequest()
        written = getattr(request.plan.command, command)
        written = getattr(written, target) if target else written
        written.table_name = given
        assert hook.on_execute_plan(request) is request
        assert written.table_name == meant


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("SELECT * FROM main.bronze.orders", "SELECT * FROM bronze.orders"),
        ("SELECT main.bronze.orders.id FROM `main`.bronze.`orders`", "SELECT bronze.orders.id FROM bronze.orders"),
        ("MERGE INTO prod.sales.orders t USING main.bronze.x", "MERGE INTO silver.orders t USING bronze.x"),
        ("USE CATALOG main", "SET CATALOG spark_catalog"),
        ("use catalog `main`;", "SET CATALOG spark_catalog;"),
        ("USE main.bronze", "USE bronze"),
        ("USE SCHEMA prod.sales", "USE SCHEMA silver"),
        (
            "CREATE SCHEMA IF NOT EXISTS main.gold COMMENT 'of main.gold'",
            "CREATE SCHEMA IF NOT EXISTS gold COMMENT 'of main.gold'",
        ),
        ("SHOW TABLES IN `main`.bronze", "SHOW TABLES IN bronze"),
        ("USE CATALOG other", None),
        ("USE other.bronze", None),
        ("USE bronze", None),
        ("CREATE SCHEMA main.elsewhere", None),
        ("DROP SCHEMA main.bronze CASCADE", None),
        ("SELECT 'USE CATALOG main' AS USE -- USE CATALOG main", None),
        ("SELECT 'main.bronze.orders', \"it's main.bronze.orders\"", None),
        ("SELECT 1 -- main.bronze.orders\n/* main.bronze.orders */", None),
        ("SELECT 'it\\'s main.bronze.orders' FROM bronze.orders, sales.orders", None),
        ("SELECT a.main.bronze.orders, iceberg.db.orders, delta.`s3a://main.bronze.orders`", None),
        ("SELECT 1.5, x.y, `main.bronze.orders`", None),
    ],
)
def test_the_text_of_a_query_names_tables_of_the_lake(hook, given, meant):
    request = ExecutePlanRequest()
    request.plan.command.sql_command.input.sql.query = given
    hook.on_execute_plan(request)
    assert request.plan.command.sql_command.input.sql.query == (meant or given)
    request = ExecutePlanRequest()
    request.plan.root.project.input.sql.query = given
    hook.on_execute_plan(request)
    assert request.plan.root.project.input.sql.query == (meant or given)


@pytest.mark.parametrize(
    ("kind", "field"), [("table_exists", "table_name"), ("list_columns", "table_name"), ("refresh_table", "table_name")]
)
def test_the_catalog_is_asked_for_tables_of_the_lake(hook, kind, field):
    request = ExecutePlanRequest()
    setattr(getattr(request.plan.root.catalog, kind), field, "main.bronze.orders")
    hook.on_execute_plan(request)
    assert getattr(getattr(request.plan.root.catalog, kind), field) == "bronze.orders"


def test_what_asks_for_columns_names_tables_of_the_lake_and_other_requests_are_left_alone(hook):
    for method, meant in (("AnalyzePlan", "bronze.orders"), ("Config", "main.bronze.orders")):
        request = AnalyzePlanRequest()
        request.schema.plan.root.read.named_table.unparsed_identifier = "main.bronze.orders"
        details = SimpleNamespace(method=f"/spark.connect.SparkConnectService/{method}")
        sent = hook.intercept_unary_unary(lambda _, asked: asked, details, request)
        assert sent.schema.plan.root.read.named_table.unparsed_identifier == meant


def test_a_session_that_goes_to_another_lake_keeps_its_interceptor(hook, tmp_path):
    session = SimpleNamespace(_client=SimpleNamespace(_session_hooks=[hook]))
    watch_names(session, Settings(home=tmp_path, catalogs="other"))
    assert session._client._session_hooks == [hook]
    assert hook.in_lake("SELECT * FROM other.bronze.x, main.bronze.x") == "SELECT * FROM bronze.x, main.bronze.x"
    assert deepcopy(hook) is hook


def test_a_stream_is_written_into_a_table_by_the_name_that_databricks_had(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(DataStreamWriter, "_start_internal", lambda self, **said: started.append(said["tableName"]))
    watch_names(SimpleNamespace(_client=SimpleNamespace(_session_hooks=[])), Settings(home=tmp_path))
    DataStreamWriter.__new__(DataStreamWriter).table("bronze.orders")
    assert started == ["bronze.orders"]


def test_what_names_no_table_is_as_it_was(hook):
    request = ExecutePlanRequest()
    request.plan.command.write_stream_operation_start.path = "s3a://a/b"
    before = request.SerializeToString()
    assert hook.on_execute_plan(request).SerializeToString() == before


def test_a_session_has_one_hook_of_a_kind_the_newest(tmp_path):
    session = SimpleNamespace(_client=SimpleNamespace(_session_hooks=[]))
    add_hook(session, TellOfOptions())
    for _ in range(2):
        watch_names(session, Settings(home=tmp_path))
    watch_names(object(), Settings(home=tmp_path))
    assert [type(known) for known in session._client._session_hooks] == [TellOfOptions, LakeNames]
