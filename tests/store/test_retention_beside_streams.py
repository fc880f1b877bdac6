"""Old rows go while streams write and follow their table: no batch fails, and no row is lost or doubled."""

import threading

import pytest
from store.ageing import NOW, SILVER, Ageing
from store.local_world import TABLE
from store.notified_world import until

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import LeaseHeld
from lakehouse.flows.following import RowsRemoved
from lakehouse.maintenance import retention
from lakehouse.maintenance.file_rows import RemovedRows
from lakehouse.maintenance.optimize import Thresholds
from lakehouse.pipeline import replay_files
from lakehouse.service.service import Service
from lakehouse.streams.trigger import Trigger
from lakehouse.upkeep import optimize_tables, remove_old_rows, vacuum_tables

KEEPS = {"column": "at", "keep": "90 days"}
ROUNDS = 3


@pytest.fixture
def things(lake, tmp_path):
    return Ageing(lake, tmp_path).declare(KEEPS)


class Served:
    """Tables that a service keeps up to date while the body runs."""

    def __init__(self, things, *tables):
        self.service = Service(things.lake, tables, Trigger.parse("processing-time=200ms"))
        self.error = None

    def __enter__(self):
        def run():
            try:
                self.service.run()
            except RowsRemoved as error:
                self.error = error

        self.thread = threading.Thread(target=run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.service.stop.ask()
        self.thread.join()

    @property
    def has_failed(self):
        return any(failure != (0, "") for failure in self.failures)

    @property
    def failures(self):
        return [(told["restarts"], told["last_error"] or "") for told in self.service.health.as_dict()["tables"]]


def test_rows_go_beside_a_service_that_never_fails_and_loses_no_row(things):
    things.land("old.json", 0, 200, 10)
    with Served(things, TABLE, SILVER) as served:
        until(lambda: served.has_failed or things.lake.version(SILVER) is not None)  # it begins with all that is there
        for number in range(ROUNDS):
            for part in "ab":
                things.land(f"{number}{part}.json", 10 * (number + 1) + 5 * (part == "b"), 200, 100, 10)
            until(lambda: served.has_failed or 10 * number + 12 in things.column(), seconds=240)  # noqa: B023
            [done] = remove_old_rows(things.lake, now=NOW, really=True)
            assert (done.refused, done.done) == ("", True)
            optimize_tables(things.lake, [TABLE], Thresholds(least_fewer=1), really=True)
            vacuum_tables(things.lake, [TABLE], really=True)
        until(lambda: served.has_failed or 10 * ROUNDS + 7 in things.column(SILVER))
    assert served.failures == [(0, ""), (0, "")]
    remove_old_rows(things.lake, now=NOW, really=True)
    young = [1, *(10 * number + at for number in range(1, ROUNDS + 1) for at in (2, 7))]
    assert things.column() == young and things.failed(TABLE) == set()
    things.merge()
    old = {0, *(10 * number + at for number in range(1, ROUNDS + 1) for at in (0, 1, 5, 6))}
    assert things.column(SILVER) == sorted([*young, *old]), "it keeps what it has"
    assert things.failed(SILVER) == set()


def amid(monkeypatch, happens):
    """Has something happen after the record of the first removal was written, and before its commit."""
    plain, times = retention.commit_removal, [happens]

    def commit(*arguments):
        if times:
            times.pop()()
        return plain(*arguments)

    monkeypatch.setattr(retention, "commit_removal", commit)


def test_a_batch_that_was_faster_stays_and_the_next_version_removes(things, monkeypatch):
    things.put_ages("0.json", 200, 10)
    things.land("1.json", 10, 200, 10)
    amid(monkeypatch, things.load)
    [done] = remove_old_rows(things.lake, now=NOW, really=True)
    assert (done.rows, done.version, things.column()) == (1, 2, [1, 2, 10, 11])
    assert RemovedRows.of(things.lake, TABLE).counts == {(1, 0): 1} and things.failed(TABLE) == set()
    [done] = remove_old_rows(things.lake, now=NOW, really=True)
    assert (done.rows, done.version, things.column()) == (1, 3, [1, 2, 11])
    assert things.failed(TABLE) == set()


def test_files_that_were_joined_meanwhile_are_looked_at_again(things, monkeypatch):
    for name in "ab":
        things.put_ages(f"{name}.json", 200, 10)

    amid(monkeypatch, lambda: things.lake.delta(TABLE).optimize.compact())
    before = things.column()
    [done] = remove_old_rows(things.lake, now=NOW, really=True)
    assert (done.rows, things.column()) == (2, sorted({*before} - {0, 3}))
    assert things.failed(TABLE) == set()
    unnamed = things.objects() - {add["path"] for add in things.adds()}
    assert len(unnamed) == 3, "two files before they were joined, and the joined one: no other"


def test_a_killed_removal_whose_version_a_batch_takes_hides_no_loss(things, monkeypatch):
    things.put_ages("0.json", 200, 10)

    def killed():
        raise KeyboardInterrupt

    amid(monkeypatch, killed)
    with pytest.raises(KeyboardInterrupt):
        remove_old_rows(things.lake, now=NOW, really=True)
    things.put_ages("1.json", 10)
    assert RemovedRows.of(things.lake, TABLE).counts == {} and things.failed(TABLE) == set()
    assert remove_old_rows(things.lake, now=NOW, really=True)[0].version == 2
    assert RemovedRows.of(things.lake, TABLE).counts == {(1, 0): 1} and things.failed(TABLE) == set()


def test_rows_of_a_batch_that_the_checkpoint_does_not_have_as_finished_are_no_loss_either(things):
    things.put_ages("0.json", 200, 10)
    things.set_checkpoint({name: data for name, data in things.checkpoint().items() if name != "commits/0"})
    assert remove_old_rows(things.lake, now=NOW, really=True)[0].rows == 1
    things.load()
    assert things.column() == [1, 2] and things.failed(TABLE) == set()


@pytest.mark.parametrize(
    "flow", [{"options": {"cloudFiles.allowOverwrites": "replace"}}, {"engine": "spark", "sink": "spark"}]
)
def test_it_is_put_off_where_a_stream_does_more_than_add_files(things, flow):
    things.put_ages("0.json", 200, 10)
    things.declare(KEEPS, **flow)
    with checkpoints.loader_of(things.lake, TABLE):
        [left] = remove_old_rows(things.lake, now=NOW, really=True)
    assert "is being written by pid" in left.refused and left.put_off and not left.done
    assert remove_old_rows(things.lake, now=NOW, really=True)[0].done


def test_it_is_put_off_while_files_wait_to_be_loaded_again_and_nobody_asks_for_that_meanwhile(things):
    things.put_ages("0.json", 200, 10)
    with checkpoints.rewriter_of(things.lake, TABLE), pytest.raises(LeaseHeld):
        replay_files(things.lake, TABLE, files=["0.json"], really=True)
    assert replay_files(things.lake, TABLE, files=["0.json"], really=True).done
    [left] = remove_old_rows(things.lake, now=NOW, really=True)
    assert "wait to be loaded again" in left.refused and left.put_off
    things.load()
    assert remove_old_rows(things.lake, now=NOW, really=True)[0].done
    assert things.column() == [1, 2] and things.failed(TABLE) == set()


def test_what_it_wrote_and_has_not_committed_stays_and_others_wait(things, monkeypatch):
    for name in "ab":
        things.put_ages(f"{name}.json", 200, 10)

    def others():
        [removed] = vacuum_tables(things.lake, [TABLE], retention_hours=0, really=True)
        assert "has not committed yet" in removed.kept_for[0]
        [joined] = optimize_tables(things.lake, [TABLE], Thresholds(least_fewer=1), really=True)
        assert "is being written by pid" in joined.why_not

    amid(monkeypatch, others)
    [done] = remove_old_rows(things.lake, now=NOW, really=True)
    assert (done.rows, len(things.column())) == (2, 4) and things.failed(TABLE) == set()


def test_a_stream_that_passed_over_a_removal_still_notices_files_that_are_loaded_again(things):
    things.put_ages("0.json", 200, 10)
    with Served(things, SILVER) as served:
        until(lambda: things.column(SILVER) == [0, 1, 2])
        remove_old_rows(things.lake, now=NOW, really=True)
        things.put_ages("1.json", 10)
        until(lambda: len(things.column(SILVER)) == 4)
        assert served.failures == [(0, "")]
        replay_files(things.lake, TABLE, files=["0.json"], really=True)
        things.load()
        served.thread.join(60)
    assert "would lose what it kept" in served.error.what
