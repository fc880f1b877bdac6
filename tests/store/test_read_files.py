"""``lakehouse.read_files`` without Spark: what a stream would read, read once."""

import gzip
from datetime import datetime
from decimal import Decimal

import pytest

import lakehouse
from lakehouse.autoloader.batch import FilesOnce
from lakehouse.errors import ConfigurationError, TerminalError


@pytest.fixture
def put(lake):
    return lambda name, text: lake.store.write(lake.settings.bucket, f"read/{name}", text.encode())


@pytest.fixture
def read(lake):
    folder = f"s3a://{lake.settings.bucket}/read/"
    return lambda format_, under="", **options: lakehouse.read_files(
        None, folder + under, format_, lake=lake, **options
    )


def test_types_are_inferred_and_what_does_not_fit_is_rescued(put, read):
    put("day=2026-01-02/1.json", '{"id": 1, "price": 1.25}\n{"id": "x", "price": 2}\n')
    put("day=2026-01-03/2.json", '{"id": 3, "more": true}\n{broken\n')
    assert read("json", "day=2026-01-03/").column_names == ["id", "more", "_rescued_data"]
    rows = read("json", schemaHints="id INT, price DECIMAL(10,2)", metadata=True).sort_by("price")
    assert rows.column_names == ["id", "more", "price", "day", "_rescued_data", "_metadata"]
    assert [str(price) for price in rows.column("price").to_pylist()] == ["1.25", "2.00", "None", "None"]
    found = rows.to_pylist()
    assert [row["id"] for row in found[:2]] == [1, None]
    assert '"id":"x"' in found[1]["_rescued_data"].replace(" ", "")
    assert found[0]["_metadata"]["file_name"] == "1.json"
    assert found[0]["price"] == Decimal("1.25")
    assert sum("{broken" in (row["_rescued_data"] or "") for row in found) == 1
    given = read("json", "*/1.json", schema="id INT, price DOUBLE")
    assert given.to_pydict() == {"id": [1, None], "price": [1.25, 2.0]}


def test_each_call_looks_anew_and_keeps_nothing(lake, put, read):
    put("1.csv", "id,at\n1,2026-01-02 03:04:05\n")
    asked = {"header": True, "timestampFormat": "yyyy-MM-dd HH:mm:ss"}
    first = read("csv", **asked)
    assert [row["at"].replace(tzinfo=None) for row in first.to_pylist()] == [datetime(2026, 1, 2, 3, 4, 5)]
    put("2.csv", "id,at\n2,\n")
    assert sorted(read("csv", **asked)["id"].to_pylist()) == [1, 2]
    assert [info.key for info in lake.store.list(lake.settings.bucket, "read/")] == ["read/1.csv", "read/2.csv"]


def test_what_cannot_be_read_is_an_error_that_says_the_way_out(put, read):
    with pytest.raises(ConfigurationError, match="no file to infer a schema from"):
        read("json")
    assert read("json", schema="id INT").num_rows == 0
    put("1.parquet", "no parquet at all")
    with pytest.raises(TerminalError, match="a file cannot be read") as caught:
        read("parquet", schema="id INT")
    assert caught.value.where.endswith("read/1.parquet")
    assert read("parquet", schema="id INT", ignoreCorruptFiles=True).num_rows == 0
    with pytest.raises(ConfigurationError, match="an option of streams"):
        read("json", **{"cloudFiles.schemaLocation": "s3a://a/b/"})


def test_the_format_is_that_of_the_names_where_none_is_given(lake, put, read, tmp_path):
    put("a/1.json", '{"id": 1}\n')
    put("a/2.JSONL", '{"id": 2}\n')
    wanted = {"id": [1, 2], "_rescued_data": [None, None]}
    assert read(None, "a/").sort_by("id").to_pydict() == wanted
    folder = f"s3a://{lake.settings.bucket}/read/"
    assert lakehouse.sql(f"FROM read_files('{folder}a/') ORDER BY id", lake).to_pydict() == wanted
    put("b/1.csv", "id\n1\n")
    put("b/part-0", "?")
    for under, said in [("b/", "no single format: none that is known, csv"), ("c/", "no file to tell the format")]:
        with pytest.raises(ConfigurationError, match=said) as caught:
            read(None, under)
        assert "give the format" in caught.value.next_command
    assert read(None, "b/", pathGlobFilter="*.csv")["id"].to_pylist() == [1]
    with gzip.open(tmp_path / "1.csv.gz", "wt") as file:
        file.write("id\n7\n")
    options = {"path": f"file://{tmp_path}", "cloudFiles.inferColumnTypes": "true"}  # as Spark hands them over
    assert FilesOnce(options).schema().names == ["id", "_rescued_data", "_metadata"]


def test_a_query_reads_files_as_python_does(lake, put, read, monkeypatch):
    put("1.json", '{"id": 1, "price": 1.25}\n{"id": "x", "price": 2}\n')
    folder = f"s3a://{lake.settings.bucket}/read/"

    def asked(*arguments):
        return lakehouse.sql(f"SELECT * FROM read_files({', '.join((repr(folder), *arguments))})", lake)

    hints = "id INT, price DECIMAL(10,2)"
    wanted = read("json", schemaHints=hints, metadata=True).to_pylist()
    assert wanted[0]["price"] == Decimal("1.25") and '"x"' in wanted[1]["_rescued_data"]
    found = asked("format => 'json'", f"schemahints => '{hints}'", "metadata => true").to_pylist()
    assert [{**row, "_metadata": 0} for row in found] == [{**row, "_metadata": 0} for row in wanted]
    assert found[0]["_metadata"]["file_name"] == "1.json"
    given = asked("format => 'json'", "schema => 'price DOUBLE'")
    assert given.to_pydict() == {"price": [1.25, 2.0]}
    for arguments, said in [
        (("format => 'jsn'",), "jsn"),
        (("format => 'json'", "multiLin => true"), "multiLin"),
        (("format => 'json'", "\"cloudFiles.schemaLocation\" => 's3a://a/'"), "an option of streams"),
        (("format => 'json'", "stsEndpoint => 'http://a'"), "closed to queries"),
        (("format => 'json'", "schema => 'id NOTYPE'"), "notype"),
    ]:
        with pytest.raises(ConfigurationError, match=said):
            asked(*arguments)
    monkeypatch.setenv("LAKEHOUSE_PATHS", "dbfs:/=file:///etc/")
    for path, said in [("none/", "no file to infer"), ("/etc/", "on this machine"), ("dbfs:/", "on this machine")]:
        place = folder + path if path == "none/" else path
        with pytest.raises(ConfigurationError, match=said):
            lakehouse.sql(f"SELECT 1 FROM read_files('{place}', format => 'text')", lake)
    with pytest.raises(ConfigurationError, match="in another cloud"):
        lakehouse.sql("SELECT 1 FROM read_files('gs://bucket/a/', format => 'text')", lake)
