"""What counts as removed on purpose: records beside a table, held against its commits and its stream."""

import json

import pytest
from unit.autoloader.memory_store import MemoryStore

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.delta_commit import FORGOTTEN
from lakehouse.lake import Lake
from lakehouse.maintenance.file_rows import RemovedRows, record_folder, removes_on_purpose
from lakehouse.settings import Settings
from lakehouse.storage.delta_paths import commit_uri

TABLE = "bronze.things"
OURS = {"userMetadata": json.dumps({FORGOTTEN: "keep"})}


class World:
    def __init__(self):
        self.lake = Lake(Settings.load(), None, MemoryStore())

    def put(self, key, text):
        self.lake.store.put(self.lake.settings.bucket, key, text.encode())

    def commit(self, version, operation="DELETE", **more):
        info = {"commitInfo": {"operation": operation, **more}}
        self.put(split_uri(commit_uri(self.lake.settings.table_uri(TABLE), version))[1], json.dumps(info))

    def record(self, version, **entry):
        known = {"sequence": 5, "rows": 2, "batch_id": 3, **entry}
        self.put(f"{record_folder(self.lake, TABLE)[1]}{version:020d}.json", json.dumps([known]))

    def stand(self, text):
        self.put(checkpoints.object_key(self.lake, TABLE, "offsets/7"), text)

    def counts(self):
        return dict(RemovedRows.of(self.lake, TABLE).counts)


@pytest.fixture
def world():
    made = World()
    made.commit(0, "WRITE")
    made.stand('v1\n{}\n{"seq": 9, "stream": "ours"}')
    return made


@pytest.mark.parametrize(
    ("operation", "said", "counts"),
    [
        ("DELETE", OURS, True),
        ("WRITE", OURS, True),
        ("DELETE", {}, False),
        ("RESTORE", OURS, False),  # a table that was taken back says the same word, of rows that nobody forgot
    ],
)
def test_a_record_counts_when_its_version_removed_rows_on_purpose(world, operation, said, counts):
    world.record(1)
    assert world.counts() == {}, "its commit is not there"
    world.commit(1, operation, **said)
    assert world.counts() == ({(5, 3): 2} if counts else {})
    assert removes_on_purpose(world.lake, TABLE, 1) is counts


@pytest.mark.parametrize(
    ("entry", "counts"),
    [({"stream": "ours"}, True), ({}, True), ({"stream": "the one before"}, False), ({"stream": None}, False)],
)
def test_a_record_counts_for_the_stream_whose_rows_were_removed(world, entry, counts):
    world.commit(1, **OURS)
    world.record(1, **entry)
    assert world.counts() == ({(5, 3): 2} if counts else {})


@pytest.mark.parametrize("damaged", ["", "v1\n{}", 'v1\n{}\n{"seq": 9, "str'])
def test_where_nothing_says_which_stream_it_is_all_records_count(world, damaged):
    world.commit(1, **OURS)
    world.record(1, stream="the one before")
    world.stand(damaged)
    assert world.counts() == {(5, 3): 2}
