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
    return [
        (file.key, file.e_tag, file.first, file.replaces, file.stream) for file in journal.files(0, journal.high_water)
    ]


def as_an_older_release(store):
    """Segments without the column ``stream``."""
    for (bucket, key), (data, _) in list(store.objects.items()):
        table = pq.read_table(pa.BufferReader(data)).drop_columns(["stream"])
        store.put(bucket, key, segments.encode(table))


def test_a_request_of_one_stream_is_no_discovery():
    store = MemoryStore()
    journal = opened(store)
    journal.append("landing", [version("a", "1")])
    assert journal.replay("landing", [(version("a", "2"), 1)], "bronze") == 1
    for view in (journal, opened(store)):
        assert view.unseen([version("a", "2")]) == [(version("a", "2"), False)], "nobody else has this version"
    assert journal.append("landing", [version("a", "2")]) == 1
    assert entries(opened(store)) == [
        ("a", "1", True, 0, ""),
        ("a", "2", True, 1, "bronze"),
        ("a", "2", False, 0, ""),
    ]


def test_a_key_that_only_a_request_names_is_new():
    journal = opened(MemoryStore())
    journal.replay("landing", [(version("a", "1"), 7), (version("a", "1"), 8)], "bronze")
    assert journal.unseen([version("a", "1")]) == [(version("a", "1"), True)]
    journal.append("landing", [version("a", "1")])
    assert entries(journal) == [
        ("a", "1", True, 7, "bronze"),
        ("a", "1", True, 8, "bronze"),
        ("a", "1", True, 0, ""),
    ]


@pytest.mark.parametrize("merged", [False, True])
def test_segments_of_an_older_release_are_read_and_merged_with_newer_ones(merged):
    store = MemoryStore()
    journal = opened(store)
    for number in range(17 if merged else 3):
        journal.append("landing", [version(f"{number:02d}", "1")])
    before = entries(journal)
    as_an_older_release(store)
    journal = opened(store)
    assert entries(journal) == before
    assert journal.tables(0, 1, ["stream"]).__next__()["stream"].to_pylist() == [""]
    for number in range(20, 33):
        journal.replay("landing", [(version("00", "1"), 1)], "bronze")
        journal.append("landing", [version(f"{number:02d}", "1")])
    after = entries(journal)
    assert after[: len(before)] == before
    assert journal.merge() > 0
    assert entries(journal) == entries(opened(store)) == after
    assert {stream for *_, stream in after} == {"", "bronze"}


def test_a_restored_journal_keeps_whose_an_entry_is():
    store = MemoryStore()
    files = [
        FileVersion(1, "landing", "a", "1", 1, NOW, NOW, True, "s"),
        FileVersion(2, "landing", "a", "1", 1, NOW, NOW, True, "s", 1, "bronze"),
    ]
    opened(store).restore(files)
    assert list(opened(store).files(0, 2)) == files
