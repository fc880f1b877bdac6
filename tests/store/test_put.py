"""``lakehouse put``: local files on a real store, and what is refused."""

import json

import pytest
from command import lakehouse_here, lakehouse_json_here

from lakehouse.autoloader.options.paths import split_uri

DECLARED = """tables:
  bronze.things:
    files: {{path: {path}, format: csv, glob: '*.csv'}}
  silver.things:
    latest: {{of: bronze.things, key: id}}
"""


@pytest.fixture
def here(lake, environment, tmp_path, monkeypatch):
    """The environment of a command in a folder with a declaration and three files."""
    monkeypatch.chdir(tmp_path)
    path = f"s3a://{lake.settings.landing_bucket}/{lake.settings.landing_prefix}things/"
    (tmp_path / "lakehouse.yaml").write_text(DECLARED.format(path=path))
    for name in ("in/day=1/a.csv", "in/day=2/a.csv", "in/more/b.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"id\n{name}\n")
    return environment


@pytest.fixture
def landed(lake):
    """What is in the folder of the table, by name."""
    bucket, prefix = lake.settings.landing_bucket, f"{lake.settings.landing_prefix}things/"
    return lambda: {
        info.key.removeprefix(prefix): lake.store.read(bucket, info.key) for info in lake.store.list(bucket, prefix)
    }


def test_folders_and_files_keep_partitions_and_what_is_below_a_folder(here, landed, lake, tmp_path):
    told = lakehouse_json_here(here, "put", "in", "bronze.things")
    expected = {name: f"id\nin/{name}\n".encode() for name in ("day=1/a.csv", "day=2/a.csv", "more/b.csv")}
    assert landed() == expected
    assert [lake.store.read(lake.settings.landing_bucket, split_uri(file["path"])[1]) for file in told["files"]] == [
        (tmp_path / file["file"]).read_bytes() for file in told["files"]
    ]
    (tmp_path / "in/day=2/c.csv").write_text("id\n7\n")
    lakehouse_json_here(here, "put", "in/day=2/c.csv", "bronze.things")
    assert landed() == {**expected, "day=2/c.csv": b"id\n7\n"}


def test_a_path_takes_the_place_of_a_table_that_is_not_declared_yet(here, landed, lake):
    done = lakehouse_here(
        here, "put", "in/more/b.csv", f"s3a://{lake.settings.landing_bucket}/{lake.settings.landing_prefix}things/"
    )
    assert done.returncode == 0 and "put 1 file into s3a://" in done.stdout and "lakehouse add" in done.stdout
    assert list(landed()) == ["b.csv"]


def test_the_same_file_again_is_no_error_and_another_of_its_name_is_one(here, landed, tmp_path):
    lakehouse_json_here(here, "put", "in/more/b.csv", "bronze.things")
    assert lakehouse_json_here(here, "put", "in/more/b.csv", "bronze.things")["unchanged"] == ["in/more/b.csv"]
    (tmp_path / "in/more/b.csv").write_text("id\nchanged\n")
    (tmp_path / "in/more/c.csv").write_text("id\nnew\n")
    refused = lakehouse_here(here, "put", "in/more/c.csv", "in/more/b.csv", "bronze.things")
    assert refused.returncode == 1 and "another file than the one of that name" in refused.stderr
    assert landed() == {"b.csv": b"id\nin/more/b.csv\n"}, "nothing of a refused call is uploaded"
    lakehouse_json_here(here, "put", "in/more/b.csv", "bronze.things", "--overwrite")
    assert landed() == {"b.csv": b"id\nchanged\n"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", "{}", "bronze.things does not take a.json"),
        ("_hidden.csv", "id\n", "bronze.things does not take _hidden.csv"),
        ("empty.csv", "", "bronze.things does not take empty.csv"),
        (None, "", "the file cannot be read: No such file"),
    ],
)
def test_a_file_that_the_table_would_not_load_is_refused(here, landed, tmp_path, name, content, said):
    if name is not None:
        (tmp_path / name).write_text(content)
    done = lakehouse_here(here, "put", "in/more/b.csv", name or "none.csv", "bronze.things", "--json")
    assert done.returncode == 1 and said in json.loads(done.stdout)["what"]
    assert landed() == {}


def test_two_files_of_one_name_are_refused(here, landed, tmp_path):
    (tmp_path / "b.csv").write_text("id\n")
    done = lakehouse_here(here, "put", "b.csv", "in/more/b.csv", "bronze.things")
    assert done.returncode == 1 and "several files would become" in done.stderr
    assert landed() == {}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("silver.things", "silver.things takes no files: it is computed from bronze.things"),
        ("bronze.other", "no table bronze.other is declared"),
        ("things", "'things' is no table name"),
        ("http://x/y", "not a path of an object store"),
    ],
)
def test_only_a_table_of_files_takes_files(here, table, said):
    done = lakehouse_here(here, "put", "in", table)
    assert done.returncode == 1 and said in done.stderr
