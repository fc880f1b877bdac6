"""Small objects that commands keep for themselves: one that is damaged is named, and spoils no other."""

import json
from dataclasses import asdict

import pytest
from unit.autoloader.memory_store import MemoryStore

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.agreement import CheckpointUnreadable
from lakehouse.lake import Lake
from lakehouse.maintenance.backup import MANIFEST, Backup, Copied, backup_key, backups
from lakehouse.settings import Settings

TABLE = "bronze.things"
CUT = ('{"batch": 0, "off', "[]", "7", "")


class Folders(MemoryStore):
    def folders(self, bucket, prefix):
        keys = [key.removeprefix(prefix) for of, key in self.objects if of == bucket and key.startswith(prefix)]
        return sorted({key.partition("/")[0] for key in keys if "/" in key})


@pytest.fixture
def lake():
    return Lake(Settings.load(), None, Folders())


def put(lake, key, text):
    lake.store.put(lake.settings.bucket, key, text.encode())


@pytest.mark.parametrize("text", [text for text in CUT if text != "[]"])
def test_a_mark_of_a_checkpoint_that_is_cut_off_is_an_error_with_a_cure(lake, text):
    put(lake, checkpoints.object_key(lake, TABLE, checkpoints.FORKED), text)
    with pytest.raises(CheckpointUnreadable, match=r"forked\.json is empty, cut off or damaged") as refused:
        checkpoints.forked_at(lake, TABLE)
    assert f"lakehouse checkpoint repair {TABLE}" in refused.value.next_command


@pytest.mark.parametrize("text", CUT)
def test_a_backup_whose_manifest_is_damaged_is_named_and_the_others_count(lake, text, caplog):
    whole = Backup(TABLE, "20260102", "q", 1, 1, 1, None, "t", 3, None, (Copied("checkpoint/metadata", 2, "e"),))
    put(lake, backup_key(lake, TABLE, "20260101") + MANIFEST, text)
    put(lake, backup_key(lake, TABLE, whole.taken) + MANIFEST, json.dumps(asdict(whole)))
    assert backups(lake, TABLE) == [whole]
    assert "20260101/manifest.json is damaged" in caplog.text
