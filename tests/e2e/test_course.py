"""The notebooks, each executed in a kernel of its own; the tables of the course held against plain Python."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from reference_silver import reference_silver

from lakehouse.engine import stop_engine
from lakehouse.lake import Lake
from lakehouse.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
LOCK = NOTEBOOKS / "requirements.lock"


@pytest.fixture
def jupyter(tmp_path):
    """A folder with what runs notebooks, as docs/course.md installs it."""
    folder = tmp_path / "jupyter"
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*install, "--target", str(folder), "--requirements", str(LOCK)], check=True)
    return folder


@pytest.fixture
def execute(home, own_engine, jupyter, tmp_path):
    """Runs every cell of a notebook; gives the lake in which it works."""
    bucket, landing = (f"{kind}-{uuid.uuid4().hex[:12]}" for kind in ("course", "landing"))
    variables = {
        **os.environ,
        "PYTHONPATH": str(jupyter),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "LAKEHOUSE_HOME": str(home),
        "LAKEHOUSE_USER": "tester",
        "LAKEHOUSE_BUCKET": bucket,
        "LAKEHOUSE_LANDING_BUCKET": landing,
    }

    def executed(notebook, user):
        settings = Settings.load(home=home, user=user, bucket=bucket, landing_bucket=landing)
        run = [jupyter / "bin/jupyter-execute", "--timeout=300", "--kernel_name=python3", NOTEBOOKS / notebook]
        try:
            done = subprocess.run(run, cwd=NOTEBOOKS, env=variables, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        finally:
            stop_engine(settings)
        return Lake.open(settings)

    return executed


def files_of(lake, folder):
    """The lines of each file, in the order in which the files came."""
    bucket = lake.settings.landing_bucket
    found = lake.store.list(bucket, f"{lake.settings.user}/{folder}/")
    return [lake.store.read(bucket, info.key).splitlines() for info in found]


def orders(files):
    """Number and amount of each order."""
    told = (json.loads(line) for lines in files for line in lines)
    return sorted((order["order_id"], float(order["total_amount"])) for order in told)


def rows(lake, table):
    """The same, as the table has them."""
    read = lake.rows(table).to_table(columns=["order_id", "total_amount"]).to_pylist()
    return sorted((row["order_id"], float(row["total_amount"])) for row in read)


@pytest.mark.soak("every cell of the notebook in a kernel; test_auto_loader.py has its first example")
def test_the_tables_of_the_notebook_are_what_the_rules_say_of_its_files(execute):
    course = execute("streaming_ingestion.ipynb", "tester-course")
    files = files_of(course, "orders")
    assert len(files) == 18
    loaded = {"streaming_basic": 12, "trigger_availablenow": 13, "checkpoint_demo": 17, "autoloader": 18}
    for name, count in loaded.items():
        assert rows(course, f"bronze.orders_{name}") == orders(files[:count]), name

    def batch(some):
        return [[line for lines in some for line in lines]]

    expected = reference_silver([batch(files[:14]), batch(files[14:15]), batch(files[15:])])
    found = course.rows("silver.orders_windowed_aggregates").to_table().to_pylist()
    silver = {
        (window["window_start"], window["window_end"], window["payment_method"]): (
            window["order_count"],
            pytest.approx(window["total_revenue"]),
            pytest.approx(window["avg_order_value"]),
        )
        for window in found
    }
    assert len(found) == len(silver)
    assert expected.windows == silver
    assert expected.late

    homework = dict(orders(files_of(course, "homework")))
    assert rows(course, "silver.homework_orders") == sorted(homework.items())
    [revenue] = course.rows("gold.homework_revenue").to_table().to_pylist()
    assert (revenue["orders"], revenue["revenue"]) == (len(homework), pytest.approx(sum(homework.values())))


@pytest.mark.soak("a notebook of Databricks, every cell in a kernel; test_drop_in.py has its source in plain PySpark")
def test_code_of_databricks_runs_where_its_paths_and_its_catalog_are_named_once(execute):
    lake = execute("coming_from_databricks.ipynb", "tester-databricks")
    assert len(lake.rows("bronze.shop_orders").to_table()) == 7
    newest = lake.rows("silver.shop_orders").to_table(columns=["order_id", "amount"]).to_pylist()
    assert {row["order_id"]: row["amount"] for row in newest} == {1: 15.0, 2: 25.0, 3: None, 4: 40.0, 5: 50.0}
