"""Discoverers that share a journal agree on every number, whatever the order of their requests."""

import pytest
from unit.autoloader.simulated_journal import search


def test_every_view_reads_the_same_files_under_the_same_numbers():
    search(range(50))


def test_the_same_holds_with_segments_of_parquet():
    search(range(4), parquet=True)


@pytest.mark.soak("two thousand other orders of requests; the command in docs/testing.md takes any number")
def test_every_view_reads_the_same_files_in_many_more_orders():
    search(range(1_000, 3_000))
    search(range(4, 40), parquet=True)
