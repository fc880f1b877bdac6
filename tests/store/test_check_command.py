"""``lakehouse check``: faults that somebody planted are found without a run, and without Spark."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import lakehouse_here, lakehouse_json_here
from counted import opened, write
from store.landed import World

TABLE = "bronze.things"
FILE = """
tables:
  bronze.things:
    files: {path: "s3a://landing/things/"}
    checks:
      - unique: id
      - range: {column: amount, min: 0}
      - rescue_rate
  bronze.empty:
    files: {path: "s3a://landing/empty/"}
  bronze.odd:
    on_demand: true
    files: {path: "s3a://landing/odd/"}
    checks:
      - not_null: nobody
"""
NAMES = {"unique", "range", "no_file_loaded_twice", "every_file_loaded", "no_quarantined_files"}


@pytest.fixture
def place(environment, tmp_path):
    """The environment of a command that cannot have a session."""
    file = tmp_path / "lakehouse.yaml"
    file.write_text(FILE)
    return {**environment, "LAKEHOUSE_DECLARATION": str(file), "LAKEHOUSE_SPARK_REMOTE": "sc://127.0.0.1:1"}


@pytest.fixture
def loaded(lake, monkeypatch):
    """A table of three files, as a stream would have loaded them: with its journal, receipts and checkpoint."""
    world = World(lake, monkeypatch)
    for name in "abc":
        world.put(f"{name}.json", b'{"a": 1}\n{"a": 2}\n')
    world.run("one", max_files=9)
    offset = world.one["start"]
    folder = lake.settings.checkpoint_uri(TABLE).split("/", 3)[3]
    for name, text in {
        "metadata": '{"id": "q"}',
        "offsets/0": f"v1\n{{}}\n{json.dumps(offset)}",
        "commits/0": "v1",
    }.items():
        lake.store.write(lake.settings.bucket, f"{folder}/{name}", text.encode())
    for sequence in (1, 2, 3):
        write(lake, things(sequence, 0, 1))
    return lake


def things(sequence, *records, **changed):
    return [
        {"id": sequence * 10 + record, "amount": 1.5, "_source_sequence": sequence, "_source_file": f"f{sequence}"}
        | {"_source_record": record}
        | changed
        for record in records
    ]


def failed(place, *arguments):
    said = json.loads(lakehouse_here(place, "check", TABLE, *arguments, "--json").stdout)
    return {check["check"] for check in said["checks"] if not check["passed"]}


FAULTS = {
    "a row that is lost": (lambda lake: opened(lake).delete("id = 21"), {"every_file_loaded"}),
    "a row that is there twice": (lambda lake: write(lake, things(2, 1)), {"no_file_loaded_twice", "unique"}),
    "a key that an old row has": (lambda lake: write(lake, things(3, 1, id=10)), {"no_file_loaded_twice", "unique"}),
    "a key that was changed": (
        lambda lake: opened(lake).update(updates={"id": "10"}, predicate="id = 31"),
        {"unique"},
    ),
    "a value that was changed": (
        lambda lake: opened(lake).update(updates={"amount": "-1.0"}, predicate="id = 20"),
        {"range"},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_what_is_new_and_by_a_count_of_all(loaded, place, fault):
    assert failed(place) == set()
    plant, checks = FAULTS[fault]
    plant(loaded)
    assert failed(place) == checks
    assert failed(place) == checks, "and again, when nothing is new"
    assert failed(place, "--full") == checks


def test_a_count_of_all_says_whether_what_was_kept_agrees(loaded, place):
    first = lakehouse_json_here(place, "check", TABLE, "--full")
    assert {check["check"] for check in first["checks"]} == NAMES | {"check_state_agrees"}
    kept = f"{loaded.settings.user}/_checks/{TABLE}/files.parquet"
    write(loaded, things(1, 1, id=99))
    lakehouse_here(place, "check", TABLE)
    table = pq.read_table(pa.BufferReader(loaded.store.read(loaded.settings.bucket, kept)))
    lied = table.set_column(table.column_names.index("rows"), "rows", pa.array([2] * table.num_rows))
    sink = pa.BufferOutputStream()
    pq.write_table(lied, sink)
    loaded.store.write(loaded.settings.bucket, kept, sink.getvalue().to_pybytes())
    done = lakehouse_here(place, "check", TABLE, "--full")
    assert done.returncode == 1
    assert "FAIL  check_state_agrees on bronze.things" in done.stdout
    assert "FAIL  no_file_loaded_twice on bronze.things" in done.stdout
    again = lakehouse_here(place, "check", TABLE, "--full")
    assert "PASS  check_state_agrees on bronze.things" in again.stdout and again.returncode == 1


def test_without_names_all_tables_are_examined_but_those_on_demand(loaded, place):
    done = lakehouse_here(place, "check")
    assert done.returncode == 0
    assert "bronze.empty is declared, and no run has filled it yet" in done.stdout
    assert "PASS  unique on bronze.things" in done.stdout and "odd" not in done.stdout


def test_a_check_that_cannot_run_is_an_error_and_the_other_tables_are_examined(loaded, place):
    write(loaded, [{"id": 1}], table="bronze.odd")
    done = lakehouse_here(place, "check", "bronze.odd", TABLE)
    assert done.returncode == 1
    assert "bronze.odd has no column nobody" in done.stderr and "PASS  unique on bronze.things" in done.stdout
