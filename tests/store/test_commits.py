"""What a commit says of itself and what it does: logs written by deltalake, and by hand as other engines write them."""

import json

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

TABLE = "bronze.t"


class Table:
    """A table of numbers in two data files."""

    def __init__(self, lake):
        self.lake = lake
        self.uri = lake.settings.table_uri(TABLE).replace("s3a://", "s3://", 1)
        self.options = lake.endpoint.deltalake_options()
        for first in (0, 5):
            self.append(first)

    def append(self, first=10, **options):
        self.write(first, mode="append", **options)

    def write(self, first, **options):
        rows = pa.table({"number": range(first, first + 5)})
        write_deltalake(self.uri, rows, storage_options=self.options, **options)

    def opened(self):
        return DeltaTable(self.uri, storage_options=self.options)

    def by_hand(self, info, *actions):
        """A commit as another engine writes it."""
        lines = [{"commitInfo": {"timestamp": 1, **info}}, *actions]
        key = f"{self.lake.settings.user}/bronze/t/_delta_log/{self.opened().version() + 1:020d}.json"
        self.lake.store.write(self.lake.settings.bucket, key, "\n".join(map(json.dumps, lines)).encode())

    def moved(self, *, data_change=True):
        """Actions that put one data file in the place of the others, by itself."""
        adds = pa.table(self.opened().get_add_actions(flatten=True)).to_pylist()
        file = {"path": adds[0]["path"], "dataChange": data_change}
        stats = json.dumps({"numRecords": 5})
        add = {**file, "partitionValues": {}, "size": adds[0]["size_bytes"], "modificationTime": 1, "stats": stats}
        gone = [
            {"remove": {"path": action["path"], "dataChange": data_change, "deletionTimestamp": 1}} for action in adds
        ]
        return {"add": add}, *gone[1:]

    def last(self):
        return self.lake.commits_since(TABLE, None, last=1)[0]


@pytest.fixture
def table(lake):
    return Table(lake)


@pytest.mark.parametrize(
    "said",
    [
        *("nightly backfill by Ann", "[1, 2]", "7", "null", '"text"', "{", ""),
        *('{"epochId": "x", "queryId": 5}', '{"epochId": [1], "promoted": 3}', '{"epochId": true, "promoted": "name"}'),
        '{"epochId": 1e999, "promoted": [1, null, {}]}',
    ],
)
def test_what_others_write_about_a_commit_is_no_batch_of_ours(table, said):
    table.append(commit_properties=CommitProperties(custom_metadata={"userMetadata": said}))
    commit = table.last()
    assert (commit.batch_id, commit.query_id, commit.promoted) == (None, None, frozenset())
    assert commit.only_adds
    assert [entry.version for entry in table.lake.commits_since(TABLE, None)] == [0, 1, 2]


def test_a_batch_says_itself_which_one_it_is(table):
    said = json.dumps({"epochId": 4, "queryId": "q", "promoted": ["a"]})
    table.append(commit_properties=CommitProperties(custom_metadata={"userMetadata": said}))
    commit = table.last()
    assert (commit.batch_id, commit.query_id, commit.promoted) == (4, "q", {"a"})


@pytest.mark.parametrize("said", ["by Ann", '{"team": "sales"}'])
def test_a_stream_of_another_with_words_of_its_own_is_known_by_what_delta_says(table, said):
    parameters = {"outputMode": "Append", "queryId": "theirs", "epochId": "3"}
    add, *_ = table.moved()
    about = {"operation": "STREAMING UPDATE", "operationParameters": parameters, "userMetadata": said}
    table.by_hand({**about, "operationMetrics": {"numOutputRows": "5"}}, add)
    commit = table.last()
    assert (commit.batch_id, commit.query_id, commit.rows_added, commit.only_adds) == (3, "theirs", 5, True)


@pytest.mark.parametrize(
    "metrics", [None, {}, {"numOutputRows": None}, {"numOutputRows": "many", "numDeletedRows": []}]
)
def test_numbers_that_are_none_count_nothing(table, metrics):
    table.by_hand({"operation": "WRITE", "operationParameters": {"mode": "Append"}, "operationMetrics": metrics})
    commit = table.last()
    assert (commit.rows_added, commit.rows_updated, commit.rows_removed) == (0, 0, 0)


CHANGES = {
    "append": (lambda table: table.append(), True),
    "overwrite": (lambda table: table.write(20, mode="overwrite"), False),
    "overwrite of some": (lambda table: table.write(0, mode="overwrite", predicate="number < 5"), False),
    "delete": (lambda table: table.opened().delete("number = 3"), False),
    "delete of all": (lambda table: table.opened().delete(), False),
    "delete of nothing": (lambda table: table.opened().delete("number = 99"), True),
    "update": (lambda table: table.opened().update(updates={"number": "1"}, predicate="number = 3"), False),
    "compaction": (lambda table: table.opened().optimize.compact(), True),
    "restore": (lambda table: table.opened().restore(0), False),
    "new column": (lambda table: table.opened().alter.set_table_properties({"delta.appendOnly": "false"}), True),
}


def merge(table, *, update):
    rows = pa.table({"number": [3, 99]})
    merged = table.opened().merge(rows, "target.number = source.number", source_alias="source", target_alias="target")
    merged = merged.when_matched_update_all() if update else merged
    merged.when_not_matched_insert_all().execute()


@pytest.mark.parametrize(("change", "adds"), CHANGES.values(), ids=CHANGES)
def test_a_commit_only_adds_when_it_takes_no_row_out(table, change, adds):
    before = table.lake.version(TABLE)
    change(table)
    since = table.lake.commits_since(TABLE, before)
    assert all(commit.only_adds for commit in since) == adds
    assert since or adds


def test_a_merge_that_only_inserts_only_adds(table):
    merge(table, update=False)
    assert table.last().only_adds
    merge(table, update=True)
    assert not table.last().only_adds


@pytest.mark.parametrize(
    "operation",
    [
        *("CREATE OR REPLACE TABLE AS SELECT", "REPLACE TABLE AS SELECT", "CREATE OR REPLACE TABLE", "REPLACE TABLE"),
        *("TRUNCATE", "COPY INTO", "A NEW ONE"),
    ],
)
def test_a_commit_that_removes_files_takes_rows_out_whatever_its_name(table, operation):
    table.by_hand({"operation": operation, "operationParameters": {"mode": "Append"}}, *table.moved())
    assert not table.last().only_adds


def test_a_table_that_is_replaced_while_it_is_empty_still_starts_over(table):
    table.opened().delete()
    table.by_hand({"operation": "CREATE OR REPLACE TABLE AS SELECT", "operationParameters": {}})
    assert not table.last().only_adds


@pytest.mark.parametrize("mode", ["Complete", "Append", "Update"])
def test_a_stream_that_writes_its_whole_result_takes_the_old_one_out(table, mode):
    changes = table.moved() if mode == "Complete" else table.moved()[:1]
    parameters = {"outputMode": mode, "queryId": "q", "epochId": "0"}
    table.by_hand({"operation": "STREAMING UPDATE", "operationParameters": parameters}, *changes)
    assert table.last().only_adds == (mode != "Complete")


def test_files_that_are_only_written_anew_are_no_change(table):
    table.by_hand({"operation": "OPTIMIZE", "operationParameters": {}}, *table.moved(data_change=False))
    assert table.last().only_adds


def test_a_commit_without_a_word_about_itself_is_judged_by_its_files(table):
    table.by_hand({}, *table.moved())
    assert not table.last().only_adds
