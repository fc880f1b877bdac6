"""Late orders, and windows of other kinds: each on a bronze table of a few rows, judged by the plain-Python model."""

import json
from collections import Counter

import pytest
from accounted import found_both_ways
from command import lakehouse_json_here
from counted import no_spark
from declared import with_variables
from e2e.test_pipeline import assert_silver_is, lines_of
from landed_windows import BronzeWriter
from reference_silver import MINUTES, reference_silver

from lakehouse import late
from lakehouse.checkpoints.standing import standing
from lakehouse.declaration import read_catalogue
from lakehouse.errors import ConfigurationError
from lakehouse.orders.tables import BRONZE, DAILY_REVENUE, ORDERS, SILVER
from lakehouse.pipeline import check_table, restart_table, run_table
from lakehouse.table import At


def order(clock, amount=10.0, method="card", number="", **other):
    told = {"order_id": number or f"O-{clock}-{amount}", "order_date": f"2026-01-01 {clock}:00", "quantity": 1}
    return json.dumps({**told, "total_amount": amount, "payment_method": method, **other}).encode()


EARLY = [order("10:01"), order("10:02", 20.0), order("10:07", 5.0, "blik"), order("10:40")]
LATER = [order("10:03", 3.0), order("10:03", 4.0, "blik"), order("10:55"), order("10:32", 7.0)]
LAST = [order("11:30"), order("10:58", 2.0), order("10:04", 8.0)]


@pytest.fixture
def bronze(lake):
    return BronzeWriter(lake)


def rows_of(lake, table=SILVER):
    return {
        (row["window_start"], row["window_end"], row["payment_method"]): (
            row["order_count"],
            row["total_revenue"],
            row["avg_order_value"],
        )
        for row in lake.delta(table).to_pyarrow_table().to_pylist()
    }


def silver_at(spark, lake):
    catalogue = read_catalogue(lake.settings)
    return At(spark, lake, catalogue[SILVER], catalogue)


def run_over(bronze, spark, lake, *commits):
    for lines in commits:
        bronze.commit([lines])
        report = run_table(spark, lake, SILVER)
    return report


def found_here(lake, session=no_spark):
    [found] = check_table(session, lake, SILVER, names=["windows_account_for_orders"])
    return found


def finding(spark, lake, **options):
    return found_both_ways(lambda session: found_here(lake, session), spark, **options)


def test_rows_that_are_not_counted_are_kept_with_reason_and_place_and_late_ones_are_replayed_once(
    lake, spark, bronze, environment
):
    """Also when the run that dropped them could not look, and when a replay was killed."""
    odd = [
        order("10:01", order_date="2999-01-01 00:00:00"),
        order("10:01", order_date="1970-01-01 00:00:00"),
        order("10:01", order_date=None),
        order("10:01", 1e12),
        b"{broken",
    ]
    edge = order("10:27", 6.0)  # its window ends where the watermark stands, and is closed
    second = [*LATER, *LAST, edge, order("10:31", None, None), *odd]
    run_over(bronze, spark, lake, EARLY, second)
    assert assert_silver_is(lake, [[EARLY], [second]]) == 4
    assert_kept_and_accounted_for(spark, lake)
    # as if the process had died between the second batch's commit and the look at its rows
    lake.store.delete_prefix(lake.settings.bucket, f"tester/_quarantine/{SILVER}/")
    key = f"tester/_checkpoints/{SILVER}/set_aside.json"
    lake.store.write(lake.settings.bucket, key, json.dumps({"batch": 1}).encode())
    assert not found_here(lake).passed
    run_table(spark, lake, SILVER)
    assert_silver_is(lake, [[EARLY], [second]])
    assert found_here(lake).passed

    assert_replay_makes_silver_what_all_rows_at_once_give(spark, lake, environment, [EARLY + second])
    # the stream goes on: it neither writes a closed window again nor loses the next one
    run_over(bronze, spark, lake, [order("12:30")])
    assert rows_of(lake) == reference_silver([[EARLY + second + [order("12:30")]]]).windows


def assert_kept_and_accounted_for(spark, lake):
    kept = lake.delta_at(lake.settings.quarantine_uri(SILVER)).to_pyarrow_table().to_pylist()
    assert Counter(row["reason"] for row in kept) == {
        "late": 4,
        "event_time_in_the_future": 1,
        "event_time_too_early": 1,
        "no_event_time": 1,
        "amount_out_of_range": 1,
        "invalid_row": 1,
    }
    (row,) = [row for row in kept if row["order_id"] == "O-10:03-3.0"]
    assert (row["lateness_seconds"], f"{row['watermark']:%H:%M}") == (37 * 60, "10:30")
    assert (row["_source_sequence"], row["_source_record"], row["batch_id"]) == (2, 0, 2)
    whole = finding(spark, lake)
    assert (whole.passed, whole.numbers["set_aside_rows"]) == (True, 5)

    # a row that nobody accounts for fails the check
    spark.sql(f"DELETE FROM delta.`{lake.settings.quarantine_uri(SILVER)}` WHERE order_id = 'O-10:03-3.0'")
    lost = finding(spark, lake)
    assert (lost.passed, lost.numbers["unaccounted_rows"]) == (False, 1)
    assert [row["payment_method"] for row in lost.sample] == ["card"]


def assert_replay_makes_silver_what_all_rows_at_once_give(spark, lake, environment, all_rows):
    foreseen = lakehouse_json_here(environment, "watermark", "--delay", "10 minutes", "--delay", "5h")
    told = [(watermark["watermark"], watermark["late_rows"]) for watermark in foreseen["watermarks"]]
    assert (foreseen["table"], told) == (SILVER, [("10 minutes", 4), ("5 hours", 0)])
    asked = late.replay_late(silver_at(spark, lake))
    assert (asked.late_rows, asked.windows, asked.done) == (4, 3, False)
    assert lakehouse_json_here(environment, "replay-late")["done"] is False
    before = lake.version(SILVER)
    done = lakehouse_json_here(environment, "replay-late", SILVER, "--yes")
    assert (done["late_rows"], done["windows"], done["windows_changed"]) == (4, 3, 3)
    assert rows_of(lake) == reference_silver([all_rows]).windows
    quarantine = lake.settings.quarantine_uri(SILVER)
    versions = lake.version(SILVER), lake.version_at(quarantine)
    assert versions[0] == before + 1
    again = late.replay_late(silver_at(spark, lake), really=True)
    assert (again.late_rows, again.windows_changed) == (0, 0)
    assert (lake.version(SILVER), lake.version_at(quarantine)) == versions
    assert found_here(lake).passed
    # as if it had died between its commits, before the mark
    spark.sql(f"UPDATE delta.`{quarantine}` SET replayed_at = NULL")
    assert not finding(spark, lake).passed, "counted and in quarantine"
    assert late.replay_late(silver_at(spark, lake), really=True).windows_changed == 0
    assert lake.version(SILVER) == versions[0]
    assert finding(spark, lake).passed


@pytest.mark.soak("silver.orders and gold beside silver, and a full recompute of all three")
def test_after_late_rows_and_their_replay_silver_and_gold_are_what_a_full_recompute_gives(lake, spark, bronze):
    for lines in (EARLY, LATER, LAST):
        bronze.commit([lines])
        for table in (SILVER, ORDERS, DAILY_REVENUE):
            run_table(spark, lake, table)
    late.replay_late(silver_at(spark, lake), really=True)
    sold = [json.loads(line) for line in EARLY + LATER + LAST]
    expected = {
        method: (len(amounts), sum(amounts))
        for method in ("card", "blik")
        if (amounts := [sale["total_amount"] for sale in sold if sale["payment_method"] == method])
    }

    def held():
        gold = lake.delta(DAILY_REVENUE).to_pyarrow_table().to_pylist()
        assert {row["payment_method"]: (row["orders"], row["revenue"]) for row in gold} == expected
        return rows_of(lake), sorted(map(str, gold)), lake.describe(ORDERS).rows

    kept = held()
    versions = [lake.version(table) for table in (SILVER, ORDERS, DAILY_REVENUE)]
    late.replay_late(silver_at(spark, lake), really=True)
    for table in (SILVER, ORDERS, DAILY_REVENUE):
        run_table(spark, lake, table)
    assert [lake.version(table) for table in (SILVER, ORDERS, DAILY_REVENUE)] == versions, "twice changes nothing"
    for table in (DAILY_REVENUE, ORDERS, SILVER):
        restart_table(lake, table, really=True)
    for table in (SILVER, ORDERS, DAILY_REVENUE):
        run_table(spark, lake, table)
    assert held() == kept


def test_the_forecast_is_what_each_watermark_then_drops(lake, spark, bronze):
    commits = [EARLY, LATER, LAST]
    for lines in commits:
        bronze.commit([lines])
    delays = [5 * MINUTES, 10 * MINUTES, 30 * MINUTES, 60 * MINUTES]
    expected = [reference_silver([[commit] for commit in commits], delay=delay).late.total() for delay in delays]
    assert [forecast.late_rows for forecast in late.forecast(silver_at(spark, lake), delays)] == expected
    assert expected[0] > expected[-1]
    sliding = with_variables(lake, silver_slide="2 minutes")
    expected = [
        reference_silver([[commit] for commit in commits], delay=delay, slide=2 * MINUTES).late.total()
        for delay in delays
    ]
    assert [forecast.late_rows for forecast in late.forecast(silver_at(spark, sliding), delays)] == expected


@pytest.mark.soak("windows that overlap; the forecast above has them, and sessions their late rows")
def test_overlapping_windows(lake, spark, bronze):
    sliding = with_variables(lake, silver_slide="2 minutes")
    run_over(bronze, spark, sliding, EARLY, LATER + LAST)
    expected = reference_silver([[EARLY], [LATER + LAST]], slide=2 * MINUTES)
    assert rows_of(lake) == expected.windows
    kept = lake.delta_at(lake.settings.quarantine_uri(SILVER)).to_pyarrow_table().to_pylist()
    assert Counter((row["window_start"], row["window_end"], row["payment_method"]) for row in kept) == expected.late
    assert finding(spark, sliding).passed
    late.replay_late(silver_at(spark, sliding), really=True)
    assert rows_of(lake) == reference_silver([[EARLY + LATER + LAST]], slide=2 * MINUTES).windows


def test_sessions(lake, spark, bronze):
    sessions = with_variables(lake, silver_session_gap="4 minutes")
    run_over(bronze, spark, sessions, EARLY, LATER + LAST)
    found = {
        (f"{start:%H:%M}", f"{end:%H:%M}", method): values[0] for (start, end, method), values in rows_of(lake).items()
    }
    # 10:32 comes when the watermark is at 10:30: its session, to 10:36, is not closed
    assert found == {
        ("10:01", "10:06", "card"): 2,
        ("10:07", "10:11", "blik"): 1,
        ("10:32", "10:36", "card"): 1,
        ("10:40", "10:44", "card"): 1,
        ("10:55", "11:02", "card"): 2,
    }
    kept = lake.delta_at(lake.settings.quarantine_uri(SILVER)).to_pyarrow_table().to_pylist()
    assert Counter(row["order_id"] for row in kept) == {"O-10:03-3.0": 1, "O-10:03-4.0": 1, "O-10:04-8.0": 1}
    assert finding(spark, sessions, without=spark).passed
    with pytest.raises(ConfigurationError, match="sessions"):
        late.replay_late(silver_at(spark, sessions), really=True)


def test_update_mode_shows_open_windows_and_changes_them(lake, spark, bronze):
    update = with_variables(lake, silver_output_mode="update")
    run_over(bronze, spark, update, EARLY)
    opened = {f"{start:%H:%M}": values[0] for (start, _, _), values in rows_of(lake).items()}
    assert opened == {"10:00": 2, "10:05": 1, "10:40": 1}
    report = run_over(bronze, spark, update, [*LATER, order("10:41")])
    assert standing(lake, SILVER, count_state=True).state_rows == report.batches[-1].state_rows > 0
    rows = rows_of(lake)
    assert {f"{start:%H:%M}": values[0] for (start, _, _), values in rows.items()} == {
        **opened,
        "10:30": 1,
        "10:40": 2,
        "10:55": 1,
    }
    assert finding(spark, update).passed
    assert run_table(spark, update, SILVER).batches == ()
    version = lake.version(SILVER)
    with pytest.raises(ConfigurationError, match="length was 5 minutes, now it is 10 minutes") as refused:
        run_table(spark, with_variables(update, silver_window="10 minutes"), SILVER)
    assert f"lakehouse checkpoint restart {SILVER}" in refused.value.next_command
    assert lake.version(SILVER) == version


@pytest.mark.soak("the third output mode; the test above has update mode, all others append")
def test_complete_mode_holds_every_window_and_nothing_is_late(lake, spark, bronze):
    complete = with_variables(lake, silver_output_mode="complete")
    run_over(bronze, spark, complete, EARLY, LATER)
    model = reference_silver([[EARLY + LATER]])
    assert rows_of(lake).keys() == model.windows.keys() | model.opened.keys()
    assert lake.version_at(lake.settings.quarantine_uri(SILVER)) is None
    assert finding(spark, complete).passed


@pytest.mark.soak("orders without a number that come again; test_any_windows.py has rows of another table")
def test_a_duplicate_within_the_watermark_is_counted_once(lake, spark, bronze):
    dropping = with_variables(lake, duplicate_orders="drop")
    twice = [order("10:01", number="A"), order("10:02", number="A"), order("10:03", number="", order_id=None)]
    again = [order("10:01", number="A"), order("10:03", order_id=None), order("10:20", number="B")]
    run_over(bronze, spark, dropping, twice, [*again, order("10:40", number="C")])
    counts = {f"{start:%H:%M}": values[0] for (start, _, _), values in rows_of(lake).items()}
    assert counts == {"10:00": 3, "10:20": 1}, "A once, and both orders that have no number"
    assert finding(spark, dropping).passed


@pytest.mark.soak("a checkpoint that goes on with another watermark, and the way out; the test above has the refusal")
def test_another_watermark_on_an_old_checkpoint_is_taken_and_another_window_refused_with_the_way_out(
    lake, spark, bronze
):
    run_over(bronze, spark, lake, EARLY)
    run_over(bronze, spark, with_variables(lake, silver_watermark="0 minutes"), LATER)
    assert max(end for _, end, _ in rows_of(lake)).strftime("%H:%M") == "10:45"
    assert finding(spark, lake).passed
    longer = with_variables(lake, silver_window="10 minutes")
    version = lake.version(SILVER)
    with pytest.raises(ConfigurationError, match="length was 5 minutes, now it is 10 minutes") as refused:
        run_table(spark, longer, SILVER)
    assert f"lakehouse checkpoint restart {SILVER}" in refused.value.next_command
    assert lake.version(SILVER) == version
    assert not restart_table(longer, SILVER).done
    assert restart_table(longer, SILVER, really=True).done
    run_table(spark, longer, SILVER)
    assert rows_of(lake) == reference_silver([[EARLY + LATER]], length=10 * MINUTES).windows
    with pytest.raises(ConfigurationError, match="no run fills"):
        restart_table(lake, BRONZE, really=True)


@pytest.mark.soak("windows whose source is no table; the replay above has their late rows from one")
def test_windows_straight_from_the_files_and_their_late_rows_once_bronze_has_them(lake, spark, land):
    direct = with_variables(lake, silver_source="cloudFiles")
    assert run_table(spark, direct, SILVER).batches == ()
    mixed = {"rows_per_file": 60, "late_share": 0.1, "bad_line_share": 0.05, "bad_date_share": 0.03}
    land(files=3, **mixed)
    first = run_table(spark, direct, SILVER)
    assert (first.input_rows, first.late_rows, first.set_aside_rows) == (180, 0, 0)
    land(files=3, first_file=3, **mixed)
    run_table(spark, lake, BRONZE)
    run_table(spark, direct, SILVER)
    late_rows = assert_silver_is(lake, [[lines_of(lake, 0, 3)], [lines_of(lake, 3, 3)]])
    assert late_rows > 0
    assert finding(spark, direct).passed
