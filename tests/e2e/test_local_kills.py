"""Kills of the local engine at exact points: each kind once here, hundreds by ``local_kills.py`` alone."""

import itertools
import re

import pytest
from e2e.kill_matrix import POINTS, killing_proxy
from e2e.local_kills import FIRST, LATEST, ROLLUP, TABLE, LocalKills, is_good

from lakehouse.orders.samples import file_name

EACH = [
    ("data", False, "beside"),
    ("read", True, "reader"),
    ("delta", False, "here"),
    ("journal", False, "here"),
]
PLACES = ("here", "beside")
MORE = [
    *[
        (point, before, PLACES[(number + before) % 2])
        for number, point in enumerate(sorted(POINTS))
        for before in (True, False)
    ],
    *[(point, before, "reader") for point in ("read", "receipt", "data") for before in (True, False)],
]


@pytest.fixture(scope="module")
def proxy(home):
    """A proxy that kills; no engine is behind it."""
    made = killing_proxy(home)
    yield made
    made.listener.close()


@pytest.fixture(scope="module")
def kills(home, proxy):
    return LocalKills(home, "locally", proxy)


@pytest.mark.parametrize(("point", "before"), [("metadata", False)])
def test_every_row_is_there_once_after_a_kill_of_the_very_first_run(home, proxy, monkeypatch, point, before):
    monkeypatch.setitem(POINTS, point, FIRST[point])
    outcome = LocalKills(home, f"first-{point}", proxy).kill(point, before, "here")
    assert outcome["fired"], outcome
    assert is_good(outcome), outcome


@pytest.mark.parametrize(("point", "before", "target"), EACH)
def test_every_row_is_there_once_after_a_kill(kills, point, before, target):
    outcome = kills.kill(point, before, target, new_column=f"of_{point}" if point in ("delta", "data") else None)
    assert outcome["fired"], outcome
    assert is_good(outcome), outcome


@pytest.mark.parametrize(("point", "before"), [("latest_delta", False)])
def test_computed_tables_are_exact_after_a_kill(kills, monkeypatch, point, before):
    monkeypatch.setitem(POINTS, point, (LATEST | ROLLUP)[point])
    outcome = kills.kill(point, before, "here")
    assert outcome["fired"], outcome
    assert is_good(outcome), outcome


@pytest.mark.soak("a kill before and after each kind of request of a MERGE, and of a rollup")
def test_computed_tables_are_exact_after_a_kill_at_any_request(kills, monkeypatch):
    for point, before in itertools.product(LATEST | ROLLUP, (True, False)):
        monkeypatch.setitem(POINTS, point, (LATEST | ROLLUP)[point])
        outcome = kills.kill(point, before, "here")
        assert outcome["fired"], outcome
        assert is_good(outcome), outcome


@pytest.mark.soak("a kill before and after each kind of request, of command, readers and both")
@pytest.mark.parametrize(("point", "before", "target"), MORE)
def test_every_row_is_there_once_after_a_kill_at_any_request(kills, point, before, target):
    outcome = kills.kill(point, before, target)
    assert outcome["fired"], outcome
    assert is_good(outcome), outcome


def test_a_file_that_kills_its_readers_is_quarantined_and_the_rest_is_loaded(home, proxy):
    assert_a_deadly_file_is_quarantined(home, proxy, beside=True)


@pytest.mark.soak("reading in the command itself, which is killed; the test above has readers beside it")
def test_a_file_that_kills_the_command_is_quarantined_by_the_next_and_the_rest_is_loaded(home, proxy):
    assert_a_deadly_file_is_quarantined(home, proxy, beside=False)


def assert_a_deadly_file_is_quarantined(home, proxy, *, beside):
    lake = LocalKills(home, f"deadly-{int(beside)}", proxy)
    lake.land()
    lake.run(beside)
    lake.land()
    lake.land()
    proxy.poison = re.compile(rb"GET /landing/\S+" + file_name(lake.files - 3).encode())
    try:
        done = [lake.run(beside) for _ in range(1 if beside else 2)]
    finally:
        proxy.poison = None
    assert done[-1].returncode == 0, done[-1].stderr
    assert len(set(proxy.victims)) > 2, "a reader, then probes"
    proxy.victims.clear()
    states = lake.states()
    assert sum(state.ingestion_state == "QUARANTINED" for state in states) == 1
    [bad] = [state for state in states if state.ingestion_state == "QUARANTINED"]
    assert bad.path.endswith(file_name(lake.files - 3))
    assert bad.error.startswith("KILLS_ITS_READER")
    assert lake.lake.describe(TABLE).rows == (lake.files - 1) * 5
