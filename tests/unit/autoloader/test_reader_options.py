"""What options of the formats' readers do to files: lines left out, encodings, dates, a schema of Avro."""

import io
import json
from datetime import UTC, date, datetime

import fastavro
import pytest
from pyspark.sql import types as t

from lakehouse.autoloader.formats.avro import infer_avro, parse_avro
from lakehouse.autoloader.formats.csv import infer_csv, parse_csv
from lakehouse.autoloader.formats.json_files import infer_json_files, parse_json
from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.formats.rows import BadFile, Target
from lakehouse.autoloader.formats.text import parse_text
from lakehouse.errors import ConfigurationError

PATH = "s3a://bucket/file"
AB = t.StructType().add("a", "string").add("b", "string")


def rows(parse, data, schema=AB, **reader):
    parts = parse(io.BytesIO(data), Target(schema, reader, PATH))
    return [tuple(row.values()) for part in parts for row in part.table.to_pylist()]


def columns(infer, *files, types=True, **reader):
    found = infer(map(io.BytesIO, files), reader=reader, infer_column_types=types)
    return {field.name: field.dataType.simpleString() for field in found}


NOTES = b"report of today\n\n# nobody reads this\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("multi", ["false", "true"])
def test_the_first_lines_of_csv_are_left_out_before_its_header(multi, end):
    data = (NOTES + b"a,b\n1,x\n2,y\n").replace(b"\n", end)
    told = {"skiprows": "3", "header": "true", "multiline": multi}
    assert rows(parse_csv, data, **told) == [("1", "x"), ("2", "y")]
    assert columns(infer_csv, data, **told) == {"a": "int", "b": "string"}
    assert rows(parse_csv, data, **{**told, "skiprows": "4", "header": "false"}) == [("1", "x"), ("2", "y")]


@pytest.mark.parametrize("multi", ["false", "true"])
def test_more_lines_left_out_than_a_file_has_leave_no_row(multi):
    told = {"skiprows": "9", "header": "true", "multiline": multi}
    assert rows(parse_csv, b"a,b\n1,x\n", **told) == []
    assert columns(infer_csv, b"a,b\n1,x\n", b"1\n" * 9 + b"c\n7\n", **told) == {"c": "int"}


def test_lines_are_left_out_of_the_first_block_only():
    data = b"note\n" + b"1,%b\n" % (b"x" * 1021) * (12 << 10)
    assert len(rows(parse_csv, data, skiprows="1")) == 12 << 10


def test_dates_are_inferred_unless_timestamps_are_preferred():
    data = b"d\n2026-07-02\n2026-07-03\n"
    assert columns(infer_csv, data, header="true") == {"d": "date"}
    assert columns(infer_csv, data, header="true", preferdate="false") == {"d": "timestamp"}


def test_csv_may_be_separated_and_quoted_by_any_one_character():
    assert rows(parse_csv, "1\u00a7\u201dx\u00a7y\u201d\n".encode(), sep="\u00a7", quote="\u201d") == [
        ("1", "x\u00a7y")
    ]
    assert rows(parse_csv, b"1\x00x\n", sep="\\u0000") == [("1", "x")]


@pytest.mark.parametrize("sep", ["||", "~|~", "\\t|", "ab"])
@pytest.mark.parametrize("blanks", ["false", "true"])
def test_a_separator_of_csv_may_have_several_characters(sep, blanks):
    written = sep.replace("\\t", "\t")
    told = {"sep": sep, "ignoreleadingwhitespace": blanks, "ignoretrailingwhitespace": blanks}
    lines = [["1", "x"], ["", f'"a{written}b"'], ['"q""r"', written[0]], ["'", ""], ['"open', "y"]]
    data = "".join(written.join(line) + "\n" for line in lines).encode()
    same = "".join("\x01".join(line).replace(f"a{written}b", "a\x01b") + "\n" for line in lines).encode()
    wanted = rows(parse_csv, same, **{**told, "sep": "\x01"})
    assert rows(parse_csv, data, **told) == [
        tuple(cell and cell.replace("a\x01b", f"a{written}b").replace("\x01", written) for cell in row)
        for row in wanted
    ]
    assert rows(parse_csv, data, **told)[1] == (None, f"a{written}b")


TEXT = '{"a": "\u00e9t\u00e9", "b": "x"}\n{"a": "2", "b": "\u00e0"}\n'


@pytest.mark.parametrize("name", ["ISO-8859-1", "windows-1252", "UTF-16LE", "utf-16", "UTF_32BE", "UTF-32"])
def test_json_is_read_in_the_encoding_that_is_named(name):
    encoded = {"utf-16": "utf-16-be", "UTF-32": "utf-32-be"}.get(name, name)  # without a mark, as Java reads them
    data = TEXT.encode(encoded)
    assert rows(parse_json, data, encoding=name) == [("\u00e9t\u00e9", "x"), ("2", "\u00e0")]
    assert rows(parse_json, data, charset=name) == rows(parse_json, TEXT.encode())
    assert columns(infer_json_files, data, encoding=name) == {"a": "string", "b": "string"}
    variant = t.StructType().add("v", t.VariantType())
    (part, *_) = parse_json(io.BytesIO(data), Target(variant, {"singlevariantcolumn": "v", "encoding": name}, PATH))
    assert part.table.num_rows == 2


def test_lines_of_json_in_another_encoding_are_not_cut_as_bytes():
    is_lines = FORMATS["json"].is_lines
    assert is_lines({}) and is_lines({"encoding": "utf8"}) and is_lines({"charset": "US-ASCII"})
    assert not is_lines({"encoding": "UTF-16"}) and not is_lines({"charset": "latin1"})


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_utf_16_and_utf_32_without_a_mark_are_big_endian(mark):
    for name in ("UTF-16", "UTF-32"):
        data = f"{mark}1,\u00e9\n".encode(f"{name}BE")
        assert rows(parse_csv, data, encoding=name) == [("1", "\u00e9")]
    assert rows(parse_csv, "\ufeff1,\u00e9\n".encode("UTF-16LE"), encoding="UTF-16") == [("1", "\u00e9")]


def test_the_encoding_of_text_is_that_of_its_ends_of_lines_alone():
    value = t.StructType().add("value", "string")
    assert rows(parse_text, b"a\xa7b\xc3\xa9\xa7", value, linesep="\u00a7", encoding="latin1") == [("a",), ("b\u00e9",)]
    assert rows(parse_text, "a\u00a7b".encode(), value, linesep="\u00a7") == [("a",), ("b",)]


MOMENT = datetime(2026, 7, 2, 15, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("M/d/yy h:mm:ss a", "7/2/26 3:04:05 PM"),
        ("dd-MMM-yyyy HH:mm:ss", "02-JUL-2026 15:04:05"),
        ("MMMM d, y hh:mm:ss a", "July 2, 2026 03:04:05 pm"),
        ("yyyy-LL-dd'T'HH:mm:ssxxx", "2026-07-02t17:04:05+02:00"),
        ("yyyyMMddHHmmssX", "20260702150405z"),
    ],
)
def test_patterns_of_dates_and_times(pattern, text):
    schema = t.StructType().add("t", "timestamp")
    assert rows(parse_csv, f'"{text}"\n'.encode(), schema, timestampformat=pattern) == [(MOMENT,)]
    found = rows(parse_json, json.dumps({"t": text}).encode(), schema, timestampformat=pattern)
    assert found == [(MOMENT,)]


@pytest.mark.parametrize(
    ("pattern", "text", "hour"),
    [("hh a", "12 AM", 0), ("hh a", "12 PM", 12), ("hh", "11", 11), ("hh a", "13 PM", None), ("hh a", "00 AM", None)],
)
def test_halves_of_a_day(pattern, text, hour):
    schema = t.StructType().add("t", "timestamp")
    ((found,),) = rows(parse_csv, f"{text}\n".encode(), schema, timestampformat=pattern)
    assert (found and found.hour) == hour


def test_names_of_months_are_dates_too():
    schema = t.StructType().add("d", "date")
    assert rows(parse_csv, b"2 Jan 2026\nXyz\n", schema, dateformat="d MMM yyyy") == [(date(2026, 1, 2),), (None,)]


def avro(fields, *records):
    sink = io.BytesIO()
    fastavro.writer(sink, {"type": "record", "name": "top", "fields": fields}, records)
    return sink.getvalue()


def given(*fields):
    return json.dumps({"type": "record", "name": "top", "fields": fields})


WRITTEN = avro([{"name": "a", "type": "int"}, {"name": "gone", "type": "string"}], {"a": 1, "gone": "x"})
WANTED = given({"name": "a", "type": "long"}, {"name": "b", "type": "string", "default": "none"})


def test_avro_is_read_by_the_schema_that_is_given():
    schema = t.StructType().add("a", "long").add("b", "string")
    assert rows(parse_avro, WRITTEN, schema, avroschema=WANTED) == [(1, "none")]
    assert columns(infer_avro, WRITTEN, avroschema=WANTED) == {"a": "bigint", "b": "string"}
    assert columns(infer_avro, avroschema=WANTED) == {"a": "bigint", "b": "string"}


def test_a_file_that_the_given_schema_cannot_read_is_a_bad_one():
    with pytest.raises(BadFile, match="OTHER_SCHEMA: its schema does not go together with avroSchema"):
        rows(parse_avro, WRITTEN, avroschema=given({"name": "a", "type": "string"}))


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "nothing"}', '{"type": "record", "name": "r"}', '"unknown"'])
def test_what_is_no_schema_of_avro_is_one_clear_error(text):
    with pytest.raises(ConfigurationError, match="avroSchema is no Avro schema"):
        columns(infer_avro, WRITTEN, avroschema=text)


def test_a_type_of_avro_is_known_to_the_columns_after_it():
    point = {"type": "record", "name": "point", "fields": [{"name": "x", "type": "int"}]}
    data = avro([{"name": "a", "type": ["null", point]}, {"name": "b", "type": "point"}], {"a": None, "b": {"x": 1}})
    assert columns(infer_avro, data) == {"a": "struct<x:int>", "b": "struct<x:int>"}
    only = t.StructType().add("b", t.StructType().add("x", "integer"))
    assert rows(parse_avro, data, only) == [({"x": 1},)]


def test_a_logical_type_of_avro_that_is_not_known_says_nothing():
    data = avro([{"name": "n", "type": {"type": "long", "logicalType": "timestamp-nanos"}}], {"n": 5})
    assert columns(infer_avro, data) == {"n": "bigint"}
    assert rows(parse_avro, data, t.StructType().add("n", "long")) == [(5,)]
    period = {"type": "fixed", "size": 12, "name": "p", "logicalType": "duration"}
    data = avro([{"name": "d", "type": period}], {"d": b"x" * 12})
    assert columns(infer_avro, data) == {"d": "binary"}
    assert rows(parse_avro, data, t.StructType().add("d", "binary")) == [(b"x" * 12,)]


def test_decimals_of_avro_that_nothing_holds_are_one_clear_error():
    wide = {"type": "bytes", "logicalType": "decimal", "precision": 77, "scale": 2}
    data = avro([{"name": "d", "type": wide}])
    with pytest.raises(ConfigurationError, match="the column d has decimals of 77 digits, over 76"):
        columns(infer_avro, data)


MANY = [
    "null",
    "int",
    "string",
    {"type": "array", "items": ["long", "boolean"]},
    {"type": "int", "logicalType": "date"},
]


def test_a_union_of_several_types_is_a_struct_with_one_field_that_is_not_null():
    data = avro([{"name": "u", "type": MANY}], *({"u": value} for value in (7, "x", [1, True], date(2026, 1, 2), None)))
    (type_,) = columns(infer_avro, data).values()
    assert type_ == (
        "struct<member0:int,member1:string,member2:array<struct<member0:bigint,member1:boolean>>,member3:date>"
    )
    schema = infer_avro([io.BytesIO(data)], reader={}, infer_column_types=False)
    empty = dict.fromkeys([f"member{n}" for n in range(4)])
    inner = [{"member0": 1, "member1": None}, {"member0": None, "member1": True}]
    assert [struct for (struct,) in rows(parse_avro, data, schema)] == [
        {**empty, "member0": 7},
        {**empty, "member1": "x"},
        {**empty, "member2": inner},
        {**empty, "member3": date(2026, 1, 2)},
        None,
    ]


def test_members_of_a_union_may_be_named_by_their_types():
    point = {"type": "record", "name": "Point", "namespace": "geo", "fields": [{"name": "x", "type": "int"}]}
    data = avro([{"name": "u", "type": ["string", point]}], {"u": "a"}, {"u": {"x": 1}})
    told = {"enablestableidentifiersforuniontype": "true"}
    assert columns(infer_avro, data, **told) == {"u": "struct<member_string:string,member_point:struct<x:int>>"}
    told["stableidentifierprefixforuniontype"] = "of_"
    assert columns(infer_avro, data, **told) == {"u": "struct<of_string:string,of_point:struct<x:int>>"}
    schema = infer_avro([io.BytesIO(data)], reader=told, infer_column_types=False)
    assert rows(parse_avro, data, schema, **told)[1] == ({"of_string": None, "of_point": {"x": 1}},)


def test_a_union_whose_values_are_not_told_apart_is_refused_and_may_be_left_out():
    data = avro([{"name": "u", "type": ["int", "long", "string"]}, {"name": "a", "type": "string"}], {"u": 1, "a": "x"})
    with pytest.raises(ConfigurationError, match="the column u is a union of int32, int64, string") as caught:
        columns(infer_avro, data)
    assert ".schema(...)" in caught.value.next_command
    assert rows(parse_avro, data, t.StructType().add("a", "string")) == [("x",)]


def test_a_type_of_avro_within_itself_is_refused():
    node = {"type": "record", "name": "node", "fields": [{"name": "next", "type": ["null", "node"]}]}
    with pytest.raises(ConfigurationError, match=r"the column n\.next has the Avro type node, which is not supported"):
        columns(infer_avro, avro([{"name": "n", "type": node}]))
