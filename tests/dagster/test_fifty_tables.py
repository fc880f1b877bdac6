"""Fifty tables over ten folders: a tick of the sensor asks for one run, which loads each file into each table once."""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from lakehouse.dagster import LakeResource, definitions, sensors

FOLDERS, TABLES_EACH = 10, 5


def declaration(landing):
    tables = {
        f"bronze.folder_{folder}_table_{number}": {
            "files": {"path": f"{landing}folder_{folder}/", "engine": "local", "hints": {"id": "BIGINT"}},
            "checks": [{"unique": "id"}],
        }
        for folder in range(FOLDERS)
        for number in range(TABLES_EACH)
    }
    # a column that is new is an error of this one
    strict = {"cloudFiles.schemaEvolutionMode": "failOnNewColumns"}
    tables["bronze.folder_0_table_0"]["files"]["options"] = strict
    return json.dumps({"tables": tables})


@pytest.mark.soak("fifty tables over ten folders in place of six over three; test_one_run.py has both engines")
def test_one_run_loads_fifty_tables_and_a_broken_one_stops_no_other(
    lake_resource, instance, lake, tmp_path, monkeypatch
):
    (tmp_path / "tables.yaml").write_text(declaration(f"{lake.settings.landing_uri.rstrip('/')}/"))
    resource = LakeResource(**{**lake_resource.model_dump(), "declaration": str(tmp_path / "tables.yaml")})
    made = definitions(lake=resource)
    cursor = None

    def tick():
        nonlocal cursor
        given = {"instance": instance, "cursor": cursor, "resources": {"lake": resource}, "definitions": made}
        with dg.build_sensor_context(**given) as context:
            outcome = made.resolve_sensor_def("new_files").evaluate_tick(context)
        cursor = outcome.cursor
        return outcome

    def run(request):
        return made.resolve_job_def("ingest").execute_in_process(
            instance=instance, asset_selection=request.asset_selection, tags=request.tags, raise_on_error=False
        )

    def put(number, **more):
        for folder in range(FOLDERS):
            rows = [{"id": folder * 1000 + number * 10 + row, **more} for row in range(3)]
            key = f"{lake.settings.landing_prefix}folder_{folder}/{number}.json"
            lake.store.write(lake.settings.landing_bucket, key, "\n".join(map(json.dumps, rows)).encode())

    def ids(folder, table):
        rows = lake.rows(f"bronze.folder_{folder}_table_{table}")
        return sorted(rows.to_table(columns=["id"])["id"].to_pylist())

    put(0)
    [request] = tick().run_requests
    assert request.tags["new_files"] == str(FOLDERS)
    assert run(request).success
    assert tick().run_requests == []
    put(1, news="x")
    monkeypatch.setattr(sensors, "_now", lambda: datetime.now(UTC) + timedelta(minutes=2))
    [request] = tick().run_requests
    result = run(request)
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_key == "bronze__folder_0_table_0" and not result.success
    for folder in range(FOLDERS):
        for table in range(TABLES_EACH):
            files = 1 if (folder, table) == (0, 0) else 2
            expected = [folder * 1000 + number * 10 + row for number in range(files) for row in range(3)]
            assert ids(folder, table) == expected, (folder, table)
