"""A computed table that has not read all of its source, while the source's files are joined, removed and forgotten."""

import json
from datetime import UTC, datetime

import pytest
from declared import with_declaration
from store.broken_pipelines import Pipeline
from store.local_world import TABLE, no_session

from lakehouse.counting.data_files import DataFileMissing
from lakehouse.declaration import read_catalogue
from lakehouse.doctor import examining
from lakehouse.doctor.finding import Verdict
from lakehouse.maintenance.optimize import Thresholds
from lakehouse.pipeline import check_table, run_table
from lakehouse.upkeep import optimize_tables

NEWEST = "silver.newest"


class Lagging(Pipeline):
    """The table of files, and the newest row of each ``a`` behind it, which has read two files of four."""

    def begin(self, **files):
        flow = {"path": "{landing}/things/", "engine": "local", "options": {"cloudFiles.maxFilesPerTrigger": 1}}
        latest = {"of": TABLE, "key": "a", "engine": "local"}
        tables = {TABLE: {"files": {**flow, **files}}, NEWEST: {"latest": latest}}
        self.world.lake = with_declaration(self.world.plain, self.world.tmp, json.dumps({"tables": tables}))
        self.land(2).load().read()
        return self.land(2).load()

    def read(self):
        return run_table(no_session, self.lake, NEWEST)

    def join(self):
        [done] = optimize_tables(self.lake, [TABLE], Thresholds(least_fewer=1), really=True)
        assert done.done
        return self

    def found(self):
        catalogue = read_catalogue(self.lake.settings)
        examined = examining.examine(self.lake, catalogue, [NEWEST], now=datetime.now(UTC) + self.later, shared=False)
        return {finding.sign: finding for finding in examined.of(Verdict.FAIL, Verdict.WARN)}

    def assert_read(self):
        rows = self.lake.delta(NEWEST).to_pyarrow_table(columns=["a", "n"]).to_pylist()
        assert sorted((int(row["a"]), int(row["n"])) for row in rows) == [(a, 2) for a in range(self.files)]
        assert [finding.check for finding in check_table(no_session, self.lake, NEWEST) if not finding.passed] == []
        self.assert_exact()


@pytest.fixture
def lagging(lake, tmp_path, environment, monkeypatch):
    return Lagging(lake, tmp_path, environment, monkeypatch)


@pytest.mark.parametrize("flow", [{}, {"partition_by": ["a"]}], ids=["plain", "in folders"])
def test_a_reader_that_lags_behind_joined_files_reads_those_of_before(lagging, flow):
    lagging.begin(**flow)
    if flow:  # of a folder with one file nothing is joined
        lagging.world.put("again.json", [{"a": 3, "n": 2}])
        lagging.load()
    lagging.join()
    assert lagging.found() == {}
    assert [finding.check for finding in check_table(no_session, lagging.lake, NEWEST) if not finding.passed] == []
    assert lagging.read().input_rows == (7 if flow else 6)
    rows = lagging.lake.delta(NEWEST).to_pyarrow_table(columns=["a", "n"]).to_pylist()
    assert sorted((int(row["a"]), int(row["n"])) for row in rows) == [(a, 2) for a in range(4)]
    assert [finding.check for finding in check_table(no_session, lagging.lake, NEWEST) if not finding.passed] == []


def test_a_reader_whose_unread_files_a_vacuum_removed_is_computed_again_by_the_command(lagging):
    lagging.begin().join()
    lagging.lake.delta(TABLE).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    [(sign, finding)] = lagging.found().items()
    assert (sign, finding.verdict) == ("unread_rows_gone", Verdict.FAIL)
    assert finding.what.startswith("2 of 2 data files that are not read yet are gone")
    with pytest.raises(DataFileMissing, match=f"{NEWEST} has not read it yet") as refused:
        lagging.read()
    assert refused.value.next_command == f"lakehouse doctor {NEWEST}"
    assert lagging.found().keys() == {"batch_begun", "unread_rows_gone"}
    lagging.run(finding.command)
    assert lagging.found() == {}
    lagging.assert_read()
    lagging.land().load().read()
    lagging.assert_read()


def test_a_reader_whose_unread_commits_the_log_has_lost_is_computed_again_by_the_command(lagging):
    lagging.begin()
    lagging.lake.delta(TABLE).create_checkpoint()
    for version in range(3):  # as the log's own retention does; versions 2 and 3 are not read
        lagging.lake.store.delete(lagging.bucket, f"{lagging.user}/bronze/things/_delta_log/{version:020}.json")
    [(sign, finding)] = lagging.found().items()
    assert (sign, finding.what) == ("unread_rows_gone", f"commit 2 of {TABLE} is not in its log any more")
    lagging.run(finding.command)
    assert lagging.found() == {}
    lagging.land().load().read()
    lagging.assert_read()
