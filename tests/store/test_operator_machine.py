"""Whatever operators do, in whatever order, and wherever a command is killed: each row is there once."""

import pytest
from store.operator_machine import Operators

PROGRAMS = 12


@pytest.mark.soak("a dozen programs of commands; every command has tests of its own")
@pytest.mark.parametrize("kills", [0.0, 0.2], ids=["whole", "killed"])
@pytest.mark.parametrize("seed", range(PROGRAMS // 2))
def test_each_row_is_there_once_whatever_operators_do(lake, tmp_path, seed, kills):
    Operators.of(lake, tmp_path, seed, kills).play(25)
