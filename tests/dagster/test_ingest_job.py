"""The job on a real store and a real engine."""

import dagster as dg
import pytest
from pyspark.sql.types import StructType

from lakehouse.contract.writing import as_odcs, text_of
from lakehouse.orders.tables import BRONZE, DAILY_REVENUE, ORDERS, SILVER, TOUR

WINDOWS = [dg.AssetKey(["bronze", "orders_autoloader"]), dg.AssetKey(["silver", "orders_windowed_aggregates"])]


def run(job, instance, assets=None):
    return job.execute_in_process(instance=instance, raise_on_error=False, asset_selection=assets)


def metadata_of(result, *path):
    [event] = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(list(path))
    ]
    return event.metadata, event.tags


def test_one_run_fills_all_tables_the_next_is_quiet_and_a_duplicate_stops_the_third(
    load, load_job, instance, lake, land, spark, monkeypatch
):
    """By the local engine, but for the windows; the demo's runs are by Spark."""
    monkeypatch.setenv("LAKEHOUSE_ENGINE", "local")
    job = load_job()
    written = land(files=4, rows_per_file=50, bad_line_share=0.02)
    result = run(job, instance)
    assert result.success
    assert_all_tables_are_told(result, lake, written)
    assert_no_secret_is_in_its_events(result, instance, lake)
    with monkeypatch.context() as patch:
        patch.setenv("LAKEHOUSE_SCHEMA_CONTRACT", "off")
        assert_quiet(run(job, instance, WINDOWS[:1]), rows=written.rows)
    injected = append_a_row_again(spark, lake)
    silver_before = lake.version(SILVER)
    assert_stopped_by_the_duplicate(run(job, instance, WINDOWS), injected, set(failed_checks(result)))
    assert lake.version(SILVER) == silver_before
    assert_checks_run_alone(load(), instance)


def assert_all_tables_are_told(result, lake, written):
    bronze, tags = metadata_of(result, "bronze", "orders_autoloader")
    assert bronze["rows_added"].value == bronze["input_rows"].value == written.rows
    assert bronze["files_loaded"].value == 4
    assert bronze["corrupt_rows"].value == written.bad_lines
    assert bronze["batches"].value == 2
    assert bronze["dagster/row_count"].value == written.rows
    assert bronze["dagster/table_name"].value == BRONZE
    assert {"order_id", "_rescued_data"} <= {column.name for column in bronze["dagster/column_schema"].value.columns}
    assert (bronze["backlog_files"].value, bronze["backlog_bytes"].value) == (0, 0)
    assert len(bronze["micro_batches"].records) == 2
    [receipt] = [record.data for record in bronze["exactly_once_receipt"].records]
    assert (receipt["rows_read"], receipt["rows_committed"], receipt["files_offered"]) == (200, 200, 4)
    assert tags["dagster/data_version"] == str(lake.version(BRONZE))
    silver, _ = metadata_of(result, "silver", "orders_windowed_aggregates")
    assert silver["rows_added"].value == lake.describe(SILVER).rows
    assert silver["watermark"].value.endswith("Z")
    orders, _ = metadata_of(result, "silver", "orders")
    assert (orders["rows_added"].value, orders["rows_updated"].value) == (lake.describe(ORDERS).rows, 0)
    gold, _ = metadata_of(result, "gold", "daily_revenue")
    columns = gold["dagster/column_schema"].value.columns
    assert all(column.description for column in columns if column.name != "payment_method")
    [origin] = orders["dagster/column_lineage"].value.deps_by_column["event_time"]
    assert (origin.asset_key.path, origin.column_name) == (["bronze", "orders_autoloader"], "order_date")
    assert gold["dagster/column_lineage"].value.deps_by_column.keys() == {"day", "payment_method"}
    assert {column.name: column.type for column in columns}["orders"] == "bigint"
    assert gold["input_rows"].value == orders["rows_added"].value
    assert gold["dagster/row_count"].value == gold["rows_added"].value == lake.describe(DAILY_REVENUE).rows > 0
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    files = {"no_file_loaded_twice", "every_file_loaded", "no_quarantined_files"}
    of_schema = {"rescue_rate", "schema_contract", "schema_drift"}
    of_rows = {"no_duplicate_orders", "no_corrupt_records", "windows_account_for_orders", "late_rate"}
    computed = {"orders_match_bronze", "every_order_has_an_id", "revenue_matches_orders"}
    assert set(checks) == {*files, *of_schema, *of_rows, *computed}
    assert all(checks[name].passed for name in computed)
    assert all(checks[name].passed for name in files)
    assert checks["no_duplicate_orders"].passed
    assert checks["no_corrupt_records"].passed == (written.bad_lines == 0)
    assert checks["no_corrupt_records"].severity == dg.AssetCheckSeverity.WARN


def assert_no_secret_is_in_its_events(result, instance, lake):
    events = "".join(str(record) for record in instance.all_logs(result.run_id))
    assert lake.endpoint.secret_key.get_secret_value() not in events
    assert "rows_added" in events


def assert_quiet(result, rows):
    """Green, with zeros; a check that is off says so."""
    assert result.success
    bronze, _ = metadata_of(result, "bronze", "orders_autoloader")
    assert (bronze["rows_added"].value, bronze["batches"].value) == (0, 0)
    assert bronze["dagster/row_count"].value == rows
    off = {
        evaluation.check_name: evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.check_name.startswith("schema")
    }
    assert {name: evaluation.passed for name, evaluation in off.items()} == {
        "schema_contract": True,
        "schema_drift": True,
    }
    assert "off" in off["schema_contract"].description


def append_a_row_again(spark, lake):
    """A whole order of the first file a second time, as no stream would write it."""
    uri = lake.settings.table_uri(BRONZE)
    whole = "_rescued_data IS NULL AND _source_file LIKE '%orders_stream_000.json'"
    again = spark.read.format("delta").load(uri).where(whole).limit(1)
    [injected] = again.collect()
    spark.createDataFrame([injected], schema=again.schema).write.format("delta").mode("append").save(uri)
    return injected


def failed_checks(result):
    return {
        evaluation.check_name: evaluation.metadata
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed
    }


def assert_stopped_by_the_duplicate(result, injected, failed_before):
    assert not result.success
    failed = failed_checks(result)
    assert set(failed) == {"no_duplicate_orders", "no_file_loaded_twice"} | failed_before
    [record] = failed["no_duplicate_orders"]["offending_rows"].records
    assert record.data["order_id"] == injected["order_id"]
    assert "orders_stream_000.json" in record.data["source_files"]
    assert failed["no_duplicate_orders"]["duplicate_keys"].value == 1
    assert failed["no_duplicate_orders"]["next"].value
    [file] = failed["no_file_loaded_twice"]["offending_rows"].records
    assert (file.data["rows_read"], file.data["rows_in_table"]) == (50, 51)
    assert not [e for e in result.get_asset_materialization_events() if e.asset_key.path[0] == "silver"]


def assert_checks_run_alone(definitions, instance):
    """As from the page of checks: some of a table's, and no table is written."""
    bronze = dg.AssetKey(["bronze", "orders_autoloader"])
    wanted = [dg.AssetCheckKey(bronze, name) for name in ("no_duplicate_orders", "no_quarantined_files")]
    checks = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_check_selection=set(wanted))
    result = checks.execute_in_process(instance=instance, raise_on_error=False)
    found = {
        evaluation.check_name: (evaluation.passed, evaluation.severity)
        for evaluation in result.get_asset_check_evaluations()
    }
    assert found == {
        "no_duplicate_orders": (False, dg.AssetCheckSeverity.ERROR),
        "no_quarantined_files": (True, dg.AssetCheckSeverity.WARN),
    }
    assert not result.get_asset_materialization_events()


@pytest.mark.soak("contracts and new columns in a run of Dagster; tests/spark/test_contracts.py has the check itself")
def test_a_broken_contract_stops_silver_only_when_asked_and_new_columns_and_rescued_values_are_told(
    load_job, instance, lake, land, tmp_path, monkeypatch
):
    land(files=1, rows_per_file=40)
    with monkeypatch.context() as patch:
        patch.setenv("LAKEHOUSE_CONTRACTS", str(tmp_path / "contracts"))
        patch.setenv("LAKEHOUSE_SCHEMA_CONTRACT", "block")
        contract = text_of(as_odcs(BRONZE, StructType().add("order_id", "long").add("customer_id", "string")))
        (tmp_path / "contracts").mkdir()
        (tmp_path / "contracts" / f"{BRONZE}.odcs.yaml").write_text(contract)
        stopped = run(load_job(), instance, WINDOWS)
        assert not stopped.success
        assert lake.version(SILVER) is None
        [found] = [
            evaluation
            for evaluation in stopped.get_asset_check_evaluations()
            if evaluation.check_name == "schema_contract"
        ]
        assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
        [row] = [record.data for record in found.metadata["offending_rows"].records]
        assert row == {"column": "order_id", "pinned": "bigint", "present": "string"}
        patch.setenv("LAKEHOUSE_SCHEMA_CONTRACT", "warn")
        assert run(load_job(), instance, WINDOWS).success
    assert lake.version(SILVER) is not None
    first, _ = metadata_of(stopped, "bronze", "orders_autoloader")
    assert (first["schema_version"].value, first["columns_added"].value, first["rescued_rows"].value) == (0, 0, 0)
    assert not {"schema_changes", "schema_history", "rescued_samples"} & set(first)

    order = '{"order_id": "n-%d", "payment_method": "card", "coupon": {"code": "TEN", "percent": %s}, "quantity": %s}'
    name = f"{lake.settings.landing_prefix}orders_stream_900.json"
    good = [order % (1, 10, 1), order % (2, '"ten"', 1)]
    body = "\n".join([*good, order % (3, 10, '"several"'), '{"order_id": "n-4", "cut'])
    lake.store.write(lake.settings.landing_bucket, name, body.encode())
    result = run(load_job(), instance, WINDOWS[:1])
    assert result.success
    bronze, _ = metadata_of(result, "bronze", "orders_autoloader")
    assert (bronze["schema_version"].value, bronze["columns_added"].value) == (1, 1)
    [change] = [record.data for record in bronze["schema_changes"].records]
    assert (change["column"], change["version"], change["record"]) == ("coupon", 1, 0)
    assert change["file"].endswith("orders_stream_900.json")
    assert "+ coupon struct<" in bronze["schema_diff"].value
    assert [record.data["version"] for record in bronze["schema_history"].records] == [0, 1]
    columns = {
        column.name: (column.type, column.description) for column in bronze["dagster/column_schema"].value.columns
    }
    where = "added in version 1, orders_stream_900.json record 0"
    assert columns["coupon"] == ("struct<code: string, percent: string>", where)
    # the order with a word for its quantity, and the broken line: rescued, and no valid orders
    assert (bronze["rescued_rows"].value, bronze["corrupt_rows"].value) == (2, 2)
    samples = {record.data["_source_record"]: record.data for record in bronze["rescued_samples"].records}
    assert set(samples) == {2, 3}
    assert "several" in samples[2]["_rescued_data"]
    assert samples[2]["_source_file"].endswith("orders_stream_900.json")

    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    failed = {name for name, check in checks.items() if not check.passed}
    assert failed == {"no_corrupt_records", "rescue_rate", "schema_drift"}
    assert {checks[name].severity for name in failed} == {dg.AssetCheckSeverity.WARN}
    rate = checks["rescue_rate"].metadata
    assert (rate["rescued_rows"].value, rate["examined_rows"].value, rate["rescued_share"].value) == (2, 44, 0.045455)
    [drift] = [record.data for record in checks["schema_drift"].metadata["offending_rows"].records]
    assert (drift["column"], drift["file"]) == ("coupon", change["file"])
    assert len(checks["schema_drift"].metadata["schema_history"].records) == 2


@pytest.mark.soak("the job of the course's tables, in its order; the runs of this file have the same tables and checks")
def test_the_training_tour_loads_the_tables_of_the_course_in_its_order(load, instance, land, lake, spark):
    written = land(files=5, rows_per_file=20)
    done = run(load().resolve_job_def("training_tour"), instance)
    assert done.success
    loaded = [event.step_materialization_data.materialization for event in done.get_asset_materialization_events()]
    assert [".".join(materialization.asset_key.path) for materialization in loaded] == list(TOUR)
    rows = {name: lake.describe(name).rows for name in TOUR if name != SILVER}
    assert rows == dict.fromkeys(rows, written.rows)
    assert loaded[-1].metadata["batches"].value == 2, "three files a batch"
