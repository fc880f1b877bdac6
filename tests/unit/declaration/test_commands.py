"""``lakehouse init`` and ``lakehouse validate``, which need no store and no Spark."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lakehouse.cli.main import app
from lakehouse.declaration import json_schema, read_catalogue, unknown_variables
from lakehouse.declaration.templates import FIRST
from lakehouse.settings import Settings

GOOD = "tables:\n  bronze.a: {files: {path: s3a://a/b/}}\n  silver.a: {python: {of: bronze.a, function: 'ours:made'}}\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the folder of a declaration is put there
    monkeypatch.delitem(sys.modules, "ours", raising=False)
    return tmp_path


def run(*arguments: str, **variables: str):
    return CliRunner().invoke(app, list(arguments), env={**variables, "COLUMNS": "200"})


def test_init_writes_a_file_that_is_valid_and_never_writes_over_one(here):
    assert run("init").exit_code == 0
    assert (here / "lakehouse.yaml").read_text() == FIRST
    assert run("validate").exit_code == 0
    (here / "lakehouse.yaml").write_text("tables:\n# mine\n")
    done = run("init")
    assert done.exit_code == 1 and "there is a declaration already" in done.output
    assert (here / "lakehouse.yaml").read_text() == "tables:\n# mine\n"


def test_init_makes_the_folder_that_is_named(here):
    told = json.loads(run("init", "some/where", "--json").stdout)
    assert told["declaration"] == "some/where/lakehouse.yaml"
    assert (here / "some" / "where" / "lakehouse.yaml").exists()
    (here / "file").write_text("")
    done = run("init", "file")
    assert done.exit_code == 1 and "cannot be written" in done.output


def test_the_examples_in_the_first_file_are_valid_when_their_comments_are_taken_away(here):
    kept, examples = [], []
    for line in FIRST.splitlines():
        (examples if line.startswith("#  ") and "yaml-language" not in line else kept).append(line)
    text = "\n".join([*kept, *(line[1:] for line in examples if not line.startswith("#   lakehouse"))])
    (here / "lakehouse.yaml").write_text(text)
    made = read_catalogue(Settings.load())
    assert made.names == ("bronze.customers", "silver.customers", "gold.customers_by_country")


def test_validate_prints_the_tables_in_the_order_of_the_data(here):
    (here / "ours.py").write_text("def made(rows):\n    return rows\n")
    reverse = GOOD.splitlines()
    (here / "lakehouse.yaml").write_text("\n".join([reverse[0], reverse[2], reverse[1]]))
    told = json.loads(run("validate", "--json").stdout)
    assert [(table["name"], table["flow"], table["source"]) for table in told["tables"]] == [
        ("bronze.a", "files", "s3a://a/b/"),
        ("silver.a", "python", "bronze.a"),
    ]
    assert told["valid"] is True and told["warnings"] == []
    lines = run("validate").stdout.splitlines()
    assert lines[1].startswith("bronze.a") and lines[2].startswith("silver.a")


def test_validate_tells_all_problems_with_their_lines_and_ends_with_exit_code_1(here):
    (here / "lakehouse.yaml").write_text("tables:\n  bronze.a: {file: 1}\n  silver.b: {latest: {of: x}}\n")
    done = run("validate", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert {problem["line"] for problem in told["problems"]} == {2, 3} and len(told["problems"]) == 3
    assert told["where"] == "lakehouse.yaml:2"
    assert "line 3: " in run("validate").output


def test_validate_tells_of_options_without_effect(here):
    options = "{cloudFiles.maxFileAge: 90 days, latestFirst: true, cloudFiles.useNotifications: false}"
    (here / "lakehouse.yaml").write_text(f"tables:\n  bronze.a: {{files: {{path: s3a://a/b/, options: {options}}}}}\n")
    told = json.loads(run("validate", "--json").stdout)
    first, second = told["warnings"]
    assert first.startswith("bronze.a (line 2): cloudFiles.maxFileAge is without effect: what was loaded is kept in")
    assert second.startswith("bronze.a (line 2): latestFirst is without effect: files are loaded in the order")
    done = run("validate")
    assert done.exit_code == 0
    assert f"warning: {second}" in done.stdout


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (None, "the module ours of ours:made cannot be imported: ModuleNotFoundError"),
        ("raise ValueError('not today')\n", "cannot be imported: ValueError: not today"),
        ("other = 1\n", "the module ours has no made"),
        ("made = 1\n", "ours:made is no function, but int"),
    ],
)
def test_validate_imports_functions_and_reading_does_not(here, module, said):
    (here / "lakehouse.yaml").write_text(GOOD)
    if module is not None:
        (here / "ours.py").write_text(module)
    assert "silver.a" in read_catalogue(Settings.load())
    done = run("validate", "--json")
    assert done.exit_code == 1
    [problem] = json.loads(done.stdout)["problems"]
    assert problem["line"] == 3 and said in problem["what"]


def test_validate_knows_the_types_of_columns(here):
    (here / "lakehouse.yaml").write_text("tables:\n  bronze.a: {files: {path: s3a://a/b/, hints: {id: STRNG}}}\n")
    done = run("validate", "--json")
    assert done.exit_code == 1
    assert "hints of bronze.a: cannot read the schema hints" in json.loads(done.stdout)["what"]


def test_variables_that_nobody_reads_are_warned_of_with_the_nearest_name(here):
    (here / "lakehouse.yaml").write_text(
        "tables:\n  bronze.a: {files: {path: 's3a://a/${LAKEHOUSE_FOLDER_OF_A:-x}/'}}\n"
    )
    done = run("validate", "--json", LAKEHOUSE_FOLDER_OF_B="1", LAKEHOUSE_FOLDER_OF_A="2", LAKEHOUSE_QQQQ="3")
    warnings = json.loads(done.stdout)["warnings"]
    assert done.exit_code == 0 and len(warnings) == 2
    assert "LAKEHOUSE_FOLDER_OF_B is set" in warnings[0] and "did you mean LAKEHOUSE_FOLDER_OF_A?" in warnings[0]
    assert "LAKEHOUSE_QQQQ is set" in warnings[1] and "did you mean" not in warnings[1]
    settings = Settings.load(variables={"QQQQ": "y"})
    assert unknown_variables(settings, read_catalogue(settings)) == [("QQQQ", None)]


def test_validate_prints_the_schema_for_editors_without_a_file():
    done = run("validate", "--json-schema")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == json_schema()
