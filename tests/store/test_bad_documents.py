"""Each row of the tables of ``docs/bad-input.md`` is what happens."""

import json
import math
import re
from pathlib import Path

import pytest
from pyspark.sql.types import StructType
from store.bad_documents import BAD, FILES

from lakehouse.autoloader.reading.columns import METADATA_TYPE
from lakehouse.errors import UnknownFieldException

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "bad-input.md"
COLUMNS = StructType().add("a", "long").add("d", "double").add("s", "string")
SCHEMA = StructType([*COLUMNS.fields]).add("_rescued_data", "string").add("_metadata", METADATA_TYPE)
TYPED = "../unit/autoloader/test_typed_values.py"
LISTED = [
    ("no `.gz` content under that name; the same for the other codecs", "NOT_GZIP", "test_bad_input.py"),
    ("a compressed file that was cut", "TRUNCATED", "test_bad_input.py"),
    ("compressed content under a name that does not say so", "WRONG_EXTENSION", "test_bad_input.py"),
    (
        "a record that is over `cloudFiles.maxRecordBytes` when it is decoded, and would end Spark's engine: "
        "a run of one byte in Parquet of a few KB",
        "RECORD_TOO_LARGE",
        "test_bad_input_large.py",
    ),
    ("a file that grows past `cloudFiles.maxDecompressedBytes`", "TOO_LARGE_UNPACKED", "test_bad_input.py"),
    (
        "a file of Parquet, Avro or ORC with a value that fits no column, such as GEOMETRY, where no column rescues it",
        "WRONG_TYPE",
        TYPED,
    ),
    ("Parquet with a VARIANT that is shredded", "SHREDDED_VARIANT", TYPED),
    (
        "dates that Spark wrote to Parquet or Avro in the old calendar (ORC's are read as Spark reads them)",
        "LEGACY_CALENDAR",
        TYPED,
    ),
    (
        "CSV whose header is not the given schema's names, with `enforceSchema=false`",
        "HEADER_MISMATCH",
        "../spark/test_formats_like_spark.py",
    ),
    ("XML that is not well-formed", "NOT_XML", "../unit/autoloader/test_xml.py"),
    (
        "XML that declares entities or anything else in its DOCTYPE, or needs what is declared elsewhere",
        "HAS_DTD",
        "../unit/autoloader/test_xml.py",
    ),
    (
        "a workbook that takes more memory than `maxWorkbookBytes`: a zip bomb, a cell far from the others, "
        "one long text in many cells",
        "WORKBOOK_TOO_LARGE",
        "../unit/autoloader/test_excel.py",
    ),
    (
        "a workbook with a password, without the sheet that is asked for, damaged, or none at all",
        "ENCRYPTED, NO_SUCH_SHEET, DAMAGED_EXCEL, NOT_EXCEL",
        "../unit/autoloader/test_excel.py",
    ),
    ("a file that was removed before it was read", "VANISHED", "test_bad_input.py"),
]


def rows_of_page(heading):
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    found = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found[1:]]


def test_the_page_holds_exactly_these_documents():
    assert rows_of_page("Documents") == [[document.what, document.outcome, document.where] for document in BAD]


def test_the_page_holds_exactly_these_files_and_their_tests_know_the_reason():
    listed = [(what, reasons.split(", "), name) for what, reasons, name in LISTED]
    assert rows_of_page("Files") == [
        [what, "in quarantine: " + ", ".join(f"`{code}`" for code in reasons), FILES] for what, reasons, _ in listed
    ]
    for _, reasons, name in listed:
        for reason in reasons:
            assert re.search(rf'"{reason}[":]', (ROOT / "tests" / "store" / name).read_text())


def read(world, schema=SCHEMA, **options):
    stream = world.stream(**options)
    stream.fix_target()
    start = stream.beginning()
    parts = stream.parts(start, stream.next_end(start, max_files=100, max_bytes=None))
    return [row for part in parts for batch in stream.read(part, schema) for row in batch.to_pylist()]


def shown(row):
    """The values of a row that are not null, and what is rescued."""
    found = {name: row[name] for name in COLUMNS.names if row[name] is not None}
    if row["_rescued_data"] is not None:
        found["rescued"] = json.loads(row["_rescued_data"])
        assert found["rescued"].pop("_file_path") == row["_metadata"]["file_path"]
    return {name: "NaN" if isinstance(value, float) and math.isnan(value) else value for name, value in found.items()}


@pytest.mark.parametrize("document", BAD, ids=lambda document: document.what[:40])
def test_the_outcome_is_the_stated_one(world, document):
    names = {f"{number}.json": data for number, data in enumerate(document.files)}
    for name, data in names.items():
        world.put(name, data)
    world.put("good.json")
    rows = read(world)
    states = world.states()
    for name, data in names.items():
        expected, state = document.files[data], states[name]
        mine = [shown(row) for row in rows if row["_metadata"]["file_name"] == name]
        if isinstance(expected, str):
            assert (mine, state.ingestion_state, state.error.split(":")[0]) == ([], "QUARANTINED", expected)
            continue
        wanted = [
            {name: "NaN" if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
            for row in expected
        ]
        assert (mine, state.ingestion_state, state.error) == (wanted, "INGESTED", None)
    assert [row["a"] for row in rows if row["_metadata"]["file_name"] == "good.json"] == [1]


@pytest.mark.parametrize(
    "document", [document for document in BAD if document.columns is not None], ids=lambda document: document.what[:40]
)
def test_the_inferred_columns_are_the_stated_ones(world, document):
    for number, data in enumerate(document.files):
        world.put(f"{number}.json", data)
    schema = world.stream(inferColumnTypes="true")._source.inferred_schema()
    added = ("_rescued_data", "_metadata")
    found = [f"{field.name} {field.dataType.simpleString()}" for field in schema.fields if field.name not in added]
    assert ", ".join(found) == document.columns
    assert [name for name in schema.names if name in added] == list(added)


def test_a_hint_pins_the_spelling_of_a_name(world):
    world.put("a.json", b'{"ID": 1}\n{"Id": 2}\n{"id": 3}')
    schema = world.stream(inferColumnTypes="true", schemaHints="Id INT")._source.inferred_schema()
    assert schema["Id"].dataType.simpleString() == "int"
    assert len(schema) == 3
    rows = read(world, schema)
    assert [row["Id"] for row in rows] == [None, 2, None]
    assert [json.loads(row["_rescued_data"]).get("ID") for row in rows if row["Id"] is None] == [1, None]


@pytest.mark.parametrize("deep", ["[" * 900 + "]" * 900, '{"k":' * 900 + "1" + "}" * 900], ids=["arrays", "objects"])
def test_a_new_column_that_is_nested_very_deeply_is_learned_once(world, deep):
    world.put("a.json", b'{"a": 1}')
    options = {"inferColumnTypes": "true", "schemaEvolutionMode": "addNewColumns"}
    assert len(read(world, world.stream(**options)._source.inferred_schema(), **options)) == 1
    world.put("b.json", f'{{"a": 2, "new": {deep}}}'.encode())
    with pytest.raises(UnknownFieldException, match="new"):
        read(world, world.stream(**options)._source.inferred_schema(), **options)
    rows = read(world, world.stream(**options)._source.inferred_schema(), **options)
    assert [(row["a"], row["new"] is not None) for row in rows if row["a"] == 2] == [(2, True)]
