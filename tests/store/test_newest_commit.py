"""What is read of the newest commit alone is what the whole log says, and each commit has its own number."""

import itertools
import json

import pytest
from deltalake import DeltaTable
from store.local_world import TABLE, LocalWorld

from lakehouse import lake as lakes
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.delta_log import commit_entries
from lakehouse.errors import TransientError
from lakehouse.lake import LakeTable
from lakehouse.storage.delta_paths import commit_uri, deltalake_uri


@pytest.fixture
def things(lake, tmp_path):
    world = LocalWorld(lake, tmp_path)
    world.declare()
    return world


@pytest.fixture
def uri(things):
    """A table with commits of its stream, of others, without a transaction, and a RESTORE."""
    for number in range(3):
        things.put(f"{number}.json", [{"a": number}])
        things.load()
    opened = things.lake.delta(TABLE)
    opened.delete("a = 1")
    opened.optimize.compact()
    things.put("3.json", [{"a": 3}])
    things.load()
    things.lake.delta(TABLE).restore(2)
    things.lake.delta(TABLE).create_checkpoint()
    return things.lake.settings.table_uri(TABLE)


def test_transactions_and_the_newest_entry_are_those_of_the_log(things, uri):
    lake = things.lake
    key = f"{lake.settings.user}/_checkpoints/{TABLE}/metadata"
    query = json.loads(lake.store.read(lake.settings.bucket, key))["id"]
    newest = lake.version(TABLE)
    operations = set()
    for version in range(newest + 1):
        ours = LakeTable(uri, lake.endpoint, version)
        plain = DeltaTable(deltalake_uri(uri), version, storage_options=lake.endpoint.deltalake_options())
        for name in (query, "nobody"):
            assert ours.transaction_version(name) == plain.transaction_version(name), version
        for limit in (1, 3, None):
            first = 0 if limit is None else max(version - limit + 1, 0)
            assert ours.history(limit) == commit_entries(lake.store, uri, first, version), version
        operations.add(ours.history(1)[0]["operation"])
    assert ours.history() == plain.history(), "at the newest version"
    assert {"WRITE", "DELETE", "OPTIMIZE", "RESTORE"} <= operations


def test_commits_that_came_after_the_table_was_opened_take_no_number_of_another(things, uri):
    """``DeltaTable`` gives the number of the opened version to the newest commit."""
    opened = things.lake.delta(TABLE)
    before = opened.history()
    things.lake.delta(TABLE).delete("a = 0")
    assert opened.version() + 1 == things.lake.version(TABLE)
    assert opened.history() == before
    assert opened.history(2) == before[:2]


def test_what_a_table_moved_on_to_is_read_anew_and_a_lost_commit_is_looked_for_in_the_log(things, uri):
    lake = things.lake
    opened = LakeTable(uri, lake.endpoint, 0)
    first = opened.history(1)
    opened.load_as_version(2)
    assert opened.history(1) != first and opened.history(1)[0]["version"] == 2
    newest = LakeTable(uri, lake.endpoint)
    bucket, key = split_uri(commit_uri(uri, newest.version()))
    lake.store.delete(bucket, key)  # the checkpoint of the log has the state
    plain = DeltaTable(deltalake_uri(uri), storage_options=lake.endpoint.deltalake_options())
    assert newest.history(1) == plain.history(1)


def test_a_writer_that_never_rests_keeps_nobody_waiting(things, uri, monkeypatch):
    opened = things.lake.delta(TABLE)
    before = opened.history()
    plain, numbers = DeltaTable.history, itertools.count()

    def commit(*_):
        things.lake.delta(TABLE).alter.set_table_description(str(next(numbers)))

    def written_meanwhile(table, limit=None):
        commit()
        return plain(table, limit)

    with monkeypatch.context() as patched:
        patched.setattr(DeltaTable, "history", written_meanwhile)
        assert opened.history() == before
        assert opened.history(2) == before[:2]
    opened = things.lake.delta(TABLE)
    opened.create_checkpoint()
    commit()
    bucket, key = split_uri(commit_uri(uri, opened.version()))
    things.lake.store.delete(bucket, key)  # so its place among the others is not told by itself
    looked = lakes.newest_version

    def looked_and_written(*arguments):
        commit()
        return looked(*arguments)

    monkeypatch.setattr(lakes, "newest_version", looked_and_written)
    with pytest.raises(TransientError, match="was written at each of 5 looks into its history"):
        opened.history()
