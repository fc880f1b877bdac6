"""Several tables over several folders, loaded by the runs that the sensor asks for, on a real store and engine."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from lakehouse.dagster import LakeResource, definitions, sensors

TABLES = """
tables:
  bronze.rooms:
    files: {path: "LANDING/rooms/", hints: {id: BIGINT}}
    checks:
      - unique: id
  bronze.rooms_again:
    files:
      path: "LANDING/rooms/"
      glob: "1*.json"
      engine: local
      hints: {id: BIGINT}
      options: {cloudFiles.allowOverwrites: true}
  bronze.trips:
    files: {path: "LANDING/trips/", schema: {id: BIGINT}, source: spark, lineage: false}
  bronze.broken:
    files: {path: "LANDING/stops/", hints: {id: BIGINT}}
  bronze.stops:
    files: {path: "LANDING/stops/", engine: local, hints: {id: BIGINT}}
  silver.of_broken:
    latest: {of: bronze.broken, key: id}
"""
GOOD = {"bronze/rooms", "bronze/rooms_again", "bronze/trips", "bronze/stops"}
BROKEN = {"bronze/broken", "silver/of_broken"}


def test_one_run_loads_all_tables_once_whatever_is_broken_and_a_new_sensor_asks_for_nothing(
    lake_resource, instance, lake, spark, tmp_path, monkeypatch
):
    (tmp_path / "tables.yaml").write_text(TABLES.replace("LANDING", lake.settings.landing_uri.rstrip("/")))
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
        result = made.resolve_job_def("ingest").execute_in_process(
            instance=instance, asset_selection=request.asset_selection, tags=request.tags, raise_on_error=False
        )
        loaded = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
        return result, loaded

    def put(folder, name, *ids):
        key = f"{lake.settings.landing_prefix}{folder}/{name}.json"
        lake.store.write(lake.settings.landing_bucket, key, "".join(f'{{"id": {id_}}}\n' for id_ in ids).encode())

    def ids(table):
        return sorted(lake.rows(table).to_table(columns=["id"])["id"].to_pylist())

    for folder in ("rooms", "trips", "stops"):
        put(folder, "1", 1, 2)
    left = f"{lake.settings.user}/_checkpoints/bronze.broken"  # of a table that somebody removed
    lake.store.write(lake.settings.bucket, f"{left}/metadata", b'{"id": "of-another-day"}')
    lake.store.write(lake.settings.bucket, f"{left}/commits/0", b"v1\n{}")

    [request] = tick().run_requests
    assert request.tags["new_files"] == "3"
    result, loaded = run(request)
    assert (result.success, loaded) == (False, GOOD)
    assert [ids(name.replace("/", ".")) for name in sorted(GOOD)] == [[1, 2]] * 4
    quiet = tick()
    assert quiet.run_requests == []
    assert "0 new of 3 files in 3 folders" in quiet.skip_message
    assert "bronze.broken, silver.of_broken failed in run" in quiet.skip_message

    lake.store.delete_prefix(lake.settings.bucket, f"{left}/")
    put("rooms", "11", 3)
    monkeypatch.setattr(sensors, "_now", lambda: datetime.now(UTC) + timedelta(minutes=2))
    [request] = tick().run_requests
    result, loaded = run(request)
    assert (result.success, loaded) == (True, {"bronze/rooms", "bronze/rooms_again", *BROKEN})
    assert ids("bronze.rooms") == ids("bronze.rooms_again") == [1, 2, 3]
    assert ids("bronze.trips") == ids("bronze.stops") == ids("silver.of_broken") == [1, 2]

    cursor = None
    first = tick()
    assert first.run_requests == []
    assert "0 new of 4 files in 3 folders" in first.skip_message
    cursor = None
    put("trips", "2", 9)
    [request] = tick().run_requests
    assert ([asset_key.to_user_string() for asset_key in request.asset_selection], request.tags["new_files"]) == (
        ["bronze/trips"],
        "1",
    )
