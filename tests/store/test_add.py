"""``lakehouse add``: files on a real store become a declared table, and the declaration keeps its own text."""

from __future__ import annotations

import gzip
import io
import json

import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from command import lakehouse_here, lakehouse_json_here
from fastavro import writer as write_avro

from lakehouse.declaration import read_catalogue
from lakehouse.declaration.landed import look_at_files
from lakehouse.flows.files import Files
from lakehouse.flows.latest import Latest
from lakehouse.settings import Settings

ROWS = [{"id": n, "city": f"Köln {n}", "amount": n + 0.5} for n in range(20)]
DECLARED = "# ours\ntables:   # all of them\n  bronze.other:\n    files: {path: s3a://other/x/}  # kept\n# the end\n"


def json_lines() -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def csv_text(separator: str = ",", header: bool = True) -> bytes:
    lines = [separator.join(map(str, row.values())) for row in ROWS]
    return "\n".join([*([separator.join(ROWS[0])] if header else []), *lines, ""]).encode()


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), out)
    return out.getvalue()


def orc() -> bytes:
    out = io.BytesIO()
    pyarrow.orc.write_table(pa.Table.from_pylist(ROWS), out)
    return out.getvalue()


def avro() -> bytes:
    fields = [{"name": "id", "type": "long"}, {"name": "city", "type": "string"}, {"name": "amount", "type": "double"}]
    out = io.BytesIO()
    write_avro(out, {"type": "record", "name": "row", "fields": fields}, ROWS)
    return out.getvalue()


@pytest.fixture
def here(environment, tmp_path):
    """The environment of a command, with a declaration of its own."""
    path = tmp_path / "lakehouse.yaml"
    path.write_text(DECLARED)
    return {**environment, "LAKEHOUSE_DECLARATION": str(path)}


@pytest.fixture
def land(lake):
    """Writes objects into a folder of the landing bucket; returns its path."""

    def do(**files: bytes) -> str:
        prefix = f"{lake.settings.landing_prefix}things/"
        for name, data in files.items():
            lake.store.write(lake.settings.landing_bucket, prefix + name.replace("__", "/"), data)
        return f"s3a://{lake.settings.landing_bucket}/{prefix}"

    return do


@pytest.mark.parametrize(
    ("name", "data", "format_", "options"),
    [
        ("a.json", json_lines(), "json", {}),
        ("a.json.gz", gzip.compress(json_lines()), "json", {}),
        ("a.jsonl", json_lines(), "json", {}),
        ("part-0001", json_lines(), "json", {}),
        ("a.json", json.dumps(ROWS, indent=2).encode(), "json", {"multiLine": "true"}),
        ("a.csv", csv_text(), "csv", {}),
        ("a.csv.gz", gzip.compress(csv_text()), "csv", {}),
        ("a.csv", csv_text(";"), "csv", {"sep": ";"}),
        ("a.tsv", csv_text("\t"), "csv", {"sep": "\\t"}),
        ("part-0001", csv_text("|"), "csv", {"sep": "|"}),
        ("a.parquet", parquet(), "parquet", {}),
        ("part-0001", parquet(), "parquet", {}),
        ("a.orc", orc(), "orc", {}),
        ("a.avro", avro(), "avro", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_of_a_format_are_recognised_and_read(lake, land, name, data, format_, options):
    found = look_at_files(lake, "bronze.things", land(**{name: data}))
    assert (found.flow.format, found.files, found.more, found.notes) == (format_, 1, False, ())
    assert {name: found.columns[name] for name in ("city", "amount")} == {"city": "string", "amount": "double"}
    assert found.columns["id"] in ("bigint", "int")
    assert [(row["id"], row["city"], row["amount"]) for row in found.rows] == [tuple(r.values()) for r in ROWS[:5]]
    asked = found.flow.options.items()
    assert {name: value for name, value in asked if name != "cloudFiles.inferColumnTypes"} == options


def test_without_yes_it_prints_the_table_and_leaves_the_file_alone(here, land, tmp_path):
    done = lakehouse_here(here, "add", "bronze.things", land(**{"a.csv": csv_text()}))
    assert done.returncode == 0, done.stderr
    for text in ("1 csv file", "amount", "Köln 3", "  bronze.things:\n", "    files:\n", "--yes does it"):
        assert text in done.stdout
    assert (tmp_path / "lakehouse.yaml").read_text() == DECLARED


def test_yes_adds_the_tables_and_keeps_all_other_text(here, land, tmp_path):
    path = land(**{"a.csv": csv_text(";")})
    done = lakehouse_here(here, "add", "bronze.things", path, "--key", "id", "--yes")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "lakehouse.yaml").read_text()
    added = text.removeprefix(DECLARED.removesuffix("# the end\n")).removesuffix("# the end\n")
    assert text.replace(added, "") == DECLARED
    catalogue = read_catalogue(Settings.load(declaration=tmp_path / "lakehouse.yaml"))
    assert catalogue.names == ("bronze.other", "bronze.things", "silver.things")
    files, latest = catalogue["bronze.things"].flow, catalogue["silver.things"].flow
    assert isinstance(files, Files) and isinstance(latest, Latest)
    assert (files.path, files.format, files.options["sep"]) == (path, "csv", ";")
    assert (latest.of, latest.key) == ("bronze.things", ("id",))
    assert "not_null" in [check.kind for check in catalogue["bronze.things"].checks]
    assert "unique" in [check.kind for check in catalogue["silver.things"].checks]
    again = lakehouse_here(here, "add", "bronze.things", path, "--yes")
    assert again.returncode == 1 and "bronze.things is declared already" in again.stderr
    assert (tmp_path / "lakehouse.yaml").read_text() == text


def test_partition_folders_are_columns(here, land):
    path = land(day=b"", **{"day=2024-01-01__a.parquet": parquet(), "day=2024-01-02__a.parquet": parquet()})
    told = lakehouse_json_here(here, "add", "bronze.things", path)
    assert (told["files"], list(told["columns"])) == (2, ["id", "city", "amount", "day"])
    assert told["rows"][0]["day"] in ("2024-01-01", "2024-01-02")


def test_files_of_other_formats_are_left_out_by_a_glob(here, land):
    path = land(**{"a.csv": csv_text(), "b.csv": csv_text(), "readme.txt": b"no rows\n"})
    told = lakehouse_json_here(here, "add", "bronze.things", path)
    assert told["tables"]["bronze.things"]["files"]["glob"] == "*.csv"
    assert (told["files"], len(told["notes"])) == (2, 1)


def test_names_that_say_another_format_than_the_bytes_are_told(here, land):
    told = lakehouse_json_here(here, "add", "bronze.things", land(**{"a.csv": json_lines()}))
    assert told["format"] == "json"
    assert told["notes"] == ["the names say csv, and the bytes say json"]


def test_a_csv_file_without_a_header_loses_no_row(here, land):
    told = lakehouse_json_here(here, "add", "bronze.things", land(**{"a.csv": csv_text(header=False)}))
    assert list(told["columns"]) == ["_c0", "_c1", "_c2"]
    assert told["rows"][0]["_c0"] == 0
    assert "the first line has values" in told["notes"][0]


def test_a_format_that_is_given_is_not_guessed(here, land):
    told = lakehouse_json_here(here, "add", "bronze.things", land(**{"a.json": json_lines()}), "--format", "text")
    assert (told["format"], list(told["columns"])) == ("text", ["value"])


def test_a_broken_file_beside_good_ones_is_passed_over(here, land):
    told = lakehouse_json_here(here, "add", "bronze.things", land(**{"a.parquet": parquet(), "b.parquet": b"PAR1" * 9}))
    assert list(told["columns"]) == ["id", "city", "amount"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bronze.things", "s3a://{bucket}/nothing/here/"], "there is no file"),
        (["bronze.things", "s3a://no-such-bucket-here/x/"], "no-such-bucket-here"),
        (["bronze.things", "tmp/x"], "not a path of an object store"),
        (["bronze.things", "/no/such/folder/"], "there is no file"),
        (["things", "{path}"], "'things' is no table name"),
        (["bronze.other", "{path}"], "bronze.other is declared already"),
        (["bronze.things", "{path}", "--key", "idd"], "did you mean id?"),
        (["silver.things", "{path}", "--key", "id"], "silver.things is that table"),
        (["bronze.things", "{path}", "--format", "jsn"], "write one of json, csv"),
    ],
)
def test_what_cannot_be_added_is_told_and_nothing_is_written(lake, here, land, tmp_path, arguments, said):
    path = land(**{"a.json": json_lines()})
    filled = [argument.format(bucket=lake.settings.landing_bucket, path=path) for argument in arguments]
    done = lakehouse_here(here, "add", *filled, "--yes")
    assert done.returncode == 1
    assert said in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "lakehouse.yaml").read_text() == DECLARED


def test_a_folder_of_a_delta_table_is_no_folder_of_files(here, land):
    path = land(**{"_delta_log__00000000000000000000.json": b"{}\n"})
    done = lakehouse_here(here, "add", "bronze.things", path)
    assert done.returncode == 1 and "this is a Delta table" in done.stderr


def test_add_needs_a_declaration_and_init_writes_one(here, land, tmp_path):
    path = land(**{"a.json": json_lines()})
    here = {**here, "LAKEHOUSE_DECLARATION": str(tmp_path / "new" / "lakehouse.yaml")}
    done = lakehouse_here(here, "add", "bronze.things", path, "--yes")
    assert done.returncode == 1 and "lakehouse init" in done.stderr
    assert lakehouse_here(here, "init").returncode == 0
    assert lakehouse_here(here, "add", "bronze.things", path, "--yes").returncode == 0
    assert [table["name"] for table in lakehouse_json_here(here, "validate")["tables"]] == ["bronze.things"]


def test_tables_of_the_lake_that_nobody_declares_are_told_when_asked_for(lake, here):
    key = f"{lake.settings.user}/gold/forgotten/_delta_log/00000000000000000000.json"
    lake.store.ensure_bucket(lake.settings.bucket)
    lake.store.write(lake.settings.bucket, key, b"{}\n")
    assert lakehouse_json_here(here, "validate")["warnings"] == []
    [warning] = lakehouse_json_here(here, "validate", "--lake")["warnings"]
    assert warning.startswith("gold.forgotten is in the lake and not declared")
