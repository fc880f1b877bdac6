"""The levers that need a session: rows forgotten, late rows and rescued values brought in; a flood of late rows."""

import pytest

from lakehouse.dagster.levers import Pull, levers_of
from lakehouse.declaration import read_catalogue
from lakehouse.orders.tables import BRONZE, SILVER
from lakehouse.pipeline import check_table, run_table


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


@pytest.mark.soak(
    "late rows, their check and its lever on one flood; test_late_rate.py has the check, test_late.py the command"
)
def test_a_flood_of_late_orders_turns_one_check_red_until_a_lever_has_counted_them(lake, land, spark):
    def failures():
        for table in (BRONZE, SILVER):
            run_table(spark, lake, table)
        found = [finding for table in (BRONZE, SILVER) for finding in check_table(spark, lake, table)]
        return {finding.check: finding for finding in found if not finding.passed}

    land(files=4, rows_per_file=50, late_share=0)
    assert failures() == {}
    flood = land(files=2, first_file=4, rows_per_file=50, late_share=0.6)
    assert flood.dropped_if_streamed_rows > 0
    failed = failures()
    assert failed.keys() == {"late_rate"}
    finding = failed["late_rate"]
    late = finding.numbers["late_rows"]
    assert sum(row["late_rows"] for row in finding.sample) <= late
    assert "orders_stream_00" in finding.sample[0]["source_files"]
    assert f"lakehouse replay-late {SILVER} --yes" in finding.next_command
    [lever] = [known for known in levers_of(read_catalogue(lake.settings)) if known.step == "replay_late"]
    done = lever.pull(Pull(lake, lever.config(table=SILVER, apply=True), lambda: spark))
    assert (done.done, done.totals()["late_rows"]) == (True, late)
    assert failures() == {}
