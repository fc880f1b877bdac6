"""How long Delta keeps what streams need, as tables say it."""

from datetime import timedelta

import pytest

from lakehouse.checklist import _is_long


@pytest.mark.parametrize(
    ("length", "long"),
    [
        *(
            (text, True)
            for text in ("30 days", "7 days", "168 hours", "1 week", "2 weeks", "1 week 1 day", "10080 minutes")
        ),
        *((text, False) for text in ("6 days", "167 hours", "1 hour", "0 weeks", "1 month", "", "soon")),
    ],
)
def test_a_week_is_long_enough_however_it_is_written_and_what_is_not_understood_is_not(length, long):
    assert _is_long(length, timedelta(days=7)) is long
