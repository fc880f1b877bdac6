"""What one stream has still to read."""

from datetime import UTC, datetime, timedelta

import pytest
from unit.autoloader.memory_store import MemoryStore

from lakehouse.autoloader.files.backlog import Backlog
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath
from lakehouse.storage.store import ObjectInfo
from lakehouse.streams.replacing import replaced_by

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def journal():
    made = Journal(MemoryStore(), "lake", "j/", now=lambda: NOW)
    names = ["in/a.json", "in/b.csv", "in/c.json", "in/_temp", "in/d.json", "in/a.json"]
    for number, name in enumerate(names):
        made.append("landing", [ObjectInfo(name, 10 * (number + 1), f"e{number}", NOW + timedelta(days=number))])
    return made


def backlog(journal, path="in/", after=0, stream="", **options):
    uri = f"s3a://landing/{path}"
    named = {
        name if name in ("pathGlobFilter", "modifiedAfter", "modifiedBefore") else f"cloudFiles.{name}": value
        for name, value in options.items()
    }
    parsed = CloudFilesOptions.parse({"path": uri, "cloudFiles.format": "json", **named})
    made = Backlog(journal, SourcePath.parse(uri), parsed, after, stream=stream)
    made.extend(journal.high_water)
    return made


@pytest.mark.parametrize(
    ("options", "seqs"),
    [
        ({}, [1, 2, 3, 5]),
        ({"allowOverwrites": "true"}, [1, 2, 3, 5, 6]),
        ({"pathGlobFilter": "*.json"}, [1, 3, 5]),
        ({"modifiedAfter": "2026-01-01T00:00:00", "modifiedBefore": "2026-01-05T00:00:00"}, [2, 3]),
        ({"path": "in/{a,c}*"}, [1, 3]),
    ],
)
def test_a_stream_chooses_its_own_files_of_a_journal(journal, options, seqs):
    assert [file.seq for file in backlog(journal, **options).files(0, journal.high_water)] == seqs


@pytest.mark.parametrize(
    ("start", "limits", "end"),
    [
        (0, (2, None), 2),
        (0, (100, None), 5),
        (2, (1, None), 3),
        (0, (None, 1), 1),
        (0, (None, 30), 2),
        (0, (None, 31), 3),
        (0, (1, 1000), 1),
        (5, (10, None), 5),
    ],
)
def test_a_batch_ends_at_the_limit_that_comes_first(journal, start, limits, end):
    assert backlog(journal).end_of_batch(start, max_files=limits[0], max_bytes=limits[1]) == end


def test_what_waits_is_counted_behind_the_batch(journal):
    waiting = backlog(journal).outstanding(2)
    assert waiting == {
        "numFilesOutstanding": 2,
        "numBytesOutstanding": 80,
        "oldestPendingSeconds": int(NOW.timestamp()),
    }
    assert backlog(journal).outstanding(5) == {"numFilesOutstanding": 0, "numBytesOutstanding": 0}


def test_the_entries_whose_rows_go_are_those_of_a_replay_and_where_that_is_asked_for_older_versions(journal):
    b, d = (ObjectInfo(f"in/{name}", 1, "newer", NOW) for name in ("b.csv", "d.json"))
    journal.replay("landing", [(b, 2), (d, 5)], "one")

    def places(after, upto, stream="one", overwrites=False):
        found = replaced_by(journal, stream, after, upto, overwrites=overwrites)
        return [(entry.seq, set(entry.old), entry.again) for entry in found]

    assert places(6, 8) == [(7, {2}, True), (8, {5}, True)]
    assert places(6, 7) == [(7, {2}, True)], "the other is in a later batch"
    assert places(0, 6) == []
    assert places(6, 8, stream="another") == [], "a replay is of one stream"
    assert places(5, 6, overwrites=True) == [(6, {1}, False)]
    assert places(5, 8, overwrites=True) == [(7, {2}, True), (8, {5}, True), (6, {1}, False)]


def test_a_replay_is_read_by_the_stream_that_asked_and_by_no_other(journal):
    b = ObjectInfo("in/b.csv", 1, "newer", NOW)
    journal.replay("landing", [(b, 2)], "one")

    def read(stream, after=6, **options):
        made = backlog(journal, stream=stream, **options)
        made.extend(7)
        return [(file.seq, file.replaces) for file in made.batch(after, 7)]

    assert read("one") == [(7, 2)]
    assert read("one", allowOverwrites="replace") == [(7, 2)]
    for other in ("two", ""):
        assert read(other) == []
        assert 7 not in [seq for seq, _ in read(other, after=0, allowOverwrites="true")]


def test_a_place_is_filled_once_in_a_batch(journal):
    """A file that was asked for again by two, or overwritten since."""
    newer = ObjectInfo("in/b.csv", 1, "newer", NOW)
    journal.replay("landing", [(newer, 2)], "one")
    journal.replay("landing", [(newer, 2)], "one")

    def read(**options):
        return [file.seq for file in backlog(journal, stream="one", **options).batch(6, journal.high_water)]

    assert read() == [8]
    journal.append("landing", [newer])
    replace = {"allowOverwrites": "replace"}
    assert (read(), read(**replace)) == ([8], [9])
    journal.append("landing", [ObjectInfo("in/b.csv", 2, "newest", NOW)])
    assert (read(), read(**replace)) == ([8], [10])
