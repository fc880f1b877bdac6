"""COPY INTO without Spark: each file once, in one commit a call."""

import gzip
import io
import json

import openpyxl
import pytest
from command import lakehouse_here, lakehouse_json_here
from deltalake import write_deltalake

from lakehouse.copy_into import copy as copies
from lakehouse.copy_into.copy import Copy, copy_into
from lakehouse.errors import CopyFailed, TerminalError

TABLE = "bronze.copied"


class Files:
    """A landing folder, and a table that files are copied into by this process."""

    def __init__(self, lake):
        self.lake, self.uri = lake, lake.settings.landing_uri

    def put(self, name, data):
        if isinstance(data, list):
            data = "".join(json.dumps(row) + "\n" for row in data).encode()
        self.lake.store.write(self.lake.settings.landing_bucket, self.lake.settings.landing_prefix + name, data)

    def copy(self, kind="json", **how):
        return copy_into(None, self.lake, Copy(TABLE, self.uri, kind, **how))

    def rows(self):
        found = self.lake.delta(TABLE).to_pyarrow_table().to_pylist()
        return sorted((tuple(row.values()) for row in found), key=repr)

    def objects(self):
        prefix = f"{self.lake.settings.user}/bronze/copied/"
        found = self.lake.store.list(self.lake.settings.bucket, prefix)
        return {
            info.key.removeprefix(prefix) for info in found if info.key.endswith(".parquet") and "/_" not in info.key
        }


@pytest.fixture
def files(lake):
    return Files(lake)


def test_a_file_is_copied_once_also_when_it_changed_and_force_loads_it_again(files):
    files.put("1.json", [{"a": 1, "b": "x"}])
    files.put("2.json.gz", gzip.compress(b'{"a": 2, "b": "y"}\n'))
    done = files.copy()
    assert (done.rows, len(done.files), done.already_loaded, done.delta_version) == (2, 2, 0, 0)
    files.put("1.json", [{"a": 1, "b": "changed"}])
    done = files.copy()
    assert (done.rows, done.already_loaded, done.delta_version) == (0, 2, None)
    assert files.rows() == [(1, "x"), (2, "y")]
    assert files.copy(force=True, pattern="1*").rows == 1
    assert files.rows() == [(1, "changed"), (1, "x"), (2, "y")]


def test_all_formats_that_streams_have_are_copied(files):
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in (["a", "b"], [1, "x"]):
        book.active.append(row)
    book.save(file)
    files.put("1.xlsx", file.getvalue())
    options = {"headerRows": "1", "inferSchema": "true"}
    assert files.copy("excel", pattern="*.xlsx", options=options).rows == 1
    files.put("2.xml", b"<r><row><a>2</a><b>y</b></row></r>")
    assert files.copy("xml", pattern="*.xml", options={"rowTag": "row"}).rows == 1
    assert files.rows() == [(1, "x"), (2, "y")]


def test_a_new_column_is_an_error_that_names_it_unless_the_schema_is_merged(files):
    files.put("1", [{"a": 1}])
    files.copy()
    files.put("2", [{"a": 2}, {"a": 3, "new": "x"}])
    before = files.objects()
    with pytest.raises(CopyFailed, match="no column new; first met in record 1"):
        files.copy()
    assert files.objects() == before
    assert files.copy(merge_schema=True).delta_version == 2
    assert files.rows() == [(1, None), (2, None), (3, "x")]


def test_what_does_not_fit_fails_the_call_and_leaves_no_data_file(files, monkeypatch):
    files.put("1", [{"a": 1}])
    files.copy()
    before = files.objects()
    monkeypatch.setattr("lakehouse.direct.data_files._GROUP_BYTES", 1)
    monkeypatch.setattr("lakehouse.direct.data_files._FILE_BYTES", 1)
    files.put("2", [{"a": 2}])
    files.put("3", [{"a": "many"}])
    with pytest.raises(CopyFailed, match='does not fit the table: a = "many"'):
        files.copy()
    assert (files.rows(), files.objects()) == ([(1,)], before)
    files.put("4.gz", b"no gzip")
    with pytest.raises(CopyFailed, match="NOT_GZIP"):
        files.copy(pattern="4*")


def test_a_table_with_folders_gets_its_rows_in_them_and_one_that_only_spark_writes_is_refused(files, lake):
    import pyarrow as pa

    uri, options = lake.settings.table_uri(TABLE).replace("s3a:", "s3:"), lake.endpoint.deltalake_options()
    rows = pa.table({"a": pa.array([0], pa.int64()), "b": ["x"]})
    write_deltalake(uri, rows, partition_by=["b"], storage_options=options)
    files.put("1", [{"a": 1, "b": "y"}])
    files.copy()
    assert files.rows() == [(0, "x"), (1, "y")]
    assert any(key.startswith("b=y/") for key in files.objects())
    lake.delta(TABLE).alter.add_constraint({"small": "a < 5"})
    files.put("2", [{"a": 9, "b": "y"}])
    with pytest.raises(CopyFailed, match="cannot be written without Spark") as caught:
        files.copy()
    assert caught.value.next_command == "LAKEHOUSE_ENGINE=spark, and the same again"


def test_of_two_attempts_at_one_copy_the_table_takes_one(files, monkeypatch):
    for number in (1, 2):
        files.put(str(number), [{"a": number}])
    write, asked = copies._write, []

    def never(*arguments):
        asked.append(arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copies, "_write", never)
        with pytest.raises(KeyboardInterrupt):
            files.copy(files=["1"])

        def late(*arguments):
            if asked:
                write(*asked.pop())
            write(*arguments)

        patch.setattr(copies, "_write", late)
        done = files.copy()
    assert (done.rows, done.already_loaded) == (1, 1)
    assert files.rows() == [(1,), (2,)]


def test_a_copy_whose_receipts_are_gone_before_they_were_taken_in_is_refused(files, monkeypatch):
    write = copies._write

    def dies_behind(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    files.put("1", [{"a": 1}])
    with monkeypatch.context() as patch:
        patch.setattr(copies, "_write", dies_behind)
        with pytest.raises(KeyboardInterrupt):
            files.copy()
    store, bucket = files.lake.store, files.lake.settings.bucket
    for info in list(store.list(bucket, f"{files.lake.settings.user}/bronze/copied/_copy_into/attempts/")):
        if info.key.endswith(".jsonl"):
            store.delete(bucket, info.key)
    with pytest.raises(TerminalError, match=r"how its copy 1 read \S+/1 is not told any more"):
        files.copy()
    assert files.rows() == [(1,)]


def test_the_command_needs_no_spark(files, environment):
    files.put("1", [{"a": 1}])
    here = {**environment, "LAKEHOUSE_ENGINE": "local", "JAVA_HOME": "/nowhere"}
    arguments = ["copy-into", TABLE, files.uri, "--format", "json"]
    assert f"{TABLE} version 0: 1 files with 1 rows" in lakehouse_here(here, *arguments).stdout
    assert "nothing to copy" in lakehouse_here(here, *arguments).stdout
    files.put("2", [{"a": 2, "b": 1}])
    done = lakehouse_json_here(here, *arguments, "--merge-schema", "--files", "1,2")
    assert (done["rows"], done["already_loaded"]) == (1, 1)
