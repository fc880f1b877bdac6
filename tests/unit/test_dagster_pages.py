"""Dagster's pages of a home: a second start and a taken port are told before anything is started."""

import json
import socket
import subprocess
import sys

import pytest
from command import lakehouse_here

from assets import ui
from lakehouse.lake import Lake
from lakehouse.processes import dagster_pages

BECOMES_ANOTHER = """
import os, sys
from pathlib import Path
from lakehouse.processes import dagster_pages
dagster_pages(Path(sys.argv[1])).take_place(port=4711)
os.execv(sys.executable, [sys.executable, "-c", "import sys; print('begun', flush=True); sys.stdin.read()"])
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Lake, "open", lambda *given, **more: pytest.fail("something was started"))
    return tmp_path / "home"


@pytest.fixture
def pages(home):
    """A process that takes the place of the pages, and then becomes another program, as Dagster's does."""
    child = subprocess.Popen(
        [sys.executable, "-c", BECOMES_ANOTHER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "begun\n"
    yield child
    child.communicate()


def started(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["ui", *arguments])
    with pytest.raises(SystemExit) as ended:
        ui.main()
    return str(ended.value)


def test_a_taken_port_is_told_with_another_one(home, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = started(monkeypatch, "--port", str(port))
    assert f"port {port} is taken" in said
    assert "./dev ui --port " in said


def test_pages_that_are_on_already_are_named_and_down_says_who_starts_the_store_again(home, pages, monkeypatch):
    said = started(monkeypatch)
    assert "http://127.0.0.1:4711" in said and f"kill {pages.pid}" in said
    down = lakehouse_here({}, "down", "--json")
    assert json.loads(down.stdout)["dagster_pid"] == pages.pid
    assert f"kill {pages.pid}" in down.stderr
    pages.communicate()
    assert dagster_pages(home).running() is None
    assert json.loads(lakehouse_here({}, "down", "--json").stdout)["dagster_pid"] is None
