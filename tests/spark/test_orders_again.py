"""What test_orders.py leaves out: orders that come again, and each tampered table computed again by itself."""

import pytest
from spark.test_orders import (
    SIX,
    assert_computed_again,
    assert_no_orders_change_nothing,
    assert_orders_that_move_are_right,
    bronze,  # noqa: F401
    order,
    tamper,
)

from lakehouse.orders.tables import DAILY_REVENUE, ORDERS


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
    assert all(one.passed for one in findings.values())

    assert_no_orders_change_nothing(bronze)


@pytest.mark.soak("each of the two is computed again, gold by itself")
def test_each_tampered_table_can_be_computed_again(bronze, environment):  # noqa: F811
    bronze.commit(bronze.file(1, *SIX))
    bronze.run()
    for table in (ORDERS, DAILY_REVENUE):
        tamper(bronze, table)
        assert_computed_again(bronze, environment, table)
