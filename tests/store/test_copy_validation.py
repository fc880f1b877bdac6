"""VALIDATE: what a copy would do, without Spark and without writing."""

import json

import pyarrow as pa
import pytest
from command import lakehouse_here, lakehouse_json_here
from deltalake import write_deltalake

from lakehouse.copy_into.copy import Copy, validate_copy
from lakehouse.errors import ConfigurationError

TABLE = "bronze.copied"


@pytest.fixture
def put(lake):
    def write(name, *rows):
        data = b"".join((json.dumps(row).encode() if isinstance(row, dict) else row) + b"\n" for row in rows)
        lake.store.write(lake.settings.landing_bucket, lake.settings.landing_prefix + name, data)

    return write


@pytest.fixture
def table(lake):
    uri = lake.settings.table_uri(TABLE).replace("s3a://", "s3://")
    write_deltalake(uri, pa.table({"a": pa.array([0], pa.int64())}), storage_options=lake.endpoint.deltalake_options())


@pytest.fixture
def validate(lake):
    return lambda rows=None, **how: validate_copy(lake, Copy(TABLE, lake.settings.landing_uri, "json", **how), rows)


def objects(lake):
    return {(info.key, info.e_tag) for info in lake.store.list(lake.settings.bucket)}


def test_a_new_table_has_the_columns_of_the_files(lake, put, validate):
    put("1", {"a": 1, "b": "x"}, {"a": 2, "b": "y"})
    before = objects(lake)
    found = validate()
    assert (found.files, found.rows, found.errors) == (1, 2, ())
    assert found.columns == found.new_columns == {"a": "bigint", "b": "string"}
    assert found.preview == ({"a": 1, "b": "x"}, {"a": 2, "b": "y"})
    assert objects(lake) == before


def test_all_problems_are_found_not_only_the_first(table, put, validate):
    put("1", {"a": 1}, {"a": "many"}, b"no json")
    put("2", {"a": 2, "note": "x"})
    put("3.gz", b"no gzip")
    found = validate()
    problems = sorted((path.rsplit("/", 1)[1], text.split(":")[0]) for path, text in found.errors)
    assert problems == [
        ("1", "a record is malformed"),
        ("1", "a value does not fit the table"),
        ("2", "the table has no column note; first met in record 0"),
        ("3.gz", "NOT_GZIP"),
    ]


def test_with_merge_schema_a_new_column_is_no_problem(table, put, validate):
    put("1", {"a": 1}, {"a": 2, "note": "x"})
    found = validate(merge_schema=True)
    assert (found.errors, found.new_columns, found.rows) == ((), {"note": "string"}, 2)
    assert found.columns == {"a": "bigint", "note": "string"}


def test_a_number_of_rows_stops_after_them(put, validate):
    for number in range(5):
        put(str(number), {"a": number}, {"a": number})
    found = validate(rows=3)
    assert (found.files, found.rows) == (2, 4)
    assert len(found.preview) == 3


def test_a_preview_has_at_most_50_rows(put, validate):
    put("1", *({"a": number} for number in range(60)))
    put("2", {"a": 60})
    assert [row["a"] for row in validate().preview] == list(range(50))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"pattern": "*", "files": ["1"]}, "exclude each other"),
        ({"files": [str(number) for number in range(1001)]}, "1,000 is the most"),
        ({"options": {"cloudFiles.schemaLocation": "s3a://b/x"}}, "no option of a copy"),
        ({"options": {"cloudfiles.cleansource.retentionDuration": "1 day"}}, "no option of a copy"),
        ({"options": {"headr": "true"}}, "headr is without effect: no option is called so"),
    ],
)
def test_what_contradicts_itself_is_refused(validate, how, said):
    with pytest.raises(ConfigurationError, match=said):
        validate(**how)


def test_the_command_ends_with_exit_code_1_when_something_is_wrong(lake, put, environment):
    put("1", {"a": 1})
    arguments = ["copy-into", TABLE, lake.settings.landing_uri, "--format", "json", "--validate"]
    good = lakehouse_here(environment, *arguments, "all")
    assert (good.returncode, "1 files with 1 rows were parsed; nothing was written" in good.stdout) == (0, True)
    assert lakehouse_json_here(environment, *arguments, "1")["columns"] == {"a": "bigint"}
    put("2", b"{")
    bad = lakehouse_here(environment, *arguments, "ALL")
    assert bad.returncode == 1
    assert "a record is malformed: {" in bad.stdout
    assert "--pattern" in bad.stderr
    for wrong in ("some", "0"):
        assert "neither ALL nor a number" in lakehouse_here(environment, *arguments, wrong).stderr
    assert "has no value" in lakehouse_here(environment, *arguments, "ALL", "--option", "header").stderr
    assert (
        "is no table of the lake"
        in lakehouse_here(environment, "copy-into", "x", "s3a://b/", "--format", "json").stderr
    )
