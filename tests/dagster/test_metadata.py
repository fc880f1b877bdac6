"""Numbers keep their names whatever a run did, and what is shown can be sent as JSON."""

import json

from assets.metadata import _numbers, _tables, records
from lakehouse.pipeline import BRONZE, SILVER
from lakehouse.progress import BatchProgress, StreamReport


def busy(table, **more):
    batch = BatchProgress(table, 4, 500, 1.0, files=2, corrupt_rows=3, backlog_files=7, **more)
    return StreamReport(table, (batch,), 500, 3, 4, 1.5, ("a", "b"), ignored_files=1)


def quiet(table):
    return StreamReport(table, (), 0, 4, 4, 0.2)


def test_a_quiet_run_has_every_number_of_a_busy_one():
    assert set(_numbers(quiet(BRONZE))) == set(_numbers(busy(BRONZE)))
    assert {_numbers(quiet(BRONZE))[name] for name in ("rows_added", "files_loaded", "corrupt_rows", "batches")} == {0}


def test_silver_counts_no_files():
    assert not {"files_loaded", "ignored_files", "corrupt_rows"} & set(_numbers(busy(SILVER)))


def test_the_receipt_tells_files_offered_from_files_loaded():
    [receipt] = _tables(busy(BRONZE))["exactly_once_receipt"].records
    assert (receipt.data["files_offered"], receipt.data["files_loaded"]) == (9, 2)
    assert (receipt.data["rows_read"], receipt.data["rows_committed"]) == (500, 500)
    assert (receipt.data["delta_version_before"], receipt.data["delta_version_after"]) == (3, 4)


def test_rows_with_numbers_that_json_lacks_can_still_be_shown():
    shown = records([{"amount": float("nan"), "limit": float("-inf"), "name": None, "count": 3, "ok": True}])
    [row] = [record.data for record in shown.records]
    assert row == {"amount": "nan", "limit": "-inf", "name": "", "count": 3, "ok": True}
    json.dumps(row, allow_nan=False)
