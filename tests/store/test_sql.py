"""SQL over the lake without Spark: what it reads, what it refuses, what it says."""

import csv
import errno
import io
import json
import os
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from command import lakehouse_here, lakehouse_json_here
from deltalake import write_deltalake
from pydantic import SecretStr

import lakehouse as library
from lakehouse.counting.data_files import DataFileMissing
from lakehouse.doctor.watching import WatchedLake
from lakehouse.errors import ConfigurationError, LakehouseError, TerminalError
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.sql_query import rows_of_query, sql

SENT = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)


def write(lake, table, rows, mode="append"):
    uri = lake.settings.table_uri(table).replace("s3a://", "s3://")
    write_deltalake(uri, rows, mode=mode, storage_options=lake.endpoint.deltalake_options())


def order_rows(first):
    ids = list(range(first, first + 10))
    columns = {
        "id": ids,
        "method": [("card", "blik", None)[number % 3] for number in ids],
        "amount": pa.array([Decimal(number) / 4 for number in ids], pa.decimal128(10, 2)),
        "sent": pa.array([SENT] * 10, pa.timestamp("us", "UTC")),
        "place": [{"city": 'Łódź, "PL"', "zip": [number]} for number in ids],
    }
    return pa.table(columns)


@pytest.fixture(scope="module")
def orders(home):
    """A lake for all tests here, since none of them changes what another reads."""
    lake = Lake.open(Settings.load(home=home, user="tester", bucket=f"lake-{uuid.uuid4().hex[:12]}"))
    for first in (0, 10):
        write(lake, "bronze.orders", order_rows(first))
    write(lake, "silver.methods", pa.table({"method": ["card", "blik"], "fee": [0.5, float("inf")]}))
    return lake


@pytest.fixture
def here(orders):
    named = {name: str(getattr(orders.settings, name)) for name in ("home", "user", "bucket")}
    return {**os.environ, **{f"LAKEHOUSE_{name.upper()}": value for name, value in named.items()}}


def test_folders_give_their_values_in_a_table_whose_columns_were_widened(orders):
    uri = orders.settings.table_uri("bronze.widened").replace("s3a://", "s3://")
    there = {"storage_options": orders.endpoint.deltalake_options()}
    days = pa.array([10**7, None], pa.int32()).cast(pa.date32())
    rows = pa.table({"shop": ["a b", None], "day": days, "n": [1, 2]})
    write_deltalake(uri, rows, partition_by=["shop", "day"], **there)
    features = {"readerFeatures": ["typeWidening"], "writerFeatures": ["typeWidening"]}
    protocol = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}}
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    orders.store.write(bucket, f"{key}/_delta_log/{1:020}.json", json.dumps(protocol).encode())
    found = sql("SELECT shop, day::TEXT AS day, n FROM bronze.widened WHERE day IS NOT NULL", orders).to_pylist()
    assert found == [{"shop": "a b", "day": "29349-01-26", "n": 1}]
    assert orders.added_since("bronze.widened", None).count_rows() == 2


def test_tables_are_asked_by_their_names_and_joined(orders, here, monkeypatch):
    joined = "bronze.orders JOIN silver.methods USING (method)"
    query = f"SELECT method, count(*) AS orders, sum(amount) AS s FROM {joined} GROUP BY 1 ORDER BY 1"
    expected = [("blik", 7, Decimal("17.50")), ("card", 7, Decimal("15.75"))]
    assert [tuple(row.values()) for row in sql(query, orders).to_pylist()] == expected
    told = lakehouse_json_here(here, "sql", query)
    assert told["rows"] == [{"method": m, "orders": n, "s": str(s)} for m, n, s in expected]
    assert [column["name"] for column in told["columns"]] == ["method", "orders", "s"] and told["truncated"] is False
    shown = lakehouse_here(here, "sql", query)
    assert [line.split() for line in shown.stdout.splitlines()][1:] == [["blik", "7", "17.50"], ["card", "7", "15.75"]]
    for name, value in here.items():
        if name.startswith("LAKEHOUSE_"):
            monkeypatch.setenv(name, value)
    assert library.sql("FROM Bronze.ORDERS SELECT max(id) AS newest").to_pandas()["newest"].tolist() == [19]


def test_as_many_rows_are_shown_as_asked_for_and_more_are_told_of(here):
    query = "SELECT id FROM bronze.orders ORDER BY id"
    assert "the first 3 rows" in lakehouse_here(here, "sql", query, "--limit", "3").stdout
    told = lakehouse_json_here(here, "sql", query, "--limit", "3")
    assert ([row["id"] for row in told["rows"]], told["truncated"]) == ([0, 1, 2], True)
    for words in (("--limit", "20"), ("--limit", "0")):
        told = lakehouse_json_here(here, "sql", query, *words)
        assert (len(told["rows"]), told["truncated"]) == (20, False)
    few = lakehouse_here(here, "sql", query, "--csv", "--limit", "2").stdout
    assert few.splitlines() == ['"id"', "0", "1"]
    both = lakehouse_here(here, "sql", query, "--csv", "--json")
    assert both.returncode == 1 and "exclude each other" in both.stdout


def test_csv_keeps_every_value_and_tells_nothing_from_empty(here):
    query = "SELECT id, method, amount, sent, place, '' AS empty, 'a'::BLOB AS b FROM bronze.orders ORDER BY id LIMIT 3"
    done = lakehouse_here(here, "sql", query, "--csv")
    assert done.returncode == 0, done.stderr
    first, *rows = csv.reader(io.StringIO(done.stdout))
    assert first == ["id", "method", "amount", "sent", "place", "empty", "b"] and len(rows) == 3
    number, method, amount, sent, place, _, blob = rows[2]
    assert (number, method, amount, sent, blob) == ("2", "", "0.50", "2026-01-01 09:30:00.000000Z", "61")
    assert json.loads(place) == {"city": 'Łódź, "PL"', "zip": [2]}
    assert ",,0.50," in done.stdout and ',"",' in done.stdout, "NULL is empty, an empty text is quoted"


def test_json_has_every_value(here):
    chosen = "1 AS x, 2 AS x, MAP {'a': 1} AS m, sent, place, fee, interval 1 day AS i"
    query = f"SELECT {chosen} FROM bronze.orders, silver.methods WHERE fee > 1 AND id = 2"
    [row] = lakehouse_json_here(here, "sql", query)["rows"]
    assert (row["x"], row["x_2"], row["fee"], row["sent"]) == (1, 2, "inf", "2026-01-01 09:30:00+00:00")
    assert (row["place"], row["m"]) == ({"city": 'Łódź, "PL"', "zip": [2]}, {"a": 1})
    wide = lakehouse_here(here, "sql", f"SELECT repeat('x', 150) AS long, {chosen} FROM bronze.orders, silver.methods")
    assert wide.stdout.splitlines()[:3] == ["row 1", f"  long   {'x' * 150}", "  x      1"], "a line is not broken"


def test_a_query_comes_by_standard_input_needs_no_engine_and_a_reader_may_leave_early(here):
    code = "import sys; from lakehouse.cli.main import app; app(['sql', '-', '--csv'], standalone_mode=False)"
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    check = "; sys.exit('pyspark' in sys.modules)"
    made = subprocess.Popen([sys.executable, "-c", code + check], env=here, **pipes)
    made.stdin.write(b"SELECT i FROM range(10_000_000) AS r(i)")
    made.stdin.close()
    assert made.stdout.readline() == b'"i"\n'
    made.stdout.close()
    said = made.stderr.read().decode()
    assert (made.wait(120), said) == (0, "")


def test_only_named_tables_are_opened(orders):
    watched = WatchedLake.of(orders, orders.store)
    assert sql('SELECT count(*) AS n FROM "bronze"."orders" WHERE method <> \'x\'', watched).to_pylist() == [{"n": 14}]
    assert set(watched.opened) == {orders.settings.table_uri("bronze.orders")}
    assert sql("WITH bronze AS (SELECT 1 AS one) SELECT bronze.one FROM bronze", orders).to_pylist() == [{"one": 1}]
    listed = {(row["schema"], row["name"]) for row in sql("SHOW ALL TABLES", orders).to_pylist()}
    assert {("bronze", "orders"), ("silver", "methods")} <= listed


def test_other_statements_that_read_are_answered(orders):
    for query in (
        "DESCRIBE bronze.orders",
        "SUMMARIZE bronze.orders",
        "PIVOT bronze.orders ON method USING count(*) GROUP BY sent",
        "EXPLAIN SELECT * FROM bronze.orders",
    ):
        assert sql(query, orders).num_rows > 0, query


def test_files_and_columns_that_a_query_does_not_need_are_not_read(orders):
    [plan] = sql("EXPLAIN SELECT id FROM bronze.orders WHERE amount < 1", orders)["explain_value"].to_pylist()
    assert "amount" in plan and "place" not in plan and "Filters" in plan
    for first in (0, 10):
        write(orders, "gold.lost", order_rows(first))
    files = pa.table(orders.delta("gold.lost").get_add_actions(flatten=True)).to_pylist()
    [lost] = [row["path"] for row in files if row["min.id"] == 10]
    orders.store.delete(orders.settings.bucket, f"{orders.settings.user}/gold/lost/{lost}")
    assert sql("SELECT count(method) AS n FROM gold.lost WHERE id < 5", orders).to_pylist() == [{"n": 4}]
    with pytest.raises(DataFileMissing, match="a data file is gone"):
        sql("SELECT count(method) FROM gold.lost", orders)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
        ("SELECT * FROM read_text('{secret}')", "disabled"),
        ("SELECT * FROM '{secret}'", "there is no table"),
        ("SELECT * FROM glob('/etc/*')", "disabled"),
        ("COPY (SELECT 1) TO '{secret}.copy'", "COPY does not only read"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO '{secret}.copy'", "disabled"),
        ("ATTACH '{secret}.copy'", "ATTACH does not only read"),
        ("INSTALL httpfs", "LOAD does not only read"),
        ("SET enable_external_access = true", "SET does not only read"),
        ("CREATE TABLE t AS SELECT 1", "CREATE does not only read"),
        ("DELETE FROM bronze.orders", "DELETE does not only read"),
        ("SELECT 1; SELECT 2", "these are 2"),
        ("  ", "there is no query"),
        ("SELECT * FRM bronze.orders", "syntax error"),
        ("SELECT amuont FROM bronze.orders", '"amount"'),
        ("SELECT * FROM bronze.ordres", "did you mean bronze.orders"),
        ("SELECT * FROM orders", "did you mean bronze.orders"),
        ("SELECT * FROM gold.nothing", "there is no table gold.nothing"),
        ("SELECT here", '"here" was not found'),
        ("SELECT method::INT FROM bronze.orders", "Could not convert"),
    ],
)
def test_what_is_no_query_of_the_lake_is_told_so(orders, tmp_path, query, said):
    secret = tmp_path / "secret.txt"
    secret.write_text("not for queries")
    here = "a variable of Python"
    with pytest.raises(ConfigurationError) as told:
        sql(query.format(secret=secret), orders)
    assert said in told.value.what and told.value.next_command and here not in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == [secret.name]
    assert "not for queries" not in str(told.value)


def test_a_table_that_needs_spark_is_told_and_not_read_wrong(orders):
    rows = json.dumps({"type": "struct", "fields": [{"name": "a", "type": "long", "nullable": True, "metadata": {}}]})
    kinds = {
        "deletionVectors": (
            {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": ["deletionVectors"],
                "writerFeatures": ["deletionVectors"],
            },
            {},
        ),
        "columnMapping": ({"minReaderVersion": 2, "minWriterVersion": 5}, {"delta.columnMapping.mode": "name"}),
    }
    for feature, (protocol, configuration) in kinds.items():
        meta = {
            "id": "7",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": rows,
            "partitionColumns": [],
        }
        log = [{"protocol": protocol}, {"metaData": {**meta, "configuration": configuration}}]
        key = f"{orders.settings.user}/bronze/{feature}/_delta_log/{0:020d}.json"
        orders.store.write(orders.settings.bucket, key, "\n".join(map(json.dumps, log)).encode())
        with pytest.raises(TerminalError, match=f"cannot be read without Spark: .*{feature}"):
            sql(f"SELECT * FROM bronze.{feature}", orders)
    assert sql("SELECT count(*) AS n FROM bronze.orders", orders).to_pylist() == [{"n": 20}]


def test_keys_reach_no_error(orders):
    with rows_of_query(orders, "FROM duckdb_settings()") as rows:
        said = str(rows.read_all().to_pylist())
    endpoint = orders.endpoint
    wrong = replace(endpoint, secret_key=SecretStr("canary-of-a-wrong-key"))
    with pytest.raises(LakehouseError) as told:
        sql("SELECT * FROM bronze.orders", replace(orders, endpoint=wrong))
    with pytest.raises(LakehouseError) as echoed:
        sql(f"SELECT '{endpoint.secret_key.get_secret_value()}'::INT", orders)
    for text in (said, str(told.value), str(echoed.value)):
        assert "canary" not in text and endpoint.secret_key.get_secret_value() not in text


def test_a_full_disk_of_whoever_writes_the_result_is_no_fault_of_the_store(lake):
    with pytest.raises(OSError, match="No space left"), rows_of_query(lake, "SELECT 1"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
