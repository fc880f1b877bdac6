"""The README's claims, executed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command import DECLARATION, lakehouse_here, lakehouse_json_here

from lakehouse.lake import Lake
from lakehouse.orders.tables import TABLES
from lakehouse.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"<!-- executed by tests/e2e/test_readme.py -->\n```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def demo(home):
    """The demo, run as ``./dev demo`` runs it, on the suite's servers; then the README's examples have tables."""
    variables = {**os.environ, "LAKEHOUSE_HOME": str(home), "LAKEHOUSE_USER": "tester"}
    variables.pop("DAGSTER_HOME", None)
    before = objects(home)
    done = subprocess.run(
        [sys.executable, "-m", "lakehouse.cli.main", "demo", "--json"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), variables, before


def objects(home):
    """What lies in the buckets of the demo's lake."""
    lake = Lake.open(Settings.load(home=home, user="tester"))
    buckets = (lake.settings.bucket, lake.settings.landing_bucket)
    return {bucket: [info.key for info in lake.store.list(bucket)] for bucket in buckets}


def test_the_demo_loads_twelve_files_then_three_then_none(demo):
    runs = [run["bronze.orders_autoloader"] for run in demo[0]["runs"]]
    assert [run.get("files_loaded", 0) for run in runs] == [12, 3, 0]
    assert [run["rows_added"] for run in runs] == [3000, 750, 0]
    assert all(all(run["checks"].values()) for run in demo[0]["runs"])
    rows = {table["name"]: table["rows"] for table in demo[0]["tables"]}
    assert rows["bronze.orders_autoloader"] == 3750
    assert rows["silver.customers"] == 60
    assert rows["bronze.customers"] > 60


def test_the_demos_runs_are_in_the_instance_that_the_pages_show(demo):
    import dagster as dg

    result, variables, _ = demo
    home = Path(variables["LAKEHOUSE_HOME"]) / "dagster"
    with dg.DagsterInstance.from_config(str(home)) as instance:
        recorded = {run.run_id: run for run in instance.get_runs()}
    assert {run["run_id"] for run in result["runs"]} <= set(recorded)
    assert sum("dagster/sensor_name" in run.tags for run in recorded.values()) == 2


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(demo, number):
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES[number]], env=demo[1], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "card" in done.stdout


def test_there_are_examples():
    assert len(EXAMPLES) == 3


def test_the_checklist_of_the_demo_has_evidence_and_a_cleanup_leaves_the_buckets_as_they_were(demo, home):
    here = {**demo[1], "LAKEHOUSE_DECLARATION": str(DECLARATION)}
    assert lakehouse_json_here(here, "checkpoint", "backup", "--all")["failed"] == {}
    lines = json.loads(lakehouse_here(here, "checklist", "--json").stdout)["lines"]
    assert {line["table"] for line in lines} == set(TABLES)
    assert [line for line in lines if not line["evidence"]] == []
    # no channel is declared, and the lake of a test is below a temporary folder
    failed = {line["item"] for line in lines if not line["passed"]}
    assert failed <= {"alerts_are_tested", "checkpoint_is_kept"}
    assert lakehouse_json_here(here, "cleanup", "--all", "--yes")["objects"] > 100
    assert objects(home) == demo[2]
