"""From files in a bucket to silver, judged by plain Python and read without Spark."""

import json
import math
from collections import Counter

import pytest
from command import lakehouse, lakehouse_json
from reference_silver import reference_silver

from lakehouse.engine import ensure_engine, stop_engine
from lakehouse.lake import Lake
from lakehouse.pipeline import BASIC, BRONZE, SILVER, TABLES
from lakehouse.samples import file_name, generate_orders
from lakehouse.settings import Settings
from lakehouse.storage import stop_store

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


def test_silver_equals_plain_python_over_several_runs(lake, land, environment):
    written = [land(files=6, **MIXED)]
    first = lakehouse_json(environment, "ingest")
    written.append(land(files=4, first_file=6, **MIXED))
    second = lakehouse_json(environment, "ingest")
    runs = [[lines_of(lake, 0, 6)], [lines_of(lake, 6, 4)]]
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


def test_every_line_is_in_bronze_once_with_its_file_also_the_broken_ones(lake, land, environment):
    land(files=2, rows_per_file=40, bad_line_share=0.2)
    lakehouse_json(environment, "ingest", BASIC)
    lakehouse_json(environment, "ingest", BASIC)
    raw = [line for line in lines_of(lake, 0, 2) if line.strip()]
    rows = lake.delta(BASIC).to_pyarrow_table().to_pylist()
    assert len(rows) == len(raw)
    broken = sorted(row["_corrupt_record"] for row in rows if row["_corrupt_record"] is not None)
    assert broken
    assert set(broken) <= set(raw)
    assert {row["_source_file"].rsplit("/", 1)[1] for row in rows} == {file_name(0), file_name(1)}
    assert len(broken) + sum(row["order_id"] is not None and row["_corrupt_record"] is None for row in rows) == len(raw)


def test_cloudfiles_keeps_every_line_with_its_place_also_the_broken_ones(lake, land, environment):
    land(files=4, rows_per_file=40, bad_line_share=0.2)
    lakehouse_json(environment, "ingest", BRONZE)
    rows = bronze_rows(lake)
    places = [(row["_source_file"].rsplit("/", 1)[1], row["_source_record"]) for row in rows]
    raw = {(file_name(number), at): line for number in range(4) for at, line in enumerate(lines_of(lake, number, 1))}
    assert sorted(places) == sorted(raw)
    rescued = {
        place: json.loads(row["_rescued_data"]) for place, row in zip(places, rows, strict=True) if row["_rescued_data"]
    }
    assert rescued
    for place, kept in rescued.items():
        assert kept.pop("_file_path").endswith(place[0])
        assert kept == {"quantity": "several"} or kept == {"_corrupt_record": raw[place]}


def test_cloudfiles_and_sparks_own_source_load_the_same_orders(lake, land, environment):
    land(files=3, rows_per_file=30, bad_line_share=0.1)
    lakehouse_json(environment, "ingest", BASIC, BRONZE)
    names = ["order_id", "customer_id", "order_date", "total_amount", "payment_method", "product_id", "quantity"]

    def whole_orders(table, evidence):
        rows = lake.delta(table).to_pyarrow_table().to_pylist()
        return sorted(tuple(row[name] for name in names) for row in rows if row[evidence] is None)

    assert whole_orders(BRONZE, "_rescued_data") == whole_orders(BASIC, "_corrupt_record")


def test_a_second_run_over_the_same_files_loads_nothing(lake, land, environment):
    land(files=3, rows_per_file=20)
    lakehouse_json(environment, "ingest")
    before = lake.version(BRONZE), lake.version(SILVER), len(bronze_rows(lake))
    again = lakehouse_json(environment, "ingest")
    assert [table["batches"] for table in again["tables"]] == [[]] * len(TABLES)
    assert (lake.version(BRONZE), lake.version(SILVER), len(bronze_rows(lake))) == before
    assert "nothing new" in lakehouse(environment, "ingest").stdout


def test_empty_files_and_strangers_are_counted_and_do_no_harm(lake, land, environment):
    bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix
    nothing = lakehouse_json(environment, "ingest")
    assert [table["delta_version"] for table in nothing["tables"]] == [None] * len(TABLES)
    land(files=1, rows_per_file=20)
    lake.store.write(bucket, prefix + "orders_stream_999.json", b"")
    lake.store.write(bucket, prefix + "README.txt", b"not an order")
    lake.store.write(bucket, prefix + "sub/", b"")
    basic, journalled = lakehouse_json(environment, "ingest", BASIC, BRONZE)["tables"]
    assert (basic["rows_added"], basic["ignored_files"]) == (20, 3)
    assert (journalled["rows_added"], len(journalled["source_files"])) == (20, 1)
    lake.store.write(bucket, prefix + "orders_stream_999.json", b'{"order_id": "late", "quantity": 1}')
    assert lakehouse_json(environment, "ingest", BRONZE)["tables"][0]["rows_added"] == 1, "it was empty, now it is not"


def test_a_duplicate_order_stops_silver_and_is_shown(lake, land, environment):
    land(files=2, rows_per_file=30, duplicate_share=0.1)
    done = lakehouse(environment, "ingest")
    assert done.returncode == 1
    assert "no_duplicate_orders failed" in done.stderr
    assert file_name(0) in done.stdout
    assert lake.version(SILVER) is None


def test_a_checkpoint_in_use_is_refused_and_named(lake, land, environment):
    from lakehouse.storage import hold_lease

    land(files=1, rows_per_file=20)
    with hold_lease(lake.store, lake.settings.bucket, f"tester/_checkpoints/{BRONZE}.lease", owner=BRONZE):
        done = lakehouse(environment, "ingest")
    assert done.returncode == 1
    assert f"{BRONZE} is being written by pid" in done.stderr
    assert lake.version(BRONZE) is None
    assert lakehouse_json(environment, "ingest")["tables"][0]["rows_added"] == 20


def test_the_same_pipeline_on_a_remote_connect_endpoint(lake, land, environment, tmp_path):
    land(files=2, **MIXED)
    elsewhere = {"home": tmp_path / "elsewhere", "bucket": lake.settings.bucket}
    other = Settings.load(**elsewhere, user="server", engine_memory="1g")
    engine = ensure_engine(other, lake.endpoint)
    try:
        remote = engine.remote.get_secret_value()
        report = lakehouse_json(environment, "ingest", LAKEHOUSE_SPARK_REMOTE=remote)
    finally:
        stop_engine(other)
    assert report["tables"][0]["rows_added"] == 120
    assert_silver_is(lake, [[lines_of(lake, 0, 2)]])


@pytest.fixture
def seaweedfs(tmp_path):
    made = Settings.load(home=tmp_path / "seaweedfs", user="tester", store="seaweedfs")
    yield made
    stop_store(made)


def test_the_same_pipeline_in_process_on_seaweedfs(seaweedfs):
    lake = Lake.open(seaweedfs)
    bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix
    generate_orders(lambda name, data: lake.store.write(bucket, prefix + name, data), files=3, **MIXED)
    variables = {
        "LAKEHOUSE_HOME": str(seaweedfs.home),
        "LAKEHOUSE_USER": "tester",
        "LAKEHOUSE_STORE": "seaweedfs",
        "LAKEHOUSE_SPARK_REMOTE": "local[2]",
    }
    report = lakehouse_json(variables, "ingest")
    assert report["tables"][0]["rows_added"] == 180
    assert_silver_is(lake, [[lines_of(lake, 0, 3)]])
    assert not (seaweedfs.home / "engine" / "tester" / "server.json").exists(), "no server was needed"
