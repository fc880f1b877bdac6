"""Which folders a bucket tells of when it is to tell no more of some."""

import json

import pytest

from lakehouse.cli.events import _folders, _needed_by_others
from lakehouse.events.setup import folders_left
from lakehouse.settings import Settings


@pytest.mark.parametrize(
    ("told_of", "unwanted", "needed", "left"),
    [
        ({"a/", "b/"}, ["a/"], [], {"b/"}),
        ({"a/"}, ["a/"], ["a/"], {"a/"}),  # two tables of one folder
        ({"a/"}, ["a/"], ["a/deep/"], {"a/deep/"}),  # the rule of the folder above stood for it
        ({"a/"}, ["a/deep/"], ["a/"], {"a/"}),
        ({"a/"}, ["a/"], ["b/"], set()),  # of which nobody was told
        ({""}, [""], ["a/"], {"a/"}),
        (set(), ["a/"], ["a/"], set()),
    ],
)
def test_what_other_tables_are_told_of_stays(told_of, unwanted, needed, left):
    assert folders_left(told_of, unwanted, needed) == left


def test_folders_of_other_tables_are_needed_where_those_take_files_from_events(tmp_path):
    events = {"cloudFiles.useNotifications": True}
    tables = {
        "bronze.a": {"files": {"path": "s3a://landing/a/", "options": events}},
        "bronze.deep": {"files": {"path": "s3a://landing/a/deep/", "options": events}},
        "bronze.listed": {"files": {"path": "s3a://landing/a/listed/"}},
        "bronze.elsewhere": {"files": {"path": "s3a://other/x/", "options": events}},
        "silver.a": {"latest": {"of": "bronze.a", "key": "id"}},
    }
    (tmp_path / "lakehouse.yaml").write_text(json.dumps({"tables": tables}))
    settings = Settings.load(home=tmp_path / "home", declaration=tmp_path / "lakehouse.yaml")
    assert _folders(settings, ["bronze.a"]) == {"landing": ["a/"]}
    assert _folders(settings, None) == {"landing": ["a/", "a/deep/", "a/listed/"], "other": ["x/"]}
    assert _needed_by_others(settings, ["bronze.a"]) == {"landing": ["a/deep/"], "other": ["x/"]}
