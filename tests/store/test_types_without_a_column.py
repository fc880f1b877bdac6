"""Types that no column of a Delta table has are rescued: at the first look, in new columns and in known ones."""

import io
import json
from datetime import time, timedelta
from decimal import Decimal

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store.local_world import LocalWorld

from lakehouse.errors import ConfigurationError

MODES = ("addNewColumns", "addNewColumnsWithTypeWidening", "rescue")
LONG = Decimal("1234567890123456789012345678901234567890.5")
ODD = {
    "at": (time(10, 30, 0, 5), pa.time64("us"), "10:30:00.000005"),
    "short": (time(10, 30), pa.time32("ms"), "10:30:00"),
    "took": (timedelta(seconds=90, microseconds=5), pa.duration("us"), "0:01:30.000005"),
    "long": (LONG, pa.decimal256(41, 1), str(LONG)),
    "within": ({"at": time(10), "n": 1}, pa.struct({"at": pa.time64("us"), "n": pa.int64()}), {"at": "10:00:00"}),
    "many": ([time(10)], pa.list_(pa.time64("us")), ["10:00:00"]),
}
PLAIN = {"at": 5, "short": 5, "took": 5, "long": Decimal(5), "within": {"n": 5}, "many": [5]}


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path)


def odd_file(id_):
    columns = {name: pa.array([value], type_) for name, (value, type_, _) in ODD.items()}
    return written({"id": pa.array([id_]), **columns})


def plain_file(id_):
    return written({"id": pa.array([id_]), **{name: pa.array([value]) for name, value in PLAIN.items()}})


def written(columns):
    made = io.BytesIO()
    pq.write_table(pa.table(columns), made)
    return made.getvalue()


def rescued(things, id_):
    [text] = [text for found, text in things.rows("id", "_rescued_data") if found == id_]
    return text and {name: value for name, value in json.loads(text).items() if name != "_file_path"}


KEPT = {name: shown for name, (_, _, shown) in ODD.items()}


@pytest.mark.parametrize("mode", MODES)
def test_they_are_rescued_whenever_they_come(things, mode):
    things.declare(format="parquet", options={"cloudFiles.schemaEvolutionMode": mode})
    things.put("1.parquet", odd_file(1))
    assert things.load_rows() == 1
    assert things.column_names()[:2] == ["id", "within"]
    assert things.rows("within") == [({"n": 1},)]
    assert rescued(things, 1) == KEPT
    things.put("2.parquet", plain_file(2))  # what has the same name and a type becomes a column
    assert things.load_rows() == 1
    things.put("3.parquet", odd_file(3))  # and comes back in the other type
    assert things.load_rows() == 1
    assert rescued(things, 3) == KEPT
    assert (rescued(things, 2) is None) == (mode != "rescue")


def avro_of(*fields, **row):
    made = io.BytesIO()
    fastavro.writer(made, {"type": "record", "name": "r", "fields": list(fields)}, [row])
    return made.getvalue()


def field(name, type_, logical):
    return {"name": name, "type": {"type": type_, "logicalType": logical}}


@pytest.mark.parametrize("mode", MODES)
def test_times_of_avro_are_rescued(things, mode):
    id_ = {"name": "id", "type": "long"}
    first = avro_of(id_, field("at", "long", "time-micros"), id=1, at=time(10, 30, 0, 5))
    second = avro_of(
        id_, field("at", "int", "time-millis"), field("till", "int", "time-millis"), id=2, at=time(9), till=time(8)
    )
    things.declare(format="avro", options={"cloudFiles.schemaEvolutionMode": mode})
    for number, data in enumerate((first, second)):
        things.put(f"{number}.avro", data)
        assert things.load_rows() == 1
    assert rescued(things, 1) == {"at": "10:30:00.000005"}
    assert rescued(things, 2) == {"at": "09:00:00", "till": "08:00:00"}


def test_where_nothing_rescues_they_are_refused_with_the_way_out(things):
    things.declare(format="parquet", options={"cloudFiles.schemaEvolutionMode": "none"}).put("1.parquet", odd_file(1))
    with pytest.raises(ConfigurationError, match=r"at \(TIME") as refused:
        things.load()
    assert "set rescuedDataColumn" in refused.value.next_command
    things.declare(
        format="parquet",
        options={"cloudFiles.schemaEvolutionMode": "none", "rescuedDataColumn": "_rescued_data"},
    )
    assert things.load_rows() == 1
    assert rescued(things, 1) == KEPT
