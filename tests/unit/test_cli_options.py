"""What all commands have in common."""

import json
import logging
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from command import lakehouse_here

DECLARED = "tables:\n  bronze.a: {files: {path: 's3a://a/${LAKEHOUSE_FOLDER:-x}/'}}\n"
HEAVY = ("pyspark", "pandas", "pyarrow", "deltalake", "dagster", "minio", "numpy", "pydantic")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lakehouse.yaml").write_text(DECLARED)
    return tmp_path


@pytest.fixture
def quiet():
    """The logger of the library, as it was before."""
    log = logging.getLogger("lakehouse")
    level, handlers = log.level, list(log.handlers)
    yield log
    log.setLevel(level)
    log.handlers[:] = handlers


def test_the_version_is_that_of_the_installed_library():
    done = lakehouse_here({}, "--version")
    assert done.returncode == 0
    assert done.stdout.startswith(f"lakehouse {version('spark-autoloader-lakehouse')} (pyspark 4.2")


@pytest.mark.parametrize("words", [[], ["ingest"], ["checkpoint"], ["checkpoint", "show"], ["schema", "diff"]])
def test_h_is_help_everywhere(words):
    done = lakehouse_here({}, *words, "-h")
    assert done.returncode == 0 and "Usage:" in done.stdout


def test_the_help_needs_nothing_that_is_slow_to_load():
    code = "import sys, lakehouse.cli.main; print([one for one in sys.argv[1:] if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_shell_can_complete_commands():
    script = Path(sys.executable).parent / "lakehouse"
    asked = {"_LAKEHOUSE_COMPLETE": "complete_bash", "COMP_WORDS": "lakehouse in", "COMP_CWORD": "1"}
    done = subprocess.run([script], env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=True)
    assert sorted(done.stdout.split()) == ["ingest", "init"]


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (["-v", "down"], logging.INFO),
        (["down", "-v"], logging.INFO),
        (["down", "-v", "--verbose"], logging.DEBUG),
        (["down", "-vv"], logging.DEBUG),
    ],
)
def test_v_shows_what_the_library_logs_wherever_it_stands(here, quiet, words, level):
    assert lakehouse_here({"LAKEHOUSE_HOME": str(here / "home")}, *words).returncode == 0
    assert quiet.level == level
    assert len([handler for handler in quiet.handlers if getattr(handler, "verbose", False)]) == 1


def test_a_variable_that_nobody_reads_is_warned_of_once(here):
    told = {"LAKEHOUSE_HOME": str(here / "home"), "LAKEHOUSE_FOLDER": "y", "LAKEHOUSE_BUKET": "z"}
    done = lakehouse_here(told, "down", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["stopped_engines"] == 0
    assert done.stderr.count("warning:") == 1
    assert "LAKEHOUSE_BUKET is set, and neither a setting nor asked for" in done.stderr
    assert "did you mean LAKEHOUSE_BUCKET?" in done.stderr
    assert lakehouse_here(told, "validate").stderr.count("LAKEHOUSE_BUKET") == 0, "it tells them among its results"


def test_two_places_at_once_are_refused_and_none_is_ignored(here):
    told = {"LAKEHOUSE_HOME": str(here / "home")}
    done = lakehouse_here(told, "quarantine", "--records", "s3a://a/bad", "--checkpoint", "s3a://a/own")
    assert done.returncode == 1 and "name one of them: --checkpoint or --records" in done.stderr
    assert not (here / "home").exists()


@pytest.mark.parametrize("text", [None, "tables: [\n"])
def test_without_a_declaration_only_what_is_certain_is_warned_of(here, text):
    if text is None:
        (here / "lakehouse.yaml").unlink()
    else:
        (here / "lakehouse.yaml").write_text(text)
    done = lakehouse_here({"LAKEHOUSE_HOME": str(here / "home"), "LAKEHOUSE_FOLDER": "y"}, "down")
    assert done.returncode == 0
    assert ("LAKEHOUSE_FOLDER is set" in done.stderr) is (text is None)
