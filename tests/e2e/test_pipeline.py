"""From files in a bucket to silver, judged by plain Python and read without Spark."""

import json
import math
from collections import Counter

import pytest
from command import lakehouse, lakehouse_here, lakehouse_json_here
from reference_silver import reference_silver

from lakehouse.orders.samples import file_name
from lakehouse.orders.tables import BASIC, BRONZE, SILVER, TABLES
from lakehouse.storage import hold_lease

EMPTY = "orders_stream_999.json"
MIXED = {"rows_per_file": 60, "late_share": 0.1, "bad_line_share": 0.05, "bad_date_share": 0.03}


def lines_of(lake, first, count):
    """Raw lines of landing files, in the order of their numbers."""
    bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix
    names = [prefix + file_name(number) for number in range(first, first + count)]
    return [line for name in names for line in lake.store.read(bucket, name).decode().splitlines()]


def assert_silver_is(lake, runs):
    """Silver and its quarantine are what the model says: keys and counts exactly, sums to the last digits."""
    expected = reference_silver(runs)
    rows = lake.delta(SILVER).to_pyarrow_table().to_pylist()
    found = {(row["window_start"], row["window_end"], row["payment_method"]): row for row in rows}
    assert len(found) == len(rows), "a window stands in silver twice"
    assert found.keys() == expected.windows.keys()
    for key, (count, revenue, average) in expected.windows.items():
        row = found[key]
        assert row["order_count"] == count
        for name, value in (("total_revenue", revenue), ("avg_order_value", average)):
            assert row[name] == value or math.isclose(row[name], value, rel_tol=1e-12)
    kept = lake.delta_at(lake.settings.quarantine_uri(SILVER))
    kept = kept.to_pyarrow_table().to_pylist() if kept else []
    late = [(row["window_start"], row["window_end"], row["payment_method"]) for row in kept if row["reason"] == "late"]
    assert Counter(late) == expected.late
    assert Counter(row["reason"] for row in kept if row["reason"] != "late") == expected.set_aside
    return expected.late.total()


def bronze_rows(lake):
    return lake.delta(BRONZE).to_pyarrow_table().to_pylist()


@pytest.mark.soak("three runs and their reports; test_other_engines.py has one, test_late.py several of silver alone")
def test_silver_equals_plain_python_over_several_runs_and_the_last_finds_nothing(lake, land, environment):
    written = [land(files=5, **MIXED)]
    first = lakehouse_json_here(environment, "ingest", BRONZE, SILVER)
    written.append(land(files=2, first_file=5, **MIXED))
    second = lakehouse_json_here(environment, "ingest", BRONZE, SILVER)
    runs = [[lines_of(lake, 0, 5)], [lines_of(lake, 5, 2)]]
    dropped = assert_silver_is(lake, runs)
    assert dropped > 0, "the input must have rows that the watermark drops"
    checks = {check["check"]: check for check in second["checks"]}
    assert checks["windows_account_for_orders"]["passed"]
    assert checks["windows_account_for_orders"]["numbers"]["late_rows"] == dropped
    for report, orders in zip((first, second), written, strict=True):
        bronze = report["tables"][0]
        assert bronze["rows_added"] == bronze["input_rows"] == orders.rows
        assert bronze["corrupt_rows"] == orders.bad_lines
        assert len(bronze["source_files"]) == len(orders.files)
        count = len(orders.files)
        assert [batch["files"] for batch in bronze["batches"]] == [3] * (count // 3) + [count % 3] * bool(count % 3)
        assert [batch["backlog_files"] for batch in bronze["batches"]] == [*range(count - 3, 0, -3), 0]
    before = lake.version(BRONZE), lake.version(SILVER), len(bronze_rows(lake))
    again = lakehouse_here(environment, "ingest", BRONZE, SILVER)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("nothing new") == 2
    assert (lake.version(BRONZE), lake.version(SILVER), len(bronze_rows(lake))) == before


def test_cloudfiles_and_sparks_own_source_keep_every_line_once_also_the_broken_ones(lake, land, environment):
    """Beside an empty file and strangers, which are counted and do no harm."""
    bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix
    nothing = lakehouse_json_here(environment, "ingest")
    assert [table["delta_version"] for table in nothing["tables"]] == [None] * len(TABLES), "no tables, no harm"
    land(files=4, rows_per_file=40, bad_line_share=0.2)
    for name, data in ((EMPTY, b""), ("README.txt", b"not an order"), ("sub/", b"")):
        lake.store.write(bucket, prefix + name, data)
    raw = {(file_name(number), at): line for number in range(4) for at, line in enumerate(lines_of(lake, number, 1))}
    told, journalled = lakehouse_json_here(environment, "ingest", BASIC, BRONZE)["tables"]
    lakehouse_json_here(environment, "ingest", BASIC)
    assert (told["ignored_files"], len(journalled["source_files"])) == (3, 4)
    rows = bronze_rows(lake)
    assert journalled["rows_added"] == len(rows)
    lake.store.write(bucket, prefix + EMPTY, b'{"order_id": "late", "quantity": 1}')
    [bronze] = lakehouse_json_here(environment, "ingest", BRONZE)["tables"]
    assert bronze["rows_added"] == 1, "it was empty, now it is not"

    basic = lake.delta(BASIC).to_pyarrow_table().to_pylist()
    lines = [line for line in raw.values() if line.strip()]
    assert len(basic) == told["rows_added"] == len(lines)
    broken = sorted(row["_corrupt_record"] for row in basic if row["_corrupt_record"] is not None)
    assert broken
    assert set(broken) <= set(lines)
    assert {row["_source_file"].rsplit("/", 1)[1] for row in basic} == set(map(file_name, range(4)))
    whole = sum(row["order_id"] is not None and row["_corrupt_record"] is None for row in basic)
    assert len(broken) + whole == len(lines)

    places = [(row["_source_file"].rsplit("/", 1)[1], row["_source_record"]) for row in rows]
    assert sorted(places) == sorted(raw)
    rescued = {
        place: json.loads(row["_rescued_data"]) for place, row in zip(places, rows, strict=True) if row["_rescued_data"]
    }
    assert rescued
    for place, kept in rescued.items():
        assert kept.pop("_file_path").endswith(place[0])
        assert kept == {"quantity": "several"} or kept == {"_corrupt_record": raw[place]}

    names = ["order_id", "customer_id", "order_date", "total_amount", "payment_method", "product_id", "quantity"]

    def whole_orders(rows, evidence):
        return sorted(tuple(row[name] for name in names) for row in rows if row[evidence] is None)

    assert whole_orders(rows, "_rescued_data") == whole_orders(basic, "_corrupt_record")


def test_a_checkpoint_in_use_is_refused_and_a_duplicate_order_stops_silver_and_both_are_named(lake, land, environment):
    land(files=2, rows_per_file=30, duplicate_share=0.1)
    with hold_lease(lake.store, lake.settings.bucket, f"tester/_checkpoints/{BRONZE}.lease", owner=BRONZE):
        done = lakehouse(environment, "ingest")
    assert done.returncode == 1
    assert f"{BRONZE} is being written by pid" in done.stderr
    assert lake.version(BRONZE) is None

    done = lakehouse_here(environment, "ingest")
    assert done.returncode == 1
    assert "no_duplicate_orders failed" in done.stderr
    assert file_name(0) in done.stdout
    assert lake.version(BRONZE) is not None
    assert lake.version(SILVER) is None
