"""What test_orders.py leaves out: orders that come again, and each tampered table computed again by itself."""

import pytest
from command import lakehouse_json_here
from deltalake import DeltaTable
from spark.test_orders import (
    assert_no_query_starts,
    bronze,  # noqa: F401
    order,
)

from lakehouse.orders.tables import DAILY_REVENUE, ORDERS
from lakehouse.pipeline import blocked_by, check_table


def tamper(bronze, table):  # noqa: F811
    """One row of a table is changed; its check finds it, and says what helps."""
    uri = bronze.lake.settings.table_uri(table)
    if table == ORDERS:
        bronze.spark.sql(f"UPDATE delta.`{uri}` SET total_amount = 77.0 WHERE order_id = 'c'")
    else:
        tampered = DeltaTable(uri.replace("s3a://", "s3://", 1), storage_options=bronze.options)
        tampered.update(updates={"revenue": "revenue + 0.01"}, predicate="day = DATE'2026-01-01'")
    [found] = [finding for finding in check_table(bronze.spark, bronze.lake, table) if not finding.passed]
    assert len(found.sample) == 1
    assert f"lakehouse checkpoint restart {table}" in found.next_command
    assert blocked_by([found]) is not None


def assert_computed_again(bronze, environment, table):  # noqa: F811
    before = bronze.lake.version(table)
    assert not lakehouse_json_here(environment, "checkpoint", "restart", table)["done"]
    assert bronze.lake.version(table) == before
    assert lakehouse_json_here(environment, "checkpoint", "restart", table, "--yes")["done"]
    assert bronze.lake.describe(table).rows == 0
    bronze.run()
    findings = bronze.findings()
    bronze.assert_right()
    assert all(finding.passed for finding in findings.values())


SIX = [order(name, 1 + n % 2, amount=n) for n, name in enumerate("abcdef")]


def assert_orders_that_move_are_right(bronze):  # noqa: F811
    bronze.commit(bronze.file(1, order("a", 1, "card", 10.0), order("b", 1, "card", 5.0), order("c", 2, None, 1.0)))
    [first, _] = bronze.run()
    assert (first.rows_added, first.rows_updated) == (3, 0)
    assert_no_query_starts(bronze)

    bronze.commit(bronze.file(2, order("a", 3, "card", 10.0), order("c", 2, "cash", 1.0), order("d", 1, "card", 7.0)))
    [orders, gold], findings = bronze.run(), bronze.findings()
    bronze.assert_right()
    assert (orders.rows_added, orders.rows_updated) == (1, 2)
    assert gold.rows_removed == 2, "the groups of the first and the second day"
    assert {row["payment_method"] for row in bronze.table(DAILY_REVENUE)} == {"card", "cash"}
    assert all(finding.passed for finding in findings.values())


def assert_no_orders_change_nothing(bronze):  # noqa: F811
    bronze.commit(bronze.file(4, order("e", day=None), order(None), order(None, 2)))
    reports, findings = bronze.run(), bronze.findings()
    bronze.assert_right()
    assert [report.rows_added for report in reports] == [0, 0], "no valid orders"
    warned = findings["every_order_has_an_id"]
    assert (warned.passed, warned.numbers["rows_without_key"], len(warned.sample)) == (False, 2, 2)
    assert warned.next_command
    assert findings["orders_match_bronze"].passed
    assert blocked_by(findings.values()) is None
    assert_no_query_starts(bronze)


@pytest.mark.soak("orders that come again unchanged, or in a file that is older; random tables have them, too")
def test_orders_that_move_come_again_come_late_or_are_none(bronze):  # noqa: F811
    assert_orders_that_move_are_right(bronze)

    bronze.commit(bronze.file(3, order("a", 3, "card", 10.0)))
    [orders, gold] = bronze.run()
    bronze.assert_right()
    assert (orders.rows_updated, gold.input_rows) == (1, 2), "sent again unchanged"
    assert (gold.rows_added, gold.rows_removed) == (0, 0)

    bronze.commit(bronze.file(0, order("b", 1, "cash", 99.0)))
    [orders, gold], findings = bronze.run(), bronze.findings()
    bronze.assert_right()
    assert (orders.rows_added, orders.rows_updated, gold.rows_added) == (0, 0, 0), "an older version changes nothing"
    assert all(finding.passed for finding in findings.values())

    assert_no_orders_change_nothing(bronze)


@pytest.mark.soak("each of the two is computed again, gold by itself")
def test_each_tampered_table_can_be_computed_again(bronze, environment):  # noqa: F811
    bronze.commit(bronze.file(1, *SIX))
    bronze.run()
    for table in (ORDERS, DAILY_REVENUE):
        tamper(bronze, table)
        assert_computed_again(bronze, environment, table)
