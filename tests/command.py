"""Runs the ``lakehouse`` command as a user does: in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from lakehouse.processes import HEARING

DECLARATION = Path(__file__).resolve().parents[1] / "lakehouse.yaml"
"""The project's own, for whoever runs in another folder."""
COMMAND = [sys.executable, "-m", "lakehouse.cli.main"]


def lakehouse(environment, *arguments, **variables):
    """The finished process; variables with the value None are taken away."""
    merged = {**os.environ, **environment, **variables}
    kept = {name: value for name, value in merged.items() if value is not None}
    return subprocess.run([*COMMAND, *arguments], env=kept, capture_output=True, text=True, timeout=300, check=False)


def lakehouse_json(environment, *arguments, **variables):
    """What the command says with ``--json``; the command must succeed."""
    done = lakehouse(environment, *arguments, "--json", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Said:
    """What a command said that ran in this process."""

    returncode: int
    stdout: str
    stderr: str


def lakehouse_here(environment, *arguments, **variables):
    """The same command in this process, on its session: for stories of many commands, not about processes."""
    from lakehouse.cli.main import app

    variables = {name: value for name, value in environment.items() if name.startswith("LAKEHOUSE_")} | variables
    done = CliRunner().invoke(app, arguments, env=variables)  # what Spark says there of its mode stays
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stdout, done.stderr)


def lakehouse_json_here(environment, *arguments, **variables):
    """What it says with ``--json``; the command must succeed."""
    done = lakehouse_here(environment, *arguments, "--json", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def start_lakehouse(environment, *arguments):
    """A running command with its standard output as a pipe."""
    return subprocess.Popen(
        [*HEARING, *COMMAND, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
