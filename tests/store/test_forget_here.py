"""Rows are forgotten without Spark, where the condition surely means the same to Arrow; else Spark is asked."""

import json

import pytest
from command import lakehouse_here, lakehouse_json_here
from declared import with_declaration
from store.local_world import TABLE, LocalWorld, NeedsSpark, no_session

from lakehouse.counting.data_files import DataFiles
from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.forgetting import forget_rows
from lakehouse.lake import LakeTable
from lakehouse.maintenance.file_rows import RemovedRows
from lakehouse.pipeline import check_table, run_table
from lakehouse.streams.run import Run

LATEST, SUMS = "silver.things", "gold.things"
COLUMNS = "a BIGINT, who STRING, at TIMESTAMP, day DATE, land STRING"


class People(LocalWorld):
    """Rows of people, their newest ones, and how many there are of each land."""

    def declare(self, unique=("a",), **flow):
        files = {"path": "{landing}/things/", "engine": "local", "schema": COLUMNS, **flow}
        latest = {"of": TABLE, "key": "a", "engine": "local"}
        sums = {"of": LATEST, "group": {"land": "land"}, "aggregates": {"people": "count(*)"}, "engine": "local"}
        tables = {
            TABLE: {"files": files, "checks": [{"unique": list(unique)}]},
            LATEST: {"latest": latest},
            SUMS: {"rollup": sums},
        }
        self.lake = with_declaration(self.plain, self.tmp, json.dumps({"tables": tables}))
        return self

    def fill(self, files=3):
        for number in range(files):
            rows = [
                {"a": number * 10 + n, "who": f"p{n}", "at": f"2026-0{n + 1}-01T00:00:00Z", "day": f"2026-0{n + 1}-01"}
                for n in range(3)
            ]
            self.put(f"{number}.json", [{**row, "land": "DE" if row["a"] % 2 else "FR"} for row in rows])
            self.load()
        return self

    def run_all(self):
        for table in (LATEST, SUMS):
            run_table(no_session, self.lake, table, Run())

    def forget(self, where, really=True, then="follow"):
        return forget_rows(no_session, self.lake, TABLE, where=where, then=then, really=really)[0]

    def ids(self, table=TABLE):
        rows = self.lake.rows(table)
        return sorted(rows.to_table(columns=["a"])["a"].to_pylist())

    def failed(self):
        return {
            finding.check
            for name in (TABLE, LATEST, SUMS)
            for finding in check_table(no_session, self.lake, name)
            if not finding.passed
        }


@pytest.fixture
def people(lake, tmp_path):
    return People(lake, tmp_path)


@pytest.mark.parametrize("flow", [{}, {"partition_by": ["land"]}], ids=["plain", "in folders"])
def test_rows_go_in_one_commit_are_recorded_and_followed(people, flow):
    people.declare(**flow).fill().run_all()
    before = people.lake.version(TABLE)
    dry = people.forget("who = 'p1' AND land = 'DE'", really=False)
    assert (dry.rows, dry.files, dry.done) == (3, {1: 1, 2: 1, 3: 1}, False)
    assert people.lake.version(TABLE) == before
    done = people.forget("who = 'p1' AND land = 'DE'")
    assert (done.rows, done.files, done.version) == (3, {1: 1, 2: 1, 3: 1}, before + 1)
    assert people.ids() == [0, 2, 10, 12, 20, 22]
    [commit] = people.lake.commits_since(TABLE, before)
    assert (commit.rows_removed, commit.rows_added, commit.forgotten, commit.only_adds) == (3, 0, "follow", False)
    assert RemovedRows.of(people.lake, TABLE).files == {1, 2, 3}
    people.run_all()
    assert people.ids(LATEST) == people.ids()
    assert {row["land"]: row["people"] for row in people.lake.rows(SUMS).to_table().to_pylist()} == {"FR": 6}
    assert people.failed() == set()
    people.put("9.json", [{"a": 90, "who": "p1", "land": "DE"}])
    people.load()
    people.run_all()
    assert people.ids(LATEST) == [0, 2, 10, 12, 20, 22, 90]
    assert people.failed() == set()


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ("a >= 10", [0, 1, 2]),
        ("at < '2026-02-01'", None),
        ("day < DATE'2026-02-01'", None),
        ("who IN ('p0', 'p2') OR a = 11", [1, 21]),
        ("land IS NULL OR a = 1", [0, 2, 10, 11, 12, 20, 21, 22]),
        ("_source_sequence = 2", [0, 1, 2, 20, 21, 22]),
        ("TRUE", []),
    ],
)
def test_a_condition_means_what_it_means_in_spark_or_spark_is_asked(people, where, left):
    people.fill()
    if left is None:
        with pytest.raises(NeedsSpark):
            people.forget(where)
        assert len(people.ids()) == 9
    else:
        people.forget(where)
        assert people.ids() == left
        assert "every_file_loaded" not in people.failed_checks()


def test_data_files_that_cannot_have_the_text_are_not_read_and_those_without_such_rows_stay(people, monkeypatch):
    people.declare(partition_by=["land"]).fill()
    read, batches = [], DataFiles.batches

    def noted(self, paths, columns):
        read.extend(paths)
        return batches(self, paths, columns)

    monkeypatch.setattr(DataFiles, "batches", noted)
    before = people.objects()
    people.put("z.json", [{"a": 99, "who": "zoe", "land": "DE"}])
    people.load()
    [new] = people.objects() - before
    read.clear()
    people.forget("who = 'zoe'")
    assert read == [new]
    assert before <= people.objects()
    assert 99 not in people.ids()


def test_what_was_written_meanwhile_makes_it_change_nothing(people, monkeypatch):
    people.fill()
    before, commit = people.objects(), LakeTable.create_write_transaction

    def beaten(self, *arguments, **more):
        monkeypatch.undo()
        people.lake.delta(TABLE).alter.set_table_properties({"delta.logRetentionDuration": "interval 40 days"})
        commit(self, *arguments, **more)

    monkeypatch.setattr(LakeTable, "create_write_transaction", beaten)
    with pytest.raises(TransientError, match="somebody else wrote it meanwhile"):
        people.forget("who = 'p1'")
    assert people.objects() == before, "what was written for it is removed"
    assert RemovedRows.of(people.lake, TABLE).files == set()
    assert len(people.ids()) == 9
    people.forget("who = 'p1'")
    assert len(people.ids()) == 6


def test_a_commit_that_comes_after_its_command_gave_up_has_its_files_and_its_record(people, monkeypatch):
    """The store was too slow to answer, and takes the commit nevertheless."""
    people.fill()
    commit, sent = LakeTable.create_write_transaction, []

    def slow(self, *arguments, **more):
        sent.append(lambda: commit(self, *arguments, **more))
        raise OSError("the request timed out")

    with monkeypatch.context() as patch, pytest.raises(TransientError, match="it was not taken"):
        patch.setattr(LakeTable, "create_write_transaction", slow)
        people.forget("who = 'p1'")
    assert RemovedRows.of(people.lake, TABLE).files == set()
    sent[0]()
    assert len(people.ids()) == 6
    assert people.failed_checks() == set()


def test_a_commit_whose_reply_was_lost_is_done(people, monkeypatch):
    people.fill()
    commit = LakeTable.create_write_transaction

    def lost(self, *arguments, **more):
        commit(self, *arguments, **more)
        raise OSError("the connection was reset")

    monkeypatch.setattr(LakeTable, "create_write_transaction", lost)
    done = people.forget("who = 'p1'")
    assert (done.done, done.version, len(people.ids())) == (True, people.lake.version(TABLE), 6)
    assert people.failed_checks() == set()


def test_all_but_the_newest_copy_of_a_key_go(people):
    """Also of keys of two columns, one in a struct; a row that stands there twice by a fault stays twice."""
    people.declare(schema=f"{COLUMNS}, x STRUCT<n: DOUBLE>", unique=["a", "x.n"])
    copies = [
        {"a": a, "x": {"n": n}, "who": str(number)} for number, (a, n) in enumerate([(1, 0.0), (1, 0.5), (2, None)])
    ]
    for number in range(3):
        people.put(f"{number}.json", [*copies[number:], {"a": None, "who": "none"}])
        people.load()
    assert people.failed_checks() == {"unique"}
    done = forget_rows(no_session, people.lake, TABLE, duplicates=True, really=True)[0]
    assert (done.rows, done.files) == (1, {1: 1})
    assert people.rows("a", "who", "_source_sequence") == [
        (1, "0", 1),
        (1, "1", 2),
        (2, "2", 1),
        (2, "2", 2),
        (2, "2", 3),
        *[(None, "none", n) for n in (1, 2, 3)],
    ]
    assert people.failed_checks() == set()
    with pytest.raises(ConfigurationError, match="no row fits"):
        forget_rows(no_session, people.lake, TABLE, duplicates=True, really=True)


def test_rows_are_not_forgotten_while_a_file_that_could_bring_them_back_waits(people):
    people.fill(2)
    lakehouse_json_here(people.environment, "replay", "--table", TABLE, "--files", "0.json", "--yes")
    dry = lakehouse_json_here(people.environment, "forget", TABLE, "--where", "a = 1")
    [waiting] = dry["waiting"]
    assert waiting.endswith("/things/0.json") and not dry["done"]
    said = lakehouse_here(people.environment, "forget", TABLE, "--where", "a = 1")
    assert f"first: lakehouse ingest {TABLE}" in said.stdout and waiting in said.stdout
    before = people.lake.version(TABLE)
    with pytest.raises(ConfigurationError, match=r"files of bronze\.things wait.*\(1\): \S+/0\.json") as refused:
        people.forget("a = 1")
    assert refused.value.next_command.startswith(f"lakehouse ingest {TABLE}")
    assert (people.lake.version(TABLE), RemovedRows.of(people.lake, TABLE).files) == (before, set())
    people.load()
    assert people.forget("a = 1").waiting == ()
    assert people.ids() == [0, 2, 10, 11, 12]
    assert people.failed_checks() == set()


def test_forgotten_rows_come_again_with_their_file_and_go_again(people):
    people.fill(2).run_all()
    people.forget("a = 1")
    words = ("replay", "--table", TABLE, "--files", "0.json")
    assert "1 row of these files, removed on purpose, come again" in lakehouse_here(people.environment, *words).stdout
    assert lakehouse_json_here(people.environment, *words, "--yes")["forgotten_rows"] == 1
    people.load()
    assert people.ids() == [0, 1, 2, 10, 11, 12]
    assert people.failed_checks() == set()
    people.forget("a = 1")
    assert people.ids() == [0, 2, 10, 11, 12]
    assert people.failed_checks() == set()


def test_the_command_asks_for_no_session_and_wrong_wishes_are_refused(people, monkeypatch):
    monkeypatch.setattr("lakehouse.engine.connect", no_session)
    people.fill(1)
    done = lakehouse_json_here(people.environment, "forget", TABLE, "--where", "who = 'p0'", "--then", "keep", "--yes")
    assert (done["rows"], done["done"], done["then"]) == (1, True, "keep")
    with pytest.raises(ConfigurationError, match="no row fits"):
        people.forget("who = 'nobody'")
    people.lake.delta(TABLE).alter.set_table_properties({"delta.appendOnly": "true"})
    with pytest.raises(ConfigurationError, match=r"delta\.appendOnly is true"):
        people.forget("who = 'p1'")
