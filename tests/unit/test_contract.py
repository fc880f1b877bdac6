"""The contract of a table: how it is read and written, what breaks it, what only drifts from it, how both are told."""

import json
from datetime import UTC, datetime

import jsonschema
import pytest
import yaml
from open_data_contract_standard.model import OpenDataContractStandard
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DecimalType,
    LongType,
    MapType,
    StringType,
    StructType,
    TimestampType,
)

from lakehouse.autoloader.schema.hints import parse_hints
from lakehouse.autoloader.schema.versions import SchemaVersion
from lakehouse.checks.contract import OfContract, Schema, SchemaDrift
from lakehouse.contract import (
    Difference,
    as_odcs,
    convert,
    differences,
    pin,
    read_contract,
    schema_changes,
    types,
    types_of_table,
)
from lakehouse.contract.pinned import old_path
from lakehouse.contract.writing import text_of
from lakehouse.declaration import read_catalogue
from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.lake import Lake
from lakehouse.orders.tables import BRONZE
from lakehouse.pipeline import blocked_by
from lakehouse.settings import Settings
from lakehouse.table import At, Catalogue, Table

FILE = "s3a://landing/orders/orders_stream_012.json"
HEAD = f"apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nschema:\n- name: {BRONZE}\n"


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


def written(settings, text):
    """The file of the contract with that text."""
    path = settings.contract_path(BRONZE)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def pinned(settings, properties, more=""):
    """The contract with the properties of that YAML."""
    lines = "".join(f"  {line}\n" for line in properties.strip("\n").splitlines())
    written(settings, f"{HEAD}  properties:\n{lines}{more}")
    return read_contract(settings, BRONZE)


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


EVERY = struct(
    raw=BinaryType(),
    id=LongType(),
    price=DecimalType(10, 2),
    at=TimestampType(),
    who=struct(name="string", places=ArrayType(struct(city="string"))),
    m=MapType(StringType(), ArrayType(struct(a="int"))),
    n=ArrayType(ArrayType(LongType())),
)


def test_what_is_written_is_of_the_standard_and_is_read_back_as_it_was(settings):
    document = as_odcs(BRONZE, EVERY, description="Orders.")
    jsonschema.validate(document, json.loads(OpenDataContractStandard.json_schema()))
    written(settings(), text_of(document))
    contract = read_contract(settings(), BRONZE)
    assert contract.columns == types_of_table(EVERY)
    assert contract.broken_by(EVERY) == []


def test_a_contract_of_another_hand_is_read(settings):
    contract = pinned(
        settings(),
        """
- {name: id, logicalType: integer, primaryKey: true, primaryKeyPosition: 2, required: true}
- {name: country, logicalType: string, primaryKey: true, primaryKeyPosition: 1}
- {name: mail, physicalType: STRING, unique: true}
- {name: price, logicalType: number}
- {name: raw}
- name: who
  logicalType: object
  properties:
  - {name: name, logicalType: string, required: true}
- {name: tags, logicalType: array, items: {logicalType: object, properties: [{name: n, logicalType: integer}]}}
- {name: counts, logicalType: map, map: {key: {logicalType: string}, value: {logicalType: integer}}}
- {name: loose, logicalType: object}
- {name: place, physicalType: "STRUCT<city: STRING, zip: INT>"}
""",
        "  customProperties: [{property: extraColumns, value: refuse}]\n",
    )
    assert contract.columns == {
        "id": "integer",
        "country": "string",
        "mail": "string",
        "price": "number",
        "raw": "any",
        "who": "struct",
        "who.name": "string",
        "tags": "array<struct>",
        "tags[].n": "integer",
        "counts": "map<string,integer>",
        "loose": "object",
        "place": "struct",
        "place.city": "string",
        "place.zip": "int",
    }
    said = contract.pinned
    assert (said.key, said.required, said.unique) == (("country", "id"), ("id", "who.name"), ("mail",))
    present = struct(
        id=LongType(),
        country="string",
        mail="string",
        price=DecimalType(5, 1),
        raw=MapType(StringType(), LongType()),
        who=struct(name="string"),
        tags=ArrayType(struct(n="int")),
        counts=MapType(StringType(), LongType()),
        loose=struct(whatever="int"),
        place=struct(city="string", zip="int"),
    )
    assert contract.broken_by(present) == []
    assert contract.broken_by(struct(**{field.name: field.dataType for field in present}, more="int")) == [
        Difference("more", None, "int")
    ]


def test_a_schema_is_found_by_its_name_without_the_layer_among_others(settings):
    name = BRONZE.split(".")[1]
    text = HEAD.replace(BRONZE, "other") + f"- name: {name}\n  properties: [{{name: a, logicalType: string}}]\n"
    written(settings(), text)
    assert read_contract(settings(), BRONZE).columns == {"a": "string"}


def test_pinning_keeps_what_people_wrote_of_columns_that_stay(settings):
    path = settings().contract_path(BRONZE)
    pin(settings(), BRONZE, version(0, a="string", old="int"), "Orders.")
    document = yaml.safe_load(path.read_text())
    [schema] = document["schema"]
    assert (schema["physicalName"], schema["description"]) == (BRONZE, "Orders.")
    schema["properties"][0] |= {"description": "what it is", "required": True}
    schema["customProperties"] = [{"property": "extraColumns", "value": "refuse"}]
    path.write_text(yaml.safe_dump({**document, "status": "draft"}))
    again = pin(settings(), BRONZE, version(1, a="int", b=struct(c="double")))
    assert (again.extra_columns, again.columns) == ("refuse", {"a": "int", "b": "struct", "b.c": "double"})
    document = yaml.safe_load(path.read_text())
    first = document["schema"][0]["properties"][0]
    assert (document["status"], first["description"], first["required"]) == ("draft", "what it is", True)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("", 1, "no keys"),
        ("[]", 1, "no keys"),
        ("a: [\n", 2, "no YAML"),
        (HEAD.replace("id: x\n", ""), 1, "id is missing"),
        (HEAD.replace("v3.1.0", "v2.2.2"), 1, "versions v3.* are read"),
        (HEAD.replace("DataContract", "Dataset"), 2, "not DataContract"),
        (HEAD.replace(BRONZE, "orders"), 5, f"no schema has the name or physicalName {BRONZE}: it has orders"),
        (HEAD + "nonsense: 1\n", 7, "nonsense"),
        (HEAD, 6, "no properties"),
        (HEAD + "  properties:\n  - name: a\n    physicalType: BIGNT\n", 9, "a: physicalType 'BIGNT' is no type"),
        (HEAD + "  properties:\n  - name: a\n    logicalType: text\n", 9, "a: logicalType 'text' is none of"),
        (HEAD + "  properties:\n  - name: a\n    require: true\n", 9, "no key require here; did you mean required?"),
        (HEAD + "  properties:\n  - name: a\n    required: maybe\n", 9, "schema[0].properties[0].required"),
        (HEAD + "  properties:\n  - name: a\n  - name: a\n", 9, "a is there twice"),
        (HEAD + "  properties:\n  - name: a\n    logicalType: object\n    properties:\n    - {nam: b}\n", 11, "name"),
    ],
)
def test_what_is_wrong_is_told_with_the_file_and_the_line(settings, text, line, told):
    path = written(settings(), text)
    with pytest.raises(ConfigurationError) as caught:
        read_contract(settings(), BRONZE)
    assert caught.value.where == f"{path}:{line}"
    assert told in caught.value.what


def test_a_contract_of_an_older_release_is_named_and_turned_into_the_standards(settings):
    old = old_path(settings(), BRONZE)
    old.parent.mkdir()
    columns = {"id": "bigint", "who": "struct", "who.name": "string", "tags": "array<struct>", "tags[].n": "int"}
    old.write_text(json.dumps({"table": BRONZE, "extra_columns": "refuse", "columns": columns}))
    with pytest.raises(ConfigurationError, match="--convert"):
        read_contract(settings(), BRONZE)
    contract = convert(settings(), BRONZE)
    assert (contract.columns, contract.extra_columns, old.exists()) == (columns, "refuse", False)
    with pytest.raises(ConfigurationError, match="there is a contract already"):
        convert(settings(), BRONZE)


def test_an_older_contract_that_cannot_be_read_stays(settings):
    old = old_path(settings(), BRONZE)
    old.parent.mkdir()
    old.write_text('{"columns": {"a": "nonsense"}}')
    with pytest.raises(ConfigurationError):
        convert(settings(), BRONZE)
    assert (old.exists(), settings().contract_path(BRONZE).exists()) == (True, False)


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


@pytest.mark.parametrize(
    ("pinned", "present", "fits"),
    [
        ("integer", "bigint", True),
        ("integer", "double", False),
        ("number", "decimal(10,2)", True),
        ("number", "int", True),
        ("number", "string", False),
        ("timestamp", "timestamp_ntz", True),
        ("string", "bigint", False),
        ("date", "timestamp", False),
        ("array", "array<int>", True),
        ("array", "int", False),
        ("map", "map<string,int>", True),
        ("object", "struct", True),
        ("array<integer>", "array<smallint>", True),
        ("array<integer>", "array<string>", False),
        ("any", "binary", True),
        ("int", "bigint", False),
    ],
)
def test_a_logical_type_is_any_that_holds_such_values(pinned, present, fits):
    assert (differences({"a": pinned}, {"a": present}) == []) == fits


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
    assert [(change["change"], change["type"]) for change in schema_changes([after, wider])] == [
        ("retyped", "string to int")
    ]


def write_contract(settings, extra="allow", **columns):
    properties = "\n".join(f"- {{name: {name}, physicalType: {type_}}}" for name, type_ in columns.items())
    pinned(settings, properties, f"  customProperties: [{{property: extraColumns, value: {extra}}}]\n")


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


def test_a_table_that_is_to_keep_a_contract_fails_without_the_file(settings):
    table = Table(BRONZE, Files(path="s3a://landing/orders/"), (OfContract(),))
    finding = OfContract().examine(At(None, Lake(settings(), None, None), table, Catalogue((table,))))
    assert (finding.passed, finding.blocks) == (False, True)
    assert f"lakehouse schema export {BRONZE}" in finding.next_command


def test_before_the_first_version_nothing_is_said(settings):
    assert findings_of(settings(), [], "block") == []


def test_the_file_is_one_that_people_can_read(settings):
    pin(settings(), BRONZE, version(0, a="string"))
    lines = settings().contract_path(BRONZE).read_text().splitlines()
    assert lines[:4] == ["kind: DataContract", "apiVersion: v3.1.0", f"id: {BRONZE}", f"name: {BRONZE}"]
    assert lines[-3:] == ["  - name: a", "    logicalType: string", "    physicalType: string"]
