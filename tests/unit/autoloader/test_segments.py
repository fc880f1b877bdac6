"""What a segment's object keeps, and what one stream's requests are to all others."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unit.autoloader.memory_store import MemoryStore

from lakehouse.autoloader.files import segments
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.storage.store import ObjectInfo

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def opened(store):
    return Journal(store, "lake", "j/", now=lambda: NOW)


def version(key, content, size=1):
    return ObjectInfo(key, size, content, NOW)


def entries(journal):
    return [(one.key, one.e_tag, one.first, one.replaces, one.stream) for one in journal.files(0, journal.high_water)]


def as_an_older_release(store):
    """Segments without the column ``stream``."""
    for (bucket, key), (data, _) in list(store.objects.items()):
        table = pq.read_table(pa.BufferReader(data)).drop_columns(["stream"])
        store.put(bucket, key, segments.encode(table))


def test_a_request_of_one_stream_is_no_discovery():
    store = MemoryStore()
    one = opened(store)
    one.append("landing", [version("a", "1")])
    assert one.replay("landing", [(version("a", "2"), 1)], "bronze") == 1
    for view in (one, opened(store)):
        assert view.unseen([version("a", "2")]) == [(version("a", "2"), False)], "nobody else has this version"
    assert one.append("landing", [version("a", "2")]) == 1
    assert entries(opened(store)) == [
        ("a", "1", True, 0, ""),
        ("a", "2", True, 1, "bronze"),
        ("a", "2", False, 0, ""),
    ]


def test_a_key_that_only_a_request_names_is_new():
    one = opened(MemoryStore())
    one.replay("landing", [(version("a", "1"), 7), (version("a", "1"), 8)], "bronze")
    assert one.unseen([version("a", "1")]) == [(version("a", "1"), True)]
    one.append("landing", [version("a", "1")])
    assert entries(one) == [
        ("a", "1", True, 7, "bronze"),
        ("a", "1", True, 8, "bronze"),
        ("a", "1", True, 0, ""),
    ]


@pytest.mark.parametrize("merged", [False, True])
def test_segments_of_an_older_release_are_read_and_merged_with_newer_ones(merged):
    store = MemoryStore()
    one = opened(store)
    for number in range(17 if merged else 3):
        one.append("landing", [version(f"{number:02d}", "1")])
    before = entries(one)
    as_an_older_release(store)
    one = opened(store)
    assert entries(one) == before
    assert one.tables(0, 1, ["stream"]).__next__()["stream"].to_pylist() == [""]
    for number in range(20, 33):
        one.replay("landing", [(version("00", "1"), 1)], "bronze")
        one.append("landing", [version(f"{number:02d}", "1")])
    after = entries(one)
    assert after[: len(before)] == before
    assert one.merge() > 0
    assert entries(one) == entries(opened(store)) == after
    assert {stream for *_, stream in after} == {"", "bronze"}


def test_a_restored_journal_keeps_whose_an_entry_is():
    store = MemoryStore()
    files = [
        FileVersion(1, "landing", "a", "1", 1, NOW, NOW, True, "s"),
        FileVersion(2, "landing", "a", "1", 1, NOW, NOW, True, "s", 1, "bronze"),
    ]
    opened(store).restore(files)
    assert list(opened(store).files(0, 2)) == files
