"""What Delta's log says of a data file of the local engine is true of every row in it."""

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lakehouse.direct import data_files
from lakehouse.direct.data_files import DataFiles

DAY, YEAR_10000 = 86_400_000_000, 253_402_300_800_000_000
TEXTS = st.one_of(
    st.text(max_size=5),
    st.text(alphabet="a\U0010ffff\uffff😀é", min_size=30, max_size=36),
    st.integers(4000, 5000).map(lambda length: "z" * length),
)
COLUMNS = {
    "text": (pa.string(), TEXTS),
    "long": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "small": (pa.int8(), st.integers(-128, 127)),
    "double": (pa.float64(), st.floats()),
    "float": (pa.float32(), st.floats(width=32)),
    "yes": (pa.bool_(), st.booleans()),
    "price": (pa.decimal128(38, 18), st.decimals(-(10**19), 10**19, places=18)),
    "day": (pa.date32(), st.integers(-800_000, 3_000_000)),
    "time": (pa.timestamp("us", "UTC"), st.integers(-63_000_000_000_000_000, YEAR_10000 + 10 * DAY)),
    "bytes": (pa.binary(), st.binary(max_size=40)),
    "list": (pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=2)),
}
ROW = st.fixed_dictionaries({name: st.none() | values for name, (_, values) in COLUMNS.items()})
GROUPS = st.lists(st.lists(ROW, min_size=1, max_size=4), min_size=1, max_size=3)


def row(**values):
    return {**dict.fromkeys(COLUMNS), **values}


def batch_of(rows):
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    made = {
        name: pa.array(values, COLUMNS[name][0] if name not in ("day", "time") else pa.int64())
        for name, values in columns.items()
    }
    made["day"] = made["day"].cast(pa.int32()).cast(pa.date32())
    made["time"] = made["time"].cast(pa.timestamp("us", "UTC"))
    return pa.RecordBatch.from_arrays(list(made.values()), names=list(made))


def comparable(name, value):
    """A value of the column, or of the log, as what can be compared."""
    if name == "day" and isinstance(value, str):
        return (date.fromisoformat(value) - date(1970, 1, 1)).days
    if name == "time" and isinstance(value, str):
        passed = datetime.fromisoformat(value) - datetime(1970, 1, 1, tzinfo=UTC)
        return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds
    return value.encode() if name == "text" else value


def examples(count):
    return settings(max_examples=count, suppress_health_check=[HealthCheck.function_scoped_fixture])


@examples(30)
@given(GROUPS)
@example([[row(double=math.nan), row(double=1.0)]])
@example([[row(double=math.inf), row(float=-math.inf)]])
@example([[row(text="x" * 32 + "\U0010ffff" * 9)], [row(text="x")]])
@example([[row(time=YEAR_10000 - 1)]])
@example([[row(time=YEAR_10000 + 1), row(day=2_932_897)]])
@example([[row(time=-62_135_596_800_000_001), row(day=-719_163)]])
@example([[row(price=Decimal("0.000000000000000001"))]])
@example([[row(long=None)], [row(long=1)]])
@example([[row(text="\ufffe"), row(text="😀")]])
def test_every_row_lies_within_what_the_log_says(lake, monkeypatch, groups):
    assert_within(lake, monkeypatch, groups)


@pytest.mark.soak("ten times as many random rows; the short one has the chosen ones, too")
@examples(300)
@given(GROUPS)
def test_every_row_of_many_files_lies_within_what_the_log_says(lake, monkeypatch, groups):
    assert_within(lake, monkeypatch, groups)


def assert_within(lake, monkeypatch, groups):
    monkeypatch.setattr(data_files, "_GROUP_BYTES", 1)
    writer = DataFiles(lake.endpoint, f"s3a://{lake.settings.bucket}/statistics")
    for rows in groups:
        writer.add(batch_of(rows))
    [made] = writer.finish()
    said = json.loads(made.statistics)
    rows = [row for group in groups for row in group]
    assert said["numRecords"] == made.rows == len(rows)
    for name in COLUMNS:
        values = [comparable(name, row[name]) for row in rows if row[name] is not None]
        if name in said["nullCount"]:
            assert said["nullCount"][name] == len(rows) - len(values), name
        assert (name in said["minValues"]) == (name in said["maxValues"])
        if name in said["minValues"]:
            low, high = (comparable(name, said[bound][name]) for bound in ("minValues", "maxValues"))
            assert not any(isinstance(value, float) and math.isnan(value) for value in values)
            assert all(low <= value <= high for value in values), name
    stored = pq.read_metadata(pa.BufferReader(lake.store.read(lake.settings.bucket, f"statistics/{made.path}")))
    assert (stored.num_rows, stored.num_row_groups) == (len(rows), len(groups))


def test_bounds_are_there_for_the_plain_types(lake):
    writer = DataFiles(lake.endpoint, f"s3a://{lake.settings.bucket}/statistics")
    writer.add(batch_of([row(text="a", long=1, small=2, double=1.5, float=2.5, day=0, time=1)]))
    [made] = writer.finish()
    said = json.loads(made.statistics)
    assert set(said["minValues"]) == {"text", "long", "small", "double", "float", "day", "time"}
    assert said["minValues"]["time"] == "1970-01-01T00:00:00.000Z"
    assert said["maxValues"]["time"] == "1970-01-01T00:00:00.001Z"


def test_only_the_first_32_columns_are_told(lake):
    writer = DataFiles(lake.endpoint, f"s3a://{lake.settings.bucket}/statistics")
    writer.add(pa.RecordBatch.from_pylist([{f"c{number:02}": number for number in range(40)}]))
    [made] = writer.finish()
    assert list(json.loads(made.statistics)["maxValues"]) == [f"c{number:02}" for number in range(32)]


@pytest.mark.parametrize("name", ["a.b", "with space", "ä", 'quo"te'])
def test_columns_of_any_name_are_told(lake, name):
    writer = DataFiles(lake.endpoint, f"s3a://{lake.settings.bucket}/statistics")
    writer.add(pa.RecordBatch.from_pylist([{name: 1}]))
    [made] = writer.finish()
    assert json.loads(made.statistics)["minValues"] == {name: 1}
