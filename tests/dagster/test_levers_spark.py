"""The levers that need a session: rows forgotten, late rows and rescued values brought in."""

import pytest

from lakehouse.dagster.levers import Pull, levers_of
from lakehouse.declaration import read_catalogue
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.pipeline import run_table


@pytest.mark.soak("the levers that need a session")
def test_rows_are_forgotten_and_what_waits_is_brought_in(lake, land, spark):
    land(files=2, rows_per_file=20)
    for table in (BRONZE, SILVER):
        run_table(spark, lake, table)
    levers = {known_lever.step: known_lever for known_lever in levers_of(read_catalogue(lake.settings))}

    def pull(step, **form):
        lever = levers[step]
        return lever.pull(Pull(lake, lever.config(**form), lambda: spark))

    condition = "order_id = 'ORD-7-00000-000003'"
    asked = pull("forget", table=BRONZE, where=condition)
    assert (asked.done, asked.totals()["forgotten_rows"], lake.describe(BRONZE).rows) == (False, 1, 40)
    done = pull("forget", table=BRONZE, where=condition, then="keep", apply=True)
    assert (done.done, lake.describe(BRONZE).rows) == (True, 39)
    assert done.arguments == [BRONZE, "--where", condition, "--then", "keep", "--yes"]
    for step, number in (("replay_late", "late_rows"), ("schema_promote", "values_promoted")):
        for apply in (False, True):
            nothing = pull(step, apply=apply)
            assert (nothing.done, nothing.totals()[number]) == (False, 0), step
