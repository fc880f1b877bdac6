"""Replays and overwrites, of one stream among three, with kills: each table holds what it must, whatever happened."""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from store.replay_machine import APPENDING, EVERY_VERSION, REPLACING, TABLES, Machine

from lakehouse.autoloader.outcomes import receipt_log

KEYS = ("a.json", "b.json", "c.json", "d.json")
KILL = st.tuples(st.integers(1, 45), st.booleans())
STEP = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KEYS), st.integers(0, 3)),
    st.tuples(st.just("put"), st.sampled_from(KEYS), st.integers(0, 3)),
    st.tuples(st.just("remove"), st.sampled_from(KEYS)),
    st.tuples(st.just("run"), st.sampled_from(TABLES), st.lists(KILL, max_size=2)),
    st.tuples(st.just("run"), st.just(REPLACING), st.lists(KILL, max_size=2)),
    st.tuples(st.just("replay"), st.sets(st.sampled_from(KEYS), min_size=1), st.none() | KILL),
)
PROGRAM = st.tuples(st.sampled_from(["false", "replace"]), st.integers(1, 3), st.lists(STEP, max_size=14))


@pytest.fixture(autouse=True)
def folded_soon(monkeypatch):
    monkeypatch.setattr(receipt_log, "FOLDED_BATCHES", 2)


def play(lake, program):
    overwrites, max_files, steps = program
    machine = Machine(lake, overwrites, max_files)
    for name, *arguments in steps:
        getattr(machine, name)(*arguments)
    for table in TABLES:
        machine.run(table)


def search(lake, examples):
    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a smaller example would take minutes to find, on a real store
        suppress_health_check=list(HealthCheck),
    )
    @given(PROGRAM)
    def hold(program):
        play(lake, program)

    hold()


def test_each_stream_holds_what_it_must_whatever_happens(lake):
    search(lake, 6)


@pytest.mark.soak("more orders of events; REPLAY_EXAMPLES says how many")
@pytest.mark.timeout(3000)
def test_each_stream_holds_what_it_must_in_many_orders_of_events(lake):
    search(lake, int(os.environ.get("REPLAY_EXAMPLES", "200")))


def test_a_replay_asked_for_twice_and_killed_reaches_no_other_stream(lake):
    steps = [
        *(("put", key, 1) for key in KEYS),
        *(("run", table) for table in (REPLACING, APPENDING)),
        ("put", "a.json", 2),
        ("replay", KEYS, (9, False)),
        *(("run", REPLACING, [(kill, True)]) for kill in (20, 24, 28)),
        ("replay", KEYS),
        ("run", REPLACING),
        *(("run", table) for table in (APPENDING, EVERY_VERSION)),
    ]
    play(lake, ("false", 2, steps))


def test_rows_go_only_when_what_takes_their_place_was_read(lake):
    """A newer version that is broken, or gone, and a replay of it."""
    steps = [
        *(("put", key, 1) for key in KEYS),
        ("run", REPLACING),
        ("put", "a.json", 0),
        ("put", "b.json", 2),
        ("run", REPLACING),
        ("replay", ("a.json", "c.json")),
        ("put", "c.json", 0),
        ("run", REPLACING, [(30, True)]),
    ]
    for overwrites in ("false", "replace"):
        play(lake, (overwrites, 2, steps))
