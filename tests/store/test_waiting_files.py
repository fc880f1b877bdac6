"""The engine ``spark`` looks for files before it starts: a run that finds nothing asks for no session."""

import pytest
from store.local_world import TABLE, LocalWorld, NeedsSpark

from lakehouse.autoloader.options.parse import LOOKED, CloudFilesOptions
from lakehouse.autoloader.source import CloudFiles
from lakehouse.pipeline import declared, replay_files
from lakehouse.storage.environment import environment_of
from lakehouse.streams.trigger import Trigger

BY_SPARK = [{"engine": "spark"}, {"engine": "spark", "sink": "spark"}]


@pytest.fixture
def things(lake, tmp_path):
    """One file that is in the table: the engines take turns on it."""
    things = LocalWorld(lake, tmp_path)
    things.put("1.json", [{"a": 1}])
    assert things.load_rows() == 1
    return things


@pytest.mark.parametrize("flow", BY_SPARK, ids=["direct", "sink"])
def test_nothing_new_needs_no_session_and_a_new_file_does(things, flow):
    before = things.checkpoint()
    report = things.declare(**flow).load()
    assert (report.batches, report.rows_added, report.delta_version) == ((), 0, report.delta_version_before)
    assert things.checkpoint() == before
    assert things.failed_checks() == set()
    things.put("2.json", [{"a": 2}])
    with pytest.raises(NeedsSpark):
        things.load()
    assert things.declare(engine="local").load_rows() == 1, "the look took nothing away"
    assert things.rows("a") == [("1",), ("2",)]


def test_a_file_that_no_part_of_the_stream_reads_needs_no_session(things):
    things.declare(engine="spark", glob="*.json").put("2.txt", "no input")
    assert things.load().batches == ()


def test_a_batch_that_was_not_finished_needs_a_session(things):
    left = things.checkpoint()
    del left["commits/0"]
    things.set_checkpoint(left)
    with pytest.raises(NeedsSpark):
        things.declare(engine="spark").load()


def test_a_checkpoint_without_a_batch_needs_a_session(lake, tmp_path):
    things = LocalWorld(lake, tmp_path).declare(engine="spark")
    things.put("1.json", [{"a": 1}])
    with pytest.raises(NeedsSpark):
        things.load()


def test_a_file_that_is_asked_for_again_needs_a_session(things):
    replay_files(things.lake, TABLE, files=["1.json"], really=True)
    with pytest.raises(NeedsSpark):
        things.declare(engine="spark").load()
    assert things.declare(engine="local").load_rows() == 1
    assert things.rows("a") == [("1",)]


def test_a_new_version_of_a_file_needs_a_session_only_where_the_stream_reads_it(things):
    things.put("1.json", [{"a": 7}])
    assert things.declare(engine="spark").load().batches == ()
    things.put("1.json", [{"a": 8}])
    with pytest.raises(NeedsSpark):
        things.declare(engine="spark", options={"cloudFiles.allowOverwrites": "true"}).load()


def test_a_trigger_that_goes_on_needs_a_session(things):
    with pytest.raises(NeedsSpark):
        things.declare(engine="spark").load(trigger=Trigger.parse("processing-time=1s"))


def test_files_leave_the_folder_also_in_a_run_that_finds_nothing(things):
    options = {
        "cloudFiles.cleanSource": "MOVE",
        "cloudFiles.cleanSource.moveDestination": f"s3a://{things.bucket}/loaded/{things.folder}",
        "cloudFiles.cleanSource.retentionDuration": "0 seconds",
    }
    things.declare(engine="spark", options=options).load()
    assert list(things.lake.store.list(things.bucket, things.folder)) == []


def test_a_query_that_is_told_what_was_found_does_not_list_the_folder_again(things, monkeypatch):
    for name, value in environment_of(things.lake.endpoint).items():
        monkeypatch.setenv(name, value)
    options = declared(things.lake, TABLE).flow.reader_options(things.lake.settings, TABLE)
    assert CloudFilesOptions.parse({**options, LOOKED: "1"}) == CloudFilesOptions.parse(options), (
        "nobody is warned of it"
    )
    source = CloudFiles({**options, LOOKED: "1"})
    reader = source.streamReader(source.schema())
    things.put("2.json", [{"a": 2}])
    reader.prepareForTriggerAvailableNow()
    start = reader.initialOffset()
    assert reader.latestOffset(start, reader.getDefaultReadLimit())["seq"] == 1
    assert reader.reportLatestOffset()["seq"] == 1, "the second file waits for the next run"
