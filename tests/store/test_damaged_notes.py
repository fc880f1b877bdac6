"""Small objects about removed rows: one that is damaged is named, and the printed command mends it."""

import pytest
from store.local_world import TABLE
from store.test_retention import NOW, SILVER, Ageing

from lakehouse.checkpoints.agreement import CheckpointUnreadable
from lakehouse.checkpoints.kept import kept_key, kept_removals
from lakehouse.declaration import read_catalogue
from lakehouse.doctor.examining import examine
from lakehouse.doctor.finding import Verdict
from lakehouse.errors import TerminalError
from lakehouse.maintenance.file_rows import record_folder
from lakehouse.maintenance.forget import accept_removals
from lakehouse.pipeline import repair_table
from lakehouse.upkeep import remove_old_rows


@pytest.fixture
def kept(lake, tmp_path):
    """A table that keeps what it computed from rows which its source does not have any more."""
    things = Ageing(lake, tmp_path)
    things.declare({"column": "at", "keep": "90 days", "then": "keep"}).put_ages("0.json", 200, 10)
    things.merge()
    assert remove_old_rows(things.lake, now=NOW, really=True)[0].done
    things.merge()
    assert things.column(SILVER) == [0, 1, 2] and kept_removals(things.lake, SILVER) == [1]
    return things


def test_a_table_whose_note_of_kept_rows_is_damaged_keeps_them_by_the_printed_command(kept):
    kept.lake.store.write(kept.lake.settings.bucket, kept_key(kept.lake, SILVER), b'{"vers')
    with pytest.raises(CheckpointUnreadable, match=r"silver\.things\.kept\.json is empty") as refused:
        kept.failed(SILVER)
    assert refused.value.next_command.startswith(f"lakehouse checkpoint repair {SILVER} ")
    [sign] = examine(kept.lake, read_catalogue(kept.lake.settings), (SILVER,), shared=False).of(Verdict.FAIL)
    assert (sign.sign, sign.what) == ("checkpoint_unreadable", refused.value.what)
    told = repair_table(kept.lake, SILVER)
    assert (told.done, told.reason) == (False, refused.value.what) and "keeps what it has" in told.steps[0]
    assert repair_table(kept.lake, SILVER, really=True).done
    assert kept.failed(SILVER) == set() and kept.column(SILVER) == [0, 1, 2]
    assert repair_table(kept.lake, SILVER).reason == ""


def test_a_damaged_record_of_removed_rows_is_written_anew_by_the_printed_command(kept):
    bucket, folder = record_folder(kept.lake, TABLE)
    [record] = kept.lake.store.list(bucket, folder)
    kept.lake.store.write(bucket, record.key, b"[{")
    with pytest.raises(TerminalError, match=r"removed from bronze\.things on purpose is empty") as refused:
        kept.failed(TABLE)
    assert refused.value.where == f"s3a://{bucket}/{record.key}"
    assert refused.value.next_command.startswith(f"lakehouse forget {TABLE} --already-removed ")
    assert accept_removals(kept.lake, TABLE, really=True).files == {1: 1}
    assert kept.failed(TABLE) == set()
    assert [info.key.endswith("-accepted.json") for info in kept.lake.store.list(bucket, folder)] == [True]
