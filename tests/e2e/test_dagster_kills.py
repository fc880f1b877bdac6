"""A run that ends in the wrong way holds nobody up, and loses nothing; more of them by ``dagster_kills.py``."""

import pytest
from e2e.dagster_house import House
from e2e.dagster_kills import KINDS, Strikes, is_good


@pytest.mark.soak("a webserver, a daemon and a code location; a run cancelled, killed, crashed, and a power cut")
@pytest.mark.timeout(3000)
def test_the_next_run_is_exact_and_no_pool_is_held_however_a_run_ended(lake, tmp_path):
    with House(lake, tmp_path) as house:
        strikes = Strikes(house, seed=7)
        outcomes = [strikes.strike(kind) for kind in KINDS]
    assert [outcome for outcome in outcomes if not is_good(outcome)] == []
