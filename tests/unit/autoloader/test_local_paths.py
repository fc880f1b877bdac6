"""Local paths as options and as streams: read, kept, moved and told without a server, a JVM or a key."""

import json
import os
from dataclasses import replace

import pytest
from deltalake import DeltaTable
from unit.autoloader.given_options import parse, problem

from lakehouse.autoloader.options.locations import ROOT, with_locations
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath, key_uri, resolved, split_uri, uri_key
from lakehouse.autoloader.reading.fetch import Vanished
from lakehouse.autoloader.source import schema_of, settled
from lakehouse.autoloader.stream import Stream
from lakehouse.errors import ConfigurationError, StoreUnavailable
from lakehouse.storage.local_paths import LOCAL, PATHS


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """Whatever the machine's own variables say, no store can be asked."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)


class Local:
    """A folder with files, and a stream of it."""

    def __init__(self, folder, **options):
        self.folder = folder
        (folder / "in").mkdir(exist_ok=True)
        told = {name.replace("_", ".", 1): str(value) for name, value in options.items()}
        said = {
            "cloudFiles.format": "json",
            "path": f"{folder}/in",
            "cloudFiles.schemaLocation": f"file:{folder}/state",
            **told,
        }
        self.options = with_locations(CloudFilesOptions.parse(said), None)
        self.start = None

    def land(self, name, *rows):
        path = self.folder / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
        return path

    def open(self):
        """A stream as a new process has it."""
        self.schema = schema_of(self.options, None)
        return Stream(settled(self.options, self.schema), None)

    def load(self, stream=None):
        """The rows of one batch; its end is committed."""
        stream = stream or self.open()
        start = self.start or stream.beginning()
        end = stream.next_end(start, max_files=1000, max_bytes=None)
        rows = [
            row
            for task in stream.parts(start, end)
            for batch in stream.read(task, self.schema)
            for row in batch.to_pylist()
        ]
        self.start = end
        return rows

    def ids(self):
        return sorted(row["id"] for row in self.load())


@pytest.fixture
def local(tmp_path):
    return Local(tmp_path)


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("file:/in/x", "in/x"),
        ("file:///in/x/", "in/x/"),
        ("/in/x", "in/x"),
        ("/in//x/./y", "in/x/y"),
        ("/in/%41 b/*", "in/%41 b/*"),
        ("file:/in/{a,b}/", "in/{a,b}/"),
    ],
)
def test_spellings_of_local_paths(uri, key):
    assert split_uri(uri) == (LOCAL, key)
    assert parse(path=uri).path == resolved(uri) == f"file:///{key}"
    assert resolved(resolved(uri)) == resolved(uri)


@pytest.mark.parametrize("uri", ["file://host/in", "file:in", "in/x", "./in", "/in/../x", "/", "file:///", "//", ""])
def test_paths_that_name_no_local_folder(uri):
    assert "it must be on the object store or on this machine: write it as" in problem(path=uri)


def test_a_local_file_is_told_as_spark_tells_it_and_found_again():
    assert key_uri(LOCAL, "in/a b%.json") == "file:///in/a%20b%25.json"
    assert uri_key(key_uri(LOCAL, "in/a b%.json")) == "in/a b%.json"
    assert split_uri("file:///in/a") == (LOCAL, uri_key("file:///in/a"))


def test_paths_of_elsewhere_are_where_the_setting_says(monkeypatch):
    monkeypatch.setenv(PATHS, "dbfs:/=s3a://landing/ , /Volumes/=file:///data/volumes/,/Volumes/main/x/=s3://other/x/")
    assert resolved("dbfs:/mnt/in/") == "s3a://landing/mnt/in/"
    assert resolved("/Volumes/main/raw/files") == "file:///data/volumes/main/raw/files"
    assert resolved("/Volumes/main/x/*.json") == "s3://other/x/*.json"
    assert resolved("/volumes/y") == "file:///volumes/y"
    assert parse(path="dbfs:/in", cloudFiles_schemaLocation="/Volumes/s").schema_location == "file:///data/volumes/s"
    assert SourcePath.parse("dbfs:/in/*").bucket == "landing"


def test_paths_of_elsewhere_may_be_in_a_bucket_of_another_cloud_and_are_then_only_read(monkeypatch):
    there = "abfss://raw@account.dfs.core.windows.net/"
    monkeypatch.setenv(PATHS, f"dbfs:/mnt/raw/={there},/Volumes/main/=gs://landing/,wasbs://raw@account/={there}")
    assert parse(path="dbfs:/mnt/raw/in/*.json").path == f"{there}in/*.json"
    assert SourcePath.parse("/Volumes/main/in/").bucket == "gs:landing"
    assert resolved("wasbs://raw@account/in/") == f"{there}in/"
    said = problem(path="dbfs:/mnt/raw/in/", cloudFiles_schemaLocation="dbfs:/mnt/raw/_schema")
    assert said.startswith("cloudFiles.schemaLocation is") and "it must be on the object store" in said


@pytest.mark.parametrize(
    "said",
    [
        "dbfs:/",
        "dbfs:/=landing/",
        "dbfs:/=s3a://landing",
        "dbfs=s3a://x/",
        "s3a://a/=s3a://b/",
        "dbfs:/=gs://",
        "dbfs:/=hdfs://a/",
    ],
)
def test_a_setting_that_says_no_place_is_an_error(monkeypatch, said):
    monkeypatch.setenv(PATHS, said)
    with pytest.raises(ConfigurationError, match="says no place"):
        parse(path="s3a://b/x")


def test_a_path_of_another_store_says_how_its_files_are_found():
    assert "LAKEHOUSE_PATHS=dbfs:/=s3a://bucket/" in problem(path="dbfs:/mnt/in")
    assert "LAKEHOUSE_PATHS=wasbs:/=s3a://bucket/" in problem(path="wasbs://bucket/in")


def test_each_file_is_loaded_once_by_whoever_goes_on(local):
    local.land("a.json", {"id": 1}, {"id": 2})
    local.land("deep/b.json", {"id": 3})
    local.land("_hidden.json", {"id": 9})
    local.land(".part.json", {"id": 9})
    assert local.ids() == ["1", "2", "3"]
    assert local.ids() == []
    local.land("c.json", {"id": 4})
    local.land("a.json", {"id": 7})  # another version is passed over, as on any store
    assert local.ids() == ["4"]


def test_a_journal_below_the_load_path_does_not_find_itself(tmp_path):
    local = Local(tmp_path, **{"cloudFiles_schemaLocation": f"{tmp_path}/in/_state"})
    local.land("a.json", {"id": 1})
    assert local.ids() == ["1"]
    local.ids()  # the schema is found, and passed over
    found = local.start["seq"], local.open()._journal.high_water
    assert [local.ids(), local.ids(), local.ids()] == [[], [], []]
    assert (local.start["seq"], local.open()._journal.high_water) == found


def test_an_overwritten_file_is_loaded_again_where_that_is_asked_for(tmp_path):
    local = Local(tmp_path, cloudFiles_allowOverwrites=True)
    local.land("a.json", {"id": 1})
    assert local.ids() == ["1"]
    local.land("a.json", {"id": 2})
    assert local.ids() == ["2"]


def test_a_batch_that_was_planned_is_read_alike_by_another_process(local):
    local.land("a.json", {"id": 1})
    stream = local.open()
    start = stream.beginning()
    end = stream.next_end(start, max_files=1000, max_bytes=None)
    local.land("b.json", {"id": 2})
    again = local.open()
    [first], [second] = stream.parts(start, end), again.parts(start, end)
    assert first == second
    assert [[row["id"] for row in batch.to_pylist()] for batch in again.read(second, local.schema)] == [["1"]]


def test_a_file_that_went_or_changed_is_told_and_one_that_never_rests_is_an_error(local):
    path = local.land("a.json", {"id": 1})
    stream = local.open()
    start = stream.beginning()
    end = stream.next_end(start, max_files=1000, max_bytes=None)
    [task] = stream.parts(start, end)
    [span] = task.spans
    path.write_text('{"id": 12}\n')
    [batch] = stream.read(task, local.schema)
    assert [row["id"] for row in batch.to_pylist()] == ["12"], "the version that is there, whole"
    fetcher = stream._source.fetcher
    with pytest.raises(StoreUnavailable, match="written to all the time"):
        for _ in range(100):
            fetcher._changes[span.key] += 5
            fetcher.newest(span)
    path.unlink()
    with pytest.raises(Vanished):
        fetcher.whole(span)
    assert not fetcher.is_there(span)


def test_a_path_that_is_not_there_is_an_error_and_no_silent_nothing(tmp_path):
    for path in (f"{tmp_path}/none", "/Volumes/main/raw/"):
        options = replace(parse(path=path), schema_location=f"file://{tmp_path}/state")
        with pytest.raises(ConfigurationError, match="there is no folder") as caught:
            schema_of(options, None)
        assert ("LAKEHOUSE_PATHS" in str(caught.value)) == path.startswith("/Volumes/")
    stream = Local(tmp_path)
    file = stream.land("a.json", {"id": 1})
    stream.options = replace(stream.options, path=f"file://{file}")
    assert stream.ids() == ["1"]


def test_what_was_loaded_is_moved_to_a_local_folder(tmp_path):
    local = Local(
        tmp_path,
        **{
            "cloudFiles_cleanSource": "MOVE",
            "cloudFiles_cleanSource.retentionDuration": "0 seconds",
            "cloudFiles_cleanSource.moveDestination": f"{tmp_path}/done",
        },
    )
    local.land("a.json", {"id": 1})
    assert local.ids() == ["1"]
    assert [local.ids(), local.ids()] == [[], []]
    assert [path.name for path in (tmp_path / "done").iterdir()] == ["a.json"]
    assert list((tmp_path / "in").iterdir()) == []


def test_bad_records_go_to_a_local_table(tmp_path):
    local = Local(tmp_path, badRecordsPath=f"{tmp_path}/bad")
    local.land("a.json", {"id": 1}, '{"id": ')
    assert local.ids() == ["1"]
    local.land("b.json", {"id": 2})
    local.ids()
    [kept] = DeltaTable(f"{tmp_path}/bad").to_pyarrow_table().to_pylist()
    assert (kept["raw"].strip(), kept["file_path"]) == ('{"id":', key_uri(LOCAL, f"{str(tmp_path)[1:]}/in/a.json"))


def test_one_setting_gives_every_stream_its_schema_and_its_journal(tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT, f"{tmp_path}/state/")
    said = {"cloudFiles.format": "json", "path": f"{tmp_path}/in"}
    plain = with_locations(CloudFilesOptions.parse(said), None)
    typed = with_locations(CloudFilesOptions.parse({**said, "cloudFiles.schemaHints": "id BIGINT"}), None)
    limited = with_locations(CloudFilesOptions.parse({**said, "cloudFiles.maxFilesPerTrigger": "7"}), None)
    assert plain.journal_location == typed.journal_location, "a checkpoint finds it whatever else changes"
    assert plain.schema_location == limited.schema_location != typed.schema_location
    own = CloudFilesOptions.parse({**said, "cloudFiles.schemaLocation": f"{tmp_path}/own"})
    assert with_locations(own, None) == own
    assert with_locations(CloudFilesOptions.parse(said), "s3a://b/j").journal_location is None
    local = Local(tmp_path)
    local.land("a.json", {"id": 1})
    local.options = typed
    assert local.ids() == [1]
    local.options = plain
    assert local.ids() == [], "the journal is the same, and the place in it"
    local.start = None
    assert local.ids() == ["1"]


def test_without_a_place_for_the_schema_the_message_names_the_setting(tmp_path, monkeypatch):
    options = parse(path=f"{tmp_path}/in")
    with pytest.raises(ConfigurationError, match=f"no place to keep an inferred one(.|\n)*{ROOT}"):
        schema_of(replace(options, schema_location=None), None)
    monkeypatch.setenv(ROOT, "state")
    with pytest.raises(ConfigurationError, match=f"{ROOT} is no folder"):
        with_locations(replace(options, schema_location=None), None)
