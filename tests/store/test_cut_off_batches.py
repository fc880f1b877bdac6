"""A batch that is in the table while its query was ended before it was told."""

import pytest
from store.local_world import TABLE, LocalWorld

from lakehouse.checkpoints.agreement import object_key
from lakehouse.declaration import read_catalogue
from lakehouse.streams.file_logs import CloudFilesLog
from lakehouse.streams.run import cut_off


@pytest.fixture
def world(lake, tmp_path):
    world = LocalWorld(lake, tmp_path)
    world.put("1.json", [{"a": 1}, {"a": 2}])
    world.load()
    world.put("2.json", [{"a": 3}])
    return world


def cut(world, before, told=(), *, finish):
    settings = world.lake.settings
    log = CloudFilesLog(world.lake, read_catalogue(settings)[TABLE].flow.cloud_files(settings, TABLE))
    found = list(cut_off(world.lake, TABLE, before, log, told, finish=finish))
    return [
        (batch.batch_id, batch.files, batch.input_rows, [key.split("/")[-1] for key in keys]) for batch, keys in found
    ]


def noted(world, batch):
    key = object_key(world.lake, TABLE, f"commits/{batch}")
    return key, [info.key for info in world.lake.store.list(world.lake.settings.bucket, key)] == [key]


@pytest.mark.parametrize("finish", [True, False])
def test_a_batch_that_is_noted_is_told_once(world, finish):
    before = world.lake.version(TABLE)
    world.load()
    assert cut(world, before, finish=finish) == [(1, 1, 1, ["2.json"])]
    assert cut(world, before, told={0, 1}, finish=finish) == []
    assert cut(world, world.lake.version(TABLE), finish=finish) == [], "it is of a run before"


def test_a_batch_that_is_not_noted_is_told_by_who_may_note_it(world):
    before = world.lake.version(TABLE)
    world.load()
    key, there = noted(world, 1)
    assert there
    world.lake.store.delete(world.lake.settings.bucket, key)
    assert cut(world, before, finish=False) == []
    assert not noted(world, 1)[1]
    assert cut(world, before, finish=True) == [(1, 1, 1, ["2.json"])]
    assert noted(world, 1)[1]
