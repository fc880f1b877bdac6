"""Tables that are added to the text of a declaration, and what files are by their bytes."""

from __future__ import annotations

import json

import pytest
import yaml

from lakehouse.declaration import read_catalogue
from lakehouse.declaration.adding import add_tables_to_file, as_yaml, tables_for, with_tables
from lakehouse.declaration.guess import chosen_names, guess
from lakehouse.declaration.templates import FIRST
from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.settings import Settings

NEW = tables_for("bronze.new", Files(path="s3a://a/new/", options={"multiLine": "off"}), ["id"])


@pytest.mark.parametrize(
    "text",
    [
        FIRST,
        "",
        "# nothing",
        "x-a: 1\n",
        "tables:",
        "tables: {}\n",
        "tables: {}  # none yet\nx-b: 2\n",
        "tables:\n    bronze.a:\n        files: {path: s3a://a/b/}\n\n\n# about the rest\nx-b:\n  - 1\n",
        "tables:\n  bronze.a:\n    files: {path: s3a://a/b/}   # without an end",
        "tables:\r\n  # first\r\n  bronze.a:\r\n    files:\r\n      path: s3a://a/b/\r\n",
        "tables:\n  bronze.a: &one\n    files:\n      path: >\n        s3a://a/b/\n  # last\n...\n",
    ],
)
def test_tables_are_added_and_every_other_line_stays_as_it_was(text):
    made = with_tables(text, NEW, "lakehouse.yaml")
    before, after = yaml.safe_load(text) or {}, yaml.safe_load(made)
    assert after == {**before, "tables": {**(before.get("tables") or {}), **yaml.safe_load(as_yaml(NEW))}}
    assert list(after["tables"])[-2:] == ["bronze.new", "silver.new"]
    left = made.splitlines()
    for line in text.replace("tables: {}", "tables:").splitlines():
        assert line in left
        left = left[left.index(line) + 1 :]  # in their order
    if "\r\n" in text:
        assert made.count("\n") == made.count("\r\n")


def test_tables_in_braces_are_left_to_people():
    with pytest.raises(ConfigurationError, match="written in braces") as caught:
        with_tables("tables: {bronze.a: {files: {path: s3a://a/b/}}}\n", NEW, "lakehouse.yaml")
    assert caught.value.where == "lakehouse.yaml:1"


def test_what_would_not_be_valid_is_not_written(tmp_path):
    path = tmp_path / "lakehouse.yaml"
    cleans = "{cloudFiles.cleanSource: DELETE, cloudFiles.cleanSource.retentionDuration: 30 days}"
    path.write_text(f"tables:\n  bronze.a:\n    files: {{path: s3a://a/new/, options: {cleans}}}\n")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"would not be valid with bronze\.new, silver\.new") as caught:
        add_tables_to_file(Settings.load(declaration=path), NEW)
    assert "multiLine is 'off': write true or false" in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link_and_rights_stay(tmp_path):
    real = tmp_path / "real.yaml"
    real.write_text("tables:\n")
    real.chmod(0o640)
    link = tmp_path / "lakehouse.yaml"
    link.symlink_to(real)
    tables = tables_for("bronze.new", Files(path="s3a://a/${odd}/", glob="*.json"), [])
    add_tables_to_file(Settings.load(declaration=link), tables)
    assert link.is_symlink() and real.stat().st_mode & 0o777 == 0o640
    flow = read_catalogue(Settings.load(declaration=link))["bronze.new"].flow
    assert isinstance(flow, Files) and (flow.path, flow.glob) == ("s3a://a/${odd}/", "*.json")


def test_the_text_of_a_table_is_as_people_write_it():
    flow = Files(path="s3a://a/b/", format="csv", options={"header": "true", "sep": ";"})
    assert (
        as_yaml(tables_for("bronze.new", flow, ["id"]))
        == """\
  bronze.new:
    files:
      path: s3a://a/b/
      format: csv
      options:
        header: true
        sep: ;
    checks:
      - not_null: id

  silver.new:
    latest:
      of: bronze.new
      key: id
    checks:
      - unique: id
"""
    )


def test_several_columns_are_a_key():
    made = tables_for("gold.prices", Files(path="s3a://a/b/"), ["country", "day"])
    assert made["silver.prices"]["latest"] == {"of": "gold.prices", "key": ["country", "day"]}
    assert made["silver.prices"]["checks"] == [{"unique": ["country", "day"]}]


@pytest.mark.parametrize(
    ("name", "head", "format_", "options"),
    [
        ("a.json", b'{"a": 1}\n{"a": 2}\n', "json", {}),
        ("a.json", b'{"a": 1}\n{"a": 2', "json", {}),
        ("a.json", b'{"a": "' + b"x" * 90, "json", {}),
        ("a.json", b'[\n  {"a": 1},\n  {"a"', "json", {"multiLine": "true"}),
        ("a.json", json.dumps({"a": {"b": [1]}}, indent=1).encode(), "json", {"multiLine": "true"}),
        ("a.json", b'{"a": 1}\nno json\n', "json", {}),
        ("a", b'\xef\xbb\xbf{"a": 1}\n', "json", {}),
        ("a.csv", b"id,name\n1,x\n", "csv", {}),
        ("a.csv", b'id,name\n1,"two\nlines"\n', "csv", {"multiLine": "true"}),
        ("a.csv", b"id\n1\n2\n", "csv", {}),
        ("a", b"id;name\n1;x\n2;y\n", "csv", {"sep": ";"}),
        ("a", b"a,b\n", "csv", {}),
        ("a.xml", b"<rs><head/><r a='1'/><r>x</r><r", "xml", {"rowTag": "r"}),
        ("a", b'<?xml version="1.0"?>\n<r><a>1</a></r>', "xml", {"rowTag": "a"}),
        ("a.xml", b"<r>1</r>", "xml", {"rowTag": "r"}),
        ("a.xml", b"no XML", "xml", {}),
        ("a", b"<p>not\nmarked", "text", {}),
        ("a.txt", b"a,b\nc,d\n", "text", {}),
        ("a", b"just words\nand more\n", "text", {}),
        ("a", b"", "text", {}),
        ("a.xlsx", b"PK\x03\x04\x14\x00\x00\x00\x08\x00\xe2\x9c", "excel", {"headerRows": "1"}),
        ("a.png", b"\x89PNG\r\n\x1a\n\x00", "binaryFile", {}),
        ("a.bin", b"\x00\x01", "binaryFile", {}),
    ],
)
def test_a_file_is_what_its_bytes_say(name, head, format_, options):
    found = guess(name, head, whole=not head.endswith(b'"a"'))
    assert (found.format, found.options) == (format_, options)


@pytest.mark.parametrize(
    ("keys", "chosen", "glob"),
    [
        (["x/a.csv", "x/b.csv"], 2, None),
        (["x/a", "x/b"], 2, None),
        (["x/a.csv", "x/b.csv", "x/c.json"], 2, "*.csv"),
        (["x/a.csv.gz", "x/b.csv", "x/c.csv", "x/c.json"], 3, "*{.csv,.csv.gz}"),
        (["x.y/a", "x.y/b", "x.y/c.json"], 2, None),
    ],
)
def test_of_several_formats_the_most_frequent_is_taken(keys, chosen, glob):
    found, pattern = chosen_names(keys)
    assert (len(found), pattern) == (chosen, glob)
