"""Row checks count without Spark, and read a data file once."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from counted import SparkWasAsked, found, opened, place, remove_data_files, uri, write

from lakehouse.checks.evidence import NoInvalidRows, RescueRate
from lakehouse.checks.kept import finding_of
from lakehouse.checks.rows import AcceptedValues, NotNull, Range, RowCheck
from lakehouse.counting.data_files import DataFileMissing, DataFiles
from lakehouse.counting.state import State, read_state, write_state
from lakehouse.errors import ConfigurationError

NAN = float("nan")
ROWS = pa.table(
    {
        "id": pa.array([1, 2, None, 2**53 + 1], pa.int64()),
        "text": ["a", None, "B", "a"],
        "share": pa.array([NAN, -0.0, 0.1, None], pa.float32()),
        "price": pa.array([Decimal("0.30"), Decimal("-5.25"), None, Decimal("99.99")], pa.decimal128(10, 2)),
        "day": pa.array([date(2020, 1, 1), date(2021, 1, 1), None, date(1999, 12, 31)]),
        "at": pa.array([datetime(2020, 1, 1, tzinfo=UTC), None, None, datetime(2021, 1, 1, tzinfo=UTC)]),
        "ok": [True, False, None, True],
        "in": [{"City": "x"}, {"City": None}, None, {"City": "y"}],
        "a.b": [1, None, 3, 4],
        "_rescued_data": ['{"_corrupt_record": "x"}', '{"more": 1}', None, "no json"],
        "_source_file": ["f1", "f1", "f2", "f2"],
        "_source_record": [0, 1, 0, 1],
    }
)


@pytest.mark.parametrize(
    ("check", "wrong", "records"),
    [
        (NotNull(columns="id"), 1, [("f2", 0)]),
        (NotNull(columns=["id", "text"]), 2, [("f1", 1), ("f2", 0)]),
        (NotNull(columns="in.city"), 2, [("f1", 1), ("f2", 0)]),
        (NotNull(columns="`a.b`"), 1, [("f1", 1)]),
        (NotNull(columns="TEXT"), 1, [("f1", 1)]),
        (AcceptedValues(column="text", values=["a"]), 1, [("f2", 0)]),
        (AcceptedValues(column="id", values=[1, 2]), 1, [("f2", 1)]),
        (AcceptedValues(column="ok", values=[True]), 1, [("f1", 1)]),
        (AcceptedValues(column="share", values=[0, NAN]), 1, [("f2", 0)]),
        (AcceptedValues(column="price", values=[0.3, 99.99]), 1, [("f1", 1)]),
        (AcceptedValues(column="day", values=["2020-01-01", "2021-01-01"]), 1, [("f2", 1)]),
        (Range(column="share", max=1), 1, [("f1", 0)]),
        (Range(column="share", min=0), 0, []),
        (Range(column="price", min=0, max=0.3), 2, [("f1", 1), ("f2", 1)]),
        (Range(column="id", max=2**53), 0, []),
        (Range(column="day", min="2020-01-01"), 1, [("f2", 1)]),
        (Range(column="at", max="2020-12-31 23:59:59.999999"), 1, [("f2", 1)]),
        (Range(column="text", min="a"), 1, [("f2", 0)]),
        (Range(column="in.city", max="x"), 1, [("f2", 1)]),
        (RescueRate(max_share=0), 3, [("f1", 0), ("f1", 1), ("f2", 1)]),
        (NoInvalidRows(), 1, [("f1", 0)]),
    ],
    ids=lambda value: f"{value.kind} {value.model_dump(exclude_defaults=True)}" if isinstance(value, RowCheck) else "",
)
def test_what_a_check_finds_is_what_its_words_say(lake, check, wrong, records):
    write(lake, ROWS)
    finding = found(lake, check)[check.called]
    assert finding.numbers[f"{check.noun}_rows"] == wrong
    assert finding.numbers["examined_rows"] == 4
    assert [(row["_source_file"], row["_source_record"]) for row in finding.sample] == records
    assert finding.passed == (wrong == 0)
    if not finding.passed:
        assert "lakehouse replay" in finding.next_command


def test_a_sample_shows_the_row_or_where_that_tells_nothing_what_did_not_fit(lake):
    write(lake, ROWS)
    findings = found(lake, NotNull(columns="id"), RescueRate(max_share=0))
    [row] = findings["not_null"].sample
    assert list(row)[:2] == ["_source_file", "_source_record"] and row["text"] == "B" and row["in"] is None
    assert findings["rescue_rate"].sample[0] == {
        "_source_file": "f1",
        "_source_record": 0,
        "line": '{"_corrupt_record": "x"}',
    }


def test_a_sample_shows_nested_values_maps_and_variants_as_spark_hands_them_over(lake):
    variant = pa.array([{"value": b"\x0c\x07", "metadata": b"\x01\x00\x00"}])
    variant = variant.cast(pa.struct([("value", pa.binary()), ("metadata", pa.binary())]))
    at = pa.array([datetime(2020, 1, 1, 12, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    nested = pa.array([[{"m": [("k", 1)]}]], pa.list_(pa.struct([("m", pa.map_(pa.string(), pa.int64()))])))
    write(lake, pa.table({"id": pa.nulls(1, pa.int64()), "v": variant, "at": at, "n": nested}))
    [row] = found(lake, NotNull(columns="id"))["not_null"].sample
    assert (row["v"].toPython(), row["n"]) == (7, [{"m": {"k": 1}}])
    assert row["at"] == datetime(2020, 1, 1, 12, tzinfo=UTC).astimezone().replace(tzinfo=None)


def test_a_table_without_evidence_has_nothing_to_examine(lake):
    write(lake, [{"id": 1}])
    assert found(lake, NoInvalidRows(), RescueRate()) == {"no_invalid_rows": None, "rescue_rate": None}


@pytest.mark.parametrize("name", ["nobody", "in.nobody", "a.b", "`id"])
def test_a_column_that_is_not_there_is_told_before_anything_is_read(lake, name):
    write(lake, ROWS)
    with pytest.raises(ConfigurationError, match="has no column"):
        found(lake, NotNull(columns=name))


@pytest.mark.parametrize(
    "check",
    [
        Range(column="text", min=1),
        AcceptedValues(column="id", values=["x"]),
        AcceptedValues(column="id", values=[1, "2"]),
    ],
    ids=str,
)
def test_what_only_spark_can_compare_is_left_to_it(lake, check):
    write(lake, ROWS)
    with pytest.raises(SparkWasAsked):
        found(lake, check)


def test_a_table_with_deletion_vectors_is_left_to_spark(lake):
    write(lake, ROWS, configuration={"delta.enableDeletionVectors": "true"})
    with pytest.raises(SparkWasAsked):
        found(lake, NotNull(columns="id"))


def test_values_of_partitions_are_in_no_file_and_are_checked_all_the_same(lake):
    rows = [{"country": country, "id": number} for number, country in enumerate(["DE", "FR", None, "x y"])]
    write(lake, rows, partition_by="country")
    findings = found(lake, NotNull(columns="country"), AcceptedValues(column="country", values=["DE", "FR"]))
    assert findings["not_null"].numbers["null_rows"] == 1
    assert [row["country"] for row in findings["accepted_values"].sample] == ["x y"]


def test_columns_that_older_files_lack_are_null_in_them(lake):
    write(lake, [{"id": 1}])
    write(lake, [{"id": 2, "more": "x"}], schema_mode="merge")
    assert found(lake, NotNull(columns="more"))["not_null"].numbers["null_rows"] == 1


def test_a_data_file_that_was_counted_is_not_read_again(lake):
    checks = NotNull(columns="id"), AcceptedValues(column="text", values=["a"])
    write(lake, ROWS)
    first = found(lake, *checks)
    [counted] = DataFiles.of(lake, "bronze.things").sizes
    remove_data_files(lake, [counted])
    write(lake, ROWS)
    finding = found(lake, NotNull(columns="id", max_share=0.5))["not_null"]
    assert finding.numbers["null_rows"] == 2 * first["not_null"].numbers["null_rows"] == 2
    assert finding.numbers["examined_rows"] == 8
    with pytest.raises(DataFileMissing):
        found(lake, NotNull(columns="id", max_share=0.5), full=True)
    with pytest.raises(DataFileMissing):  # another check has to look at all files
        found(lake, NotNull(columns="text"))


def test_what_a_new_file_brings_is_found_and_what_is_removed_is_not_counted_any_more(lake):
    check = NotNull(columns="id")
    write(lake, [{"id": 1, "x": 1}])
    assert found(lake, check)["not_null"].passed
    write(lake, [{"id": None, "x": 2}, {"id": 5, "x": 3}])
    assert found(lake, check)["not_null"].numbers["null_rows"] == 1
    opened(lake).update(updates={"id": "NULL"}, predicate="x = 1")  # a value that somebody tampered with
    assert found(lake, check)["not_null"].numbers["null_rows"] == 2
    opened(lake).delete("id IS NULL")
    assert found(lake, check)["not_null"].numbers == {
        "null_rows": 0,
        "examined_rows": 1,
        "null_share": 0.0,
        "allowed_share": 0,
    }
    opened(lake).restore(1)
    assert found(lake, check)["not_null"].numbers["examined_rows"] == 3


def test_a_table_that_was_made_anew_at_the_same_place_is_counted_anew(lake):
    write(lake, [{"id": None}])
    found(lake, NotNull(columns="id"))
    bucket, folder = uri(lake).removeprefix("s3://").split("/", 1)
    lake.store.delete_prefix(bucket, f"{folder}/")
    write(lake, [{"id": 1}])
    assert found(lake, NotNull(columns="id"))["not_null"].passed


@pytest.mark.parametrize("content", [b"", b"PAR1 it is not", None])
def test_a_state_that_is_damaged_or_gone_costs_a_full_count_and_nothing_else(lake, content):
    write(lake, ROWS)
    check = NotNull(columns="id")
    first = found(lake, check)
    key = f"{lake.settings.user}/_checks/bronze.things/rows.parquet"
    lake.store.delete(lake.settings.bucket, key)
    if content is not None:
        lake.store.write(lake.settings.bucket, key, content)
    assert found(lake, check) == first
    assert found(lake, check) == first


def test_a_full_count_finds_what_was_kept_wrongly_and_puts_it_right(lake):
    write(lake, ROWS)
    check = NotNull(columns="id")
    right = found(lake, check)
    files = DataFiles.of(lake, "bronze.things")
    state = read_state(lake, "bronze.things", "rows", files.table_id)
    [column] = set(state.files.column_names) - {"path", "rows"}
    lied = state.files.set_column(state.files.column_names.index(column), column, pa.array([0]))
    assert write_state(lake, "bronze.things", "rows", files.table_id, State(lied, {}, state.e_tag))
    assert found(lake, check)["not_null"].passed, "nothing tells that the count was changed"
    at = place(lake, check, full=True)
    assert check.examine(at) == right["not_null"]
    finding = finding_of(at)
    assert not finding.passed and finding.numbers == {"kept_counts": 2, "counts_that_differ": 1}
    assert finding.sample == ({"of": "not_null", "kept": "0", "counted": "1"},)
    again = place(lake, check, full=True)
    assert check.examine(again) == right["not_null"] and finding_of(again).passed
