"""Somebody else's files become tables in an empty folder, with the wheel installed and no clone near."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
[TRANSCRIPT] = re.findall(r"<!-- run by tests/e2e/test_stranger.py -->\n```console\n(.*?)```", README, re.DOTALL)
[DEFINITIONS] = re.findall(r"<!-- loaded by tests/e2e/test_stranger.py -->\n```python\n(.*?)```", README, re.DOTALL)
HEADER = "customer_id,name,city,updated_at\n"
FILES = {
    "country=DE/day_1.csv": "1,Ada,Bonn,2026-01-01 06:00:00\n2,Bruno,Ulm,2026-01-01 07:00:00\n",
    "country=FR/day_1.csv": "3,Chloé,Lyon,2026-01-01 08:00:00\n",
    "country=DE/day_2.csv": "1,Ada,Köln,2026-01-02 06:00:00\n",
}
MATERIALIZE = """
import json
from definitions import defs
done = defs.resolve_job_def("ingest").execute_in_process()
checks = {one.check_name: one.passed for one in done.get_asset_check_evaluations()}
assets = [key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()]
print(json.dumps({"success": done.success, "checks": checks, "assets": sorted(assets)}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory, own_engine):
    """An environment with the wheel and what it depends on; the clone's own code is not in it."""
    uv, wheels = Path(sys.executable).parent / "uv", tmp_path_factory.mktemp("wheels")
    offline = {"check": True, "capture_output": True, "timeout": 120}
    building = [uv, "build", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable]
    subprocess.run([*building, "--out-dir", wheels, ROOT], **offline)
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", environment], **offline)
    packages = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for path in (Path(sys.prefix) / packages).iterdir():
        if "spark_autoloader_lakehouse" not in path.name and path.name not in ("pip", "__pycache__"):
            (environment / packages / path.name).symlink_to(path)
    [wheel] = wheels.glob("*.whl")
    installing = [uv, "pip", "install", "--no-deps", "--no-index", "--offline", "--python", environment / "bin/python"]
    subprocess.run([*installing, wheel], **offline)
    return environment


@pytest.fixture
def shell(installed, tmp_path):
    """Runs a line in an empty folder, with nothing of this clone in its environment."""
    foreign = ("LAKEHOUSE_", "DAGSTER_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    variables = {**kept, "PATH": f"{installed}/bin{os.pathsep}{kept['PATH']}", "LAKEHOUSE_USER": "stranger"}

    def run(line):
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    yield run
    run("lakehouse down")


def plain(line):
    """A line of output without what differs from run to run."""
    return re.sub(r"\d+\.\d s", "N s", " ".join(line.split()))


def assert_said(shown, output):
    """The lines that the README shows are in the output, in their order."""
    rest = iter([plain(line) for line in output.splitlines()])
    for line in shown:
        assert line == "..." or any(plain(line) == said_line for said_line in rest), (
            f"{line!r} is not in, or out of order:\n{output}"
        )


def test_a_strangers_files_become_tables_without_a_clone(shell, tmp_path):
    for name, text in FILES.items():
        file = tmp_path / "customers" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEADER + text)
    assert str(ROOT) not in shell("python -c 'import lakehouse; print(lakehouse.__path__)'")

    for story in re.split(r"^\$ ", TRANSCRIPT, flags=re.MULTILINE)[1:]:
        command, *shown = story.splitlines()
        assert_said(shown, shell(command))

    declared = (tmp_path / "lakehouse.yaml").read_text()
    assert list(yaml.safe_load(declared)["tables"]) == ["bronze.customers", "silver.customers"]
    lines = len(re.findall(r"^ +\S", declared.split("\ntables:\n")[1], re.MULTILINE))
    assert f"{ {13: 'thirteen', 14: 'fourteen', 15: 'fifteen'}[lines] } lines" in README
    assert all(table["checks"] for table in yaml.safe_load(declared)["tables"].values())
    told = json.loads(shell("lakehouse validate --json"))
    assert told["valid"] and not told["warnings"]

    # the same tables in Dagster and by the other engine, with a file that came meanwhile
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    later = tmp_path / "customers/country=FR/day_3.csv"
    later.write_text(f"{HEADER}3,Chloé,Nîmes,2026-01-03 06:00:00\n")
    shell(f"lakehouse put {later} bronze.customers")
    shell("python -m dagster definitions validate -f definitions.py")
    done = json.loads(shell(f"LAKEHOUSE_ENGINE=local python -c '{MATERIALIZE}' 2>/dev/null").splitlines()[-1])
    assert done["success"] and done["checks"] and all(done["checks"].values())
    assert {"landing/customers", "bronze/customers", "silver/customers"} <= set(done["assets"])
    tables = {table["name"]: table["rows"] for table in json.loads(shell("lakehouse tables --json"))["tables"]}
    assert tables == {"bronze.customers": 5, "silver.customers": 3}
