"""docs/options.md names every option, with the default and the verdict that the code has."""

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest

from lakehouse.autoloader.options.page import BEGIN, END, EVERY, tables, verdicts
from lakehouse.autoloader.options.parse import OPTIONS, CloudFilesOptions
from lakehouse.autoloader.options.verdict import VERDICTS

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "options.md"
NAMES = json.loads(Path(__file__).with_name("databricks_names.json").read_text())


def documented(heading):
    """Rows of the table below a heading: the cells, without the head."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_document_has_every_option_with_its_default():
    rows = documented("As on Databricks") + documented("Additions")
    assert [name.strip("`") for name, _, _ in rows] == [entry.name for entry in OPTIONS]
    defaults = {field.name: field.default for field in dataclasses.fields(CloudFilesOptions)}
    for option, (_, default, meaning) in zip(OPTIONS, rows, strict=True):
        assert meaning.endswith(".")
        if default == "required":
            assert defaults[option.field] is dataclasses.MISSING
        elif default == "—":
            assert defaults[option.field] is None
        elif option.field:
            assert option.read(re.fullmatch("`(.+)`", default)[1]) == defaults[option.field]


def test_the_tables_of_verdicts_are_those_of_the_code():
    head, _, rest = DOCUMENT.read_text().partition(BEGIN)
    written, _, tail = rest.partition(END)
    if os.environ.get("REGENERATE_SNAPSHOT"):
        DOCUMENT.write_text(f"{head}{BEGIN}\n\n{tables()}\n\n{END}{tail}")
    else:
        assert written.strip() == tables()


@pytest.mark.parametrize(
    ("format_", "names"),
    [*((EVERY, names) for names in NAMES["every format"].values()), *NAMES["formats"].items()],
    ids=[*NAMES["every format"], *NAMES["formats"]],
)
def test_no_documented_name_is_without_a_verdict(format_, names):
    known = verdicts()
    rows = {name.lower(): verdict for name, verdict, _ in (*known[EVERY], *known[format_])}
    for name in names:
        assert any(word in rows[name.lower()] for word in VERDICTS), name


def test_a_name_has_one_verdict_for_a_format():
    for format_, rows in verdicts().items():
        names = [name.lower() for name, _, _ in rows]
        assert len(set(names)) == len(names), format_
