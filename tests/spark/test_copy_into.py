"""COPY INTO: each file once, in one commit a call."""

import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import lakehouse_here, lakehouse_json_here

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.copy_into import copy as copies
from lakehouse.copy_into.copy import Copy, copy_into
from lakehouse.copy_into.ledger import CopiedFiles
from lakehouse.errors import ConfigurationError, CopyFailed, LeaseHeld, TerminalError
from lakehouse.orders.tables import BRONZE

TABLE = "bronze.copied"


def as_json(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_parquet(rows):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


KINDS = {
    "json": (as_json, {}),
    "csv": (as_csv, {"header": "true", "inferSchema": "true"}),
    "parquet": (as_parquet, {}),
}


class Files:
    """A landing folder, and a table that files are copied into."""

    def __init__(self, spark, lake):
        self.spark, self.lake = spark, lake
        self.uri = lake.settings.landing_uri

    def put(self, name, rows, kind="json"):
        data = rows if isinstance(rows, bytes) else KINDS[kind][0](rows)
        self.lake.store.write(self.lake.settings.landing_bucket, self.lake.settings.landing_prefix + name, data)

    def copy(self, kind="json", **how):
        options = {**KINDS[kind][1], **how.pop("options", {})}
        return copy_into(self.spark, self.lake, Copy(TABLE, self.uri, kind, options=options, **how))

    def rows(self, *columns):
        table = self.lake.delta(TABLE).to_pyarrow_table(columns=list(columns) or None)
        return sorted(tuple(row.values()) for row in table.to_pylist())

    def types(self):
        return {field.name: field.type.type for field in self.lake.delta(TABLE).schema().fields}

    def numbers(self):
        return [number for number, *_ in self.rows("a")]


@pytest.fixture
def files(spark, lake):
    return Files(spark, lake)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_copied_once_also_when_it_changed(files, kind):
    files.put("1", [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], kind)
    files.put("2", [{"a": 3, "b": "z"}], kind)
    first = files.copy(kind)
    assert (first.rows, len(first.files), first.already_loaded, first.delta_version) == (3, 2, 0, 0)
    assert files.rows() == [(1, "x"), (2, "y"), (3, "z")]
    assert set(files.types().values()) <= {"long", "integer", "string"}
    files.put("2", [{"a": 99, "b": "changed"}], kind)
    files.put("sub/3", [{"a": 4, "b": "new"}], kind)
    second = files.copy(kind)
    assert (second.rows, second.already_loaded, second.delta_version) == (1, 2, 1)
    assert files.numbers() == [1, 2, 3, 4]
    third = files.copy(kind)
    assert (third.files, third.delta_version, files.lake.version(TABLE)) == ((), None, 1)


def test_force_loads_again_what_is_there(files):
    files.put("1", [{"a": 1}])
    files.put("2", [{"a": 2}])
    files.copy()
    files.put("2", [{"a": 3}])
    assert files.copy(force=True, pattern="2").rows == 1
    assert files.numbers() == [1, 2, 3]
    assert files.copy().files == ()


def test_each_call_has_its_own_pattern_or_files(files):
    for name, number in (("a1", 1), ("a2", 2), ("b1", 3), ("sub/a3", 4)):
        files.put(name, [{"a": number}])
    assert files.copy(pattern="a*").rows == 2
    assert files.numbers() == [1, 2], "a star stays between slashes"
    report = files.copy(files=["b1", "a1", "gone"])
    assert (report.rows, report.already_loaded, report.missing) == (1, 1, ("gone",))
    assert files.copy(pattern="sub/*").rows == 1
    assert files.copy().files == ()
    assert files.numbers() == [1, 2, 3, 4]


def test_the_same_key_in_two_buckets_is_two_files(files):
    files.put("1", [{"a": 1}])
    files.copy()
    settings = files.lake.settings
    files.lake.store.write(settings.bucket, settings.landing_prefix + "1", as_json([{"a": 2}]))
    files.uri = f"s3a://{settings.bucket}/{settings.landing_prefix}"
    assert files.copy().rows == 1
    assert files.numbers() == [1, 2]


@pytest.mark.soak("by Spark; tests/store/test_local_copy.py has it without")
def test_a_new_column_is_an_error_that_names_it_unless_the_schema_is_merged(files):
    files.put("1", [{"a": 1}])
    files.copy()
    files.put("2", [{"a": 2}])
    files.put("3", [{"a": 3}, {"a": 4, "note": "x"}])
    with pytest.raises(CopyFailed, match="no column note; first met in record 1") as caught:
        files.copy()
    assert caught.value.where.endswith("/3")
    assert (files.numbers(), files.lake.version(TABLE)) == ([1], 0)
    report = files.copy(merge_schema=True)
    assert (report.rows, report.delta_version) == (3, 1), "one commit"
    assert sorted(files.rows("a", "note"), key=str) == [(1, None), (2, None), (3, None), (4, "x")]


def test_a_column_that_the_sample_lacks_is_a_column_of_a_new_table(files):
    files.put("1", [{"a": 1, "seldom": True}])
    files.put("2", [{"a": 2}])
    report = files.copy(options={"cloudFiles.schemaInference.sampleSize.numFiles": "1"})
    assert (report.rows, report.delta_version) == (2, 0)
    assert files.types() == {"a": "long", "seldom": "boolean"}


@pytest.mark.soak("by Spark, each way of not fitting; tests/store/test_local_copy.py has it without")
def test_what_does_not_fit_fails_the_call(files):
    files.put("1", [{"a": 1}])
    files.copy()
    files.put("2", [{"a": 2}])
    for line in ('{"a": "many"}', '{"a": 2', '{"a": 99999999999999999999}'):
        files.put("3", f'{{"a": 3}}\n{line}\n'.encode())
        with pytest.raises(CopyFailed, match=r"does not fit the table: a = |malformed: ") as caught:
            files.copy()
        assert caught.value.where.endswith("/3"), line
        assert files.numbers() == [1], line
    assert files.copy(files=["2"]).rows == 1


def test_a_table_with_a_rescued_column_keeps_what_does_not_fit(files):
    files.put("1", [{"a": 1}])
    files.copy(options={"rescuedDataColumn": "_rescued_data"})
    files.put("2", b'{"a": "many"}\nno json\n')
    assert files.copy().rows == 2
    kept = [text for (text,) in files.lake.delta(TABLE).to_pyarrow_table(columns=["_rescued_data"]).to_pandas().values]
    assert sorted("many" in text or "no json" in text for text in kept if text) == [True, True]


def test_a_corrupt_file_fails_the_call_or_waits_until_it_is_corrected(files):
    files.put("1.json", [{"a": 1}])
    files.put("2.json.gz", b"no gzip at all")
    with pytest.raises(CopyFailed, match="NOT_GZIP") as caught:
        files.copy()
    assert caught.value.where.endswith("/2.json.gz")
    assert files.lake.version(TABLE) is None
    report = files.copy(options={"ignoreCorruptFiles": "true"})
    assert (report.rows, [file.path.rsplit("/", 1)[1] for file in report.skipped]) == (1, ["2.json.gz"])
    files.put("2.json.gz", gzip.compress(as_json([{"a": 2}])))
    assert files.copy().rows == 1
    assert files.numbers() == [1, 2]


def test_a_table_of_a_stream_is_refused(files, lake):
    files.put("1", [{"a": 1}])
    with pytest.raises(ConfigurationError, match="the stream that is declared for it"):
        copy_into(files.spark, lake, Copy(BRONZE, files.uri, "json"))
    stream = files.spark.readStream.format("cloudFiles").option("cloudFiles.format", "json").schema("a LONG")
    stream = stream.load(files.uri).writeStream.format("delta").trigger(availableNow=True)
    elsewhere = f"{lake.settings.lake_uri}/checkpoint"
    stream.option("checkpointLocation", elsewhere).start(lake.settings.table_uri(TABLE)).awaitTermination()
    with pytest.raises(ConfigurationError, match="written by a stream"):
        files.copy()
    assert files.numbers() == [1]


def test_one_call_at_a_time(files):
    files.put("1", [{"a": 1}])
    with checkpoints.writer_of(files.lake, TABLE), pytest.raises(LeaseHeld):
        files.copy()
    assert files.copy().rows == 1


def test_a_call_that_died_after_its_commit_counts(files, monkeypatch):
    files.put("1", [{"a": 1}])
    files.put("2", [{"a": 2}])
    with monkeypatch.context() as patch:
        patch.setattr(copies, "_write", dies_after(copies._write))
        with pytest.raises(KeyboardInterrupt):
            files.copy(files=["1"])
    report = files.copy()
    assert (report.rows, report.already_loaded) == (1, 1)
    assert files.numbers() == [1, 2]


def test_a_call_that_died_before_its_commit_leaves_nothing_behind(files, monkeypatch):
    files.put("1", [{"a": 1}])
    files.put("2", [{"a": 2}])
    with monkeypatch.context() as patch:
        patch.setattr(copies, "_write", dies_after(lambda *arguments: None))
        with pytest.raises(KeyboardInterrupt):
            files.copy(files=["1"])
    assert files.copy(files=["2"]).rows == 1
    assert files.numbers() == [2], "what the dead call wanted is not done by another"
    assert files.copy().rows == 1
    assert files.numbers() == [1, 2]


def test_a_dead_call_that_spark_goes_on_with_is_counted_by_the_call_it_meets(files, monkeypatch):
    for number in (1, 2, 3):
        files.put(str(number), [{"a": number}])
    write, asked = copies._write, []

    def never(*arguments):
        asked.append(arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copies, "_write", never)
        with pytest.raises(KeyboardInterrupt):
            files.copy(files=["1", "2"])
        (dead,) = asked

        def late(*arguments):
            if asked:
                write(*asked.pop())
            write(*arguments)

        patch.setattr(copies, "_write", late)
        report = files.copy()
    assert dead[-1].number == 1
    assert (report.rows, report.already_loaded, report.delta_version) == (1, 2, 1)
    assert files.numbers() == [1, 2, 3]


def test_a_table_without_the_list_of_its_files_is_refused(files):
    files.put("1", [{"a": 1}])
    files.copy()
    settings = files.lake.settings
    folder = CopiedFiles(files.lake, TABLE).uri.removeprefix(f"s3a://{settings.bucket}/")
    files.lake.store.delete_prefix(settings.bucket, folder)
    with pytest.raises(TerminalError, match="do not belong together"):
        files.copy()
    assert files.numbers() == [1]


def dies_after(write):
    def dies(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    return dies


def test_the_command(files, environment):
    files.put("1", [{"a": 1}])
    arguments = ["copy-into", TABLE, files.uri, "--format", "json"]
    assert f"{TABLE} version 0: 1 files with 1 rows" in lakehouse_here(environment, *arguments).stdout
    assert "nothing to copy" in lakehouse_here(environment, *arguments).stdout
    files.put("2", [{"a": 2, "b": 1}])
    failed = lakehouse_here(environment, *arguments)
    assert failed.returncode == 1
    assert "no column b" in failed.stderr
    assert "--merge-schema" in failed.stderr
    done = lakehouse_json_here(environment, *arguments, "--merge-schema", "--files", "1,2")
    assert (done["rows"], done["already_loaded"], done["delta_version"]) == (1, 1, 1)
    assert files.numbers() == [1, 2]
