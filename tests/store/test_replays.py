"""A replay between its request and its batch: whose it is, how often it counts, what a killed batch leaves of it."""

import json

import pytest

from lakehouse.autoloader.files.backlog import Backlog
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath, split_uri
from lakehouse.autoloader.outcomes.receipts import Receipt, State, TaskReceipts
from lakehouse.errors import ConfigurationError
from lakehouse.maintenance.replay import pending_replays, replay
from lakehouse.orders.tables import AVAILABLE_NOW_TABLE, BRONZE
from lakehouse.pipeline import replay_files


class Loaded:
    """A file that the first batch has loaded, as journal, checkpoint and receipts tell it."""

    def __init__(self, lake):
        self.lake, settings = lake, lake.settings
        self.uri = f"{settings.journal_root}/orders/"
        lake.store.write(settings.landing_bucket, f"{settings.landing_prefix}a.json", b"{}\n")
        found = list(lake.store.list(settings.landing_bucket, settings.landing_prefix))
        self.journal.append(settings.landing_bucket, found)
        self.object("metadata", '{"id": "query"}')
        self.plan(0, 1)
        self.object("commits/0", "v1\n{}")
        TaskReceipts(lake.store, *split_uri(self.uri), "one", 1, "00000").finish([Receipt(1, 0, 1, State.INGESTED)])

    @property
    def journal(self):
        return Journal.at(self.lake.store, self.uri)

    def object(self, name, text):
        settings = self.lake.settings
        self.lake.store.write(settings.bucket, f"{settings.user}/_checkpoints/{BRONZE}/{name}", text.encode())

    def plan(self, batch, seq):
        segment = self.journal.position(seq).segment
        offset = {"v": 1, "seq": seq, "segment": segment, "journal": self.uri, "stream": "one"}
        self.object(f"offsets/{batch}", f'v1\n{{"batchWatermarkMs":0}}\n{json.dumps(offset)}')

    def replay(self):
        return replay(self.lake, BRONZE, files=["a.json"], really=True)


@pytest.fixture
def loaded(lake):
    return Loaded(lake)


def test_a_batch_that_was_planned_and_not_finished_still_takes_rows_out(loaded, lake):
    assert loaded.replay().done
    assert pending_replays(lake, BRONZE)
    loaded.plan(1, 2)
    assert pending_replays(lake, BRONZE), "its process died: the next run does it again"
    loaded.object("commits/1", "v1\n{}")
    assert not pending_replays(lake, BRONZE)


def test_no_other_stream_reads_it_now_or_later(loaded, lake):
    loaded.replay()
    uri = lake.settings.landing_uri
    options = CloudFilesOptions.parse({"path": uri, "cloudFiles.format": "json"})
    for stream, numbers in (("another", [1]), ("", [1]), ("one", [1, 2])):
        backlog = Backlog(loaded.journal, SourcePath.parse(uri), options, stream=stream)
        assert [file.seq for file in backlog.files(0, 9)] == numbers


def test_asked_for_twice_is_asked_for_once(loaded):
    assert loaded.replay().done
    again = loaded.replay()
    assert (again.done, len(again.files), len(again.waiting)) == (False, 0, 1)
    assert loaded.journal.high_water == 2


def test_a_table_whose_stream_only_appends_is_refused_before_anything_is_recorded(loaded, lake):
    with pytest.raises(ConfigurationError, match="only ever gets rows added"):
        replay_files(lake, AVAILABLE_NOW_TABLE, files=["a.json"], really=True)
    assert loaded.journal.high_water == 1
