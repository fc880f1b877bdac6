"""Numbers keep their names whatever a run did, and what is shown can be sent as JSON."""

import dataclasses
import json
from datetime import UTC, datetime

import pytest
from declared_catalogues import DAYS, LATEST, READINGS, SECOND, WINDOWS
from pyspark.sql.types import StructType

from lakehouse.autoloader.schema.versions import SchemaVersion
from lakehouse.dagster.metadata import numbers, tables
from lakehouse.dagster.records import CELL_CHARACTERS, records
from lakehouse.dagster.schema_metadata import of_schema, origins
from lakehouse.flows.files import Files
from lakehouse.streams.progress import BatchProgress, StreamReport


def busy(table, **more):
    batch = BatchProgress(table.name, 4, 500, 1.0, files=2, corrupt_rows=3, backlog_files=7, **more)
    return StreamReport(table.name, (batch,), 500, 3, 4, 1.5, ("a", "b"), ignored_files=1)


def quiet(table):
    return StreamReport(table.name, (), 0, 4, 4, 0.2)


@pytest.mark.parametrize("table", [READINGS, SECOND, LATEST, WINDOWS, DAYS], ids=lambda table: table.name)
def test_a_quiet_run_has_every_number_of_a_busy_one(table):
    assert set(numbers(table, quiet(table))) == set(numbers(table, busy(table)))
    assert {numbers(table, quiet(table))[name] for name in ("rows_added", "batches")} == {0}


def test_only_tables_of_files_count_files():
    files = {"files_loaded", "ignored_files", "corrupt_rows", "rescued_rows", "backlog_files", "backlog_bytes"}
    assert files <= set(numbers(READINGS, busy(READINGS)))
    assert not files & set(numbers(WINDOWS, busy(WINDOWS)))
    basic = dataclasses.replace(READINGS, flow=Files(path="s3a://landing/x/", source="spark"))
    assert files & set(numbers(basic, busy(basic))) == {"files_loaded", "ignored_files", "corrupt_rows"}


def test_each_kind_counts_what_it_does_to_rows():
    changed, left_out = {"rows_updated", "rows_removed"}, {"late_rows", "set_aside_rows"}
    told = {table.name: set(numbers(table, busy(table))) & {*changed, *left_out} for table in (READINGS, LATEST, DAYS)}
    assert told == {READINGS.name: set(), LATEST.name: changed, DAYS.name: changed}
    assert set(numbers(WINDOWS, busy(WINDOWS))) & {*changed, *left_out} == left_out


def test_the_receipt_tells_files_offered_from_files_loaded():
    [receipt] = tables(READINGS, busy(READINGS))["exactly_once_receipt"].records
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
