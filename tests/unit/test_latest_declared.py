"""What a ``latest`` table is held to once it has rows."""

import json

import pytest
from unit.autoloader.memory_store import MemoryStore

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import ConfigurationError
from lakehouse.flows.latest import Latest
from lakehouse.lake import Lake
from lakehouse.settings import Settings
from lakehouse.streams.definition import keep_definition

TABLE = "silver.things"
BEGUN = {"of": "bronze.things", "key": "a", "order": "n", "refuse": {"cheap": "n < 0"}, "event_time": "at"}


@pytest.fixture
def lake():
    """With a checkpoint that has planned a batch."""
    made = Lake(Settings.load(), None, MemoryStore())
    made.store.put(made.settings.bucket, checkpoints.object_key(made, TABLE, "offsets/0"), b"v1")
    return made


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"refuse": {"cheap": "n < 1"}}, "refuse"),
        ({"refuse": {}}, "refuse"),
        ({"event_time": None}, "event_time"),
        ({"event_time": {"column": "at", "future_limit": "2 hours"}}, "event_time"),
        ({"key": "b"}, "key"),
    ],
)
def test_another_choice_of_rows_is_refused_under_a_table_that_was_begun_with_one(lake, changed, named):
    keep_definition(lake, TABLE, Latest(**BEGUN).definition())
    same = {**BEGUN, "refuse": {"cheap": "n\n  < 0"}, "event_time": {"column": "at", "future_limit": "24 hours"}}
    keep_definition(lake, TABLE, Latest(**same).definition())
    with pytest.raises(ConfigurationError, match=rf"another definition: {named} was") as refused:
        keep_definition(lake, TABLE, Latest(**{**BEGUN, **changed}).definition())
    assert f"lakehouse checkpoint restart {TABLE}" in refused.value.next_command


def test_a_checkpoint_of_the_version_before_is_held_to_them_from_then_on(lake):
    place = lake.settings.bucket, checkpoints.object_key(lake, TABLE, "definition.json")
    lake.store.put(*place, json.dumps({"key": ["a"], "order": ["n"], "columns": {}}).encode())
    keep_definition(lake, TABLE, Latest(**BEGUN).definition())
    with pytest.raises(ConfigurationError, match="refuse was"):
        keep_definition(lake, TABLE, Latest(**{**BEGUN, "refuse": {}}).definition())
