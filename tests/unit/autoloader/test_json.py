"""JSON into Arrow without a JVM: the fast path, what it must leave to Spark's rules, rescue, modes and inference."""

import json
import random

import pytest
from pyspark.sql import types as T  # noqa: N812

from lakehouse.autoloader.formats import json_fast
from lakehouse.autoloader.formats.json import infer_json, parse_json_lines
from lakehouse.autoloader.formats.json_rows import RowReader
from lakehouse.autoloader.formats.rows import BadFile
from lakehouse.errors import ConfigurationError

TYPES = {
    "string": T.StringType(),
    "long": T.LongType(),
    "byte": T.ByteType(),
    "double": T.DoubleType(),
    "float": T.FloatType(),
    "boolean": T.BooleanType(),
    "timestamp": T.TimestampType(),
    "ntz": T.TimestampNTZType(),
    "date": T.DateType(),
    "decimal": T.DecimalType(6, 2),
    "longs": T.ArrayType(T.LongType()),
    "inner": T.StructType().add("x", T.LongType()).add("s", T.StringType()),
    "map": T.MapType(T.StringType(), T.LongType()),
    "interval": T.DayTimeIntervalType(),
    "binary": T.BinaryType(),
}


def schema_of(**columns):
    return T.StructType([T.StructField(name, TYPES[kind]) for name, kind in columns.items()])


def parse(data, *, keep="", options=None, **columns):
    """Rows without their NULLs; ``keep`` has ``c`` for a corrupt record column and ``r`` for a rescued one."""
    schema = schema_of(**columns, **{f"_{letter}": "string" for letter in keep})
    rows = parse_json_lines(
        data if isinstance(data, bytes) else data.encode(),
        schema,
        reader=options or {},
        path_at=lambda line: f"s3://bucket/{line}.json",
        corrupt_column="_c" if "c" in keep else None,
        rescued_column="_r" if "r" in keep else None,
    )
    assert rows.table.column_names == schema.fieldNames()
    assert len(rows.records) == rows.table.num_rows
    found = [{name: value for name, value in row.items() if value is not None} for row in rows.table.to_pylist()]
    return found, rows


def rows_of(data, **arguments):
    return parse(data, **arguments)[0]


@pytest.fixture
def slow_only(monkeypatch):
    """Turns the fast path off."""
    monkeypatch.setattr(json_fast.FastReader, "read", lambda *_: None)


def test_plain_lines_take_the_fast_path(monkeypatch):
    monkeypatch.setattr("lakehouse.autoloader.formats.json_rows.RowReader.read", None)
    monkeypatch.setattr("lakehouse.autoloader.formats.json_rows.RowReader.document", None)
    data = '{"s":"a","i":1,"in":{"x":1}}\n{"i":null,"in":{},"l":[1,null]}\r\n{}\n'
    found, rows = parse(data, s="string", i="long", **{"in": "inner"}, l="longs", keep="cr")
    assert found == [{"s": "a", "i": 1, "in": {"x": 1, "s": None}}, {"in": {"x": None, "s": None}, "l": [1, None]}, {}]
    assert rows.records.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "line",
    [
        *("null", '{"i":1}null', '{"i":1} null {"i":2}', '{"i":\n1}', '{"i":1}{"i":2}', '{"i":1}}', "1", '{"i":1}\n\n'),
        *("[[" * 50_000, '{"q":' * 20_000, '{"q":' + "[" * 20_000 + "]" * 20_000 + "}"),
    ],
    ids=range(11),
)
def test_what_pyarrow_would_accept_or_crash_on_is_no_plain_row(line):
    found = rows_of(f'{{"i":0}}\n{line}\n{{"i":3}}', i="long", keep="c")
    assert found[0] == {"i": 0} and found[-1] == {"i": 3}
    assert line == '{"i":1}\n\n' or any("_c" in row for row in found[1:-1])
    assert all("_c" in row for row in rows_of(line, i="long", keep="c")) or line == '{"i":1}\n\n'


@pytest.mark.parametrize(
    ("value", "read"),
    [("-0", 0.0), ("-0.0", -0.0), ("1e400", float("inf")), ("Infinity", float("inf")), ('"-INF"', float("-inf"))],
)
def test_numbers_that_pyarrow_reads_otherwise(value, read):
    assert repr(rows_of(f'{{"d":{value}}}', d="double")[0]["d"]) == repr(read)


def test_a_float_is_rounded_once(slow_only):
    assert rows_of('{"f":1.00000017881393432617187499}', f="float") == [{"f": 1.0000001192092896}]


@pytest.mark.parametrize(
    "value", ["Inf", "INF", "-NaN", "01", "1.", ".5", "+5", "tru", '"a\tb"', r'"\x"', '"\ufeff', "[1,]"]
)
def test_text_that_spark_calls_malformed(value):
    line = f'{{"d":1,"q":{value}}}'
    assert rows_of(line, d="double", keep="c") == [{"_c": line}]
    assert json.loads(rows_of(line, d="double", keep="r")[0]["_r"]) == {
        "_corrupt_record": line,
        "_file_path": "s3://bucket/0.json",
    }
    assert rows_of(line, d="double") == [{}]


def test_bytes_that_are_no_utf_8_are_a_corrupt_record():
    found = rows_of(b'{"s":"ok"}\n{"s":"\xff"}\n{"s":"\xc3\xa9"}', s="string", keep="c")
    assert found == [{"s": "ok"}, {"_c": '{"s":"\ufffd"}'}, {"s": "\u00e9"}]


def test_strings_take_the_spelling_of_other_values():
    values = [
        "1.50",
        "-0",
        "1e5",
        "true",
        '{"a": 1 , "b":[1, 2]}',
        "[1, 2 ]",
        "NaN",
        "{'a':1}",
        "12345678901234567890.10",
    ]
    data = "\n".join(f'{{"s": {value} }}' for value in values)
    assert [row["s"] for row in rows_of(data, s="string")] == values
    assert rows_of('{"in":{"s":{"z": 1}}}', **{"in": "inner"}) == [{"in": {"x": None, "s": '{"z": 1}'}}]


def test_lone_surrogates_become_question_marks_and_pairs_characters():
    assert rows_of(r'{"s":"\ud800"}' + "\n" + r'{"s":"\ud83d\ude00 \u00e9"}', s="string") == [
        {"s": "?"},
        {"s": "\U0001f600 \u00e9"},
    ]


@pytest.mark.parametrize("many", [1, 50], ids=["alone", "together"])
def test_a_wrong_type_is_corrupt_or_rescued(many):
    data = "\n".join(['{"s":"a","i":"x","in":{"x":true,"s":"k"}}'] * many)
    columns = {"s": "string", "i": "long", "in": "inner"}
    left = {"s": "a", "in": {"x": None, "s": "k"}}
    assert rows_of(data, **columns, keep="c") == [left | {"_c": data.split("\n")[0]}] * many
    found = rows_of(data, **columns, keep="cr")
    assert [row.keys() for row in found] == [{"s", "in", "_r"}] * many
    for line, row in enumerate(found):
        rescued = {"i": "x", "in": {"x": True, "s": "k"}, "_file_path": f"s3://bucket/{line}.json"}
        assert json.loads(row["_r"]) == rescued


@pytest.mark.parametrize("many", [1, 50], ids=["alone", "together"])
def test_unknown_fields_are_rescued_with_their_numbers_as_written(many):
    line = '{"s":"a","new":1.50,"S":"case","o":{"k":[1, 2]},"null":null,"in":{"x":1,"more":2}}'
    found, rows = parse("\n".join([line] * many), s="string", **{"in": "inner"}, keep="r")
    assert found[0]["_r"] == (
        '{"new":1.50,"S":"case","o":{"k":[1,2]},"in":{"x":1,"more":2},"_file_path":"s3://bucket/0.json"}'
    )
    assert len(found) == many
    assert rows.new_fields == {"new", "o", "null"}
    found, rows = parse(line, s="string", **{"in": "inner"})
    assert found == [{"s": "a", "in": {"x": 1, "s": None}}]
    assert rows.new_fields == {"new", "o", "null"}


def test_only_rows_with_something_to_rescue_have_a_rescued_column():
    data = '{"i":1}\n{"i":2,"new":1}\n{"i":3}'
    assert ["_r" in row for row in rows_of(data, i="long", keep="r")] == [False, True, False]


def test_a_field_that_comes_twice_has_its_last_value_and_the_first_is_rescued():
    assert rows_of('{"s":"a","s":"b"}', s="string", keep="c") == [{"s": "b"}]
    assert json.loads(rows_of('{"s":"a","s":"b"}', s="string", keep="r")[0]["_r"])["s"] == "a"
    assert rows_of('{"i":1,"i":"x"}', i="long", keep="c") == [{"i": 1, "_c": '{"i":1,"i":"x"}'}]


def test_names_without_regard_to_case():
    options = {"readercasesensitive": "false"}
    assert rows_of('{"S":"a"}\n{"s":"b"}', s="string", keep="r", options=options) == [{"s": "a"}, {"s": "b"}]


def test_text_after_the_document_is_kept_where_there_is_a_column():
    line = '{"i":1} {"i":2}'
    assert rows_of(line, i="long") == [{"i": 1}]
    assert rows_of(line, i="long", keep="c") == [{"i": 1, "_c": line}]
    assert json.loads(rows_of(line, i="long", keep="r")[0]["_r"])["_corrupt_record"] == line


def test_blank_lines_and_arrays():
    found, rows = parse('\n  \n[{"i":1},{"i":2}]\n[]\n\n[{"i":3},null]\n{"i":4}', i="long", keep="c")
    assert found == [{"i": 1}, {"i": 2}, {"_c": '[{"i":3},null]'}, {"i": 4}]
    assert rows.records.tolist() == [2, 2, 5, 6]
    assert rows_of("", i="long") == []


def test_carriage_returns_and_byte_order_marks():
    found, rows = parse('\ufeff{"i":1}\r\n{"i":2}\r{"i":3}\n{"i":4', i="long", keep="c")
    assert found == [{"i": 1}, {"i": 2}, {"i": 3}, {"_c": '{"i":4'}]
    assert rows.records.tolist() == [0, 1, 1, 2]


def test_modes():
    data = '{"i":1}\n{"i":\n{"i":"x"}\n{"i":4}'
    drop, fail = {"mode": "DROPMALFORMED"}, {"mode": "failfast"}
    found, rows = parse(data, i="long", options=drop)
    assert found == [{"i": 1}, {"i": 4}] and rows.records.tolist() == [0, 3]
    assert [row.keys() for row in rows_of(data, i="long", options=drop, keep="r")] == [{"i"}, {"_r"}, {"i"}]
    with pytest.raises(BadFile, match=r"MALFORMED: line 2 of the input, in s3://bucket/1.json"):
        rows_of(data, i="long", options=fail)
    with pytest.raises(BadFile, match="line 3"):
        rows_of(data.replace('{"i":\n', "\n"), i="long", options=fail)
    assert len(rows_of(data.replace('{"i":\n', "\n"), i="long", options=fail, keep="r")) == 3


def test_multi_line():
    options = {"multiline": "true"}
    found, rows = parse('[\n {"i": 1},\n {"i": "x"}\n]\n', i="long", options=options, keep="r")
    assert found[0] == {"i": 1} and json.loads(found[1]["_r"])["i"] == "x"
    assert rows.records.tolist() == [0, 1]
    assert rows_of('{\n"i"\r\n:1}', i="long", options=options) == [{"i": 1}]
    assert rows_of('{"i":1', i="long", options=options, keep="c") == [{"_c": '{"i":1'}]


@pytest.mark.parametrize(
    ("option", "line", "read"),
    [
        ("allowcomments", '{"i":1/* c */} /* end */', {"i": 1}),
        ("allowunquotedfieldnames", "{i:1}", {"i": 1}),
        ("allownumericleadingzeros", '{"i":007}', {"i": 7}),
        ("allowunquotedcontrolchars", '{"s":"a\tb"}', {"s": "a\tb"}),
        ("allowbackslashescapinganycharacter", r'{"s":"\x"}', {"s": "x"}),
        ("allowsinglequotes", "{'s':'a\"b'}", {"s": 'a"b'}),
        ("allownonnumericnumbers", '{"d":+Infinity}', {"d": float("inf")}),
    ],
)
def test_options_of_the_syntax(option, line, read):
    columns = {"i": "long", "s": "string", "d": "double"}
    assert rows_of(line, **columns, options={option: "true"}, keep="c") == [read]
    assert rows_of(line, **columns, options={option: "false"}, keep="c") == [{"_c": line}]


def test_times_dates_decimals_binary_and_maps():
    columns = {"t": "timestamp", "n": "ntz", "d": "date", "e": "decimal", "b": "binary", "m": "map"}
    lines = [
        '{"t":"2026-01-02 03:04:05","n":"2026-01-02T03:04:05.5","d":"2026-01-02","e":1.005,"b":"YWI=","m":{"k":1}}',
        '{"t":"2026-1-2T03:04:05+01:00","n":"2026","d":"2026-1","e":"12.3"}',
        '{"t":10}',
    ]
    found = rows_of("\n".join(lines), **columns)
    shown = [{name: str(value) for name, value in row.items()} for row in found]
    assert shown == [
        {"t": "2026-01-02 03:04:05+00:00", "n": "2026-01-02 03:04:05.500000", "d": "2026-01-02", "e": "1.01"}
        | {"b": "b'ab'", "m": "[('k', 1)]"},
        {"t": "2026-01-02 02:04:05+00:00", "n": "2026-01-01 00:00:00", "d": "2026-01-01", "e": "12.30"},
        {"t": "1970-01-01 00:00:10+00:00"},
    ]
    wrong = '{"t":"x","n":"2026-01-02Z","d":"2026-02-30","e":12345.6,"b":"?","m":{"k":"x"}}'
    assert rows_of(wrong, **columns, keep="c") == [{"_c": wrong}]


def test_patterns_and_time_zones():
    options = {"timestampformat": "dd/MM/yyyy HH:mm:ss.SSS", "dateformat": "yyyyMMdd", "timezone": "Europe/Berlin"}
    found = rows_of('{"t":"02/07/2026 03:04:05.123","d":"20260102"}', t="timestamp", d="date", options=options)
    assert [str(value) for value in found[0].values()] == ["2026-07-02 01:04:05.123000+00:00", "2026-01-02"]
    assert str(rows_of('{"t":"2026-07-02"}', t="timestamp", options={"timezone": "Europe/Berlin"})[0]["t"]).startswith(
        "2026-07-01 22"
    )


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ({"v": "interval"}, {}),
        ({"t": "timestamp"}, {"timestampformat": "EEE dd"}),
        ({"s": "string"}, {"encoding": "UTF-16"}),
        ({"s": "string"}, {"linesep": "|"}),
        ({"s": "string"}, {"mode": "SOME"}),
    ],
)
def test_what_is_not_supported_is_refused_at_once(columns, options):
    with pytest.raises(ConfigurationError):
        rows_of("", **columns, options=options)


def test_a_bad_line_among_many_costs_no_other_line():
    lines = [f'{{"i":{i},"s":"{"v" * (i % 50)}"}}' for i in range(5000)]
    lines[3217] = '{"i":1,"s":"open'
    lines[4000] = '{"i":"x"}'
    found, rows = parse("\n".join(lines) + "\n", i="long", s="string", keep="c")
    assert [row.get("i") for row in found] == [None if i in (3217, 4000) else i for i in range(5000)]
    assert [i for i, row in enumerate(found) if "_c" in row] == [3217, 4000]
    assert rows.records.tolist() == list(range(5000))


def test_fast_and_slow_agree(monkeypatch):
    chance = random.Random(1)
    values = ["1", "-5", "2.5", '"a"', "true", "null", '{"x":1}', "[1,2]", "{}", "[]", "1e3", '{"x":1,"y":2}', "-0"]
    names = ["s", "i", "d", "in", "l", "u", "b"]
    lines = []
    for _ in range(3000):
        chosen = chance.sample(names, 3)
        lines.append("{" + ",".join(f'"{name}":{chance.choice(values)}' for name in chosen) + "}")
    columns = {"s": "string", "i": "long", "d": "double", "in": "inner", "l": "longs", "b": "boolean"}
    for keep in ("", "c", "cr"):
        mixed, rows = parse("\n".join(lines), **columns, keep=keep)
        with monkeypatch.context() as patch:
            patch.setattr(json_fast.FastReader, "read", lambda *_: None)
            patch.setattr("lakehouse.autoloader.formats.json_rows._FEW", 10**9)
            one_by_one, same = parse("\n".join(lines), **columns, keep=keep)
        assert mixed == one_by_one
        assert rows.new_fields == same.new_fields == {"u"}


@pytest.mark.parametrize("keep", ["", "c", "r"])
def test_few_lines_that_do_not_fit_leave_the_others_to_the_fast_path(monkeypatch, keep):
    """A hundredth of the lines, the first and the last among them: only these are read by Spark's rules."""
    wrong = ['{"i":"x","s":"a"}', '{"i":1,"s":{"k":1}}', '{"i":1,"i":2}', '{"u":{"a":1},"i":[1]}', '{"i":1,}']
    lines = [f'{{"i":{i},"s":"{"v" * (i % 50)}"}}' for i in range(5_000)]
    places = [0, *range(50, 4_950, 100), 4_999]
    for number, place in enumerate(places):
        lines[place] = wrong[number % len(wrong)]
    data = "\n".join(lines) + "\n"
    with monkeypatch.context() as patch:
        patch.setattr(json_fast.FastReader, "read", lambda *_: None)
        expected, same = parse(data, i="long", s="string", keep=keep)
    slow, document = [], RowReader.document
    monkeypatch.setattr(
        RowReader, "document", lambda self, text, record: slow.append(record) or document(self, text, record)
    )
    monkeypatch.setattr(RowReader, "read", None)
    found, rows = parse(data, i="long", s="string", keep=keep)
    assert found == expected
    assert rows.records.tolist() == same.records.tolist() == list(range(5_000))
    assert rows.new_fields == same.new_fields
    assert slow == places


def test_two_documents_in_a_line_do_not_shift_what_is_said_of_later_lines():
    lines = ['{"i":1}'] * 200
    lines[3], lines[150] = '{"i":2}{"i":3}', '{"i":"x"}'
    found = rows_of("\n".join(lines), i="long", keep="c")
    assert [(number, row) for number, row in enumerate(found) if row != {"i": 1}] == [
        (3, {"i": 2, "_c": '{"i":2}{"i":3}'}),
        (150, {"_c": '{"i":"x"}'}),
    ]
    lines[3], lines[199] = lines[4], '{"i":2}{"i":"x"}'
    assert len(rows_of("\n".join(lines), i="long", keep="c")) == 200


def inferred(*lines, types=True, **options):
    found = infer_json(["\n".join(lines).encode()], reader=options, infer_column_types=types)
    return found.simpleString()


def test_inference_of_types():
    assert inferred('{"b":1,"a":true}', '{"b":2.5,"a":null,"n":null,"e":""}', '{"i":{"y":[1,2.5],"x":"t"}}') == (
        "struct<a:boolean,b:double,e:string,i:struct<x:string,y:array<double>>,n:string>"
    )
    assert inferred('{"a":1}', '{"a":"x"}', '{"a":{"b":1}}') == "struct<a:string>"
    assert inferred('{"a":12345678901234567890}', '{"b":{}}', '{"c":[]}') == "struct<a:decimal(20,0),c:array<string>>"
    assert inferred('[{"a":1},{"b":2}]', "null", "1", "[1]", '{"c":', '{"a":2}') == "struct<a:bigint,b:bigint>"
    assert inferred("") == "struct<>"


def test_inference_options():
    times = '{"t":"2026-01-02 03:04:05","d":"2026-01-02"}'
    assert inferred(times) == "struct<d:string,t:string>"
    assert inferred(times, infertimestamp="true") == "struct<d:timestamp,t:timestamp>"
    assert inferred('{"a":1.25,"b":1}', prefersdecimal="true") == "struct<a:decimal(3,2),b:bigint>"
    assert inferred('{"a":1.25,"b":true}', primitivesasstring="true") == "struct<a:string,b:string>"
    assert inferred('{"a":null,"b":1}', dropfieldifallnull="true") == "struct<b:bigint>"


def test_inference_without_types_has_a_string_for_each_column():
    lines = ['{"b":1,"a":{"x":[1]}}', '{"\u00e9":null,"B":[],"e":{}}', "broken"]
    assert inferred(*lines, types=False) == "struct<B:string,a:string,b:string,e:string,\u00e9:string>"
    document = infer_json([b'[\n{"a":1},\n{"b":\n2}]'], reader={"multiline": "true"}, infer_column_types=True)
    assert document.simpleString() == "struct<a:bigint,b:bigint>"
