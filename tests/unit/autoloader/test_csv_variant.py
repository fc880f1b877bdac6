"""``singleVariantColumn`` for CSV; its bytes are compared with Spark's in ``tests/spark/test_variant.py``."""

import io
import json

import pytest
from pyspark.sql import types as t
from unit.autoloader.given_options import parse

from lakehouse.autoloader.formats.csv import infer_csv, parse_csv
from lakehouse.autoloader.formats.rows import BadFile, Target
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.source import schema_of, settled
from lakehouse.errors import ConfigurationError


def parts(text, corrupt=None, rescued=None, **options):
    reader = {"singlevariantcolumn": "v", **{name.lower(): value for name, value in options.items()}}
    schema = t.StructType().add("v", t.VariantType())
    for name in filter(None, (corrupt, rescued)):
        schema.add(name, "string")
    return list(parse_csv(io.BytesIO(text.encode()), Target(schema, reader, "file", corrupt, rescued)))


def variants(text, **options):
    """The variants of a file as JSON."""
    rows = [row["v"] for part in parts(text, **options) for row in part.table.to_pylist()]
    return [None if row is None else t.VariantVal(**row).toJson() for row in rows]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", "1"),
        ("-007", "-7"),
        ("9223372036854775808", "9223372036854775808"),
        ("1.50", "1.50"),
        ('"1,234.5"', "1234.5"),
        ("1e3", "1000"),
        ("1e39", '"1e39"'),
        ("0e50", "0"),
        ("0." + "1" * 39, f'"0.{"1" * 39}"'),
        ("2020-01-02", '"2020-01-02"'),
        ("2020-01-02 03:04:05.5", '"2020-01-02 03:04:05.5+00:00"'),
        ("TRUE", "true"),
        ("12:30", '"12:30"'),
        ("", "null"),
        ("NaN", '"NaN"'),
    ],
)
def test_a_value_is_the_first_kind_that_it_can_be(text, value):
    [found] = variants(f"{text},x\n")
    assert found.removeprefix('{"_c0":').removesuffix(',"_c1":"x"}') in (value, value.replace(".5+", ".500000+"))


def test_a_kind_that_a_value_of_the_column_was_not_is_not_tried_again_in_the_file():
    texts = ["1", "", "2.5", "3", "2020-01-02", "4", "true", "5", "x", "6"]
    found = [
        json.loads(row)["a"] for row in variants("a,b\n" + "".join(f"{text},1\n" for text in texts), header="true")
    ]
    assert found == [1, None, 2.5, 3, "2020-01-02", "4", "true", "5", "x", "6"]
    assert variants("a,b\n4,1\n", header="true") == ['{"a":4,"b":1}'], "another file begins anew"


def test_fields_are_called_by_the_header_or_by_their_place():
    assert variants("b,B,a\n1,2,3\n", header="true") == ['{"B":2,"a":3,"b":1}']
    assert variants("a,,a\n1,2,3\n", header="true") == ['{"_c1":2,"a0":1,"a2":3}']
    assert variants("1,2\n3\n4,5,6\n") == ['{"_c0":1,"_c1":2}', '{"_c0":3}', '{"_c0":4,"_c1":5,"_c2":6}']
    assert variants("skipped\na\n1\n", header="true", skipRows="1") == ['{"a":1}']
    assert variants("a\n", header="true") == []


def test_options_of_values_count():
    text = "2020-01-02;-\n"
    [moment] = variants(text, sep=";", nullValue="-", preferDate="false")
    assert moment == '{"_c0":"2020-01-02 00:00:00+00:00","_c1":null}'
    assert variants("02.01.2020\n", dateFormat="dd.MM.yyyy") == ['{"_c0":"2020-01-02"}']


def test_a_record_of_another_length_than_the_header_is_malformed_and_its_text_is_kept():
    text = "a,b\n1,2\n3\n4,5,6\n"
    assert variants(text, header="true") == ['{"a":1,"b":2}', '{"a":3}', '{"a":4,"b":5}']
    [*_, part] = parts(text, corrupt="_corrupt_record", header="true")
    assert part.table["_corrupt_record"].to_pylist() == [None, "3", "4,5,6"]
    [*_, part] = parts(text, rescued="_rescued_data", header="true")
    rescued = part.table["_rescued_data"].to_pylist()
    assert [row and json.loads(row) for row in rescued] == [
        None,
        {"_corrupt_record": "3", "_file_path": "file"},
        {"_corrupt_record": "4,5,6", "_file_path": "file"},
    ]
    [*_, part] = parts(text, header="true", mode="DROPMALFORMED")
    assert (part.table.num_rows, part.records.tolist()) == (1, [0])
    with pytest.raises(BadFile, match="record 1 of file: 1 values for 2 names"):
        parts(text, header="true", mode="FAILFAST")
    with pytest.raises(ConfigurationError, match="the files fill one column, w VARIANT"):
        parts(text, singleVariantColumn="w")


def test_no_file_is_looked_at_and_no_header_is_taken_for_granted(tmp_path):
    inferred = infer_csv([], reader={"singlevariantcolumn": "v"}, infer_column_types=True)
    assert inferred.simpleString() == "struct<v:variant>"
    (tmp_path / "a.csv").write_text("1,2\n")
    said = {"cloudFiles.format": "csv", "path": f"{tmp_path}/", "singleVariantColumn": "v"}
    for location in ({}, {"cloudFiles.schemaLocation": f"{tmp_path}/_schema"}):
        options = CloudFilesOptions.parse({**said, **location})
        schema = schema_of(options, None)
        assert schema.names == ["v", "_rescued_data", "_metadata"]
        assert settled(options, schema).reader["header"] == "false"
    assert settled(CloudFilesOptions.parse({**said, "header": "true"}), schema).reader["header"] == "true"
    assert parse(cloudFiles_format="csv", singleVariantColumn="v").notes == ()


def test_a_column_beside_others_is_refused_by_words_that_name_what_takes_the_record():
    target = Target(t.StructType().add("a", "long").add("v", t.VariantType()), {"header": "true"}, "s3a://bucket/f")
    with pytest.raises(ConfigurationError, match="variant cannot be read from text") as caught:
        list(parse_csv(io.BytesIO(b"a,v\n1,2\n"), target))
    assert "singleVariantColumn" in caught.value.next_command
