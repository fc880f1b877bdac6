"""What a path says about the rows of a file."""

from lakehouse.autoloader.reading.columns import partition_values


def test_folders_below_the_path_are_partitions_and_those_of_the_path_itself_are_none():
    assert partition_values("in/day=1/a.json", "in/") == {"day": "1"}
    assert partition_values("in/day=1/a.json", "in/day=1/") == {}
    assert partition_values("in/day=1/a.json", "in/day=1/a.json/") == {}  # the path is the file itself
