"""Tests on another PySpark: only that package differs from the lock, and only versions of the range are taken."""

import subprocess
import sys
import tomllib
from pathlib import Path

import other_spark
import pytest
from packaging.requirements import Requirement

DECLARED = tomllib.loads((other_spark.ROOT / "pyproject.toml").read_text())["project"]


def test_only_pyspark_differs_from_the_lock():
    locked, other = other_spark.requirements(None), other_spark.requirements("4.2.99")
    assert {name for name in locked if locked[name] != other[name]} == {"pyspark"}
    assert other["pyspark"] == "4.2.99" and len(other) > 100


def test_every_extra_takes_the_same_range_of_spark():
    asked = map(Requirement, [text for extra in DECLARED["optional-dependencies"].values() for text in extra])
    assert {requirement.specifier for requirement in asked if requirement.name == "pyspark"} == {
        other_spark.spark_range()
    }


@pytest.mark.parametrize("words", [[], ["4.2.1"], ["4.1.4", "tests/unit"], ["5.0.0", "tests/unit"]])
def test_another_version_or_no_test_is_refused_before_anything_is_installed(words):
    script = Path(other_spark.__file__)
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "(a version of PySpark " in done.stderr
