"""Orders whose shape changes while Dagster's jobs load them."""

import json

import dagster as dg
import pytest
from command import lakehouse_json

from lakehouse.orders.tables import BRONZE

ROWS = 3
ONLY = {"asset_selection": [dg.AssetKey(["bronze", "orders_autoloader"])]}


def put(lake, number, **more):
    """An order file; orders of file 20 and later have a coupon, those of file 30 and later the device's system."""
    rows = []
    for row in range(ROWS):
        order = {"order_id": f"{number}-{row}", "payment_method": "cash", "total_amount": 1.5, "quantity": 1}
        order |= {"order_date": f"2026-01-01 10:{number:02}:{row:02}", "device": {"id": f"d{row}"}}
        if number >= 20:
            order["coupon"] = f"C{number}"
        if number >= 30:
            order["device"]["os"] = "linux"
        rows.append(json.dumps(order | more))
    key = f"{lake.settings.landing_prefix}orders_stream_{number:03}.json"
    lake.store.write(lake.settings.landing_bucket, key, "\n".join(rows).encode())


def table_of(lake):
    return {row["order_id"]: row for row in lake.rows(BRONZE).to_table().to_pylist()}


@pytest.mark.soak("forty files, two new columns on the way, in one run of the job; test_evolution.py has eight")
def test_one_run_takes_in_the_columns_of_files_20_and_30(load_job, instance, lake, environment, monkeypatch):
    monkeypatch.setenv("LAKEHOUSE_BRONZE_MAX_FILES_PER_TRIGGER", "10")
    job = load_job()
    for number in range(3):
        put(lake, number)
    assert job.execute_in_process(instance=instance, **ONLY).success
    for number in range(3, 40):
        put(lake, number)
    assert job.execute_in_process(instance=instance, **ONLY).success
    rows = table_of(lake)
    assert len(rows) == 40 * ROWS
    for number in range(40):
        for row in range(ROWS):
            got = rows[f"{number}-{row}"]
            assert got["coupon"] == (f"C{number}" if number >= 20 else None)
            assert got["device"] == {"id": f"d{row}", "os": "linux" if number >= 30 else None}
            assert got["_rescued_data"] is None
    history = lakehouse_json(environment, "schema", "history")["versions"]
    met = {name: place[0].rsplit("_", 1)[1] for version in history for name, place in version["introduced"].items()}
    assert len(history) == 3
    assert met == {"coupon": "020.json", "device.os": "030.json"}


@pytest.mark.soak("a promotion by Dagster's job; test_evolution.py has the command")
def test_the_maintenance_job_promotes_what_was_approved(load, instance, lake, environment, monkeypatch):
    monkeypatch.setenv("LAKEHOUSE_SCHEMA_EVOLUTION_MODE", "rescue")
    definitions = load()
    job, maintenance = definitions.resolve_job_def("ingest_orders"), definitions.resolve_job_def("maintenance")
    assert maintenance.execute_in_process(instance=instance).success, "a lake without tables"
    put(lake, 0)
    assert job.execute_in_process(instance=instance, **ONLY).success
    put(lake, 20)
    assert job.execute_in_process(instance=instance, **ONLY).success
    lakehouse_json(environment, "schema", "approve", "coupon", "--yes", LAKEHOUSE_SCHEMA_EVOLUTION_MODE="rescue")
    told = []
    for _ in range(2):
        result = maintenance.execute_in_process(instance=instance)
        done = {event.asset_key.path[1]: event.materialization for event in result.get_asset_materialization_events()}
        assert done.keys() == {"promote_rescued_data", "replay_late_rows", "check_all_rows", "join_and_remove_files"}
        told.append(done["promote_rescued_data"].metadata["values_promoted"].value)
    assert told == [ROWS, 0]
    rows = table_of(lake)
    assert [rows[f"{number}-0"]["coupon"] for number in (0, 20)] == [None, "C20"]
    assert {row["_rescued_data"] for row in rows.values()} == {None}
