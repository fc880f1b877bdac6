"""Small objects that commands keep for themselves: one that is damaged is named, and spoils no other."""

import json
from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from unit.autoloader.memory_store import MemoryStore
from unit.autoloader.test_discovery import fill, look, opened

from lakehouse.autoloader.files import discovery
from lakehouse.autoloader.files.positions import StreamPosition, committed_by_all
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.agreement import CheckpointUnreadable
from lakehouse.checkpoints.kept import keep_again, kept_key, kept_removals, note_kept
from lakehouse.lake import Lake
from lakehouse.maintenance.backup import MANIFEST, Backup, Copied, backup_key, backups
from lakehouse.settings import Settings
from lakehouse.streams.definition import keep_definition
from lakehouse.streams.set_aside import SetAside

TABLE = "bronze.things"
CUT = ('{"batch": 0, "off', "[]", "7", "")


class Folders(MemoryStore):
    def folders(self, bucket, prefix):
        keys = [key.removeprefix(prefix) for of, key in self.objects if of == bucket and key.startswith(prefix)]
        return sorted({key.partition("/")[0] for key in keys if "/" in key})


@pytest.fixture
def lake():
    return Lake(Settings.load(), None, Folders())


def put(lake, key, text, bucket=None):
    lake.store.put(bucket or lake.settings.bucket, key, text.encode())


@pytest.mark.parametrize("text", [text for text in CUT if text != "[]"])
def test_a_mark_of_a_checkpoint_that_is_cut_off_is_an_error_with_a_cure(lake, text):
    put(lake, checkpoints.object_key(lake, TABLE, checkpoints.FORKED), text)
    with pytest.raises(CheckpointUnreadable, match=r"forked\.json is empty, cut off or damaged") as refused:
        checkpoints.forked_at(lake, TABLE)
    assert f"lakehouse checkpoint repair {TABLE}" in refused.value.next_command


@pytest.mark.parametrize("text", [text for text in CUT if text != "[]"])
def test_a_definition_that_is_cut_off_is_an_error_with_a_cure(lake, text):
    put(lake, checkpoints.object_key(lake, TABLE, "definition.json"), text)
    with pytest.raises(CheckpointUnreadable, match=r"definition\.json is empty, cut off or damaged") as refused:
        keep_definition(lake, TABLE, {"keys": ["a"]})
    assert refused.value.where.endswith(f"/{TABLE}/definition.json")
    assert f"lakehouse checkpoint restart {TABLE}" in refused.value.next_command


@pytest.mark.parametrize("text", CUT)
def test_a_note_of_examined_batches_that_is_cut_off_is_an_error_with_a_cure(lake, text):
    prefix = checkpoints.object_key(lake, TABLE, "")
    for name, content in {"metadata": '{"id": "q"}', "offsets/0": "v1\n{}\n{}", "commits/0": "v1\n{}"}.items():
        put(lake, prefix + name, content)
    put(lake, f"{prefix}set_aside.json", text)
    with pytest.raises(CheckpointUnreadable, match=r"set_aside\.json is empty, cut off or damaged") as refused:
        SetAside(lake, TABLE, None, (), lambda before, now: None).is_behind()
    assert f"lakehouse checkpoint restart {TABLE}" in refused.value.next_command


@pytest.mark.parametrize("text", CUT)
def test_what_a_damaged_note_of_kept_rows_means_is_not_guessed_until_it_is_written_anew(lake, text):
    put(lake, kept_key(lake, TABLE), text)
    for use in (
        lambda: kept_removals(lake, TABLE),
        lambda: note_kept(lake, TABLE, [7]),
    ):
        with pytest.raises(CheckpointUnreadable, match=rf"{TABLE}\.kept\.json is empty, cut off or damaged") as refused:
            use()
        assert refused.value.where == f"s3a://{lake.settings.bucket}/{kept_key(lake, TABLE)}"
        assert f"lakehouse checkpoint repair {TABLE}" in refused.value.next_command
    keep_again(lake, TABLE)
    note_kept(lake, TABLE, [7])
    assert kept_removals(lake, TABLE) == [0, 7]


@pytest.mark.parametrize("text", CUT)
def test_a_damaged_note_of_where_a_stream_stands_keeps_no_stream_from_its_start(lake, text, caplog):
    """Nothing counts as loaded then, so that no file is taken away."""
    now = lambda: datetime(2026, 1, 1, tzinfo=UTC)  # noqa: E731
    StreamPosition(lake.store, "lake", "journal/", "other", now, "schemas/one").note(9)
    put(lake, "journal/streams/one.json", text, bucket="lake")
    mine = StreamPosition(lake.store, "lake", "journal/", "one", now, "schemas/one")
    assert (mine.committed, committed_by_all(lake.store, "lake", "journal/", "schemas/one")) == (0, 0)
    assert "journal/streams/one.json is damaged" in caplog.text
    mine.note(7)
    put(lake, "journal/streams/other.json", text, bucket="lake")
    assert StreamPosition(lake.store, "lake", "journal/", "one", now).committed_for(0) == 0


def test_a_note_that_does_not_say_what_was_cleaned_counts(lake, caplog):
    note = {"committed": [[7, "2026-01-01T00:00:00+00:00"]]}
    put(lake, "journal/streams/one.json", json.dumps(note), bucket="lake")
    now = lambda: datetime(2026, 1, 2, tzinfo=UTC)  # noqa: E731
    assert StreamPosition(lake.store, "lake", "journal/", "one", now).committed == 7
    assert not caplog.text


@pytest.mark.parametrize("text", CUT)
def test_a_damaged_note_of_the_last_full_listing_costs_another_one(text, monkeypatch):
    monkeypatch.setattr(discovery, "FAST_FROM_FILES", 2)
    world = MemoryStore()
    journal = opened(world)
    fill(world, ["b1", "b2"])
    look(world, journal)
    world.put("lake", "j/audit.json", text.encode())
    fill(world, ["a"])
    found = look(world, journal)
    assert (found.full, found.found) == (True, 1)


@pytest.mark.parametrize("text", CUT)
def test_a_backup_whose_manifest_is_damaged_is_named_and_the_others_count(lake, text, caplog):
    whole = Backup(TABLE, "20260102", "q", 1, 1, 1, None, "t", 3, None, (Copied("checkpoint/metadata", 2, "e"),))
    put(lake, backup_key(lake, TABLE, "20260101") + MANIFEST, text)
    put(lake, backup_key(lake, TABLE, whole.taken) + MANIFEST, json.dumps(asdict(whole)))
    assert backups(lake, TABLE) == [whole]
    assert "20260101/manifest.json is damaged" in caplog.text
