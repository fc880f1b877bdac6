from datetime import timedelta

import pytest

from lakehouse.durations import parse_duration, spark_interval


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10 minutes", 600), ("1 minute", 60), ("5s", 5), ("1 hour 30 minutes", 5400), ("2d", 172800), (" 1H ", 3600)],
)
def test_lengths_as_people_and_spark_write_them(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "ten minutes", "10", "-5 minutes", "5 fortnights", "5 minutes ago", "1.5 hours"])
def test_what_is_no_length_of_time(text):
    with pytest.raises(ValueError, match="no length of time"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["10 minutes", "5 seconds", "1 hour", "90 minutes", "2 days", "1500 milliseconds"])
def test_spark_reads_what_it_is_told(text):
    assert spark_interval(parse_duration(text)) == text


def test_nothing_is_no_milliseconds():
    assert spark_interval(timedelta(0)) == "0 milliseconds"
