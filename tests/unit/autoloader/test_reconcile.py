"""A reconcile that writes nothing says how many files a journal lacks, and of how many of them no event tells."""

from datetime import timedelta

import pytest
from unit.autoloader.memory_store import MemoryStore
from unit.autoloader.test_discovery import SOURCE, START, look, opened
from unit.autoloader.test_notified import event_of

from lakehouse.autoloader.files import reconcile as reconcile_module
from lakehouse.autoloader.files.reconcile import Reconciled, reconcile
from lakehouse.events.sqlite_inbox import SqliteInbox

LATER = START + timedelta(minutes=2)


@pytest.fixture
def inbox(tmp_path):
    made = SqliteInbox(tmp_path / "inbox" / "one.sqlite", create=True)
    yield made
    made.close()


def put(world, *names, at=START, data=b"x"):
    for name in names:
        world.put("landing", f"in/{name}", data, at)


def compared(world, inbox, *journals):
    return reconcile(world, SOURCE, journals, inbox, lambda info: info.key.endswith(".json"), LATER)


def test_files_that_no_event_told_of_are_told_from_those_that_wait_in_the_inbox(inbox, monkeypatch):
    monkeypatch.setattr(reconcile_module, "_PAGE", 10)
    world = MemoryStore()
    journal = opened(world)
    put(world, *(f"{number:04d}.json" for number in range(30)))
    look(world, journal)
    put(world, "told.json", "silent.json", "no-input.txt")
    put(world, "just-now.json", at=LATER)
    inbox.put([event_of("in/told.json", b"x")], START)
    before = dict(world.objects)
    assert compared(world, inbox, journal) == Reconciled(32, 2, 1)
    assert world.objects == before
    look(world, journal)
    assert compared(world, inbox, journal) == Reconciled(32, 0, 0)


def test_of_several_journals_each_has_to_have_a_file_and_a_newer_version_counts(inbox):
    world = MemoryStore()
    first = opened(world)
    put(world, "a.json", "b.json")
    look(world, first)
    second = opened(MemoryStore())
    assert compared(world, inbox, first, second) == Reconciled(2, 2, 2)
    put(world, "a.json", data=b"newer")
    assert compared(world, inbox, first) == Reconciled(2, 1, 1)
    assert compared(world, inbox) == Reconciled(2, 0, 0), "no stream has begun"
