"""A few kills of the matrix; ``kill_matrix.py`` alone runs hundreds."""

import pytest
from e2e.kill_matrix import KillMatrix

KILLS = [
    ("journal", False, "client"),
    ("delta", False, "engine"),
    ("offsets", False, "both"),
]


@pytest.fixture(scope="module")
def matrix(home):
    made = KillMatrix(home, seed=0)
    yield made
    made.close()


@pytest.mark.parametrize(("point", "before", "target"), KILLS)
def test_every_row_is_there_once_after_a_kill(matrix, point, before, target):
    outcome = matrix.kill(point, before, target)
    assert outcome["fired"], outcome
    assert outcome["recovered"], outcome
    assert outcome["exact"], outcome
