"""The same files read by our formats and by Spark."""

import io
import random

import pyarrow as pa
import pytest
from pyarrow import orc
from pyspark.errors import PySparkException
from pyspark.sql import functions as f
from pyspark.sql import types as t

from lakehouse.autoloader.formats.csv import infer_csv, parse_csv
from lakehouse.autoloader.formats.orc import infer_orc, parse_orc
from lakehouse.autoloader.formats.parquet import infer_parquet, parse_parquet
from lakehouse.autoloader.formats.rows import BadFile, Target
from lakehouse.autoloader.formats.text import parse_text
from lakehouse.errors import ConfigurationError


def ours(parse, data, schema, reader=None, **columns):
    reader = {name.lower(): value for name, value in (reader or {}).items()}
    target = Target(schema, reader, "s3a://bucket/file", columns.get("corrupt_column"), columns.get("rescued_column"))
    given = parse(io.BytesIO(data), target)
    return [row for parsed in given for row in parsed.table.to_pylist()]


def plain(value):
    """Values of Spark's rows and of Arrow's in one form."""
    if isinstance(value, t.Row):
        return {name: plain(part) for name, part in value.asDict().items()}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        pairs = bool(value) and type(value[0]) is tuple
        return plain(dict(value)) if pairs else [plain(part) for part in value]
    return value.replace(tzinfo=None) if hasattr(value, "tzinfo") else "NaN" if value != value else value


def many_types(spark):
    return spark.range(5000).select(
        f.col("id"),
        f.when(f.col("id") % 3 > 0, f.col("id").cast("int")).alias("i"),
        f.expr("cast(id % 100 as tinyint)").alias("y"),
        f.expr("cast(id / 3 as float)").alias("f"),
        f.expr("if(id = 7, double('NaN'), id / 7)").alias("d"),
        f.expr("cast(id / 100 as decimal(12, 3))").alias("dec"),
        f.expr("id % 2 = 0").alias("b"),
        f.expr("if(id % 5 = 0, null, concat('é,\"', id))").alias("s"),
        f.expr("date_add(date'1900-01-01', int(id * 20))").alias("day"),
        f.expr("timestamp_micros(id * 12345678901 - 3000000000000000)").alias("at"),
        f.expr("cast(string(id) as binary)").alias("bin"),
        f.expr("if(id % 4 = 0, null, named_struct('x', id, 'y', array(int(id), null)))").alias("st"),
        f.expr("if(id % 6 = 0, null, map(string(id), named_struct('v', id)))").alias("m"),
        f.expr("if(id % 7 = 0, null, array(named_struct('q', string(id))))").alias("l"),
    )


@pytest.mark.parametrize(
    ("name", "parse", "infer"), [("parquet", parse_parquet, infer_parquet), ("orc", parse_orc, infer_orc)]
)
def test_typed_files(lake, spark, name, parse, infer):
    folder = f"{lake.settings.lake_uri}/_{name}"
    many_types(spark).coalesce(1).write.format(name).save(folder)
    (data,) = contents(lake, folder)
    back = spark.read.format(name).load(folder)
    schema = infer([io.BytesIO(data)], reader={}, infer_column_types=True)
    assert schema.simpleString() == back.schema.simpleString()
    wide = t.StructType([*back.schema.fields, t.StructField("none", t.StringType())])
    theirs = [plain(row) for row in spark.read.format(name).schema(wide).load(folder).collect()]
    assert [plain(row) for row in ours(parse, data, wide)] == theirs


def contents(lake, folder):
    bucket, _, prefix = folder.removeprefix("s3a://").partition("/")
    keys = [info.key for info in lake.store.list(bucket, f"{prefix}/") if "part-" in info.key or "/in" in info.key]
    return [lake.store.read(bucket, key) for key in keys]


def put(lake, name, data):
    folder = f"{lake.settings.lake_uri}/{name}"
    bucket, _, prefix = folder.removeprefix("s3a://").partition("/")
    lake.store.write(bucket, f"{prefix}/in.txt", data)
    return folder


def test_text(lake, spark):
    data = "\ufeffone\r\n\ntwo\rthree é\n last".encode()
    folder = put(lake, "_text", data)
    for options in ({}, {"wholetext": "true"}, {"lineSep": "e"}):
        theirs = [row.asDict() for row in spark.read.format("text").options(**options).load(folder).collect()]
        assert ours(parse_text, data, t.StructType().add("value", "string"), options) == theirs


TEXTS = [
    *(
        "",
        "1",
        "-2",
        "+3",
        "007",
        "1.5",
        "1e3",
        ".5",
        "5.",
        "NaN",
        "Inf",
        "-Inf",
        "1d",
        "99999999999",
        "1,234.5",
        "abc",
    ),
    *("true", "FALSE", "yes", "2020-01-02", "2020-1-2", "2020-02-30", "2020", "2020-05", "2020-01-02 03:04:05"),
    *(
        "2020-01-02T03:04:05.123456Z",
        "2020-01-02 03:04:05+01:00",
        "2020-01-02 3:4:5",
        "2020-01-02 03:04",
        "2020-01-02 03",
    ),
    *(" 1", "1 ", "2020-01-02 ", "2020-01-02T", "2020-01-02 03:04:05 Europe/Berlin", "0x1F", "1_000", "1.005", "-0.0"),
    *("+1930", "+2020-01-02", "2020-01-02 03:04:05 CET", "2020-01-02 03:04:05UTC+1", "2020-01-02 03:04:05+130"),
    *("2020-01-02 03:04:05+19", "2020-01-02 03:04Z", "2020-01-02 03:04:05\u00a0", "\uff12020-01-02"),
]


def test_values_of_csv(lake, spark):
    types = [
        "tinyint",
        "int",
        "bigint",
        "float",
        "double",
        "boolean",
        "decimal(8,2)",
        "date",
        "timestamp",
        "timestamp_ntz",
    ]
    data = "".join(";".join([text] * len(types)) + "\n" for text in TEXTS).encode()
    folder = put(lake, "_values", data)
    options = {"sep": ";", "timeZone": "UTC"}
    back = spark.read.schema(", ".join(f"c{n} {type_}" for n, type_ in enumerate(types))).options(**options).csv(folder)
    theirs = [plain(row) for row in back.collect()]
    given = [plain(row) for row in ours(parse_csv, data, back.schema, options)]
    differences = [
        (text, types[n], mine, spark_s)
        for text, a, b in zip(TEXTS, given, theirs, strict=True)
        for n, (mine, spark_s) in enumerate(zip(a.values(), b.values(), strict=True))
        if mine != spark_s
    ]
    assert differences == []


PATTERNS = {
    "M/d/yy h:mm:ss a": ("7/2/26 3:04:05 PM", "12/31/99 12:00:00 am", "7/2/26 13:04:05 PM", "7/2/26 0:04:05 PM"),
    "dd-MMM-yyyy HH:mm:ss": (
        "02-JUL-2026 15:04:05",
        "02-jul-2026 15:04:05",
        "02-July-2026 15:04:05",
        "2-Jul-2026 1:2:3",
    ),
    "MMMM d, y": ("July 2, 2026", "may 31, 99", "Sept 1, 2026", "July 32, 2026"),
    "yyyy-MM-dd'T'HH:mm:ssxxx": ("2026-07-02T15:04:05+02:00", "2026-07-02t15:04:05+02:00", "2026-07-02T15:04:05Z"),
    "yyyyMMddHHmmssX": ("20260702150405Z", "20260702150405z", "20260702150405+02", "20260702150405+0230"),
    "yyyy-MM-dd hh": ("2026-07-02 11", "2026-07-02 12", "2026-07-02 13"),
    "yyyy-MM-dd HH:mm z": ("2026-07-02 03:04 UTC", "2026-07-02 03:04 Europe/Berlin", "2026-07-02 03:04 GMT+01:00"),
    "yyyy-MM-dd HH:mm VV": ("2026-07-02 03:04 utc", "2026-07-02 03:04 Z", "2026-07-02 03:04 +01:00"),
    "yyyy-MM-dd ZZZ": ("2026-07-02 +0130", "2026-07-02 +01:30"),
    "yyyy-MM-dd[ HH:mm]": ("2026-07-02", "2026-07-02 03:04", "2026-07-02 3:4"),
}


def test_patterns_of_times_in_csv(lake, spark):
    differences = []
    for number, (pattern, texts) in enumerate(PATTERNS.items()):
        data = "".join(f"{text};{text}\n" for text in (*texts, "x")).encode()
        folder = put(lake, f"_patterns{number}", data)
        options = {"sep": ";", "timeZone": "UTC", "timestampFormat": pattern, "dateFormat": pattern}
        back = spark.read.schema("t timestamp, d date").options(**options).csv(folder)
        theirs = [plain(row) for row in back.collect()]
        given = [plain(row) for row in ours(parse_csv, data, back.schema, options)]
        pairs = zip((*texts, "x"), given, theirs, strict=True)
        differences += [(pattern, text, mine, spark_s) for text, mine, spark_s in pairs if mine != spark_s]
    assert differences == []


CASES = [
    {},
    {"multiLine": "true"},
    {"escape": '"'},
    {"escape": '"', "multiLine": "true"},
    {"nullValue": "b", "emptyValue": "E"},
    {"ignoreLeadingWhiteSpace": "true", "ignoreTrailingWhiteSpace": "true", "emptyValue": "E"},
    {"quote": "", "comment": "b"},
    {"sep": "\t", "mode": "DROPMALFORMED"},
    {"sep": "\u00a7", "quote": "\u201d"},
]


def lines_of_csv(chance, options, count):
    """Lines by chance of what means something in CSV; quotes that span lines are closed in their line."""
    sep = options.get("sep", ",")
    weights = {"a": 4, "b": 4, sep: 6, '"': 5, "\\": 1, " ": 1, "\n": 3}
    if options.get("multiLine"):
        weights["\r\n"] = 0
    lines = [
        "".join(chance.choices(list(weights), list(weights.values()), k=chance.randrange(1, 14))) for _ in range(count)
    ]
    if options.get("multiLine"):
        lines = [line if line.count('"') % 2 == 0 and "\\" not in line else "a" for line in lines]
    return lines


@pytest.mark.parametrize("options", CASES, ids=str)
def test_any_csv(lake, spark, options):
    data = "\n".join(lines_of_csv(random.Random(7), options, 1500)).encode()
    folder = put(lake, "_any", data)
    columns = {"a": "string", "b": "string", "_corrupt_record": "string"}
    schema = t.StructType([t.StructField(name, t.StringType()) for name in columns])
    theirs = [row.asDict() for row in spark.read.schema(schema).options(**options).csv(folder).collect()]
    given = ours(parse_csv, data, schema, options, corrupt_column="_corrupt_record")
    differences = [(a, b) for a, b in zip(given, theirs, strict=False) if a != b]
    assert (differences[:10], len(given)) == ([], len(theirs))


@pytest.mark.parametrize("options", [{"sep": "||"}, {"sep": "~|~", "escape": '"', "multiLine": "true"}], ids=str)
def test_separators_of_several_characters_in_csv(lake, spark, options):
    chance, sep = random.Random(7), options["sep"]

    def value():
        text = "".join(chance.choices(["a", " ", sep[0]], k=chance.randrange(4)))
        if chance.random() < 0.4:
            return f'"{text.replace("a", f"a{sep}")}{chance.choice(["", options.get("escape", chr(92)) + chr(34)])}"'
        return text.replace(sep, "a").strip(sep[0])

    lines = [sep.join(value() for _ in range(chance.randrange(1, 4))) for _ in range(1000)]
    data = "\n".join(lines).encode()
    folder = put(lake, "_separators", data)
    schema = t.StructType([t.StructField(name, t.StringType()) for name in ("a", "b", "_corrupt_record")])
    theirs = [row.asDict() for row in spark.read.schema(schema).options(**options).csv(folder).collect()]
    given = ours(parse_csv, data, schema, options, corrupt_column="_corrupt_record")
    assert [(a, b) for a, b in zip(given, theirs, strict=True) if a != b] == []


HEADERS = ["a,b", "b,a", "A,B", "x,y", ",b", "a", "a,b,c", "# no\na,b", "\n\na,b", '"a","b"', "a,b,"]


@pytest.mark.parametrize("options", [{}, {"multiLine": "true"}, {"enforceSchema": "false"}], ids=str)
def test_csv_with_a_header_and_given_columns(lake, spark, options):
    options = {"header": "true", "enforceSchema": "true", "comment": "#", **options}
    schema = t.StructType([t.StructField(name, t.StringType()) for name in ("a", "b", "_corrupt_record")])
    differences = []
    for number, header in enumerate(HEADERS):
        data = f"{header}\n1,2\n3\n4,5,6\n".encode()
        folder = put(lake, f"_headers{number}", data)
        try:
            given = ours(parse_csv, data, schema, options, corrupt_column="_corrupt_record")
        except BadFile as error:
            given = error.reason
        try:
            theirs = [row.asDict() for row in spark.read.schema(schema).options(**options).csv(folder).collect()]
        except PySparkException:
            assert options["enforceSchema"] == "false"
            theirs = "HEADER_MISMATCH"
        differences += [(header, given, theirs)] if given != theirs else []
    assert differences == []


def test_inferred_csv(lake, spark):
    data = b"i,l,x,b,d,t,s,e,e\n1,5000000000,1.5,true,2020-01-02,2020-01-02,q,,1\n"
    data += b"2,1,7,FALSE,2021-01-02,2020-01-02 03:04:05,5,,\n"
    folder = put(lake, "_inferred", data)
    theirs = spark.read.csv(folder, header=True, inferSchema=True).schema
    given = infer_csv([io.BytesIO(data)], reader={"header": "true"}, infer_column_types=True)
    assert given.simpleString() == theirs.simpleString()


def test_days_of_the_julian_calendar_in_orc(lake, spark):
    folder = f"{lake.settings.lake_uri}/_old_days"
    days = [f"date'{day}'" for day in ("0001-01-01", "1500-03-01", "1582-10-04", "1582-10-15", "1969-12-31")]
    old = spark.sql(f"SELECT explode(array({', '.join(days)})) AS d, array(date'1500-03-01') AS l")
    old.coalesce(1).write.format("orc").save(folder)
    (data,) = contents(lake, folder)
    theirs = [plain(row) for row in spark.read.format("orc").load(folder).collect()]
    assert [plain(row) for row in ours(parse_orc, data, old.schema)] == theirs


def test_nanoseconds_of_orc(lake, spark):
    sink = io.BytesIO()
    orc.write_table(
        pa.table({"t": pa.array([1_577_934_245_123_456_789, 1_999, -1_000_000_000, None], pa.timestamp("ns"))}), sink
    )
    folder = put(lake, "_nanoseconds", sink.getvalue())
    schema = t.StructType().add("t", "timestamp")
    theirs = [plain(row) for row in spark.read.schema(schema).format("orc").load(folder).collect()]
    assert [plain(row) for row in ours(parse_orc, sink.getvalue(), schema)] == theirs


def test_the_name_of_the_file_is_in_metadata_and_asking_spark_for_it_is_refused(lake, spark):
    folder = put(lake, "landing/names", b'{"a": 1}\n')
    own = spark.read.schema("a INT").json(folder).select(f.input_file_name().alias("name"))
    assert own.first()["name"].endswith("/in.txt")
    frame = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json")
    frame = frame.schema("a INT, _metadata STRUCT<file_path: STRING>").load(folder)

    def start(column):
        place = f"{lake.settings.lake_uri}/{column}"
        writer = frame.select(f.expr(column).alias("name")).writeStream.format("delta").trigger(availableNow=True)
        writer.option("checkpointLocation", f"{place}/checkpoint").start(f"{place}/table").awaitTermination()
        return spark.read.format("delta").load(f"{place}/table").first()["name"]

    with pytest.raises(ConfigurationError, match="input_file_name"):
        start("input_file_name()")
    assert start("_metadata.file_path") == f"{folder}/in.txt"


def test_metadata_and_the_rescued_column_are_beside_a_given_schema_and_the_target_gets_what_is_selected(lake, spark):
    folder = put(lake, "landing/given", b'{"a": 1}\n{"a": "x"}\n')

    def columns(name, *selected):
        place = f"{lake.settings.lake_uri}/{name}"
        frame = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json").schema("a INT")
        frame = frame.option("rescuedDataColumn", "_r").load(folder)
        writer = frame.select(*selected).writeStream.format("delta").trigger(availableNow=True)
        writer.option("checkpointLocation", f"{place}/checkpoint").start(f"{place}/table").awaitTermination()
        return spark.read.format("delta").load(f"{place}/table")

    found = columns("star", "*", f.col("_metadata.file_name").alias("name"))
    assert found.columns == ["a", "_r", "name"]
    assert [(row.a, row._r is None, row.name) for row in found.orderBy("a").collect()] == [
        (None, False, "in.txt"),
        (1, True, "in.txt"),
    ]
    assert columns("once", "*", "_metadata").columns == ["a", "_r", "_metadata"]
