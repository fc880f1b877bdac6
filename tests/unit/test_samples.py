"""Sample files: same call, same bytes; and the report says what is in them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_silver import reference_silver

from lakehouse.errors import ConfigurationError
from lakehouse.orders.samples import FIELDS, GeneratedOrders, generate_orders

FLAWS = {"late_share": 0.1, "duplicate_share": 0.1, "bad_line_share": 0.1, "bad_date_share": 0.1}


def generated(**arguments: Any) -> tuple[GeneratedOrders, dict[str, bytes]]:
    written: dict[str, bytes] = {}
    return generate_orders(written.__setitem__, **arguments), written


def parsed(line: bytes) -> dict[str, Any] | None:
    try:
        order = json.loads(line)
    except ValueError:
        return None
    return order if isinstance(order["quantity"], int) else None


def event_time(order: dict[str, Any]) -> datetime | None:
    try:
        return datetime.strptime(order["order_date"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return None


def counted(files: dict[str, bytes], new_column: str) -> dict[str, Any]:
    """The report's numbers, counted from the bytes alone."""
    seen: set[str] = set()
    times: list[datetime] = []
    numbers = dict.fromkeys(("rows", "duplicate_rows", "late_rows", "bad_lines", "bad_date_rows", "new_column_rows"), 0)
    for data in files.values():
        newest_before = max(times, default=None)
        for line in data.splitlines():
            numbers["rows"] += 1
            order = parsed(line)
            if order is None:
                numbers["bad_lines"] += 1
                continue
            numbers["duplicate_rows"] += order["order_id"] in seen
            seen.add(order["order_id"])
            numbers["new_column_rows"] += new_column in order
            time = event_time(order)
            if time is None:
                numbers["bad_date_rows"] += 1
                continue
            times.append(time)
            if newest_before is not None and time < newest_before:
                numbers["late_rows"] += 1
    return {
        **numbers,
        "size_bytes": sum(map(len, files.values())),
        "distinct_order_ids": len(seen),
        "dropped_if_streamed_rows": reference_silver([[data.splitlines()] for data in files.values()]).late.total(),
        "min_event_time": min(times),
        "max_event_time": max(times),
    }


share = st.floats(0, 0.3).map(lambda value: round(value, 2))
series = st.fixed_dictionaries(
    {
        "files": st.integers(1, 5),
        "rows_per_file": st.integers(1, 40),
        "seed": st.integers(0, 2**40),
        "file_span_seconds": st.sampled_from([1, 60, 300, 1800]),
        "late_share": share,
        "duplicate_share": share,
        "bad_line_share": share,
        "bad_date_share": st.floats(0, 0.05),
        "new_column_from_file": st.integers(0, 6),
    }
)


@settings(max_examples=60, deadline=None)
@given(series)
def test_the_report_says_what_is_in_the_bytes(arguments: dict[str, Any]) -> None:
    report, files = generated(new_column="coupon", **arguments)
    expected = counted(files, "coupon")
    assert {name: getattr(report, name) for name in expected} == expected
    assert [(file.name, file.size_bytes) for file in report.files] == [
        (name, len(data)) for name, data in files.items()
    ]
    for file in report.files:
        lines = files[file.name].splitlines()
        assert (file.rows, file.bad_lines) == (len(lines), sum(parsed(line) is None for line in lines))


@settings(max_examples=40, deadline=None)
@given(series, st.integers(1, 4))
def test_a_series_written_in_two_calls_is_the_series_written_in_one(arguments: dict[str, Any], cut: int) -> None:
    arguments = {**arguments, "files": 5, "new_column": "coupon"}
    whole, files = generated(**arguments)
    first, head = generated(**{**arguments, "files": cut})
    second, tail = generated(**{**arguments, "files": 5 - cut, "first_file": cut})
    assert {**head, **tail} == files
    for name in ("rows", "distinct_order_ids", "duplicate_rows", "late_rows", "dropped_if_streamed_rows", "bad_lines"):
        assert getattr(first, name) + getattr(second, name) == getattr(whole, name)


def test_the_default_is_twelve_files_of_250_rows_in_an_hour_of_event_time() -> None:
    report, files = generated()
    assert list(files) == [f"orders_stream_{number:03d}.json" for number in range(12)]
    assert (report.rows, report.distinct_order_ids, report.bad_lines, report.duplicate_rows) == (3000, 3000, 0, 0)
    assert report.max_event_time == datetime(2026, 1, 1, 10, 59, 59, tzinfo=UTC)
    assert report.late_rows == 55  # 2 % of the eleven files that have files before them
    assert 0 < report.dropped_if_streamed_rows < report.late_rows


def test_the_same_call_writes_the_same_bytes_and_another_seed_writes_other_orders() -> None:
    assert generated(**FLAWS) == generated(**FLAWS)
    ids = [
        {
            order["order_id"]
            for data in generated(seed=seed)[1].values()
            for line in data.splitlines()
            if (order := parsed(line))
        }
        for seed in (7, 8)
    ]
    assert len(ids[0]) == 3000
    assert ids[0].isdisjoint(ids[1])


def test_every_order_has_the_seven_columns_and_an_amount_of_two_decimals() -> None:
    _, files = generated(files=2)
    for line in b"".join(files.values()).decode().splitlines():
        order = json.loads(line, parse_float=str)
        assert tuple(order) == FIELDS
        assert len(order["total_amount"].split(".")[1]) == 2
        assert order["payment_method"] in {"card", "blik", "transfer", "cash"}


def test_files_move_on_by_their_span_so_that_windows_close() -> None:
    _, files = generated(files=4, late_share=0, file_span_seconds=300)
    start = datetime(2026, 1, 1, 10, tzinfo=UTC)
    for number, data in enumerate(files.values()):
        times = [event_time(json.loads(line)) for line in data.splitlines()]
        assert min(times) >= start + timedelta(minutes=5 * number)
        assert max(times) == start + timedelta(minutes=5 * (number + 1), seconds=-1)


def test_bad_lines_are_of_three_kinds() -> None:
    _, files = generated(files=1, rows_per_file=200, bad_line_share=0.3)
    bad = [line for line in next(iter(files.values())).splitlines() if parsed(line) is None]
    assert any(line.startswith(b"ERROR") for line in bad)
    assert any(line.startswith(b"{") and not line.endswith(b"}") for line in bad)
    assert any(b'"quantity": "several"' in line for line in bad)
    assert len(bad) == 60


def test_a_duplicate_repeats_a_line_byte_for_byte_also_of_the_file_before() -> None:
    report, files = generated(files=3, duplicate_share=0.2, late_share=0)
    lines = [data.splitlines() for data in files.values()]
    assert report.duplicate_rows == 150 == sum(map(len, lines)) - len(set().union(*lines))
    assert set(lines[0]) & set(lines[1])


def test_a_new_column_starts_with_its_file_and_changes_nothing_else() -> None:
    _, plain = generated(files=3)
    _, wide = generated(files=3, new_column="coupon", new_column_from_file=2)
    assert [*plain.values()][:2] == [*wide.values()][:2]
    last = [json.loads(line) for line in [*wide.values()][2].splitlines()]
    assert all(order.pop("coupon") for order in last)
    assert last == [json.loads(line) for line in [*plain.values()][2].splitlines()]


def test_a_new_column_named_in_a_later_call_starts_with_that_call() -> None:
    _, later = generated(files=1, first_file=2, new_column="coupon", duplicate_share=0.2)
    _, whole = generated(files=3, new_column="coupon", new_column_from_file=2, duplicate_share=0.2)
    assert [*later.values()] == [*whole.values()][2:]


def test_the_report_fits_in_one_line_that_names_only_flaws_that_are_there() -> None:
    assert generated()[0].line().startswith("wrote 12 files, 3,000 rows, 55 late, event time 2026-01-01 ")
    line = generated(files=1, **FLAWS)[0].line()
    assert line.startswith("wrote 1 files, 250 rows, 25 duplicate, 25 bad, event time 2026-01-01 10:00:")


def test_the_report_becomes_plain_json() -> None:
    report, _ = generated(files=1)
    facts = json.loads(json.dumps(report.as_dict()))
    assert facts["files"][0]["name"] == "orders_stream_000.json"
    assert facts["max_event_time"] == "2026-01-01T10:04:59Z"


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ({"files": 0}, "files"),
        ({"rows_per_file": 0}, "rows_per_file"),
        ({"rows_per_file": -5}, "rows_per_file"),
        ({"first_file": -1}, "first_file"),
        ({"seed": -1}, "seed"),
        ({"file_span_seconds": 0}, "file_span_seconds"),
        ({"late_share": 1.5}, "late_share"),
        ({"bad_line_share": float("nan")}, "bad_line_share"),
        ({"duplicate_share": -0.1}, "duplicate_share"),
        ({"late_share": 0.5, "duplicate_share": 0.5}, "shares"),
        ({"start": "soon"}, "start"),
        ({"start": "0001-01-01 00:00:00"}, "start"),
        ({"start": "9999-12-31 23:59:00"}, "9999"),
        ({"new_column": "two words"}, "new_column"),
        ({"new_column": "Quantity"}, "new_column"),
        ({"new_column_from_file": 3}, "new_column"),
        ({"new_column": "coupon", "new_column_from_file": -1}, "new_column_from_file"),
    ],
)
def test_nonsense_is_refused_by_name_before_anything_is_written(arguments: dict[str, Any], culprit: str) -> None:
    written: list[str] = []
    with pytest.raises(ConfigurationError, match=culprit):
        generate_orders(lambda name, data: written.append(name), **arguments)
    assert written == []
