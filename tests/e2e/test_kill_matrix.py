"""A few kills of the matrix; ``kill_matrix.py`` alone runs hundreds."""

import re

import pytest
from command import lakehouse_json
from e2e.kill_matrix import ROWS, TABLE, KillMatrix

from lakehouse.samples import file_name

KILLS = [
    ("offsets", True, "client"),  # the very first: Spark refuses what is left then
    ("journal", False, "client"),
    ("delta", False, "engine"),
    ("offsets", False, "both"),
]


@pytest.fixture(scope="module")
def matrix(home):
    made = KillMatrix(home, 0)
    yield made
    made.close()


@pytest.mark.parametrize(("point", "before", "target"), KILLS)
def test_every_row_is_there_once_after_a_kill(matrix, point, before, target):
    outcome = matrix.kill(point, before, target)
    assert outcome["fired"], outcome
    assert outcome["recovered"], outcome
    assert outcome["exact"], outcome


def test_a_file_that_kills_its_readers_is_quarantined_and_the_rest_is_loaded(matrix):
    matrix.land()
    lakehouse_json(matrix.environment, "ingest", TABLE)
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
