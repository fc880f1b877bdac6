"""The workspace as a user opens it: in fresh processes, over HTTP, with the daemon that runs what is asked for."""

import os
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import requests

from lakehouse.orders.tables import BRONZE
from lakehouse.processes import free_port

ROOT = Path(__file__).resolve().parents[2]

LISTED = """{
  repositoryOrError(repositorySelector: {repositoryLocationName: "lakehouse", repositoryName: "__repository__"}) {
    __typename ... on PythonError { message stack } ... on RepositoryNotFoundError { message }
    ... on Repository {
      jobs { name } sensors { name sensorState { status } } schedules { name scheduleState { status } }
      assetNodes { assetKey { path } groupName pools }
    } } }"""
LAUNCH = """mutation($job: String!) { launchRun(executionParams: {selector: {
    repositoryLocationName: "lakehouse", repositoryName: "__repository__", jobName: $job,
    assetSelection: [{path: ["bronze", "orders_autoloader"]}]}, mode: "default"}) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


def test_no_dagster_table_in_pyproject_hides_the_workspace():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert not {"dg", "dagster"} & set(tools)
    assert tomllib.loads((ROOT / "dg.toml").read_text())["project"]["root_module"] == "assets"


def test_the_workspace_loads_in_a_fresh_interpreter(tmp_path):
    program = """
import importlib, sys
import dagster as dg
from dagster._core.workspace.load import location_origins_from_yaml_paths
[origin] = location_origins_from_yaml_paths(["workspace.yaml"])
assert origin.location_name == "lakehouse", origin
definitions = importlib.import_module(origin.loadable_target_origin.module_name).defs()
dg.Definitions.validate_loadable(definitions)
dear = {"pyspark.sql.connect.session", "pandas", "minio", "sqlglot"} & set(sys.modules)
assert not dear, f"loading definitions must not load clients of Spark and the store, and what reads rows: {dear}"
print([job.name for job in definitions.jobs])
"""
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ingest_orders" in done.stdout


@contextmanager
def process(command, environment, log):
    with log.open("wb") as output:
        started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@pytest.fixture
def webserver(environment, tmp_path):
    """A running webserver and daemon on an instance of their own; gives a function that asks GraphQL."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(home)) as instance:  # two processes that make its tables at once fail
        assert instance.get_runs_count() == 0
    variables = {**environment, "DAGSTER_HOME": str(home)}
    port = free_port()
    web = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    daemon = [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"]
    url = f"http://127.0.0.1:{port}"

    def ask(query, **variables):
        answer = requests.post(f"{url}/graphql", json={"query": query, "variables": variables}, timeout=60)
        assert "errors" not in answer.json(), answer.text
        return answer.json()["data"]

    with process(web, variables, tmp_path / "web.log"), process(daemon, variables, tmp_path / "daemon.log"):
        deadline = time.monotonic() + 90
        while True:
            try:
                requests.get(f"{url}/server_info", timeout=5)
                break
            except requests.RequestException:
                assert time.monotonic() < deadline, (tmp_path / "web.log").read_text()[-2000:]
                time.sleep(0.3)
        yield ask


def test_over_graphql_everything_is_listed_and_the_job_runs(webserver, lake, land, spark):
    land(files=2, rows_per_file=20)
    found = webserver(LISTED)["repositoryOrError"]
    assert found["__typename"] == "Repository", found
    assert {"ingest_orders", "maintenance"} <= {job["name"] for job in found["jobs"]}
    sensors = {sensor["name"]: sensor["sensorState"]["status"] for sensor in found["sensors"]}
    assert sensors == {"new_order_files": "RUNNING", "commits_from_elsewhere": "RUNNING"}
    schedules = {schedule["name"]: schedule["scheduleState"]["status"] for schedule in found["schedules"]}
    assert schedules == {"hourly_ingest": "RUNNING", "nightly_maintenance": "STOPPED", "nightly_backups": "STOPPED"}
    assets = {"/".join(node["assetKey"]["path"]): node for node in found["assetNodes"]}
    assert set(assets) == {
        "landing/orders",
        "bronze/orders_autoloader",
        "bronze/orders_streaming_basic",
        "bronze/orders_trigger_availablenow",
        "bronze/orders_checkpoint_demo",
        "silver/orders_windowed_aggregates",
        "silver/orders",
        "gold/daily_revenue",
        "maintenance/promote_rescued_data/bronze/orders_autoloader",
        "maintenance/replay_late_rows/silver/orders_windowed_aggregates",
        "maintenance/check_all_rows/bronze/orders_autoloader",
        "maintenance/check_all_rows/silver/orders_windowed_aggregates",
        "maintenance/check_all_rows/silver/orders",
        "maintenance/check_all_rows/gold/daily_revenue",
        "maintenance/join_and_remove_files/bronze/orders_autoloader",
        "maintenance/join_and_remove_files/silver/orders_windowed_aggregates",
        "maintenance/join_and_remove_files/silver/orders",
        "maintenance/join_and_remove_files/gold/daily_revenue",
        "maintenance/backup_checkpoints",
    }
    assert assets["bronze/orders_autoloader"]["pools"] == [f"checkpoint/{BRONZE}"]
    launched = webserver(LAUNCH, job="ingest_orders")["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    status, deadline = "", time.monotonic() + 240
    while status not in ("SUCCESS", "FAILURE", "CANCELED") and time.monotonic() < deadline:
        time.sleep(0.3)
        status = webserver(STATUS, id=launched["run"]["runId"])["runOrError"]["status"]
    assert status == "SUCCESS"
    assert lake.describe(BRONZE).rows == 40
