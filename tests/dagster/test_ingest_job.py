"""The job on a real store and a real engine."""

import dagster as dg

from lakehouse.pipeline import BRONZE, SILVER


def run(job, instance):
    return job.execute_in_process(instance=instance, raise_on_error=False)


def metadata_of(result, *path):
    [event] = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(list(path))
    ]
    return event.metadata, event.tags


def test_one_run_fills_both_tables_and_tells_how(job, instance, lake, land):
    written = land(files=4, rows_per_file=50, bad_line_share=0.02)
    result = run(job, instance)
    assert result.success
    bronze, tags = metadata_of(result, "bronze", "orders_autoloader")
    assert bronze["rows_added"].value == bronze["input_rows"].value == written.rows
    assert bronze["files_loaded"].value == 4
    assert bronze["corrupt_rows"].value == written.bad_lines
    assert bronze["batches"].value == 2
    assert bronze["dagster/row_count"].value == written.rows
    assert bronze["dagster/table_name"].value == BRONZE
    assert {"order_id", "_rescued_data"} <= {one.name for one in bronze["dagster/column_schema"].value.columns}
    assert (bronze["backlog_files"].value, bronze["backlog_bytes"].value) == (0, 0)
    assert len(bronze["micro_batches"].records) == 2
    [receipt] = [record.data for record in bronze["exactly_once_receipt"].records]
    assert (receipt["rows_read"], receipt["rows_committed"], receipt["files_offered"]) == (200, 200, 4)
    assert tags["dagster/data_version"] == str(lake.version(BRONZE))
    silver, _ = metadata_of(result, "silver", "orders_windowed_aggregates")
    assert silver["rows_added"].value == lake.describe(SILVER).rows
    assert silver["watermark"].value.endswith("Z")
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    files = {"no_file_loaded_twice", "every_file_loaded", "no_quarantined_files"}
    assert set(checks) == {*files, "no_duplicate_orders", "no_corrupt_records", "windows_account_for_orders"}
    assert all(checks[name].passed for name in files)
    assert checks["no_duplicate_orders"].passed
    assert checks["no_corrupt_records"].passed == (written.bad_lines == 0)
    assert checks["no_corrupt_records"].severity == dg.AssetCheckSeverity.WARN


def test_a_quiet_run_is_green_and_says_zero(job, instance, land):
    land(files=1, rows_per_file=20)
    assert run(job, instance).success
    result = run(job, instance)
    assert result.success
    bronze, _ = metadata_of(result, "bronze", "orders_autoloader")
    assert (bronze["rows_added"].value, bronze["batches"].value) == (0, 0)
    assert bronze["dagster/row_count"].value == 20


def test_a_duplicate_makes_the_check_fail_with_its_rows_and_stops_silver(job, instance, lake, land, spark):
    land(files=1, rows_per_file=20)
    assert run(job, instance).success
    uri = lake.settings.table_uri(BRONZE)
    again = spark.read.format("delta").load(uri).limit(1)
    [injected] = again.collect()
    spark.createDataFrame([injected], schema=again.schema).write.format("delta").mode("append").save(uri)
    silver_before = lake.version(SILVER)
    result = run(job, instance)
    assert not result.success
    failed = {one.check_name: one.metadata for one in result.get_asset_check_evaluations() if not one.passed}
    assert set(failed) == {"no_duplicate_orders", "no_file_loaded_twice"}
    [record] = failed["no_duplicate_orders"]["offending_rows"].records
    assert record.data["order_id"] == injected["order_id"]
    assert "orders_stream_000.json" in record.data["source_files"]
    assert failed["no_duplicate_orders"]["duplicate_orders"].value == 1
    assert failed["no_duplicate_orders"]["next"].value
    [file] = failed["no_file_loaded_twice"]["offending_rows"].records
    assert (file.data["rows_read"], file.data["rows_in_table"]) == (20, 21)
    assert lake.version(SILVER) == silver_before
    assert not [e for e in result.get_asset_materialization_events() if e.asset_key.path[0] == "silver"]


def test_no_secret_is_in_any_event_of_a_run(job, instance, lake, land):
    land(files=1, rows_per_file=5)
    result = run(job, instance)
    events = "".join(str(record) for record in instance.all_logs(result.run_id))
    assert lake.endpoint.secret_key.get_secret_value() not in events
    assert "rows_added" in events
