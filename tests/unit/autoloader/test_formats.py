"""Every format: what is read, what is left NULL, what is rescued, and which files are refused."""

import io
import json
import zlib
from datetime import UTC, date, datetime
from decimal import Decimal

import fastavro
import pyarrow as pa
import pytest
from pyarrow import orc
from pyarrow import parquet as pq
from pyspark.sql import types as t
from pyspark.sql.pandas.types import to_arrow_schema

from lakehouse.autoloader.formats.avro import infer_avro, parse_avro
from lakehouse.autoloader.formats.binary_file import binary_file_rows
from lakehouse.autoloader.formats.csv import infer_csv, parse_csv
from lakehouse.autoloader.formats.orc import infer_orc, parse_orc
from lakehouse.autoloader.formats.parquet import infer_parquet, parse_parquet
from lakehouse.autoloader.formats.rows import BadFile, Target
from lakehouse.autoloader.formats.text import parse_text, parse_text_lines
from lakehouse.errors import ConfigurationError

PATH = "s3a://bucket/file"
ABC = t.StructType().add("a", "integer").add("b", "string").add("c", "double")
RESCUED = t.StructType([*ABC.fields, t.StructField("_rescued_data", t.StringType())])


def read(parse, data, schema=ABC, *, reader=None, **columns):
    corrupt, rescued = columns.pop("corrupt_column", None), columns.pop("rescued_column", None)
    assert not columns
    given = list(parse(io.BytesIO(data), Target(schema, reader or {}, PATH, corrupt, rescued)))
    for part in given:
        assert part.table.schema == to_arrow_schema(schema, timezone="UTC")
        assert len(part.records) == part.table.num_rows
    return given


def rows(*args, **options):
    return [tuple(row.values()) for part in read(*args, **options) for row in part.table.to_pylist()]


def new_fields(*args, **options):
    return frozenset().union(*(part.new_fields for part in read(*args, **options)))


def rescued(text):
    return text and json.loads(text)


def as_parquet(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def as_orc(table):
    sink = io.BytesIO()
    orc.write_table(table, sink)
    return sink.getvalue()


def as_avro(table, codec="null"):
    names = {pa.int32(): "int", pa.int64(): "long", pa.string(): "string", pa.float64(): "double"}
    fields = [{"name": field.name, "type": ["null", names[field.type]]} for field in table.schema]
    sink = io.BytesIO()
    schema = fastavro.parse_schema({"type": "record", "name": "r", "fields": fields})
    fastavro.writer(sink, schema, table.to_pylist(), codec=codec)
    return sink.getvalue()


TYPED = [
    pytest.param(parse_parquet, infer_parquet, as_parquet, id="parquet"),
    pytest.param(parse_orc, infer_orc, as_orc, id="orc"),
    pytest.param(parse_avro, infer_avro, as_avro, id="avro"),
]
TABLE = pa.table({"a": pa.array([1, None], pa.int32()), "b": ["x", None], "c": [0.5, 1.5]})


@pytest.mark.parametrize(("parse", "infer", "write"), TYPED)
class TestTyped:
    def test_rows_and_schema(self, parse, infer, write):
        data = write(TABLE)
        assert rows(parse, data) == [(1, "x", 0.5), (None, None, 1.5)]
        assert infer([io.BytesIO(data)], reader={}, infer_column_types=False) == ABC

    def test_a_file_without_rows_and_one_without_the_columns(self, parse, infer, write):
        assert rows(parse, write(TABLE.slice(0, 0))) == []
        assert rows(parse, write(pa.table({"z": ["q", "r"]}))) == [(None, None, None)] * 2

    def test_missing_extra_and_mismatched_columns(self, parse, infer, write):
        data = write(
            pa.table({"b": pa.array([7, None], pa.int64()), "a": pa.array([1, 2], pa.int32()), "z": ["q", None]})
        )
        assert new_fields(parse, data, RESCUED, rescued_column="_rescued_data") == {"z"}
        first, second = rows(parse, data, RESCUED, rescued_column="_rescued_data")
        assert first[:3] == (1, None, None)
        assert rescued(first[3]) == {"b": 7, "z": "q", "_file_path": PATH}
        assert second == (2, None, None, None)

    def test_names_that_differ_by_case(self, parse, infer, write):
        data = write(pa.table({"A": pa.array([1], pa.int32())}))
        assert rows(parse, data) == [(None, None, None)]
        assert new_fields(parse, data) == {"A"}
        assert rows(parse, data, reader={"readercasesensitive": "false"}) == [(1, None, None)]

    def test_narrow_values_fit_wide_columns_and_not_the_reverse(self, parse, infer, write):
        data = write(pa.table({"a": pa.array([5], pa.int32())}))
        assert rows(parse, data, t.StructType().add("a", "long")) == [(5,)]
        assert rows(parse, data, t.StructType().add("a", "double")) == [(5.0,)]
        assert rows(parse, data, t.StructType().add("a", t.DecimalType(12, 2))) == [(Decimal(5),)]
        for bad, type_ in ((data, "string"), (write(pa.table({"a": [5]})), "integer")):
            schema = t.StructType().add("a", type_).add("_r", "string")
            assert [row[0] for row in rows(parse, bad, schema, rescued_column="_r")] == [None]

    def test_schemas_are_merged_and_conflicts_named(self, parse, infer, write):
        narrow, wide = write(pa.table({"a": pa.array([1], pa.int32())})), write(pa.table({"a": [1], "b": ["x"]}))
        assert infer(
            [io.BytesIO(narrow), io.BytesIO(wide), io.BytesIO(b"rubbish")], reader={}, infer_column_types=True
        ) == (t.StructType().add("a", "long").add("b", "string"))
        other = write(pa.table({"a": ["x"]}))
        with pytest.raises(ConfigurationError, match=r"column a in file 2 of the sample .* INT and STRING"):
            infer([io.BytesIO(narrow), io.BytesIO(other)], reader={}, infer_column_types=True)

    def test_wrong_empty_and_truncated_files(self, parse, infer, write):
        data = write(pa.table({"a": pa.array(range(5000), pa.int32()), "b": [str(n) for n in range(5000)]}))
        for bad in (b"", b"id,name\n1,x\n" * 9, data[: len(data) // 2], data[:-3], data[:20]):
            with pytest.raises(BadFile):
                rows(parse, bad)
        with pytest.raises(BadFile, match="NOT_"):
            rows(parse, b"")


NESTED = pa.table(
    {
        "s": pa.array([{"x": 1, "y": "extra"}, None], pa.struct({"x": pa.int32(), "y": pa.string()})),
        "l": pa.array([[1, None], None], pa.list_(pa.int32())),
        "m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
    }
)


@pytest.mark.parametrize(("parse", "write"), [(parse_parquet, as_parquet), (parse_orc, as_orc)])
def test_nested_columns_are_converted_by_name(parse, write):
    struct = t.StructType().add("w", "string").add("x", "long")
    schema = t.StructType().add("s", struct).add("l", t.ArrayType(t.LongType()))
    schema = schema.add("m", t.MapType(t.StringType(), t.LongType())).add("_r", "string")
    first, second = rows(parse, write(NESTED), schema, rescued_column="_r")
    assert first[:3] == ({"w": None, "x": 1}, [1, None], [("k", 1)])
    assert rescued(first[3]) == {"s": {"y": "extra"}, "_file_path": PATH}
    assert second == (None, None, None, None)


def test_parquet_sliced_into_chunks_counts_records_on():
    table = pa.table({"l": pa.array([[n] * (n % 3) for n in range(150_000)], pa.list_(pa.int32()))})
    given = read(parse_parquet, as_parquet(table), t.StructType().add("l", t.ArrayType(t.LongType())))
    assert len(given) > 1
    assert [n for part in given for n in part.records.tolist()] == list(range(150_000))
    assert pa.concat_tables(part.table for part in given)["l"].to_pylist() == table["l"].to_pylist()


def test_parquet_times():
    moment = datetime(2020, 5, 6, 7, 8, 9, tzinfo=UTC)
    table = pa.table({"a": pa.array([moment], pa.timestamp("ms", "UTC")), "b": pa.array([date(1, 1, 1)])})
    table = table.append_column("c", pa.array([1], pa.timestamp("ns", "UTC")))
    schema = t.StructType().add("a", "timestamp").add("b", "date").add("c", "timestamp").add("_r", "string")
    ((a, b, c, left),) = rows(parse_parquet, as_parquet(table), schema, rescued_column="_r")
    assert (a, b, c) == (moment, date(1, 1, 1), None)
    assert "c" in rescued(left)
    sink = io.BytesIO()
    pq.write_table(table.select(["a"]), sink, use_deprecated_int96_timestamps=True)
    assert rows(parse_parquet, sink.getvalue(), t.StructType().add("a", "timestamp")) == [(moment,)]
    sink.seek(0)
    assert infer_parquet([sink], reader={}, infer_column_types=False) == t.StructType().add("a", "timestamp")


AVRO_TYPES = {
    "d": {"type": "int", "logicalType": "date"},
    "ms": {"type": "long", "logicalType": "timestamp-millis"},
    "us": ["null", {"type": "long", "logicalType": "timestamp-micros"}],
    "dec": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
    "e": {"type": "enum", "name": "e", "symbols": ["A", "B"]},
    "f": {"type": "fixed", "name": "f", "size": 2},
    "u": ["int", "long"],
    "m": {"type": "map", "values": "double"},
    "r": {"type": "record", "name": "n", "fields": [{"name": "i", "type": {"type": "array", "items": "int"}}]},
}
AVRO_ROW = {
    "d": date(2020, 1, 2),
    "ms": datetime(2020, 1, 2, 3, 4, 5, 6000, tzinfo=UTC),
    "us": datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "dec": Decimal("12.34"),
    "e": "B",
    "f": b"\x00\xff",
    "u": 1 << 40,
    "m": {"k": 0.5},
    "r": {"i": [1, 2]},
}


def avro(types, records, codec="null"):
    fields = [{"name": name, "type": type_} for name, type_ in types.items()]
    sink = io.BytesIO()
    fastavro.writer(sink, {"type": "record", "name": "top", "fields": fields}, records, codec=codec)
    return sink.getvalue()


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_avro_types(codec):
    data = avro(AVRO_TYPES, [AVRO_ROW], codec)
    schema = infer_avro([io.BytesIO(data)], reader={}, infer_column_types=False)
    assert schema.simpleString() == (
        "struct<d:date,ms:timestamp,us:timestamp,dec:decimal(6,2),e:string,f:binary,u:bigint,"
        "m:map<string,double>,r:struct<i:array<int>>>"
    )
    assert rows(parse_avro, data, schema) == [tuple({**AVRO_ROW, "m": [("k", 0.5)]}.values())]


def snappy(content):
    return pa.Codec("snappy").compress(content, asbytes=True) + zlib.crc32(content).to_bytes(4, "big")


def lz4(content):
    return len(content).to_bytes(4, "little") + pa.Codec("lz4_raw").compress(content, asbytes=True)


@pytest.mark.parametrize(("codec", "pack"), [("snappy", snappy), ("lz4", lz4)])
def test_avro_blocks_that_are_packed(codec, pack):
    plain = avro({"a": "int", "b": "string"}, [{"a": n, "b": "x" * 50} for n in range(100)])
    marker = plain[-16:]
    start = plain.index(marker) + 16
    block = io.BytesIO(plain[start:-16])
    fastavro.schemaless_reader(block, "long")
    content = fastavro.schemaless_reader(block, "bytes")
    packed = io.BytesIO()
    fastavro.schemaless_writer(packed, "long", 100)
    fastavro.schemaless_writer(packed, "bytes", pack(content))
    name = bytes([2 * len(codec)]) + codec.encode()
    header = plain[:start].replace(b"avro.codec\x08null", b"avro.codec" + name)
    data = header + packed.getvalue() + marker
    assert rows(parse_avro, data)[99] == (99, "x" * 50, None)
    for damaged in (data[:-20] + marker, *([data[:-17] + b"\0" + marker] if codec == "snappy" else [])):
        with pytest.raises(BadFile):
            rows(parse_avro, damaged)


def test_avro_that_is_not_supported():
    data = avro({"a": "int", "b": ["string", "int"]}, [{"a": 1, "b": "x"}])
    with pytest.raises(BadFile, match="the column b: struct<member0: string, member1: int32> is no string"):
        rows(parse_avro, data)
    assert rows(parse_avro, data, t.StructType().add("a", "integer")) == [(1,)]
    sink = io.BytesIO()
    fastavro.writer(sink, "int", [1])
    with pytest.raises(BadFile, match="NOT_RECORDS"):
        rows(parse_avro, sink.getvalue())


def test_binary_file():
    schema = t.StructType().add("path", "string").add("modificationTime", "timestamp")
    schema = schema.add("length", "long").add("content", "binary")
    moment = datetime(2020, 1, 2, tzinfo=UTC)
    given = binary_file_rows(b"\x00\x01", path=PATH, modified=moment, schema=schema)
    assert given.table.schema == to_arrow_schema(schema, timezone="UTC")
    assert [tuple(row.values()) for row in given.table.to_pylist()] == [(PATH, moment, 2, b"\x00\x01")]
    length_only = t.StructType().add("length", "long")
    assert binary_file_rows(b"", path=PATH, modified=moment, schema=length_only).table.to_pylist() == [{"length": 0}]
    with pytest.raises(ConfigurationError, match="size INT"):
        binary_file_rows(b"", path=PATH, modified=moment, schema=t.StructType().add("size", "integer"))


VALUE = t.StructType().add("value", "string")


def test_text():
    data = b"\xef\xbb\xbfone\r\n\n three\xff\rfour"
    assert rows(parse_text, data, VALUE) == [("one",), ("",), (" three\ufffd",), ("four",)]
    assert rows(parse_text, b"", VALUE) == []
    assert rows(parse_text, b"a|b\n|", VALUE, reader={"linesep": "|"}) == [("a",), ("b\n",)]
    assert rows(parse_text, b"a\nb\n", VALUE, reader={"wholetext": "true"}) == [("a\nb\n",)]
    given = parse_text_lines(b"a\r\n\nb\rc\n", VALUE, reader={})
    assert given.table["value"].to_pylist() == ["a", "", "b", "c"]
    assert given.records.tolist() == [0, 1, 2, 2]
    with pytest.raises(ConfigurationError, match="one column"):
        rows(parse_text, b"a", ABC)


def test_csv_by_position_and_by_name():
    assert rows(parse_csv, b'1,x,0.5\r\n\r\n2,"",\r\n') == [(1, "x", 0.5), (2, None, None)]
    data = b"c,z,a\n0.5,q,1\n"
    assert rows(parse_csv, data, reader={"header": "true"}) == [(1, None, 0.5)]
    assert new_fields(parse_csv, data, reader={"header": "true"}) == {"z"}
    assert new_fields(parse_csv, b"a,z\n", reader={"header": "true"}) == {"z"}
    assert rows(parse_csv, b"") == rows(parse_csv, b"", reader={"header": "true"}) == []


@pytest.mark.parametrize("quoted", [b"", b'9,"\\"",1\n'])
def test_csv_that_does_not_fit(quoted):
    """Both ways of parsing: an escaped quote takes the slow one."""
    data = b"1,x,0.5\ny,w,1\n" + quoted
    plain = [(1, "x", 0.5), (None, "w", 1.0)]
    both = t.StructType([*RESCUED.fields, t.StructField("_corrupt_record", t.StringType())])
    assert rows(parse_csv, data)[:2] == plain
    corrupt = t.StructType([*ABC.fields, t.StructField("_corrupt_record", t.StringType())])
    first, second = rows(parse_csv, data, corrupt, corrupt_column="_corrupt_record")[:2]
    assert (first[3], second[3]) == (None, "y,w,1")
    second = rows(parse_csv, data, both, corrupt_column="_corrupt_record", rescued_column="_rescued_data")[1]
    assert rescued(second[3]) == {"a": "y", "_file_path": PATH}
    assert second[4] is None
    (given,) = read(parse_csv, data, reader={"mode": "DROPMALFORMED"})
    assert given.records.tolist()[:2] == ([0, 2] if quoted else [0])
    with pytest.raises(BadFile, match=r"MALFORMED: record 1 .*y,w,1"):
        rows(parse_csv, data, reader={"mode": "FAILFAST"})


def test_csv_records_of_other_lengths():
    data = b"1,x\n2,y,0.5,more,\n"
    schema = t.StructType([*RESCUED.fields, t.StructField("_corrupt_record", t.StringType())])
    first, second = rows(parse_csv, data, schema, corrupt_column="_corrupt_record", rescued_column="_rescued_data")
    assert first == (1, "x", None, None, "1,x")
    assert rescued(second[3]) == {"_c3": "more", "_file_path": PATH}
    assert [row[4] for row in rows(parse_csv, data, schema, corrupt_column="_corrupt_record")] == data.decode().split(
        "\n"
    )[:2]
    assert new_fields(parse_csv, data) == {"_c3", "_c4"}


def test_csv_quotes_lines_and_blanks():
    schema = t.StructType().add("a", "string").add("b", "string")
    assert rows(parse_csv, b'"a,b","x\\"y"\n') == [(None, 'x"y', None)]
    multi = {"multiline": "true", "header": "true"}
    assert rows(parse_csv, b'a,b\r\n1,"x\r\n\r\ny"\r\n2,z', schema, reader=multi) == [("1", "x\n\ny"), ("2", "z")]
    assert rows(parse_csv, b'1,"x""y"\n', schema, reader={"escape": '"'}) == [("1", 'x"y')]
    assert rows(parse_csv, b"#no\n 1 ;NA\n", schema, reader={"comment": "#", "sep": ";", "nullvalue": "NA"}) == [
        (" 1 ", None)
    ]
    trimmed = {"ignoreleadingwhitespace": "true", "ignoretrailingwhitespace": "true"}
    assert rows(parse_csv, b" 1 ,\t2\n", schema, reader=trimmed) == [("1", "2")]
    assert rows(parse_csv, b'"",\n', schema, reader={"emptyvalue": "E"}) == [("E", None)]
    assert rows(parse_csv, "é,ü".encode("latin-1"), schema, reader={"encoding": "ISO-8859-1"}) == [("é", "ü")]
    assert rows(parse_csv, "é,ü\n".encode("utf-16"), schema, reader={"encoding": "UTF-16"}) == [("é", "ü")]


def test_csv_types():
    types = ["byte", "long", "float", "boolean", t.DecimalType(6, 2), "date", "timestamp", t.TimestampNTZType()]
    schema = t.StructType()
    for number, type_ in enumerate(types):
        schema.add(f"c{number}", type_)
    good = b"127,+5,1e2,TRUE,1.005,2020-02-29,2020-01-02T03:04:05.5+01:00,2020-01-02 03:04:05\n"
    bad = b"128,5.0,x,1,99999,2020-02-30,yesterday,2020-01-02 03:04:05Z\n"
    first, second = rows(parse_csv, good + bad, schema)
    assert first[:6] == (127, 5, 100.0, True, Decimal("1.01"), date(2020, 2, 29))
    assert first[6:] == (datetime(2020, 1, 2, 2, 4, 5, 500000, tzinfo=UTC), datetime(2020, 1, 2, 3, 4, 5))
    assert second == (None,) * 8
    formats = {"dateformat": "dd/MM/yyyy", "timestampformat": "dd.MM.yyyy H:mm", "timezone": "Europe/Berlin"}
    schema = t.StructType().add("d", "date").add("t", "timestamp")
    assert rows(parse_csv, b"03/02/2020,03.02.2020 4:05\n", schema, reader=formats) == [
        (date(2020, 2, 3), datetime(2020, 2, 3, 3, 5, tzinfo=UTC))
    ]


def test_csv_that_is_refused():
    for reader in (
        {"sep": ""},
        {"sep": "|\n"},
        {"mode": "LOOSE"},
        {"header": "yes"},
        {"encoding": "KLINGON"},
        {"linesep": "|"},
    ):
        with pytest.raises(ConfigurationError):
            rows(parse_csv, b"1,2,3\n", reader=reader)
    with pytest.raises(ConfigurationError, match="array<string>"):
        rows(parse_csv, b"1\n", t.StructType().add("l", t.ArrayType(t.StringType())))
    with pytest.raises(ConfigurationError, match="EEE"):
        rows(parse_csv, b"Wed\n", t.StructType().add("d", "date"), reader={"dateformat": "EEE"})
    with pytest.raises(BadFile, match="begins as Parquet"):
        rows(parse_csv, as_parquet(TABLE))


def test_csv_inference():
    first = b"i,l,n,x,b,d,t,s,e\n1,5000000000,99999999999999999999,1.5,true,2020-01-02,2020-01-02,q,\n"
    two = b"i,t,new,x\n2,2020-01-02 03:04:05,1,7\n"
    files = lambda: [io.BytesIO(first), io.BytesIO(two), io.BytesIO(b"")]  # noqa: E731
    header = {"header": "true"}
    plain = infer_csv(files(), reader=header, infer_column_types=False)
    assert plain.simpleString() == "struct<" + ",".join(f"{name}:string" for name in [*"ilnxbdtse", "new"]) + ">"
    typed = infer_csv(files(), reader=header, infer_column_types=True)
    assert typed.simpleString() == (
        "struct<i:int,l:bigint,n:decimal(20,0),x:double,b:boolean,d:date,t:timestamp,s:string,e:string,new:int>"
    )
    assert (
        infer_csv([io.BytesIO(b"1,x\n")], reader={}, infer_column_types=True).simpleString()
        == "struct<_c0:int,_c1:string>"
    )
    names = infer_csv([io.BytesIO(b"a,A,,b\n")], reader=header, infer_column_types=False).names
    assert names == ["a0", "A1", "_c2", "b"]
