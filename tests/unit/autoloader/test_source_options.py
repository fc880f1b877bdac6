"""What ``format("cloudFiles")`` says and needs of its options, asked as Spark asks it: no store, no JVM."""

import warnings

import pytest
from pyspark.sql.types import StructType

from lakehouse.autoloader.source import CloudFiles, OptionWarning
from lakehouse.errors import ConfigurationError

BASE = {"cloudFiles.format": "json", "path": "s3a://landing/orders/"}
GIVEN = StructType().add("id", "string")


def test_options_without_effect_are_warned_of_once_where_the_stream_starts():
    source = CloudFiles({**BASE, "cloudFiles.region": "kept-to-itself", "zzz": "kept-to-itself"})
    with pytest.warns(OptionWarning) as said:
        source.streamReader(GIVEN)
    assert [str(one.message).split(":")[0] for one in said] == [
        "cloudFiles.region is without effect",
        "zzz is without effect",
    ]
    assert "kept-to-itself" not in "".join(str(one.message) for one in said)


def test_options_that_ask_for_what_is_done_anyway_are_not_talked_about():
    same = {"cloudFiles.useNotifications": "False", "recursiveFileLookup": "false", "latestFirst": "false"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CloudFiles({**BASE, **same}).streamReader(GIVEN)


@pytest.mark.parametrize(("format_", "columns"), [("text", ["value"]), ("binaryFile", ["path", "modificationTime"])])
def test_files_without_fields_need_no_place_for_their_schema(format_, columns):
    options = {"cloudFiles.format": format_, "path": "s3a://landing/notes/", "cloudFiles.partitionColumns": "day"}
    names = CloudFiles(options).schema().names
    assert names[: len(columns)] == columns
    assert names[-2:] == ["day", "_metadata"]


def test_files_with_fields_need_one():
    with pytest.raises(ConfigurationError, match="no schema, and no place to keep an inferred one"):
        CloudFiles(BASE).schema()
