"""Runs tests on another PySpark of the range in ``pyproject.toml``, in an environment of its own below ``.venv``.

    .venv/bin/python tests/other_spark.py 4.2.1 tests/spark tests/e2e/test_stranger.py

All other packages are those of ``requirements.lock``. What stands behind the version goes to pytest.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def spark_range():
    """The versions that the library takes."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [found] = [requirement.specifier for requirement in map(Requirement, declared) if requirement.name == "pyspark"]
    return found


def requirements(version):
    """The pins of the lock, with that version of PySpark."""
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    return {**pins, "pyspark": version}


def environment(version):
    """The interpreter of an environment with them; it is made once."""
    folder = ROOT / ".venv" / f"pyspark-{version}"
    python, made = folder / "bin" / "python", folder / "made"
    pins = "".join(f"{name}=={pin}\n" for name, pin in sorted(requirements(version).items()))
    if not made.exists() or made.read_text() != pins:
        uv = ROOT / ".venv" / "bin" / "uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        (folder / "pins.txt").write_text(pins)
        install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", python]
        subprocess.run([*install, "-r", folder / "pins.txt"], check=True)
        subprocess.run([*install, "--no-build-isolation", "--editable", ROOT], check=True)
        made.write_text(pins)
    return python


def main():
    version, *chosen = sys.argv[1:] or [""]
    if not version or not chosen or version not in spark_range():
        sys.exit(f"usage: tests/other_spark.py VERSION TESTS...   (a version of PySpark {spark_range()})")
    python = str(environment(version))
    os.execv(python, [python, "-m", "pytest", *chosen])


if __name__ == "__main__":
    main()
