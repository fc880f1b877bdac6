"""What a checkpoint was begun with, compared with what is declared now."""

import json

import pytest
from declared import with_variables

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.declaration import read_catalogue
from lakehouse.errors import ConfigurationError
from lakehouse.orders.tables import SILVER
from lakehouse.streams.definition import keep_definition

BEFORE_DECLARATIONS = {
    "source": "bronze",
    "length": "5 minutes",
    "slide": None,
    "session_gap": None,
    "output_mode": "append",
    "drop_duplicates": False,
}


def written(lake):
    return lake.settings.bucket, checkpoints.object_key(lake, SILVER, "definition.json")


def plan_a_batch(lake):
    log = SparkLog(lake, SILVER)
    log.query_id()
    log.plan(0, {"reservoirVersion": 0})


def definition(lake):
    return read_catalogue(lake.settings)[SILVER].flow.definition()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, {}),
        ({"silver_source": "cloudFiles"}, {"source": "cloudFiles"}),
        ({"silver_slide": "2 minutes"}, {"slide": "2 minutes"}),
        ({"silver_session_gap": "4 minutes"}, {"length": None, "session_gap": "4 minutes"}),
        ({"duplicate_orders": "drop"}, {"drop_duplicates": True}),
        ({"silver_output_mode": "update", "silver_window": "1 hour"}, {"output_mode": "update", "length": "1 hour"}),
    ],
)
def test_a_checkpoint_of_the_version_before_goes_on_and_is_held_to_all_of_its_definition_from_then_on(
    lake, variables, said
):
    lake = with_variables(lake, **variables)
    lake.store.write(*written(lake), json.dumps({**BEFORE_DECLARATIONS, **said}).encode())
    plan_a_batch(lake)
    keep_definition(lake, SILVER, definition(lake))
    assert json.loads(lake.store.read(*written(lake))) == definition(lake)
    with pytest.raises(ConfigurationError, match=r"keys was \['payment_method'\], now it is \[\]"):
        keep_definition(lake, SILVER, {**definition(lake), "keys": []})


def test_a_checkpoint_of_the_version_before_with_another_window_is_refused_and_left_alone(lake):
    before = json.dumps({**BEFORE_DECLARATIONS, "length": "1 hour"}).encode()
    lake.store.write(*written(lake), before)
    plan_a_batch(lake)
    with pytest.raises(ConfigurationError, match="length was 1 hour, now it is 5 minutes"):
        keep_definition(lake, SILVER, definition(lake))
    assert lake.store.read(*written(lake)) == before


def test_a_definition_by_which_no_batch_was_planned_is_no_obstacle(lake):
    keep_definition(lake, SILVER, {**definition(lake), "length": "1 hour"})
    keep_definition(lake, SILVER, definition(lake))
    assert json.loads(lake.store.read(*written(lake))) == definition(lake)
