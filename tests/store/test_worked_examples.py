"""The worked examples of docs/architecture.md, added to a copy of the library, which then loads files with them."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
BLOCK = re.compile(
    r"<!-- executed by tests/store/test_worked_examples.py: (\S+) -->\n```(yaml|python|diff)\n(.*?)```\n", re.DOTALL
)
SECTIONS = {
    title: BLOCK.findall(text) for title, text in re.findall(r"\n### ([^\n]+)\n(.*?)(?=\n##|\n\[)", PAGE, re.DOTALL)
}

PROGRAM = """
import io, json
from contextlib import redirect_stdout
from lakehouse.cli.main import app
from lakehouse.lake import Lake

def said(*arguments):
    with redirect_stdout(io.StringIO()) as text:
        assert not app([*arguments, "--json"], standalone_mode=False), text.getvalue()
    return json.loads(text.getvalue())

def read(table, *columns):
    return lake.rows(table).to_table(columns=list(columns)).to_pylist()

try:
    declared = said("validate")
    lake = Lake.open()
    for name, text in {
        "readings/a.csv": "sensor,celsius\\nattic,21.5\\ncellar,11.25\\nattic,22.0\\n",
        "readings/b.csv": "sensor,celsius\\nroof,-3.5\\n",
        "device_log/a.logfmt": "device=pump volts=11.9\\n\\ndevice=fan volts=high\\n",
        "device_log/b.logfmt": "device=fan volts=12.25\\n",
        "other/large.json": '{"a": 1}\\n' * 200_000,
    }.items():
        lake.store.write(lake.settings.landing_bucket, name, text.encode())
    ingested = said("ingest", "bronze.readings", "bronze.device_log")
    rows = {
        "readings": read("bronze.readings", "sensor", "celsius"),
        "device_log": read("bronze.device_log", "device", "volts", "_rescued_data", "_source_record"),
        "large": len(lake.store.read(lake.settings.landing_bucket, "other/large.json")),
    }
finally:
    with redirect_stdout(io.StringIO()):
        app(["down"], standalone_mode=False)
print(json.dumps([declared, ingested, rows]))
"""


def added(text, diff):
    """The text with the lines of a diff that begin with + after the one that does not."""
    place, *lines = diff.splitlines()
    assert place.startswith(" ")
    assert all(line.startswith("+") for line in lines)
    assert text.count(place[1:] + "\n") == 1, place
    new = "".join(line[1:] + "\n" for line in lines)
    return text.replace(place[1:] + "\n", place[1:] + "\n" + new)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy of the library and of the declaration, with all examples in it."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "lakehouse", folder / "lakehouse", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "lakehouse.yaml", folder)
    for blocks in SECTIONS.values():
        for path, language, text in blocks:
            place = folder / path
            if language == "diff":
                place.write_text(added(place.read_text(), text))
            elif language == "yaml":
                place.write_text(place.read_text() + text)
            else:
                assert not place.exists()
                place.write_text(text)
    return folder


@pytest.fixture(scope="module")
def loaded(house, tmp_path_factory):
    """What the copy's commands said, what is in its tables, and its home."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_S3")},
        "PYTHONPATH": str(house),
        "LAKEHOUSE_HOME": str(home),
        "LAKEHOUSE_USER": "tester",
        "LAKEHOUSE_STORE": "minio_compressed",
        "LAKEHOUSE_ENGINE": "local",
    }

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=house,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return (*json.loads(done.stdout), home)


def test_there_are_four_examples_each_in_as_few_files_as_it_says():
    files = defaultdict(set)
    for title, blocks in SECTIONS.items():
        for path, language, _ in blocks:
            uses_it = path == "lakehouse.yaml" and not title.startswith("A table")
            files[title] |= set() if uses_it else {path}
            assert uses_it or language != "yaml" or path == "lakehouse.yaml"
    assert {title: len(paths) for title, paths in files.items()} == {
        "A table: 1 file": 1,
        "A check: 1 file": 1,
        "A file format: 2 files": 2,
        "A store: 1 file": 1,
    }


def test_the_examples_are_in_the_style_of_the_library(house):
    python = [str(house / path) for blocks in SECTIONS.values() for path, language, _ in blocks if language == "python"]
    for command in (("check",), ("format", "--check")):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), *python]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_declared_table_is_loaded(loaded):
    _, said, rows, _ = loaded
    assert sorted((row["sensor"], row["celsius"]) for row in rows["readings"]) == [
        ("attic", 21.5),
        ("attic", 22.0),
        ("cellar", 11.25),
        ("roof", -3.5),
    ]
    assert [table["table"] for table in said["tables"]] == ["bronze.readings", "bronze.device_log"]


def test_an_added_check_counts_in_its_table(loaded):
    _, said, _, _ = loaded
    [finding] = [check for check in said["checks"] if check["check"] == "distinct_at_least"]
    assert finding["table"] == "bronze.readings"
    assert finding["passed"]
    assert finding["numbers"] == {"distinct_values": 3}
    assert all(check["passed"] for check in said["checks"])


def test_an_added_format_is_read_typed_and_rescued_with_its_lines_numbers(loaded):
    rows = loaded[2]["device_log"]
    assert sorted((row["device"], row["volts"], row["_source_record"]) for row in rows if row["volts"]) == [
        ("fan", 12.25, 0),
        ("pump", 11.9, 0),
    ]
    [rescued] = [row for row in rows if row["_rescued_data"]]
    assert (rescued["device"], rescued["volts"], rescued["_source_record"]) == ("fan", None, 2)
    told = json.loads(rescued["_rescued_data"])
    assert told["volts"] == "high"
    assert told["_file_path"].endswith("/device_log/a.logfmt")


def test_an_added_store_keeps_what_it_is_given_in_its_own_way(loaded):
    *_, rows, home = loaded
    assert rows["large"] == 200_000 * len('{"a": 1}\n')
    kept = home / "store/data-minio_compressed/landing/other/large.json"
    size = sum(path.stat().st_size for path in kept.rglob("*") if path.is_file())
    assert 0 < size < rows["large"] / 5
