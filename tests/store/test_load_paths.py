"""What a load path names on a real store."""

import pytest

from lakehouse.copy_into.copy import Copy, validate_copy


def test_the_path_of_a_file_loads_that_file_only(world):
    for name in ("day=1/a.json", "day=1/a.json.old", "day=1/b.json"):
        world.put(name)
    assert world.run(path="day=1/a.json") == [("day=1/a.json", 0, 1)]
    assert world.run(path="day=1/a.json") == []


def test_a_file_that_is_its_path_and_was_replaced_is_loaded_again_where_that_was_asked_for(world):
    world.put("a.json")
    assert world.run(path="a.json", allowOverwrites="true") == [("a.json", 0, 1)]
    world.put("a.json", b'{"a": 2}\n')
    assert world.run(path="a.json", allowOverwrites="true") == [("a.json", 0, 2)]


@pytest.mark.parametrize("pattern", [None, "a*.json"])
def test_the_path_of_a_file_copies_that_file_only(world, pattern):
    world.put("a.json")
    world.put("a.json.old")
    uri = f"s3a://{world.bucket}/{world.folder}a.json"
    assert validate_copy(world.lake, Copy("bronze.copied", uri, "json", pattern=pattern), None).files == 1
