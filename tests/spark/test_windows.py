"""Silver and its quarantine against a model in plain Python, however the input is cut and ordered."""

import os
import uuid

import pytest
from accounted import found_both_ways
from declared import with_variables
from e2e.test_pipeline import assert_silver_is
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from landed_windows import BronzeWriter, batches_of, runs

from lakehouse.engine import connect
from lakehouse.lake import Lake
from lakehouse.orders.tables import SILVER
from lakehouse.pipeline import check_table, run_table
from lakehouse.settings import Settings

LONG = int(os.environ.get("WINDOW_EXAMPLES", "12"))


def examples(count):
    """So many random streams; each takes some seconds of Spark."""
    chosen = settings(
        max_examples=count,
        phases=[Phase.generate],  # making a failure smaller takes hundreds of runs
        suppress_health_check=list(HealthCheck),
        derandomize=count < 50,
    )
    return lambda test: chosen(given(made=runs, files_per_batch=st.integers(1, 3))(test))


@pytest.mark.soak("random streams; test_late.py has chosen ones. WINDOW_EXAMPLES says how many")
@examples(LONG)
def test_silver_and_quarantine_of_many_streams_are_what_the_watermark_rule_says(home, made, files_per_batch):
    assert_the_rule_holds(home, made, files_per_batch)


def assert_the_rule_holds(home, made, files_per_batch):
    lake = Lake.open(Settings.load(home=home, user="tester", bucket=f"lake-{uuid.uuid4().hex[:12]}"))
    lake = with_variables(lake, silver_max_files_per_trigger=str(files_per_batch))
    spark = connect(lake)
    bronze = BronzeWriter(lake)
    done = []
    for run in made:
        for commit in run:
            bronze.commit(commit)
        report = run_table(spark, lake, SILVER)
        done.append(batches_of(run, files_per_batch))
        note(f"{report.line()} {[(b.batch_id, b.input_rows, b.late_rows, b.set_aside_rows) for b in report.batches]}")
        assert [batch.input_rows for batch in report.batches if batch.input_rows] == [len(b) for b in done[-1] if b]
    late = assert_silver_is(lake, done)

    def examine(session):
        [found] = check_table(session, lake, SILVER, names=["windows_account_for_orders"])
        return found

    finding = found_both_ways(examine, spark)
    assert finding.passed, finding.line()
    assert finding.numbers["unaccounted_rows"] == 0
    assert finding.numbers["late_rows"] == late
