"""The script of pictures: its pages are those of the README's tour, and without Chromium or pages it says so."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docs/screenshots.py"
PATH = re.compile(r"/(?:assets|locations/lakehouse/(?:jobs|sensors))/([\w/]+?)(?:/playground|/partitions)?(?:\?|$)")


@pytest.fixture(scope="module")
def screenshots():
    spec = importlib.util.spec_from_file_location("screenshots", SCRIPT)
    made = importlib.util.module_from_spec(spec)
    sys.modules["screenshots"] = made
    spec.loader.exec_module(made)
    return made


def test_each_thing_to_click_has_a_picture_and_each_page_is_there(screenshots):
    tour = (ROOT / "README.md").read_text().split("## Five things to click\n")[1].split("\n## ")[0]
    project = json.loads((ROOT / "tests/dagster/project.json").read_text())
    known = {*project["assets"], *project["jobs"], *project["sensors"]}
    clicked = set(re.findall(r"`([^`]+)`", tour)) & known
    shown = {found.group(1) for page in screenshots.PAGES if (found := PATH.match(page.path))}
    assert len(clicked) >= 5
    assert shown == clicked
    assert "location_name: lakehouse" in (ROOT / "workspace.yaml").read_text()


def test_errors_of_the_console_are_told_and_nothing_else(screenshots):
    entry = {"level": "error", "text": "Failed to load resource: 404", "url": "http://127.0.0.1/a.js"}
    thrown = {"text": "Uncaught", "exception": {"description": "TypeError: x is undefined"}}
    written = {"type": "error", "args": [{"value": "no such key"}, {"description": "Error: b"}]}
    events = [
        {"method": "Log.entryAdded", "params": {"entry": entry}},
        {"method": "Log.entryAdded", "params": {"entry": {**entry, "level": "warning"}}},
        {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": thrown}},
        {"method": "Runtime.consoleAPICalled", "params": written},
        {"method": "Runtime.consoleAPICalled", "params": {**written, "type": "log"}},
        {"method": "Page.loadEventFired", "params": {}},
    ]
    loaded = "Failed to load resource: 404 http://127.0.0.1/a.js"
    told = [loaded, "", "TypeError: x is undefined", "no such key Error: b", "", ""]
    assert [screenshots.error_of(event) for event in events] == told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "error: there is no Chromium"),
        (["--browser", "/bin/false"], "Dagster's pages are not on at http://127.0.0.1"),
    ],
)
def test_what_is_not_there_is_told_with_its_cure_before_anything_is_written(tmp_path, options, said):
    command = [sys.executable, str(SCRIPT), str(tmp_path / "pictures"), "--url", f"http://127.0.0.1:{free_port()}"]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stderr, "next   " in done.stderr) == (1, True, True), done.stderr
    assert not (tmp_path / "pictures").exists()
