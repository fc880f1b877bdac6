"""Numbers keep their names whatever a run did, and what is shown can be sent as JSON."""

import json
from datetime import UTC, datetime

import pytest
from pyspark.sql.types import StructType

from assets.metadata import _numbers, _tables
from assets.records import CELL_CHARACTERS, records
from assets.schema_metadata import of_schema, origins
from lakehouse.autoloader.schemas import SchemaVersion
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.progress import BatchProgress, StreamReport


def busy(table, **more):
    batch = BatchProgress(table, 4, 500, 1.0, files=2, corrupt_rows=3, backlog_files=7, **more)
    return StreamReport(table, (batch,), 500, 3, 4, 1.5, ("a", "b"), ignored_files=1)


def quiet(table):
    return StreamReport(table, (), 0, 4, 4, 0.2)


def test_a_quiet_run_has_every_number_of_a_busy_one():
    assert set(_numbers(quiet(BRONZE))) == set(_numbers(busy(BRONZE)))
    assert {_numbers(quiet(BRONZE))[name] for name in ("rows_added", "files_loaded", "rescued_rows", "batches")} == {0}


def test_silver_counts_no_files():
    assert not {"files_loaded", "ignored_files", "corrupt_rows"} & set(_numbers(busy(SILVER)))


def test_the_receipt_tells_files_offered_from_files_loaded():
    [receipt] = _tables(busy(BRONZE))["exactly_once_receipt"].records
    assert (receipt.data["files_offered"], receipt.data["files_loaded"]) == (9, 2)
    assert (receipt.data["rows_read"], receipt.data["rows_committed"]) == (500, 500)
    assert (receipt.data["delta_version_before"], receipt.data["delta_version_after"]) == (3, 4)


def test_a_change_is_shown_by_the_first_materialization_after_it_and_by_no_other():
    written = datetime(2026, 1, 1, tzinfo=UTC)
    old = SchemaVersion(0, StructType().add("a", "string"), StructType(), {}, written=written)
    place = {"b": ("s3a://landing/f.json", 4)}
    new = SchemaVersion(1, StructType().add("a", "string").add("b", "double"), StructType(), place, written=written)
    assert of_schema([], None) == {}
    assert of_schema([old], None) == {"schema_version": 0, "columns_added": 0}
    for shown in (None, 0):
        told = of_schema([old, new], shown)
        [change] = [record.data for record in told["schema_changes"].records]
        assert (told["columns_added"], change["column"], change["record"]) == (1, "b", 4)
        assert told["schema_diff"].value == "```diff\n+ b double\n```"
    assert origins([old, new]) == {"b": "added in version 1, f.json record 4"}
    later = of_schema([old, new], 1)
    assert (later["schema_version"], later["columns_added"]) == (1, 0)
    assert set(later) == {"schema_version", "columns_added", "schema_history"}
    [_, last] = [record.data for record in later["schema_history"].records]
    assert (last["columns"], last["changes"], last["made_by"]) == (2, "+b", "s3a://landing/f.json")


def test_rows_with_numbers_that_json_lacks_can_still_be_shown():
    shown = records([{"amount": float("nan"), "limit": float("-inf"), "name": None, "count": 3, "ok": True}])
    [row] = [record.data for record in shown.records]
    assert row == {"amount": "nan", "limit": "-inf", "name": "", "count": 3, "ok": True}
    json.dumps(row, allow_nan=False)


@pytest.mark.parametrize("value", ["x" * 5_000_000, ["x"] * 1_000_000, {"a": "x" * 5_000_000}, b"x" * 5_000_000])
def test_long_values_are_cut_before_they_reach_the_log(value):
    [record] = records([{"raw": value}]).records
    cell = record.data["raw"]
    assert len(cell) < CELL_CHARACTERS + 50
    assert cell.endswith(" characters)")


def test_values_as_long_as_a_cell_are_whole():
    [record] = records([{"raw": "x" * CELL_CHARACTERS}]).records
    assert record.data["raw"] == "x" * CELL_CHARACTERS
