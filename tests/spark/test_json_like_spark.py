"""The JSON parser against Spark's own reader, value by value; intended differences have a test with their name."""

import math
import random

import pyarrow as pa
import pytest
from pyspark.sql import types as T  # noqa: N812

from lakehouse.autoloader.formats.json import infer_json, parse_json_lines

INNER = T.StructType().add("x", T.LongType()).add("s", T.StringType()).add("a", T.ArrayType(T.LongType()))
COLUMNS = {
    "s": T.StringType(),
    "i": T.LongType(),
    "n": T.IntegerType(),
    "h": T.ShortType(),
    "y": T.ByteType(),
    "d": T.DoubleType(),
    "f": T.FloatType(),
    "b": T.BooleanType(),
    "t": T.TimestampType(),
    "z": T.TimestampNTZType(),
    "day": T.DateType(),
    "dec": T.DecimalType(10, 2),
    "bin": T.BinaryType(),
    "st": INNER,
    "ar": T.ArrayType(T.LongType()),
    "ad": T.ArrayType(T.DoubleType()),
    "as": T.ArrayType(INNER),
    "aa": T.ArrayType(T.ArrayType(T.StringType())),
    "m": T.MapType(T.StringType(), T.LongType()),
    "ms": T.MapType(T.StringType(), INNER),
}
FAST = ["s", "i", "n", "h", "d", "f", "b", "st", "ar", "ad", "as", "aa"]
SCALARS = [
    *("null", "true", "false", "0", "-0", "-0.0", "1", "-7", "127", "-128", "300", "32767", "32768", "2147483647"),
    *("2147483648", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "123456789012345678901234"),
    *("1.0", "1.50", "-0.001", "1e5", "1E+2", "1e-400", "1e400", "16777217", "0.1", "1.00000017881393432617187499"),
    *("123456789.125", "99999999.995", "1.005", "1e-7", "0.30000000000000004", "5e-324", "2.2250738585072011e-308"),
    *("NaN", "Infinity", "-INF", '"NaN"', '"-Infinity"', '"+INF"', '"Inf"', "01", "1.", ".5", "+5", "5e", "tru", "nul"),
    *('""', '" "', '"abc"', '"1"', '"12.345"', '"1e3"', '"true"', '"\u00e9\u4e2d\U0001f600"', r'"\u00e9\ud83d\ude00"'),
    *(r'"\ud800"', r'"\ude00x"', r'"a\u0000b"', r'"\"\\\/\b\f\n\r\t"'),
    *(r'"\x"', r'"\'"', r'"\u12"', "'single'", "'a\"b'"),
    *('"2026-01-02"', '"2026-01-02 03:04:05"', '"2026-01-02T03:04:05.123456Z"', '"2026-01-02 03:04:05.1+02:00"'),
    *('"2026-01-02T03:04:05.1234567"', '"2026-02-30"', '"2026-13-01 00:00:00"', '"2026-01-02 24:00:00"', '"2026"'),
    *('"2026-1-2"', '"2026-1-2 3:4:5"', '"2026-01-02T03:04"', '" 2026-01-02 03:04:05 "', '"2026-01-02 03:04:05 UTC"'),
    *('"2026-01-02T03:04:05Europe/Berlin"', '"2026-03-29 02:30:00 Europe/Berlin"', '"2026-01-02 03"', '"1582-10-10"'),
    *('"0001-01-01 00:00:00"', '"2026-07"', '"2026-01-02T"', '"2026-01-02x"', '"19000"', '"2026-01-02 03:04:05-0800"'),
    *('"2026-01-02T03:04:05GMT+1"', '"02026-01-02"', '"-2026-01-02"'),
    *('"99999"', '"YWJj"', '"YWI="', '"YWI"', '"Y"', "1767322800"),
    *("{}", "[]", '{"x":1}', '{"x":"bad","s":"kept"}', '{"x":1,"x":2}'),
    *('{"s":{"z": 1 },"x":null}', '{"x":1,"new":[1]}'),
    *('{"a":[1,"x"],"s":"k"}', '{"a":[1,null,2]}', "[1,2,3]"),
    *("[1, null ]", '[1,"x",2]', "[1.5,2]", "[[1],[2,3]]", "[[1],null]"),
    *('[{"x":1},{"x":"bad","s":"k"},null]', '[{"x":1},5]'),
    *('["a",[1,{"b": 2}]]', '[["a",1,null,{"q": [1 ]}]]', "[1,]", "[1 2]"),
    *('{"k":1,"l":null}', '{"k":"bad","l":2}', '{"k":{"x":1}}'),
    *('{"k":{"x":"bad","s":"q"}}', '{"k":[1]}', "{,}", '{"k"}'),
]  # fmt: skip
SHOWN = 8
LINES = [
    *("", "   ", "\t", "{}", "[]", "null", "1", '"x"', "true"),
    *("[1]", "[null]", '[{"s":"a"},{"s":"b"}]', '[{"s":"a"},1]'),
    *('[{"i":1},{"i":"x","s":"k"},{"i":3}]', '[[{"s":"a"}]]'),
    *('[{"s":"a"},null]', '\t{"s":"a"}', ' {"s":"a"} ', "{", "}", ","),
    *('{"s":"a"}\r{"s":"b"}', '{"s":"a"}\r', "\x0b", "\u00a0"),
    *('\u00a0{"s":"a"}', '{"i":1]', '{"i":1 "s":2}', '{"i"}', '{i:1}'),
    *('{"s":"a\tb"}', '{"s":"a\x00b"}', '\x00{"s":"a"}', '{"S":"a"}'),
    *('{"s":"a",}', '{"i":1/*c*/}', "#", '{"":1}', '{"i":1,"s":tru}'),
    *('{"s":"x","i":"trunc', '{"s":"x","i":1', '{"s":"x"', '{"s":[1,2}'),
    *('{"q":tru,"s":"x"}', "{'s':'a'}", '{ "s" : "a" , "i" : 1 }'),
    *('{"i":1,"i":"x"}', '{"i":"x","i":1}', '{"i":1,"i":null}'),
    *('{"s":"a","s":"b"}', '{"q":1,"q":2,"s":"a"}', "[", "[1", '["s"'),
    *('{"q":' + "[" * n + "]" * n + ',"s":"deep"}' for n in (500, 998, 999, 1000, 1200)),
    *("[" * 3000, '{"q":' * 3000, '{"s":' + "[" * 999 + "]" * 999 + "}", '{"s":' + "[" * 1200 + "]" * 1200 + "}"),
    *('{"i":' + "1" * n + "}" for n in (19, 20, 1000, 1001)),
    *('{"s":' + "1" * n + "}" for n in (1000, 1001)),
    *('{"q":' + "1" * n + ',"s":"a"}' for n in (1000, 1001)),
    *('{"s":0.' + "1" * n + "}" for n in (998, 999, 1000)),
    '{"t":"' + "9" * 50_000 + '"}',
]  # fmt: skip


def schema_of(names):
    return T.StructType([T.StructField(name, COLUMNS[name]) for name in names]).add("_corrupt_record", T.StringType())


def random_line(chance, names):
    fields = []
    for _ in range(chance.choice([1, 1, 1, 2, 3, 5])):
        name = chance.choice([*names, "other"]) if chance.random() < 0.97 else chance.choice("SIDF")
        blank = chance.choice(["", "", "", " ", "\t "])
        fields.append(f'{blank}"{name}"{blank}:{blank}{chance.choice(SCALARS)}{blank}')
    line = "{" + ",".join(fields) + "}"
    if chance.random() < 0.1:
        place = chance.randrange(len(line))
        line = line[:place] + chance.choice(["", "", '"', "}", "{", ",", "\\", " ", "x", "'"]) + line[place + 1 :]
    return line


def lines_of(seed, names, count):
    chance = random.Random(seed)
    each = [f'{{"{name}":{value}}}' for name in names for value in SCALARS]
    return LINES + each + [random_line(chance, names) for _ in range(count)]


def is_json(line):
    """Whether a line is one document, as lenient as Spark is by default."""
    rows = parse_json_lines(
        line.encode(),
        T.StructType([T.StructField("_c", T.StringType())]),
        reader={},
        path_at=lambda _: "",
        corrupt_column="_c",
    )
    return not any(rows.table["_c"].is_valid().to_pylist())


def by_spark(spark, lake, data, schema, **options):
    lake.store.write(lake.settings.landing_bucket, lake.settings.landing_prefix + "lines.json", data)
    where = f"s3a://{lake.settings.landing_bucket}/{lake.settings.landing_prefix}lines.json"
    reader = spark.read.schema(schema) if schema is not None else spark.read
    return reader.options(columnNameOfCorruptRecord="_corrupt_record", **options).json(where)


def plain(value):
    """A value that compares: NaN equals NaN, -0.0 differs from 0.0, maps have no order."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        if value and isinstance(value[0], tuple):
            return {name: plain(part) for name, part in value}
        return [plain(part) for part in value]
    return value


def as_rows(table):
    """Rows with times as numbers: Python's own end with the year 9999."""
    numbers = {"t": pa.int64(), "z": pa.int64(), "day": pa.int32()}
    columns = {name: table[name].cast(numbers.get(name, table[name].type)) for name in table.column_names}
    return pa.table(columns).to_pylist()


def is_beyond(row):
    """The difference "times": years that Python's datetime has not, or a time that overflowed."""
    if row.get("t") in (-1_000_000, 0):
        return True
    years = [("t", 86_400_000_000), ("z", 86_400_000_000), ("day", 1)]
    return any(not -719162 <= (row.get(name) or 0) // unit <= 2932896 for name, unit in years)


def compared(ours, theirs):
    """Pairs of rows that differ."""
    left, right = as_rows(ours), as_rows(theirs)
    wrong = []
    for mine, other in zip(left, right, strict=False):
        mine, other = plain(mine), plain(other)
        text = mine["_corrupt_record"]
        if text is not None and not is_json(text):
            if other == mine | {"_corrupt_record": None}:
                continue  # the difference "trailing text"
            values = [value for name, value in mine.items() if name != "_corrupt_record"]
            if other["_corrupt_record"] == text and not any(value is not None for value in values):
                continue  # the difference "malformed"
        if is_beyond(other) and text is not None:
            continue
        if mine != other:
            names = [name for name in mine if mine[name] != other[name]]
            wrong.append([{name: side[name] for name in {*names, "_corrupt_record"}} for side in (mine, other)])
    return wrong, len(left) - len(right)


@pytest.mark.parametrize(
    ("names", "mode"),
    [(list(COLUMNS), "PERMISSIVE"), (FAST, "PERMISSIVE"), (["s"], "PERMISSIVE"), (FAST, "DROPMALFORMED")],
    ids=["all", "fast", "strings", "drop"],
)
def test_every_value_is_the_one_spark_reads(spark, lake, names, mode):
    data = "\n".join(lines_of(20260101, names, 1500)).encode()
    schema = schema_of(names)
    options = {"mode": mode, "timeZone": "UTC"}
    theirs = by_spark(spark, lake, data, schema, **options).toArrow()
    ours = parse_json_lines(
        data,
        schema,
        reader={name.lower(): value for name, value in options.items()},
        path_at=lambda _: "",
        corrupt_column="_corrupt_record",
    ).table
    wrong, surplus = compared(ours, theirs)
    assert (wrong[:SHOWN], len(wrong), surplus) == ([], 0, 0)


def by_both(spark, lake, data, column):
    schema = schema_of([column])
    theirs = as_rows(by_spark(spark, lake, data, schema, timeZone="UTC").toArrow())
    ours = parse_json_lines(data, schema, reader={}, path_at=lambda _: "", corrupt_column="_corrupt_record").table
    return as_rows(ours), theirs


@pytest.mark.parametrize(
    ("column", "data", "mine", "other"),
    [
        pytest.param("i", b'{"i":1} x', (1, '{"i":1} x'), (1, None), id="trailing text"),
        pytest.param("s", b'{"s":[1 2]}', (None, '{"s":[1 2]}'), ("]", '{"s":[1 2]}'), id="malformed"),
        pytest.param("s", b'{"s":"\xc0\x80"}', (None, '{"s":"\ufffd\ufffd"}'), ("\0", None), id="bytes"),
        pytest.param("y", b'{"y":200}', (None, '{"y":200}'), (-56, None), id="unsigned bytes"),
        pytest.param(
            "t", b'{"t":9223372036854775807}', (None, '{"t":9223372036854775807}'), (-(10**6), None), id="times"
        ),
    ],
)
def test_intended_difference(spark, lake, column, data, mine, other):
    ours, theirs = by_both(spark, lake, data, column)
    assert [tuple(row.values()) for row in ours] == [mine]
    assert [tuple(row.values()) for row in theirs] == [other]


def test_intended_difference_long_numbers(spark, lake):
    ours, theirs = by_both(spark, lake, b'{"d":0.' + b"1" * 1000 + b"}", "d")
    assert ours[0]["d"] == 1 / 9 and theirs[0]["d"] is None


@pytest.mark.parametrize(
    "options", [{}, {"prefersDecimal": "true"}, {"primitivesAsString": "true"}, {"inferTimestamp": "true"}]
)
def test_the_schema_is_the_one_spark_infers(spark, lake, options):
    chance = random.Random(7)
    # Spark refuses exponents where it prefers decimals, and reads years that are no timestamps here.
    values = [
        v for v in SCALARS if not any(part in v for part in ("E+", "e5", "e400", "19000", "99999", '"-2026', "1e3"))
    ]
    values = [v for v in values if v not in ("NaN", "Infinity", "-INF")]
    lines = []
    for number in range(60):
        pair = chance.sample(values, 2)
        lines += [f'{{"c{number:02}":{value}}}' for value in pair]
    data = "\n".join(lines).encode()
    theirs = by_spark(spark, lake, data, None, mode="DROPMALFORMED", **options).schema
    reader = {name.lower(): value for name, value in options.items()}
    assert infer_json([data], reader=reader, infer_column_types=True).simpleString() == theirs.simpleString()
