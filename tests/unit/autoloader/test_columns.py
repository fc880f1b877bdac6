"""What a path says about the rows of a file."""

import pytest
from unit.autoloader.given_options import parse

from lakehouse.autoloader.reading.columns import partition_values
from lakehouse.autoloader.schema.versions import partition_columns


def test_folders_below_the_path_are_partitions_and_those_of_the_path_itself_are_none():
    assert partition_values("in/day=1/a.json", "in/") == {"day": "1"}
    assert partition_values("in/day=1/a.json", "in/day=1/") == {}
    assert partition_values("in/day=1/a.json", "in/day=1/a.json/") == {}  # the path is the file itself


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "struct<Day:string,n:string>"),
        ({"cloudFiles.inferColumnTypes": "true"}, "struct<Day:string,n:int>"),
        ({"cloudFiles.schemaHints": "day DATE, n BIGINT, id INT, s.n DOUBLE"}, "struct<Day:date,n:bigint>"),
        ({"cloudFiles.schemaHints": "n STRING", "cloudFiles.inferColumnTypes": "true"}, "struct<Day:string,n:string>"),
        ({"cloudFiles.schemaHints": "n ARRAY<INT>, day TIMESTAMP"}, "struct<Day:string,n:string>"),
        ({"cloudFiles.schemaHints": "x INT", "cloudFiles.partitionColumns": "x,n"}, "struct<x:int,n:string>"),
        ({"cloudFiles.schemaHints": "n INT", "cloudFiles.partitionColumns": ""}, "struct<>"),
    ],
)
def test_columns_of_the_path_have_the_types_of_hints_where_a_folder_can_be_of_such_a_type(options, wanted):
    keys = ["in/Day=2026-01-02/n=1/a.json", "in/Day=2026-01-03/n=02/a.json", "in/b.json"]
    assert partition_columns(parse(**options), "in/", keys).simpleString() == wanted
