"""Values of typed files: each is read, rescued, or keeps its file out. None becomes NULL without a word."""

import base64
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import fastavro
import pyarrow as pa
import pytest
from pyarrow import orc
from pyarrow import parquet as pq
from pyspark.sql import types as t

from lakehouse.autoloader.formats.avro import parse_avro
from lakehouse.autoloader.formats.orc import parse_orc
from lakehouse.autoloader.formats.parquet import parse_parquet
from lakehouse.autoloader.formats.rows import BadFile, Target

PATH = "s3a://bucket/file"


def rows(parse, data, schema, rescued=None):
    given = list(parse(io.BytesIO(data), Target(schema, {}, PATH, None, rescued)))
    return [tuple(row.values()) for part in given for row in part.table.to_pylist()]


def left(parse, data, schema):
    """What is rescued of each row."""
    texts = [row[-1] for row in rows(parse, data, t.StructType([*schema.fields]).add("_r", "string"), "_r")]
    return [
        text and {name: value for name, value in json.loads(text).items() if name != "_file_path"} for text in texts
    ]


def as_parquet(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def as_orc(table):
    sink = io.BytesIO()
    orc.write_table(table, sink)
    return sink.getvalue()


def column(type_):
    return t.StructType().add("c", type_)


MISFITS = [
    pytest.param([7, None], pa.int64(), "string", id="a number for text"),
    pytest.param([b"\x01\x02", None], pa.binary(), t.GeometryType(4326), id="well-known bytes for GEOMETRY"),
    pytest.param([b"\xff", None], pa.binary(), "string", id="bytes that are no text"),
    pytest.param([Decimal("1.000001"), None], pa.decimal128(38, 6), t.DecimalType(38, 10), id="a decimal of ORC 0.11"),
    pytest.param([{"x": 7}, None], pa.struct({"x": pa.int64()}), t.StructType().add("x", "string"), id="in a struct"),
    pytest.param([[1, 7], None], pa.list_(pa.int64()), t.ArrayType(t.StringType()), id="in a list"),
    pytest.param(
        [[("k", 7)], None], pa.map_(pa.string(), pa.int64()), t.MapType(t.StringType(), t.StringType()), id="map"
    ),
    pytest.param(
        [{"x": b"\xff"}, None], pa.struct({"x": pa.binary()}), t.StructType().add("x", "string"), id="deep text"
    ),
    pytest.param([[("k", 7)], None], pa.map_(pa.string(), pa.int64()), "string", id="a map for text"),
]


@pytest.mark.parametrize(("parse", "write"), [(parse_parquet, as_parquet), (parse_orc, as_orc)], ids=["parquet", "orc"])
@pytest.mark.parametrize(("values", "have", "want"), MISFITS)
def test_a_value_that_fits_no_column_is_rescued_or_keeps_its_file_out(parse, write, values, have, want):
    data = write(pa.table({"c": pa.array(values, have)}))
    first, second = left(parse, data, column(want))
    assert list(first) == ["c"] and first["c"] not in (None, {}, [])
    assert second is None
    with pytest.raises(BadFile, match="WRONG_TYPE: the column c"):
        rows(parse, data, column(want))
    assert rows(parse, write(pa.table({"c": pa.array([None, None], have)})), column(want)) == [(None,), (None,)]


def test_a_value_of_avro_that_fits_no_column_is_rescued_or_keeps_its_file_out():
    sink = io.BytesIO()
    fastavro.writer(sink, {"type": "record", "name": "r", "fields": [{"name": "c", "type": "int"}]}, [{"c": 7}])
    assert left(parse_avro, sink.getvalue(), column("string")) == [{"c": 7}]
    with pytest.raises(BadFile, match="WRONG_TYPE"):
        rows(parse_avro, sink.getvalue(), column("string"))


def test_an_avro_file_with_dates_of_the_old_calendar_is_kept_out():
    sink = io.BytesIO()
    day = {"name": "c", "type": {"type": "int", "logicalType": "date"}}
    schema = {"type": "record", "name": "r", "fields": [day]}
    fastavro.writer(sink, schema, [{"c": date(1500, 1, 1)}], metadata={"org.apache.spark.legacyDateTime": ""})
    with pytest.raises(BadFile, match="LEGACY_CALENDAR"):
        rows(parse_avro, sink.getvalue(), column("date"))


def test_nanoseconds_of_parquet_that_a_timestamp_cannot_hold_are_not_cut():
    data = as_parquet(pa.table({"c": pa.array([1_000, None], pa.timestamp("ns", "UTC"))}))
    assert rows(parse_parquet, data, column("timestamp"))[0] == (datetime(1970, 1, 1, 0, 0, 0, 1, UTC),)
    with pytest.raises(BadFile, match="WRONG_TYPE"):
        rows(parse_parquet, as_parquet(pa.table({"c": pa.array([1], pa.timestamp("ns", "UTC"))})), column("timestamp"))


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_nanoseconds_of_orc_are_cut_to_microseconds_as_spark_cuts_them(zone):
    times = pa.array([1_999, -1, None], pa.timestamp("ns", zone))
    table = pa.table({"c": times, "l": pa.array([[1_999], [-1], None], pa.list_(pa.timestamp("ns", zone)))})
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    want = [epoch + timedelta(microseconds=1), epoch - timedelta(microseconds=1), None]
    schema = t.StructType().add("c", "timestamp").add("l", t.ArrayType(t.TimestampType()))
    assert rows(parse_orc, as_orc(table), schema) == [(moment, moment and [moment]) for moment in want]


def julian(data):
    """The file, as Java writes it: its footer says that old days are Julian."""
    length = data[-1]
    after = data[-1 - length :]  # the postscript, which begins with the footer's length, and its own length
    assert after[0] == 0x08 and after[1] < 0x7E
    return data[: -1 - length] + b"\x58\x01" + bytes([0x08, after[1] + 2]) + after[2:]


@pytest.mark.parametrize("nested", [False, True])
def test_days_that_an_orc_file_counts_in_the_julian_calendar_keep_their_names(nested):
    # each is the day in the file, by our calendar, and the one of the same name in the Julian one
    days = {
        date(1582, 10, 15): date(1582, 10, 15),
        date(1582, 10, 14): date(1582, 10, 4),
        date(1582, 10, 13): date(1582, 10, 3),
        date(1500, 3, 10): date(1500, 3, 1),
        date(1500, 3, 9): date(1500, 2, 28),
        date(1, 1, 8): date(1, 1, 10),
        date(2026, 1, 1): date(2026, 1, 1),
    }
    values = [[day] for day in days] if nested else [*days, None]
    data = as_orc(pa.table({"c": pa.array(values, pa.list_(pa.date32()) if nested else pa.date32())}))
    want = [[day] for day in days.values()] if nested else [*days.values(), None]
    schema = column(t.ArrayType(t.DateType()) if nested else "date")
    assert [row[0] for row in rows(parse_orc, julian(data), schema)] == want
    assert [row[0] for row in rows(parse_orc, data, schema)] == values


VARIANT = {"metadata": b"\x01\x00\x00", "value": b"\x0c\x01"}
SHREDDED = pa.struct(
    [pa.field("metadata", pa.binary(), False), pa.field("value", pa.binary()), pa.field("typed_value", pa.int32())]
)


@pytest.mark.parametrize("nested", [False, True])
def test_a_variant_in_columns_of_its_own_keeps_its_file_out(nested):
    def data(*values):
        array = pa.array(values, SHREDDED)
        return as_parquet(
            pa.table({"c": pa.array([[value] for value in values], pa.list_(SHREDDED)) if nested else array})
        )

    schema = column(t.ArrayType(t.VariantType()) if nested else "variant")
    whole = rows(parse_parquet, data({**VARIANT, "typed_value": None}, None), schema)
    assert whole == [([VARIANT],), ([None],)] if nested else [(VARIANT,), (None,)]
    for shredded in (
        {"value": None, "typed_value": 7},
        {"typed_value": 7},
        {"value": None},
        {"metadata": b"", "value": None},
    ):
        value = {**VARIANT, "typed_value": None, **shredded}
        for rescued in (None, "_r"):
            with pytest.raises(BadFile, match="SHREDDED_VARIANT"):
                rows(parse_parquet, data(value), t.StructType([*schema.fields]).add("_r", "string"), rescued)


def test_well_known_bytes_are_rescued_as_text():
    data = as_parquet(pa.table({"c": [b"\x01\x02"]}))
    assert left(parse_parquet, data, column(t.GeographyType(4326))) == [{"c": base64.b64encode(b"\x01\x02").decode()}]
