"""Code written for Databricks, in an environment of PySpark and the wheel alone: no engine of ours, no registration.

The notebook runs where only is what ``pip install pyspark==4.2.0 WHEEL`` brings: no extra, nothing of this clone.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pyarrow.parquet as pq
import pyspark
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lakehouse.engine import jars, java

ROOT = Path(__file__).resolve().parents[2]
FILES = 4
NOTEBOOK = """
import sys
from pyspark.sql import SparkSession

folder, site, sink, jars = sys.argv[1:]
builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
if sink == "delta":  # as every session of Delta is made
    builder.config("spark.driver.extraClassPath", f"{jars}/*")
    builder.config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    builder.config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    builder.config("spark.databricks.delta.snapshotPartitions", "1")  # by default 50 tasks for each look at a table
spark = builder.getOrCreate()
query = (
    spark.readStream.format("cloudFiles")
    .option("cloudFiles.format", "json")
    .option("cloudFiles.inferColumnTypes", "true")
    .option("cloudFiles.maxFilesPerTrigger", "1")
    .load("dbfs:/landed")
    .selectExpr("id", "_metadata.file_name AS file")
    .writeStream.format(sink).option("checkpointLocation", f"{folder}/checkpoint")
    .trigger(availableNow=True)
    .start(f"{folder}/table")
)
query.awaitTermination()

from lakehouse.autoloader.source import register_cloud_files
from lakehouse.autoloader.sql import register_cloud_files_state
import json, lakehouse, pyspark_cloudfiles

register_cloud_files(spark, f"file://{folder}/journals")  # what was registered by hand before goes on as it was
columns = spark.readStream.format("cloudfiles").option("cloudFiles.format", "json").load("dbfs:/landed").columns
rows = spark.read.format(sink).load(f"{folder}/table").orderBy("id").collect()
register_cloud_files_state(spark)
states = spark.sql(f"SELECT ingestion_state FROM cloud_files_state('{folder}/checkpoint')").collect()
homes = {module.__file__.startswith(site) for module in (lakehouse, pyspark_cloudfiles)}
said = {"rows": [list(row) for row in rows], "columns": columns, "states": [one[0] for one in states]}
print(json.dumps({**said, "of the wheel": homes == {True}}))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the wheel, unpacked as an installation has it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    [wheel] = folder.iterdir()
    unpacked = folder / "site"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(unpacked)], check=True, timeout=60)
    return unpacked


def needed():
    """The distributions that the wheel asks for, and those ask for; extras are nobody's."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found, waiting = {}, [Requirement(text) for text in declared]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found[name] = distribution(name)
        waiting += [Requirement(text) for text in found[name].requires or ()]
    return found.values()


@pytest.fixture(scope="module")
def plain(tmp_path_factory, site):
    """The Python of an environment that has the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("plain")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", folder], check=True, timeout=120)
    [packages] = folder.glob("lib/python*/site-packages")
    for package in needed():
        for name in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
            (packages / name).symlink_to(package.locate_file(name))
    for path in site.iterdir():
        shutil.copytree(path, packages / path.name)
    return folder / "bin/python"


@pytest.fixture(scope="module")
def java_home(tmp_path_factory):
    """A Java for Spark's own scripts: the small one that comes with the engine lacks a module that Spark asks for."""
    home = tmp_path_factory.mktemp("java")
    (home / "bin").mkdir()
    script = home / "bin" / "java"
    script.write_text(
        "#!/bin/bash\n"
        'for one in "$@"; do [ "$one" = --add-modules=jdk.incubator.vector ] || kept+=("$one"); done\n'
        # as our own engine does: a short run is mostly compilation
        f'exec {java.java()} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC "${{kept[@]}}"\n'
    )
    script.chmod(0o755)
    return home


def environment(folder, site, java_home):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "AWS_", "SPARK_"))}
    return {
        **kept,
        "JAVA_HOME": str(java_home),
        "PYTHONPATH": str(site),
        "PYSPARK_PYTHON": sys.executable,
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "LAKEHOUSE_PATHS": f"dbfs:/=file://{folder}/",
        "LAKEHOUSE_SCHEMA_LOCATION_ROOT": f"{folder}/state",
    }


def start(folder, plain, java_home, sink):
    variables = {**environment(folder, "", java_home), "PYSPARK_PYTHON": str(plain)}
    del variables["PYTHONPATH"]
    notebook = folder / "notebook.py"
    notebook.write_text(NOTEBOOK)
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [plain, notebook, str(folder), str(plain.parents[1]), sink, str(jars.folder())],
            cwd=folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )


def land(folder):
    jars.ensure_jars()
    (folder / "landed").mkdir()
    for number in range(FILES):
        (folder / "landed" / f"{number}.json").write_text(json.dumps({"id": number}) + "\n")


def kill(tmp_path, plain, java_home, sink):
    """A run that ends in the middle of its files."""
    killed = start(tmp_path, plain, java_home, sink)
    while not (tmp_path / "checkpoint" / "commits" / "0").exists():
        assert killed.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    done = len([path for path in (tmp_path / "checkpoint" / "commits").iterdir() if path.name.isdigit()])
    assert 0 < done < FILES, "it was killed on its way"


def assert_each_row_once(tmp_path, plain, java_home, sink):
    run = start(tmp_path, plain, java_home, sink)
    printed, _ = run.communicate(timeout=300)
    assert run.returncode == 0, (tmp_path / "log").read_text()
    said = json.loads(printed)
    assert said["rows"] == [[number, f"{number}.json"] for number in range(FILES)]
    assert said["columns"] == ["id", "_rescued_data", "_metadata"]
    assert said["states"] == ["INGESTED"] * FILES
    assert list((tmp_path / "journals").glob("*/segments/*.parquet"))
    assert said["of the wheel"]


def test_a_notebook_has_each_row_once(tmp_path, plain, java_home):
    land(tmp_path)
    assert_each_row_once(tmp_path, plain, java_home, "parquet")


@pytest.mark.soak(
    "a kill on the way, into Parquet and into Delta; test_kill_matrix.py kills a run of an engine of ours"
)
@pytest.mark.parametrize("sink", ["parquet", "delta"])
def test_a_notebook_that_is_killed_goes_on_and_has_each_row_once(tmp_path, plain, java_home, sink):
    land(tmp_path)
    kill(tmp_path, plain, java_home, sink)
    assert_each_row_once(tmp_path, plain, java_home, sink)


@pytest.mark.soak("a pipeline with `import dlt`, run twice by spark-pipelines; the notebook above has the source")
def test_the_example_of_a_pipeline_loads_what_is_new(tmp_path, site, java_home):
    shutil.copytree(ROOT / "examples/pipelines", tmp_path / "pipeline")
    spec = tmp_path / "pipeline/spark-pipeline.yml"
    spec.write_text(spec.read_text().replace("file:///tmp/pipelines/orders/", f"file://{tmp_path}/storage/"))
    variables = environment(tmp_path, site, java_home)
    printed = subprocess.run(
        [sys.executable, "-m", "pyspark_cloudfiles"],
        env=variables,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    variables["PYTHONPATH"] += os.pathsep + printed.stdout.strip()
    settings = {
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": f"file://{tmp_path}/warehouse",
        "spark.ui.enabled": "false",
    }
    given = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    command = [str(Path(pyspark.__file__).parent / "bin/spark-pipelines"), "run", *given, "--spec", str(spec)]

    def rows(table):
        return pq.read_table(tmp_path / "warehouse" / table).to_pylist()

    landed = tmp_path / "landing/orders"
    landed.mkdir(parents=True)
    for run, amounts in enumerate([[10.5, None], [4.0, 2.0]], start=1):
        for number, amount in enumerate(amounts):
            order = {"order_id": f"{run}-{number}", "payment_method": "card", "total_amount": amount}
            (landed / f"{run}-{number}.json").write_text(json.dumps(order) + "\n")
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert sorted(row["order_id"] for row in rows("orders_bronze")) == ["1-0", "1-1", "2-0", "2-1"]
    assert {row["source_file"] for row in rows("orders_bronze")} == {path.name for path in landed.iterdir()}
    assert sorted(row["order_id"] for row in rows("orders_silver")) == ["1-0", "2-0", "2-1"]
    assert rows("revenue_gold") == [{"payment_method": "card", "orders": 3, "revenue": 16.5}]
