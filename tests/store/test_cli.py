"""The command line where it needs no Spark."""

import json

import pytest
import yaml
from command import lakehouse, lakehouse_here, lakehouse_json_here
from pyspark.sql.types import StructType

from lakehouse.autoloader.schema.versions import SchemaVersion
from lakehouse.orders.tables import BRONZE
from lakehouse.pipeline import schemas


def test_generate_reports_exactly_what_is_in_the_bucket(lake, environment):
    report = lakehouse_json_here(
        environment, "generate", "--files", "3", "--rows-per-file", "40", "--bad-line-share", "0.1"
    )
    bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix
    listed = {info.key.removeprefix(prefix): info.size_bytes for info in lake.store.list(bucket, prefix)}
    assert listed == {file["name"]: file["size_bytes"] for file in report["files"]}
    assert report["rows"] == 120
    assert report["bad_lines"] > 0


def test_generate_goes_on_where_it_stopped(environment):
    first = lakehouse_json_here(environment, "generate", "--files", "2", "--rows-per-file", "10")
    second = lakehouse_json_here(environment, "generate", "--files", "2", "--rows-per-file", "10")
    names = [file["name"] for report in (first, second) for file in report["files"]]
    assert names == [f"orders_stream_{number:03d}.json" for number in range(4)]


def test_generate_never_writes_over_a_file_after_others_were_removed(lake, environment):
    lakehouse_json_here(environment, "generate", "--files", "3", "--rows-per-file", "10")
    bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix
    lake.store.delete(bucket, f"{prefix}orders_stream_000.json")
    report = lakehouse_json_here(environment, "generate", "--files", "1", "--rows-per-file", "10")
    assert report["files"][0]["name"] == "orders_stream_003.json"


def test_env_prints_lines_that_a_shell_can_take(lake, environment):
    lines = lakehouse_here(environment, "env").stdout.splitlines()
    values = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    assert values["AWS_ENDPOINT_URL"] == lake.endpoint.url
    assert values["AWS_SECRET_ACCESS_KEY"].strip("'") == lake.endpoint.secret_key.get_secret_value()


def test_no_tables_is_said(environment):
    assert "no tables under s3a://" in lakehouse_here(environment, "tables").stdout
    assert lakehouse_json_here(environment, "tables")["tables"] == []


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_is_one_message_and_exit_code_1(environment, as_json):
    arguments = ["tables", "--json"] if as_json else ["tables"]
    done = lakehouse_here(
        environment,
        *arguments,
        LAKEHOUSE_S3_ENDPOINT="http://127.0.0.1:9",
        LAKEHOUSE_S3_ACCESS_KEY="canary-access",
        LAKEHOUSE_S3_SECRET_KEY="canary-secret",
    )
    assert done.returncode == 1
    assert "canary" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if as_json:
        assert set(json.loads(done.stdout)) == {"error", "what", "where", "state", "next"}
    else:
        assert "LAKEHOUSE_S3_ENDPOINT" in done.stderr


def test_a_wrong_setting_is_named_before_anything_starts(environment):
    done = lakehouse_here(environment, "up", LAKEHOUSE_ENGINE_MEMORY="plenty")
    assert done.returncode == 1
    assert "LAKEHOUSE_ENGINE_MEMORY" in done.stderr


def test_a_schema_is_pinned_and_what_breaks_it_ends_with_exit_code_1(lake, environment, tmp_path):
    here = {**environment, "LAKEHOUSE_CONTRACTS": str(tmp_path)}
    versions = schemas(lake, BRONZE)
    versions.write(SchemaVersion(0, StructType().add("id", "string").add("note", "string"), StructType()))
    before = lakehouse_here(here, "schema", "contract")
    assert (before.returncode, "contract --write" in before.stderr) == (1, True)
    assert lakehouse_json_here(here, "schema", "contract", "--write")["passed"]
    [pinned] = yaml.safe_load((tmp_path / f"{BRONZE}.odcs.yaml").read_text())["schema"]
    assert [column["name"] for column in pinned["properties"]] == ["id", "note"]

    versions.write(SchemaVersion(1, StructType().add("id", "long").add("tip", "double"), StructType()))
    broken = lakehouse_here(here, "schema", "contract", "--json")
    assert broken.returncode == 1
    said = json.loads(broken.stdout)
    found = {
        difference["column"]: (difference["pinned"], difference["present"], difference["breaks"])
        for difference in said["differences"]
    }
    assert found == {
        "id": ("string", "bigint", True),
        "note": ("string", None, True),
        "tip": (None, "double", False),
    }
    assert (said["passed"], said["error"], said["version"]) == (False, "CheckFailed", 1)


def test_down_stops_the_store_and_keeps_the_data(tmp_path):
    variables = {"LAKEHOUSE_HOME": str(tmp_path / "home"), "LAKEHOUSE_USER": "tester"}
    lakehouse_json_here(variables, "generate", "--files", "1")
    assert lakehouse_json_here(variables, "down")["stopped_stores"] == 1
    assert lakehouse_json_here(variables, "down")["stopped_stores"] == 0
    assert lakehouse_json_here(variables, "generate", "--files", "1")["files"][0]["name"] == "orders_stream_001.json"
    lakehouse_json_here(variables, "down")


def test_the_demo_outside_of_a_clone_says_where_it_is(environment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = lakehouse_here(environment, "demo")
    assert done.returncode == 1
    assert "./dev demo" in done.stderr


@pytest.mark.parametrize("more", [(), ("--pattern", "*.csv"), ("--files", "a.json,b.json")])
def test_a_copy_of_a_folder_without_files_ends_with_exit_code_1(lake, environment, more):
    arguments = ("copy-into", "bronze.copied", f"{lake.settings.landing_uri}none/", "--format", "json")
    done = lakehouse_here(environment, *arguments, "--validate", "ALL", *more)
    assert done.returncode == 1
    assert f"there is no file to copy under {lake.settings.landing_uri}none/" in done.stderr
    assert " ".join(more) in done.stderr


def test_what_is_logged_is_shown_on_demand_by_module_and_has_no_secret(lake, environment):
    quiet, told = lakehouse_here(environment, "tables"), lakehouse(environment, "-vv", "tables")
    assert "lakehouse.lake" not in quiet.stderr
    assert "INFO lakehouse.lake: lake s3a://" in told.stderr
    secrets = (lake.endpoint.access_key, lake.endpoint.secret_key)
    assert not [secret for secret in secrets if secret.get_secret_value() in told.stdout + told.stderr]
