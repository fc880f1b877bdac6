"""The contract of a schema: what breaks it, what only drifts from it, and how both are told."""

import json
from datetime import UTC, datetime

import pytest
from pyspark.sql.types import ArrayType, LongType, MapType, StringType, StructType

from lakehouse.autoloader.schema.hints import parse_hints
from lakehouse.autoloader.schema.versions import SchemaVersion
from lakehouse.checks.contract import Schema, SchemaDrift
from lakehouse.contract import (
    Contract,
    Difference,
    differences,
    pin,
    read_contract,
    schema_changes,
    types,
)
from lakehouse.declaration import read_catalogue
from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.lake import Lake
from lakehouse.orders.tables import BRONZE
from lakehouse.pipeline import blocked_by
from lakehouse.settings import Settings
from lakehouse.table import At, Catalogue, Table

FILE = "s3a://landing/orders/orders_stream_012.json"


def struct(**fields):
    built = StructType()
    for name, type_ in fields.items():
        built.add(name, "integer" if type_ == "int" else type_)
    return built


def version(number, introduced=None, **columns):
    written = datetime(2026, 1, 1, number, tzinfo=UTC)
    return SchemaVersion(number, struct(**columns), StructType(), introduced or {}, written=written)


@pytest.fixture
def settings(tmp_path):
    def make(**more):
        return Settings.load(home=tmp_path, contracts=tmp_path / "contracts", **more)

    return make


def findings_of(settings, versions, mode="warn"):
    """What the two checks say of a stream's versions; those are handed to them, nothing is read."""
    checks = (Schema(name="schema_contract", on_failure=mode), SchemaDrift())
    table = Table(BRONZE, Files(path="s3a://landing/orders/"), checks)
    at = At(None, Lake(settings, None, None), table, Catalogue((table,)), {"schema versions": versions})
    return [finding for finding in (check.examine(at) for check in checks) if finding is not None]


def test_the_project_pins_the_orders_columns_as_the_stream_hints_them():
    contract = read_contract(Settings.load(), BRONZE)
    hints = parse_hints(read_catalogue(Settings.load())[BRONZE].flow.hints)
    hinted = {path[0]: type_.simpleString() for path, type_ in hints}
    assert contract.columns == hinted


def test_what_is_pinned_is_read_back_and_keeps_its_choice_about_more_columns(settings):
    path = settings().contract_path(BRONZE)
    pin(settings(), BRONZE, version(0, a="string"))
    path.write_text(path.read_text().replace('"allow"', '"refuse"'))
    pin(settings(), BRONZE, version(1, a="string", b=struct(c="double")))
    again = read_contract(settings(), BRONZE)
    assert (again.extra_columns, again.columns) == ("refuse", {"a": "string", "b": "struct", "b.c": "double"})
    assert again.broken_by(version(1, a="string", b=struct(c="double"))) == []


@pytest.mark.parametrize("text", ["", "[]", '{"table": "t"}', '{"table": "t", "columns": {}, "extra_columns": "some"}'])
def test_a_file_that_is_no_contract_is_named(settings, text):
    path = settings().contract_path(BRONZE)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_contract(settings(), BRONZE)
    assert (caught.value.where, "no contract" in caught.value.what) == (str(path), True)


PINNED = {"id": "string", "who": "struct", "who.name": "string", "tags": "array<struct>", "tags[].n": "int"}


@pytest.mark.parametrize(
    ("present", "found"),
    [
        (PINNED, []),
        ({**PINNED, "id": "bigint"}, [Difference("id", "string", "bigint")]),
        ({**PINNED, "who.zip": "int"}, [Difference("who.zip", None, "int")]),
        ({**PINNED, "tags[].n": "string"}, [Difference("tags[].n", "int", "string")]),
        ({"id": "string", "tags": "array<struct>", "tags[].n": "int"}, [Difference("who", "struct", None)]),
        ({**PINNED, "who": "string"} | {"who.name": "string"}, [Difference("who", "struct", "string")]),
        ({**PINNED, "whoever": "int"}, [Difference("whoever", None, "int")]),
        ({**PINNED, "new": "struct", "new.a": "int"}, [Difference("new", None, "struct")]),
    ],
)
def test_each_difference_is_named_once_by_the_column_it_begins_at(present, found):
    assert differences(PINNED, present) == found


def test_partition_columns_count_and_fields_below_arrays_and_maps_have_names():
    data = struct(day="string", m=MapType(StringType(), ArrayType(struct(a="int"))), n=ArrayType(LongType()))
    assert types(SchemaVersion(0, data, struct(day="date"))) == {
        "m": "map<string,array<struct>>",
        "m{}[].a": "int",
        "n": "array<bigint>",
        "day": "date",
    }


def test_changes_tell_what_where_and_when():
    before = version(0, a="string", who=struct(name="string"))
    after = version(1, {"who.zip": (FILE, 3)}, a="string", who=struct(name="string", zip="int"), late="double")
    assert schema_changes([before, after]) == [
        {"version": 1, "written": after.written, "change": "added", "column": column, "type": type_, **place}
        for column, type_, place in [
            ("who.zip", "int", {"file": FILE, "record": 3}),
            ("late", "double", {"file": "", "record": None}),
        ]
    ]
    wider = version(2, a="int", who=after.data["who"].dataType, late="double")
    assert [(one["change"], one["type"]) for one in schema_changes([after, wider])] == [("retyped", "string to int")]


def write_contract(settings, extra="allow", **columns):
    path = settings.contract_path(BRONZE)
    path.parent.mkdir(exist_ok=True)
    path.write_text(Contract(table=BRONZE, extra_columns=extra, columns=columns).model_dump_json())


def test_a_new_column_drifts_but_breaks_nothing_where_more_are_allowed(settings):
    write_contract(settings(), a="string")
    versions = [version(0, a="string"), version(1, {"b": (FILE, 7)}, a="string", b="int")]
    contract, drift = findings_of(settings(), versions)
    assert (contract.passed, drift.passed) == (True, False)
    assert drift.numbers == {"schema_version": 1, "new_columns": 1}
    [row] = drift.sample
    assert (row["column"], row["type"], row["version"], row["file"], row["record"]) == ("b", "int", 1, FILE, 7)
    assert "contract --write" in drift.next_command


def test_a_column_that_inference_found_beside_the_contract_drifts_as_well(settings):
    write_contract(settings(), a="string")
    _, drift = findings_of(settings(), [version(0, a="string", b="int")])
    assert [(row["column"], row["change"]) for row in drift.sample] == [("b", "inferred")]


def test_a_refused_column_a_missing_one_and_another_type_break_it(settings):
    write_contract(settings(), extra="refuse", a="string", b="int", c="double")
    contract, _ = findings_of(settings(), [version(0, a="int", c="double", d="date")])
    assert not contract.passed
    assert contract.numbers == {"pinned_columns": 3, "missing_columns": 1, "changed_types": 1, "refused_columns": 1}
    assert [tuple(row.values()) for row in contract.sample] == [
        ("a", "string", "int"),
        ("b", "int", None),
        ("d", None, "date"),
    ]
    assert "lakehouse schema diff" in contract.next_command
    assert "contract --write" in contract.next_command


@pytest.mark.parametrize(("mode", "blocks"), [("warn", False), ("block", True)])
def test_a_broken_contract_blocks_by_choice(settings, mode, blocks):
    write_contract(settings(), a="string")
    stopped = blocked_by(findings_of(settings(), [version(0, a="int")], mode))
    assert (stopped is not None) == blocks
    assert not blocks or "schema_contract" in stopped.what


def test_no_contract_is_a_fault_only_where_it_is_to_block(settings):
    passed = {}
    for mode in ("warn", "block"):
        contract, drift = findings_of(settings(), [version(0, a="int")], mode)
        passed[mode] = (contract.passed, drift.passed)
        assert "contract --write" in contract.next_command
    assert passed == {"warn": (True, True), "block": (False, True)}


def test_before_the_first_version_nothing_is_said(settings):
    assert findings_of(settings(), [], "block") == []


def test_the_file_is_one_that_people_can_read(settings):
    pin(settings(), BRONZE, version(0, a="string"))
    text = settings().contract_path(BRONZE).read_text()
    assert json.loads(text) == {"table": BRONZE, "extra_columns": "allow", "columns": {"a": "string"}}
    assert len(text.splitlines()) == 7
