"""Names of three parts, and the states of files, asked without Spark."""

import pytest
from command import lakehouse_here, lakehouse_json_here
from store.local_world import TABLE, LocalWorld

from lakehouse.copy_into.copy import Copy, copy_into
from lakehouse.errors import ConfigurationError
from lakehouse.sql_query import sql


@pytest.fixture
def world(lake, tmp_path):
    made = LocalWorld(lake, tmp_path)
    made.put("1.json", [{"a": 1}, {"a": 2}])
    made.put("2.gz", b"no gzip")
    made.load()
    return made


def test_tables_and_their_files_are_asked_by_the_names_that_databricks_has(world):
    lake = world.lake
    assert sql("SELECT sum(a::BIGINT)::BIGINT AS a FROM spark_catalog.bronze.things", lake).to_pylist() == [{"a": 3}]
    columns = "parse_filename(path) AS name, ingestion_state, rows, delta_version, split(error, ':')[1] AS error"
    wanted = [
        {"name": "1.json", "ingestion_state": "INGESTED", "rows": 2, "delta_version": 0, "error": None},
        {"name": "2.gz", "ingestion_state": "QUARANTINED", "rows": 0, "delta_version": 0, "error": "NOT_GZIP"},
    ]
    for place in (f"TABLE(lakehouse.{TABLE})", f"TABLE({TABLE})"):
        assert sql(f"SELECT {columns} FROM cloud_files_state({place}) ORDER BY 1", lake).to_pylist() == wanted
    place = lake.settings.checkpoint_uri(TABLE)
    found = sql(f"SELECT count(*) AS n, count(delta_version) AS v FROM cloud_files_state('{place}')", lake)
    assert found.to_pylist() == [{"n": 2, "v": 0}]
    with pytest.raises(ConfigurationError, match="closed to queries"):
        sql("FROM cloud_files_state('/etc')", lake)


def test_an_unknown_catalog_is_an_error_that_says_how_it_is_told(world):
    for query in ("FROM main.bronze.things", "FROM cloud_files_state(TABLE(main.bronze.things))"):
        with pytest.raises(ConfigurationError, match="no catalog main") as caught:
            sql(query, world.lake)
        assert "name it as bronze.things; or add main to LAKEHOUSE_CATALOGS" in caught.value.next_command
    main = {**world.environment, "LAKEHOUSE_CATALOGS": "main"}
    told = lakehouse_json_here(main, "sql", "SELECT main.bronze.things.a FROM main.bronze.things ORDER BY 1")
    assert [row["a"] for row in told["rows"]] == ["1", "2"]
    assert lakehouse_json_here(main, "files", "--table", "main.bronze.things")["files"]
    raw = {**main, "LAKEHOUSE_CATALOGS": "main.raw=bronze"}
    told = lakehouse_json_here(raw, "sql", "SELECT raw.things.a, raw.a AS b FROM raw.things, bronze.things AS raw")
    assert len(told["rows"]) == 4
    failed = lakehouse_here(main, "files", "--table", "dev.bronze.things")
    assert failed.returncode == 1 and "add dev to LAKEHOUSE_CATALOGS" in failed.stderr


def test_a_copy_goes_into_the_table_that_the_catalog_means(world):
    copied = Copy("spark_catalog.bronze.copied", f"{world.lake.settings.landing_uri}things/", "json", pattern="*.json")
    assert copy_into(None, world.lake, copied).rows == 2
    assert sql("SELECT count(*) AS n FROM lakehouse.bronze.copied", world.lake).to_pylist() == [{"n": 2}]
