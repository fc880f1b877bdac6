"""A table that is opened again: what is read of it, who sees whose commits, and what is never shared."""

import pytest
from counted import TABLE, uri, write

from benchmarks.ingest import requests_served
from lakehouse import opened_tables

FIRST, COMMITS = [{"a": 0}], 6


@pytest.fixture
def table(lake):
    """Opens a table of seven commits; it was opened twice before."""
    for number in range(COMMITS + 1):
        write(lake, [{"a": number}])

    def opened():
        return lake.delta(TABLE)

    opened(), opened()
    return opened


def rows(opened):
    return sorted(opened.to_pyarrow_table()["a"].to_pylist())


def requests_of(lake, act):
    before = requests_served(lake)
    act()
    return requests_served(lake) - before


def test_it_takes_one_request_whatever_was_committed_before(lake, table):
    assert requests_of(lake, table) == 1
    assert requests_of(lake, lambda: lake.version(TABLE)) == 1
    assert rows(table()) == list(range(COMMITS + 1))


def test_what_anybody_commits_is_there_and_only_that_is_read(lake, table):
    write(lake, [{"a": 7}])
    assert requests_of(lake, table) < COMMITS
    assert (rows(table()), table().version(), lake.version(TABLE)) == ([*range(8)], 7, 7)


def test_a_version_that_somebody_reads_stays_when_others_commit(lake, table):
    reader = table()
    write(lake, [{"a": 7}])
    newer = table()
    assert (reader.version(), newer.version()) == (6, 7)
    assert (rows(reader), rows(newer)) == ([*range(7)], [*range(8)])


def test_who_writes_moves_nobody_else(lake, table):
    reader, writer = table(), table()
    writer.delete("a = 3")
    assert (reader.version(), writer.version(), table().version()) == (6, 7, 7)
    assert (3 in rows(reader), 3 in rows(writer), 3 in rows(table())) == (True, False, False)


def test_who_alone_has_it_writes_without_opening_it_again(lake, table):
    def change(writer):
        writer.alter.set_table_properties({"delta.logRetentionDuration": f"interval {writer.version()} days"})

    writer = table()
    alone = requests_of(lake, lambda: change(writer))
    table(), table()
    reader, writer = table(), table()
    beside = requests_of(lake, lambda: change(writer))
    assert alone < beside, "it opens its own, since another has it"
    assert (reader.version(), writer.version(), table().version()) == (COMMITS + 1, COMMITS + 2, COMMITS + 2)


def test_a_commit_of_files_leaves_what_is_known_at_its_version(lake, table):
    writer, other = table(), table()
    writer.create_write_transaction([], "append", writer.schema())
    assert (writer.version(), other.version()) == (COMMITS, COMMITS)
    del writer, other
    assert requests_of(lake, table) < COMMITS
    assert table().version() == COMMITS + 1


@pytest.mark.parametrize("commits", [COMMITS + 1, 2, COMMITS + 3])
def test_another_table_in_its_place_is_told_from_it(lake, table, commits):
    """With as many commits, with fewer and with more."""
    held = table()
    bucket, folder = uri(lake).removeprefix("s3://").split("/", 1)
    lake.store.delete_prefix(bucket, f"{folder}/")
    assert (table(), lake.version(TABLE)) == (None, None)
    for number in range(commits):
        write(lake, [{"a": -number}])
    assert (table().version(), lake.version(TABLE)) == (commits - 1, commits - 1)
    assert rows(table()) == sorted(-number for number in range(commits))
    assert held.version() == COMMITS


def test_other_credentials_read_for_themselves(lake, table):
    known = opened_tables._opened[lake.settings.table_uri(TABLE)]
    known.options = {**known.options, "AWS_SESSION_TOKEN": "of yesterday"}
    assert requests_of(lake, table) > 1
    assert requests_of(lake, table) == 1


def test_who_asks_only_for_the_version_lists_no_more_with_each_commit(lake, table, monkeypatch):
    monkeypatch.setattr(opened_tables, "_MOST_COMMITS", 2)
    listed, commits_from = [], opened_tables.commits_from

    def counted(*where):
        found = commits_from(*where)
        listed.append(len(found))
        return found

    monkeypatch.setattr(opened_tables, "commits_from", counted)
    for number in range(6):
        write(lake, [{"a": number}])
        assert lake.version(TABLE) == COMMITS + 1 + number
    assert listed == [2, 3, 4, 2, 3, 4]


def test_few_tables_are_kept(lake):
    for number in range(12):
        for _ in range(2):
            write(lake, FIRST, f"bronze.t{number}")
            lake.delta(f"bronze.t{number}")
        lake.delta(f"bronze.t{number}")
    kept = [name for name, known in opened_tables._opened.items() if known.table is not None]
    assert len(kept) == opened_tables._MOST_TABLES
    assert [lake.delta(f"bronze.t{number}").version() for number in range(12)] == [1] * 12
