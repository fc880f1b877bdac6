"""Options as public code writes them, from a declaration to the rows of a table, by the local engine."""

import logging

import pytest
from store.local_world import LocalWorld


@pytest.fixture
def world(lake, tmp_path):
    return LocalWorld(lake, tmp_path)


def test_a_table_is_loaded_though_options_are_without_effect_and_the_log_says_so(world, caplog):
    world.declare(
        format="csv",
        options={
            "header": "True",
            "skipRows": 1,
            "inferSchema": "true",
            "mergeSchema": "true",
            "cloudFiles.useNotifications": False,
            "cloudFiles.useIncrementalListing": "auto",
            "cloudFiles.maxFileAge": "90 days",
            "cloudFiles.rescuedDataColumn": "_extra",
            "modifiedAfter": "2021-01-01 00:00:00.000000 UTC+0",
            "recursiveFileLookup": "false",
        },
    )
    world.put("a.csv", "made today\nid,name\n1,x\n")
    with caplog.at_level(logging.WARNING, "lakehouse"):
        assert world.load_rows() == 1
    assert world.rows("id", "name", "_extra") == [("1", "x", None)]
    assert [record.getMessage() for record in caplog.records if "without effect" in record.getMessage()] == [
        "bronze.things: inferSchema is without effect: cloudFiles.inferColumnTypes decides whether types are inferred.",
        "bronze.things: cloudFiles.maxFileAge is without effect: what was loaded is kept in the journal and never "
        "forgotten, so no file is too old; modifiedAfter leaves old files out.",
    ]


def test_json_in_another_encoding_is_inferred_and_loaded_and_each_record_has_its_number(world):
    world.declare(format="json", options={"encoding": "ISO-8859-1"})
    world.put("a.json", '{"name": "é"}\n{"name": "ü"}\n'.encode("latin1"))
    assert world.load_rows() == 2
    assert world.rows("name", "_source_record") == [("é", 0), ("ü", 1)]
