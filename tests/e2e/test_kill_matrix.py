"""A few kills of the matrix; ``kill_matrix.py`` alone runs hundreds."""

import re
from itertools import cycle

import pytest
from command import lakehouse_json
from e2e.kill_matrix import POINTS, ROWS, TABLE, TARGETS

from lakehouse.samples import file_name

KILLS = [
    ("offsets", True, "client"),  # the very first: Spark refuses what is left then
    ("delta", False, "engine"),
]
EACH = zip(sorted(POINTS) * 2, cycle([True, False]), cycle(TARGETS), strict=False)
MORE = [kill for kill in EACH if kill not in KILLS]


def assert_exact(outcome):
    assert outcome["fired"], outcome
    assert outcome["recovered"], outcome
    assert outcome["exact"], outcome


@pytest.mark.parametrize(("point", "before", "target"), KILLS)
def test_every_row_is_there_once_after_a_kill(matrix, point, before, target):
    assert_exact(matrix.kill(point, before, target))


@pytest.mark.soak("a kill before and one after each kind of request, of command, engine and both")
@pytest.mark.parametrize(("point", "before", "target"), MORE)
def test_every_row_is_there_once_after_a_kill_at_any_request(matrix, point, before, target):
    assert_exact(matrix.kill(point, before, target))


def test_a_file_that_kills_its_readers_is_quarantined_and_the_rest_is_loaded(matrix):
    matrix.land(5)
    poisoned = file_name(matrix.files - 3)
    matrix.proxy.poison = re.compile(rb"GET /landing/\S+" + poisoned.encode())
    try:
        report = lakehouse_json(matrix.environment, "ingest", TABLE)
    finally:
        matrix.proxy.poison = None
    assert len(set(matrix.proxy.victims)) > 2, "a task, then probes"
    (quarantined,) = lakehouse_json(matrix.environment, "files", "--table", TABLE, "--state", "QUARANTINED")["files"]
    assert quarantined["path"].endswith(poisoned)
    assert quarantined["error"].startswith("KILLS_ITS_READER")
    assert report["tables"][0]["rows_added"] == 4 * ROWS
