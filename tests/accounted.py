"""What ``accounts_for_rows`` finds without a session and what it finds by Spark: the same."""

import pytest
from counted import no_spark

from lakehouse.checks import accounts_for_rows


def found_both_ways(examine, session, *, without=no_spark):
    """The finding of ``examine``, which is given a session.

    Args:
        examine: Makes the check.
        session: Of Spark.
        without: What is given in its place; a session where only Spark can look.
    """
    here = examine(without)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts_for_rows, "accounts_here", lambda *_: None)
        by_spark = examine(session)
    assert (here.passed, here.numbers) == (by_spark.passed, by_spark.numbers)
    assert _rows(here) == _rows(by_spark)
    return here


def _rows(finding):
    return sorted(
        sorted((name, str(value).removesuffix("+00:00")) for name, value in row.items()) for row in finding.sample
    )
