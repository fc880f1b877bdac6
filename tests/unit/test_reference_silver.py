"""The reference model against cases worked out by hand."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from reference_silver import reference_silver as model


def at(clock: str) -> datetime:
    return datetime.strptime(f"2026-01-01 {clock}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def row(clock: str, amount: float = 10.0, method: str = "card", **other: object) -> bytes:
    order = {"order_date": f"2026-01-01 {clock}", "total_amount": amount, "payment_method": method, "quantity": 1}
    return json.dumps({**order, **other}).encode()


def reference_silver(runs):
    """Closed windows by start and payment method, and how many rows were late."""
    silver = model(runs)
    closed = {(start, method): (end, *totals) for (start, end, method), totals in silver.windows.items()}
    return closed, silver.late.total()


def test_a_window_closes_when_the_newest_time_is_ten_minutes_past_its_end() -> None:
    early = row("10:00:00", 10.0)
    assert reference_silver([[[early, row("10:14:59")]]]) == ({}, 0)
    assert reference_silver([[[early, row("10:15:00")]]]) == ({(at("10:00"), "card"): (at("10:05"), 1, 10.0, 10.0)}, 0)


def test_a_row_at_a_windows_end_belongs_to_the_next_window() -> None:
    closed, _ = reference_silver([[[row("10:04:59"), row("10:05:00"), row("10:30:00")]]])
    assert {start: values[1] for (start, _), values in closed.items()} == {at("10:00"): 1, at("10:05"): 1}


def test_count_revenue_and_average_are_kept_for_each_payment_method() -> None:
    rows = [row("10:01:00", 10.25), row("10:02:00", 20.25), row("10:03:00", 5.5, "cash"), row("10:30:00")]
    assert reference_silver([[rows]])[0] == {
        (at("10:00"), "card"): (at("10:05"), 2, 30.5, 15.25),
        (at("10:00"), "cash"): (at("10:05"), 1, 5.5, 5.5),
    }


def test_an_order_delivered_twice_is_counted_twice() -> None:
    closed, dropped = reference_silver([[[row("10:01:00"), row("10:01:00"), row("10:30:00")]]])
    assert closed[at("10:00"), "card"] == (at("10:05"), 2, 20.0, 10.0)
    assert dropped == 0


def test_within_one_batch_no_row_is_too_late() -> None:
    closed, dropped = reference_silver([[[row("12:00:00"), row("10:01:00")]]])
    assert (list(closed), dropped) == ([(at("10:00"), "card")], 0)


def test_a_later_run_drops_rows_whose_window_ended_by_the_watermark() -> None:
    first = [[row("10:20:00")]]  # watermark 10:10
    closed, dropped = reference_silver([first, [[row("10:04:59"), row("10:09:59"), row("10:10:00")]]])
    assert (closed, dropped) == ({}, 2)
    closed, dropped = reference_silver([first, [[row("10:10:00")]], [[row("10:25:00")]]])
    assert (closed, dropped) == ({(at("10:10"), "card"): (at("10:15"), 1, 10.0, 10.0)}, 0)


def test_inside_a_run_rows_are_dropped_one_batch_later_than_the_watermark_moves() -> None:
    newest, late = [row("10:20:00")], [row("10:01:00")]
    assert reference_silver([[newest, late]]) == ({(at("10:00"), "card"): (at("10:05"), 1, 10.0, 10.0)}, 0)
    assert reference_silver([[newest, [row("10:20:00")], late]]) == ({}, 1)
    assert reference_silver([[newest], [late]]) == ({}, 1)


def test_the_watermark_never_goes_back() -> None:
    runs = [[[row("10:20:00")]], [[row("10:12:00")]], [[row("10:09:00")]]]
    assert reference_silver(runs) == ({}, 1)


@pytest.mark.parametrize(
    "line",
    [
        row("10:01:00", quantity="several"),
        row("10:01:00", order_date=None),
        row("10:01:00", order_date="yesterday"),
        row("10:01:00", order_date="2026-02-30 10:01:00"),
        row("10:01:00", order_date="2026-1-1 10:1:0"),
        row("10:01:00")[:40],
        b"no JSON at all",
        b"",
        b"42",
        b'{"quantity": 1}',
        b"[]",
    ],
)
def test_a_line_that_is_no_whole_order_with_a_date_is_neither_counted_nor_dropped(line: bytes) -> None:
    assert reference_silver([[[line, row("10:30:00")]], [[line, row("10:30:00")]]]) == ({}, 0)


def test_an_unreadable_row_does_not_move_the_watermark() -> None:
    assert reference_silver([[[row("10:01:00"), row("12:00:00", quantity="several")]]]) == ({}, 0)


def test_no_runs_and_empty_batches_hold_nothing() -> None:
    assert reference_silver([]) == ({}, 0)
    assert reference_silver([[], [[]]]) == ({}, 0)


def test_overlapping_windows_hold_a_row_several_times() -> None:
    silver = model([[[row("10:01:00"), row("10:30:00")]]], slide=timedelta(minutes=2))
    assert [f"{start:%H:%M}" for start, _, _ in sorted(silver.windows)] == ["09:58", "10:00"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "invalid_row"),
        (row("10:01:00", quantity="several"), "invalid_row"),
        (row("10:01:00", order_date="yesterday"), "no_event_time"),
        (row("10:01:00", order_date="1970-01-01 00:00:00"), "event_time_too_early"),
        (row("10:01:00", order_date="2999-01-01 00:00:00"), "event_time_in_the_future"),
        (row("10:01:00", 1e300), "amount_out_of_range"),
    ],
)
def test_a_row_that_is_not_counted_has_a_reason_and_moves_no_watermark(line, reason) -> None:
    silver = model([[[row("10:01:00"), line]]])
    assert (silver.set_aside, silver.windows, len(silver.opened)) == ({reason: 1}, {}, 1)
