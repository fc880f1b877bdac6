"""docs/options.md names every option, with the default and the reasons that the code has."""

import dataclasses
import re
from pathlib import Path

from lakehouse.autoloader.options.parse import OPTIONS, CloudFilesOptions
from lakehouse.autoloader.options.refused import DATABRICKS_OPTIONS, READER_OPTIONS, SPARK_OPTIONS

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "options.md"


def documented(heading):
    """Rows of the table below a heading: the cells, without the head."""
    section = DOCUMENT.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_document_has_every_option_with_its_default():
    rows = documented("As on Databricks") + documented("Additions")
    assert [name.strip("`") for name, _, _ in rows] == [one.name for one in OPTIONS]
    defaults = {one.name: one.default for one in dataclasses.fields(CloudFilesOptions)}
    for option, (_, default, meaning) in zip(OPTIONS, rows, strict=True):
        assert meaning.endswith(".")
        if default == "required":
            assert defaults[option.field] is dataclasses.MISSING
        elif default == "—":
            assert defaults[option.field] is None
        else:
            assert option.read(re.fullmatch("`(.+)`", default)[1]) == defaults.get(option.field)


def test_the_document_has_every_reader_option():
    rows = documented("Options of each format's reader")
    assert {name.strip("`"): tuple(re.findall(r"`(\w+)`", names)) for name, names in rows} == READER_OPTIONS


def test_the_document_has_every_option_that_is_not_had():
    tables = {"Databricks": DATABRICKS_OPTIONS, "Spark's file sources": SPARK_OPTIONS}
    expected = [[f"`{name}`", owner, why] for owner, table in tables.items() for name, why in table.items()]
    assert documented("Not had here") == expected
