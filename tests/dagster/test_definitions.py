"""What Dagster makes of declared tables; nothing here needs a store or Spark."""

import dataclasses
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from declared_catalogues import DAYS, LATEST, ORDERS, READINGS, SENSORS, WINDOWS, many

from lakehouse.dagster import LandingNames, definitions
from lakehouse.dagster.columns import in_words, lineage, meanings
from lakehouse.dagster.landing import landing_folders
from lakehouse.dagster.tables import code_version
from lakehouse.flows.files import Files
from lakehouse.flows.windows import Windows
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.storage import ObjectInfo
from lakehouse.table import Catalogue, Table


def key(text):
    return dg.AssetKey(text.split("/"))


@pytest.fixture
def graph():
    return definitions(SENSORS).resolve_asset_graph()


def test_each_table_is_an_asset_behind_its_source(graph):
    parents = {
        node.to_user_string(): {parent.to_user_string() for parent in graph.get(node).parent_keys}
        for node in graph.get_all_asset_keys()
    }
    assert parents == {
        "landing/readings": set(),
        "bronze/readings": {"landing/readings"},
        "bronze/second": {"landing/readings"},
        "silver/readings": {"bronze/readings"},
        "silver/rooms": {"bronze/readings"},
        "gold/days": {"silver/readings"},
        "maintenance/promote_rescued_data/bronze/readings": {"bronze/readings"},
        "maintenance/replay_late_rows/silver/rooms": {"silver/rooms"},
        "maintenance/check_all_rows/bronze/readings": {"bronze/readings"},
        "maintenance/check_all_rows/silver/readings": {"silver/readings"},
        "maintenance/join_and_remove_files/bronze/readings": {"bronze/readings"},
        "maintenance/join_and_remove_files/silver/readings": {"silver/readings"},
        "maintenance/join_and_remove_files/silver/rooms": {"silver/rooms"},
        "maintenance/join_and_remove_files/gold/days": {"gold/days"},
        "maintenance/backup_checkpoints": set(),
    }


def test_an_asset_says_what_its_declaration_says(graph):
    readings = graph.get(key("bronze/readings"))
    assert readings.group_name == "bronze"
    assert readings.kinds == {"pyspark", "deltalake", "bronze"}
    assert (readings.owners, readings.description) == (["team:sensors"], "Readings of all sensors.")
    assert {"layer": "bronze", "flow": "files"}.items() <= readings.tags.items()
    assert readings.pools == {"checkpoint/bronze.readings"}
    assert readings.metadata["dagster/table_name"] == "bronze.readings"
    assert readings.metadata["dagster/uri"] == Settings.load().table_uri("bronze.readings")
    assert readings.freshness_policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=2))
    assert graph.get(key("silver/readings")).freshness_policy is None
    assert graph.get(key("landing/readings")).metadata["dagster/uri"] == "s3a://landing/sensors/readings/"


def test_a_freshness_below_what_dagster_measures_is_a_minute():
    table = dataclasses.replace(READINGS, freshness=timedelta(seconds=5))
    made = definitions(Catalogue((table,))).resolve_asset_graph().get(key("bronze/readings"))
    assert made.freshness_policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=1))


def test_the_checks_of_a_table_are_one_step_without_those_that_are_off():
    made = definitions(SENSORS)
    [of_readings] = [
        checks
        for checks in made.asset_checks
        if {spec.asset_key for spec in checks.check_specs} == {key("bronze/readings")}
    ]
    assert {spec.name: (spec.blocking, spec.description) for spec in of_readings.check_specs} == {
        "single": (True, "Each reading once."),
        "whole": (False, None),
    }
    assert {spec.asset_key for checks in made.asset_checks for spec in checks.check_specs} == {
        key("bronze/readings"),
        key("silver/readings"),
    }


def test_the_job_has_all_tables_but_those_on_demand():
    made = definitions(SENSORS, job_name="ingest_sensors")
    job = made.resolve_job_def("ingest_sensors")
    assert {asset_key.to_user_string() for asset_key in job.asset_layer.selected_asset_keys} == {
        "bronze/readings",
        "silver/readings",
        "silver/rooms",
        "gold/days",
    }
    assert {check_key.name for check_key in job.asset_layer.asset_graph.asset_check_keys} == {
        "single",
        "whole",
        "right",
    }
    assert [schedule.name for schedule in made.schedules] == ["hourly_ingest", "nightly_maintenance", "nightly_backups"]
    assert [sensor.name for sensor in made.sensors] == ["new_files", "commits_from_elsewhere"]


def test_the_job_says_which_lake_it_fills_and_no_key(monkeypatch):
    said = {"USER": "anna", "BUCKET": "lake", "ENGINE": "local", "S3_ENDPOINT": "https://s3.example.com"}
    for name, value in {**said, "S3_ACCESS_KEY": "canary-access", "S3_SECRET_KEY": "canary-secret"}.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", value)
    told = definitions(SENSORS).resolve_job_def("ingest").description
    assert "s3a://lake/anna on https://s3.example.com" in told and "engine local" in told
    assert str(Settings.load().declaration) in told and "canary" not in told


def test_a_part_of_the_job_keeps_its_checks():
    job = definitions(SENSORS).resolve_job_def("ingest")
    part = job.get_subset(asset_selection={key("bronze/readings")})
    assert {check_key.name for check_key in part.asset_layer.asset_graph.asset_check_keys} >= {"single", "whole"}


def test_tables_that_only_run_on_demand_have_levers_and_no_run_that_begins_by_itself():
    made = definitions(Catalogue((dataclasses.replace(ORDERS, on_demand=True),)))
    dg.Definitions.validate_loadable(made)
    assert ([sensor.name for sensor in made.sensors], [*made.schedules]) == (["commits_from_elsewhere"], [])
    assert all(job.name.startswith(("lever_", "load_day_again_")) for job in made.jobs)


def test_an_empty_declaration_loads():
    dg.Definitions.validate_loadable(definitions(Catalogue()))


def test_windows_of_sessions_have_no_replay_of_late_rows():
    sessions = Windows(of=READINGS.name, event_time="measured", session_gap="5 minutes")
    made = definitions(Catalogue((READINGS, Table("silver.visits", sessions))))
    assert not [
        asset_key
        for asset_key in made.resolve_asset_graph().get_all_asset_keys()
        if "replay_late_rows" in asset_key.path
    ]


def test_two_hundred_tables_load_without_a_store_and_without_spark(monkeypatch):
    opened = []
    monkeypatch.setattr(Lake, "open", lambda *given, **more: opened.append(given))
    monkeypatch.setattr("lakehouse.engine.connect", lambda *given, **more: opened.append(given))
    made = definitions(many(tables=200))
    dg.Definitions.validate_loadable(made)
    tables = [
        asset_key
        for asset_key in made.resolve_asset_graph().get_all_asset_keys()
        if asset_key.path[0] in ("bronze", "silver")
    ]
    assert (len(tables), len(made.sensors), opened) == (200, 2, [])


def test_the_version_of_the_code_follows_the_declaration():
    again = Table(READINGS.name, Files(path="s3a://landing/sensors/readings/", glob="*.json"))
    other = Table(READINGS.name, Files(path="s3a://landing/sensors/readings/", glob="*.jsonl"))
    assert code_version(again) == code_version(READINGS) != code_version(other)


def folders_of(*paths, names=None):
    tables = [Table(f"bronze.t{number}", Files(path=path)) for number, path in enumerate(paths)]
    return landing_folders(Catalogue(tuple(tables)), names)


def test_folders_of_the_same_name_are_told_apart():
    found = folders_of("s3a://one/in/", "s3a://two/in/", "s3a://two/", "s3a://two/day=*/x.json")
    assert [folder.name for folder in found] == ["one_in", "two_in", "two"]


def test_a_folder_can_be_given_names():
    [folder] = folders_of("s3a://landing/x/", names={"bronze.t0": LandingNames(folder="orders", files="order files")})
    assert (folder.key.path, folder.files) == (["landing", "orders"], "order files")


def test_what_a_folder_takes_is_what_one_of_its_tables_reads():
    def table(name, path, **more):
        return Table(f"bronze.{name}", Files(path=path, **more))

    shared = (
        table("lines", "s3a://landing/in/", glob="*.json"),
        table("sheets", "s3a://landing/in/*/sheets", format="csv", options={"modifiedAfter": "2026-01-01"}),
        dataclasses.replace(table("all", "s3a://landing/in/"), on_demand=True),
    )
    [folder] = landing_folders(Catalogue(shared))
    takes = folder.takes()

    def is_input(name, size_bytes=1, year=2026):
        return takes(ObjectInfo(f"in/{name}", size_bytes, "e", datetime(year, 6, 1, tzinfo=UTC)))

    assert is_input("a.json")
    assert is_input("eu/a.json", year=2020)
    assert is_input("eu/sheets/a.csv")
    assert not is_input("eu/sheets/a.csv", year=2020)
    assert not is_input("a.txt")
    assert not is_input("a.json", size_bytes=0)
    assert not is_input("_tmp/a.json")


def test_everything_in_a_folder_is_listed_as_often_as_its_most_eager_table_asks():
    tables = [
        Table("bronze.a", Files(path="s3a://landing/in/", options={"cloudFiles.backfillInterval": "10 minutes"})),
        Table("bronze.b", Files(path="s3a://landing/in/")),
    ]
    [folder] = landing_folders(Catalogue(tuple(tables)))
    assert folder.listing_interval_seconds() == 600


def copied(table, *columns):
    found = lineage(table, columns)
    return {
        name: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps]
        for name, deps in (found.deps_by_column if found else {}).items()
    }


def test_columns_of_the_latest_versions_come_from_those_of_the_same_name():
    assert copied(LATEST, "id", "event_time", "day", "at", "place") == {
        "id": [("bronze/readings", "id")],
        "event_time": [("bronze/readings", "measured")],
        "at": [("bronze/readings", "measured")],
        "place": [("bronze/readings", "room")],
    }


def test_groups_and_keys_come_from_columns_and_aggregates_from_none():
    assert copied(DAYS, "day", "room", "readings") == {
        "day": [("silver/readings", "day")],
        "room": [("silver/readings", "place")],
    }
    assert copied(WINDOWS, "window_start", "window_end", "room", "readings", "mean") == {
        "room": [("bronze/readings", "room")]
    }
    assert lineage(READINGS, ("id",)) is None


def test_columns_are_explained_by_their_expression():
    assert meanings(DAYS) == {"room": "place", "readings": "count(*)"}
    assert meanings(WINDOWS)["mean"] == "avg(value)"
    assert meanings(LATEST)["event_time"] == "measured as a moment, UTC"


CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: readings
version: 1.0.0
schema:
- name: bronze.readings
  properties:
  - {name: room, physicalType: string, description: "where it\\n  hangs"}
  - {name: measured, physicalType: string, description: by the sensor's clock}
  - {name: value, physicalType: double}
"""


def test_columns_are_explained_by_the_contract_of_their_table_or_of_the_table_they_come_from(tmp_path):
    settings = Settings.load(home=tmp_path, contracts=tmp_path)
    assert in_words(settings, WINDOWS) == meanings(WINDOWS)
    settings.contract_path("bronze.readings").write_text(CONTRACT)
    assert in_words(settings, READINGS)["room"] == "where it hangs"
    assert in_words(settings, WINDOWS) == {"room": "where it hangs", **meanings(WINDOWS)}
    assert in_words(settings, LATEST)["event_time"] == "measured as a moment, UTC", "its own expression is nearer"
    assert in_words(settings, LATEST)["measured"] == "by the sensor's clock"
    settings.contract_path("bronze.readings").write_text("no contract")
    assert in_words(settings, WINDOWS) == meanings(WINDOWS), "the check of the contract tells of it"
