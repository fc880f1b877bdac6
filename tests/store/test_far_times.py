"""Days and times beyond Python's years 1 to 9999, which Parquet and Delta hold: loaded, read, replayed, joined."""

import io
import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import lakehouse_here
from deltalake import write_deltalake
from store.local_world import TABLE, LocalWorld

from lakehouse.maintenance.detail import layout
from lakehouse.maintenance.optimize import Thresholds
from lakehouse.maintenance.retention import expire
from lakehouse.pipeline import replay_files
from lakehouse.python_values import listed, listed_rows
from lakehouse.upkeep import optimize_tables

FAR_MICROSECONDS = 10**18
TIME = "+33658-09-27 01:46:40"
DAYS = {10**7: "+29349-01-26", 0: date(1970, 1, 1), -(10**6): "-0768-02-04"}


def rows_of(number):
    """A row for each day and one without, all at one time."""
    return pa.table(
        {
            "n": pa.array([number] * 4, pa.int64()),
            "day": pa.array([*DAYS, None], pa.int32()).cast(pa.date32()),
            "moment": pa.array([FAR_MICROSECONDS] * 4, pa.int64()).cast(pa.timestamp("us", "UTC")),
        }
    )


def put(things, number, *, name):
    file = io.BytesIO()
    pq.write_table(rows_of(number), file)
    things.put(name, file.getvalue())


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(format="parquet", partition_by="day")


def found(things):
    """The number and the day of each row."""
    return sorted(((row["n"], row["day"]) for row in listed_rows(things.lake.rows(TABLE).to_table())), key=repr)


def expected(*numbers):
    return sorted(((number, day) for number in numbers for day in (*DAYS.values(), None)), key=repr)


def test_folders_of_such_days_are_loaded_replayed_and_joined(things):
    put(things, 0, name="a.parquet")
    put(things, 1, name="b.parquet")
    things.load()
    assert found(things) == expected(0, 1)
    put(things, 2, name="a.parquet")
    replay_files(things.lake, TABLE, files=["a.parquet"], really=True)
    things.load()
    assert found(things) == expected(1, 2) and things.failed_checks() == set()
    [joined] = optimize_tables(things.lake, [TABLE], Thresholds(least_fewer=1))
    assert joined.files_after == layout(things.lake.delta(TABLE)).folders == 4


def test_bounds_of_such_days_in_the_log_are_no_end_of_reading(things):
    uri = things.lake.settings.table_uri(TABLE).replace("s3a://", "s3://")
    write_deltalake(uri, rows_of(1), storage_options=things.lake.endpoint.deltalake_options())
    assert found(things) == expected(1)
    old = expire(things.lake, TABLE, "day", datetime(2000, 1, 1, tzinfo=UTC))
    assert (old.rows, old.timeless_rows) == (2, 1)
    query = f"SELECT day, moment, [moment] AS list FROM {TABLE} ORDER BY day DESC NULLS LAST LIMIT 1"
    text, as_json, as_csv = (
        lakehouse_here(things.environment, "sql", query, *how) for how in ((), ("--json",), ("--csv",))
    )
    assert [(done.returncode, done.stderr) for done in (text, as_json, as_csv)] == [(0, "")] * 3
    in_utc = f"{TIME}+00:00"
    assert "+29349-01-26" in text.stdout and in_utc in text.stdout and in_utc in as_csv.stdout
    assert json.loads(as_json.stdout)["rows"] == [{"day": "+29349-01-26", "moment": in_utc, "list": [in_utc]}]


def test_such_a_day_that_fits_no_column_is_rescued(things):
    things.declare(format="parquet", hints={"day": "BOOLEAN"})
    put(things, 1, name="a.parquet")
    things.load()
    rows = listed_rows(things.lake.rows(TABLE).to_table(columns=["_rescued_data"]))
    rescued = [json.loads(row["_rescued_data"]) for row in rows if row["_rescued_data"]]
    assert [document["day"] for document in rescued] == [str(day) for day in DAYS.values()]


def test_values_beyond_python_are_text_and_all_others_are_python():
    def maps_of(type_):
        return pa.map_(pa.string(), pa.struct([("at", pa.list_(type_))]))

    numbers = pa.array([[("a", {"at": [FAR_MICROSECONDS + 5, 0]})], None], maps_of(pa.int64()))
    times = numbers.cast(maps_of(pa.timestamp("us")))
    inside = {"at": [f"{TIME}.000005", datetime(1970, 1, 1)]}
    assert listed(times) == [[("a", inside)], None]
    assert listed(times, maps_as_dicts=True) == [{"a": inside}, None]
