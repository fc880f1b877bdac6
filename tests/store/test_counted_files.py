"""Rows of files in a table are counted once for each data file."""

import pytest
from counted import TABLE, opened, remove_data_files, write

from lakehouse.counting.data_files import DataFileMissing, DataFiles
from lakehouse.maintenance.file_rows import forget_kept_rows, kept_rows_by_sequence, rows_by_sequence


def rows(**of_files):
    numbered = ((int(name[1:]), many) for name, many in of_files.items())
    return [{"_source_sequence": number, "x": row} for number, many in numbered for row in range(many)]


def test_whatever_happens_to_a_table_the_kept_rows_are_those_of_a_count_of_all(lake):
    assert kept_rows_by_sequence(lake, TABLE) == {}
    changes = [
        lambda: write(lake, rows(f1=3, f2=2)),
        lambda: write(lake, rows(f3=1)),
        lambda: write(lake, rows(f3=1)),  # a row that is there twice
        lambda: opened(lake).delete("_source_sequence = 1 AND x = 0"),  # a row that was lost
        lambda: write(lake, [{"_source_sequence": None, "x": 1}]),
        lambda: opened(lake).optimize.compact(),
        lambda: opened(lake).delete("_source_sequence = 2"),
        lambda: opened(lake).delete(),
        lambda: opened(lake).restore(2),
    ]
    expected = [{1: 3, 2: 2}, {1: 3, 2: 2, 3: 1}, {1: 3, 2: 2, 3: 2}, *[{1: 2, 2: 2, 3: 2}] * 3, {1: 2, 3: 2}, {}]
    for change, there in zip(changes, [*expected, {1: 3, 2: 2, 3: 2}], strict=True):
        change()
        assert kept_rows_by_sequence(lake, TABLE) == rows_by_sequence(lake, TABLE) == there
        assert kept_rows_by_sequence(lake, TABLE) == there


def test_a_data_file_that_was_counted_is_not_read_again_until_it_is_forgotten(lake):
    write(lake, rows(f1=3))
    kept_rows_by_sequence(lake, TABLE)
    remove_data_files(lake, DataFiles.of(lake, TABLE).sizes)
    write(lake, rows(f2=1))
    assert kept_rows_by_sequence(lake, TABLE) == {1: 3, 2: 1}
    forget_kept_rows(lake, TABLE)
    with pytest.raises(DataFileMissing):
        kept_rows_by_sequence(lake, TABLE)
