"""``dg``, as Dagster's users know it: in this project, and in one of a stranger's."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from dagster_dg_cli.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = """
[project]
name = "my-lake"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.cli.telemetry]
enabled = false

[tool.dg.project]
root_module = "my_lake"
"""
DEFINITIONS = """
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
DG = """
import sys
from dagster_dg_cli.cli import cli

for words in sys.argv[1:]:
    assert not cli(words.split(), standalone_mode=False)
"""


@pytest.fixture
def dg(tmp_path):
    """Runs commands of ``dg`` in a folder, in one process with a home of its own and without a lake."""

    def run(folder, *commands):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "LAKEHOUSE_"))}
        own = {"PYTHONPATH": str(folder), "LAKEHOUSE_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
        done = subprocess.run(
            [sys.executable, "-c", DG, *commands],
            cwd=folder,
            env={**kept, **own},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return run


@pytest.fixture
def whole_process():
    """Takes back what ``dg`` leaves in its process: variables, loggers, what SIGTERM does, modules of projects."""
    loggers = [
        logging.getLogger(name) for name in ("dagster", "dagit", "dagster-webserver", "dagster_telemetry_logger")
    ]
    before = [(logger.level, [*logger.handlers]) for logger in loggers]
    terminate = signal.getsignal(signal.SIGTERM)
    with mock.patch.dict(os.environ):
        yield
    signal.signal(signal.SIGTERM, terminate)
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lake"]:
        del sys.modules[name]


@pytest.fixture
def dg_here(whole_process, tmp_path, monkeypatch, capsys):
    """The same in this process, which has Dagster and the modules of this project already."""

    def run(folder, *commands):
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("COLUMNS", "200")
        for words in commands:
            assert not cli(words.split(), standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_the_project_checks_and_lists_its_definitions(dg_here):
    checked, loaded, listed = dg_here(ROOT, "check defs", "list defs").partition("All definitions loaded successfully")
    assert loaded, checked
    for name in ("bronze/orders_autoloader", "gold/daily_revenue", "ingest_orders", "new_order_files", "hourly_ingest"):
        assert name in listed


def test_what_is_scaffolded_in_the_project_is_loaded_beside_the_tables(dg, tmp_path):
    project = tmp_path / "project"
    for name in ("assets", "resources", "examples", "contracts"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dg.toml", "lakehouse.yaml"):
        shutil.copy(ROOT / name, project)
    said = dg(project, "scaffold defs dagster.asset noted.py", "check defs", "list defs")
    assert (project / "assets/defs/noted.py").exists()
    checked, loaded, listed = said.partition("All definitions loaded successfully")
    assert loaded, checked
    for name in ("noted", "bronze/orders_autoloader", "new_order_files"):
        assert re.search(rf"\b{name}\b", listed), listed


def test_a_strangers_project_scaffolds_the_component_and_has_the_tables_of_its_declaration(dg_here, tmp_path):
    project = tmp_path / "project"
    (project / "my_lake" / "defs").mkdir(parents=True)
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "my_lake" / "__init__.py").touch()
    (project / "my_lake" / "definitions.py").write_text(DEFINITIONS)
    shutil.copy(ROOT / "examples" / "customers" / "lakehouse.yaml", project)
    said = dg_here(project, "scaffold defs lakehouse.dagster.LakehouseComponent lake", "check defs", "list defs")
    assert "type: lakehouse.dagster.LakehouseComponent" in (project / "my_lake/defs/lake/defs.yaml").read_text()
    checked, loaded, listed = said.partition("All definitions loaded successfully")
    assert loaded, checked
    for name in ("bronze/customers", "silver/customers", "silver/customers:unique", "new_files"):
        assert name in listed
    assert not (tmp_path / "home").exists(), "neither a store nor Spark is needed to load them"
