"""What the documents name exists."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lakehouse.cli.main import app
from lakehouse.declaration import read_catalogue
from lakehouse.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("docker/*.md")])
COMMANDS = {command.name or command.callback.__name__: command for command in app.registered_commands}
GROUPS = {group.name: group.typer_instance.registered_commands for group in app.registered_groups}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_test_files_exist(document):
    named = re.findall(r"tests/[\w/]+\.py", document.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_row_of_a_table_has_a_cell_for_each_column(document):
    tables = re.findall(r"(?:^\|.*\n)+", document.read_text(), re.MULTILINE)
    for table in tables:
        # a bar that is shown is written as code
        cells = [re.sub(r"`[^`]*`|\\\|", "", row).count("|") for row in table.splitlines()]
        assert [row for row, count in zip(table.splitlines(), cells, strict=True) if count != cells[0]] == []


def test_the_readme_lists_every_variable_and_no_other():
    listed = set(re.findall(r"`LAKEHOUSE_([A-Z0-9_]+)`", (ROOT / "README.md").read_text()))
    settings = {f"LAKEHOUSE_{name.upper()}" for name in Settings.model_fields}
    asked_for = read_catalogue(Settings.load()).variables
    assert {f"LAKEHOUSE_{name}" for name in listed} == settings | asked_for


def test_the_readme_lists_every_command_and_no_other():
    listed = set(re.findall(r"`lakehouse ([\w-]+)`", (ROOT / "README.md").read_text()))
    assert listed == {name for name, command in COMMANDS.items() if not command.hidden} | GROUPS.keys()


def test_the_tour_of_the_readme_names_what_dagster_shows():
    tour = (ROOT / "README.md").read_text().split("## Five things to click\n")[1].split("\n## ")[0]
    made = json.loads((ROOT / "tests/dagster/project.json").read_text())
    shown = {*made["assets"], *made["jobs"], *made["sensors"], "./dev demo", "./dev ui"}
    texts = [path.read_text() for folder in ("lakehouse/dagster", "assets") for path in (ROOT / folder).rglob("*.py")]
    named = re.findall(r"`([^`]+)`", tour)
    words = [name for name in named if name not in shown]
    assert len(named) - len(words) >= 7
    # a metadata name, or a field of a form with its value
    parts = [part for name in words for part in name.split(": ") if part != "true"]
    assert [part for part in parts if not any(re.search(rf"\b{part}\b", text) for text in texts)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(document):
    used = set(re.findall(r"`(?:[\w./]*/)?lakehouse ([a-z-]+)[^`]*`", document.read_text()))
    assert used <= COMMANDS.keys() | GROUPS.keys()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_json(name):
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "--json" in result.output
    assert COMMANDS[name].callback.__doc__


@pytest.mark.parametrize(
    "words", [(group, subcommand.name) for group, found in GROUPS.items() for subcommand in found], ids=" ".join
)
def test_every_command_of_a_group_has_help_and_json(words):
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "--json" in result.output


def test_no_document_or_source_names_a_machine_or_a_registry():
    pattern = r"https?://(files|repo[0-9]*|registry|proxy)\.[a-z.]+/|/(simple|maven2)\b"
    command = ["git", "grep", "-nIE", pattern, "--", ".", ":!tests/unit/test_docs.py"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_the_code_of_the_batch_page_compiles_and_names_what_exists():
    text = (ROOT / "docs/batch-or-streaming.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "docs/batch-or-streaming.md", "exec"), names)
    assert callable(names["rows_of_topic"])
    assert callable(names["windows_of_topic"])
