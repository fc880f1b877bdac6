"""Commands about a stream that no declaration knows: its checkpoint is named in place of a table."""

import json

import pytest
from command import lakehouse_here, lakehouse_json_here
from pyspark.sql.types import StructType

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.outcomes.receipts import Receipt, State, TaskReceipts
from lakehouse.autoloader.schema.versions import SchemaLocation, SchemaVersion


@pytest.fixture
def here(environment, tmp_path):
    """An environment whose declaration is not there."""
    return {**environment, "LAKEHOUSE_DECLARATION": str(tmp_path / "none.yaml")}


@pytest.fixture
def checkpoint(lake):
    """A stream of two files, of which one could not be read."""
    settings, store = lake.settings, lake.store
    for name in ("1", "2"):
        store.write(settings.landing_bucket, f"{settings.landing_prefix}{name}.json", b'{"id": 1}')
    place = f"{settings.user}/own"
    journal = Journal.at(store, f"s3a://{settings.bucket}/{place}/journal")
    journal.append(settings.landing_bucket, list(store.list(settings.landing_bucket, settings.landing_prefix)))
    receipts = TaskReceipts(store, settings.bucket, f"{place}/journal/", "mine", 2, "00000", "")
    receipts.begin()
    bad = Receipt(2, 0, 0, State.QUARANTINED, "BROKEN")
    receipts.finish([Receipt(1, 0, 1, State.INGESTED, ""), bad])
    offset = {"v": 1, "seq": 2, "segment": "", "journal": f"s3a://{settings.bucket}/{place}/journal/", "stream": "mine"}
    written = {
        "metadata": '{"id": "7"}',
        "offsets/0": f"v1\n{{}}\n{json.dumps(offset)}",
        "commits/0": "v1\n{}",
    }
    for name, text in written.items():
        store.write(settings.bucket, f"{place}/{name}", text.encode())
    versions = SchemaLocation(store, settings.bucket, place)
    versions.write(SchemaVersion(0, StructType().add("id", "string"), StructType()))
    return f"s3a://{settings.bucket}/{place}"


def test_its_files_its_place_its_quarantine_and_its_schema_are_shown(checkpoint, here):
    files = lakehouse_json_here(here, "files", "--checkpoint", checkpoint)
    assert files["counts"] == {"INGESTED": 1, "QUARANTINED": 1}
    place = lakehouse_json_here(here, "checkpoint", "show", "--checkpoint", checkpoint)
    assert (place["query_id"], place["last_commit"], place["committed_files"]) == ("7", 0, 2)
    [bad] = lakehouse_json_here(here, "quarantine", "--checkpoint", checkpoint)["files"]
    assert (bad["sequence"], bad["error"]) == (2, "BROKEN")
    assert lakehouse_json_here(here, "schema", "show", "--checkpoint", checkpoint)["columns"] == {"id": "string"}


def test_its_size_is_shown_by_part_and_its_columns_are_taken_back(lake, checkpoint, here):
    shown = lakehouse_json_here(here, "checkpoint", "size", "--checkpoint", checkpoint)
    objects = {part["part"]: part["objects"] for part in shown["parts"]}
    assert (objects["offsets"], objects["commits"], objects["metadata"]) == (1, 1, 1)
    assert shown["parts"][-1] == {
        "part": "all",
        "objects": sum(objects.values()) - objects["all"],
        "size_bytes": sum(part["size_bytes"] for part in shown["parts"][:-1]),
    }
    versions = SchemaLocation(lake.store, *split_uri(checkpoint))
    versions.write(SchemaVersion(1, StructType().add("id", "string").add("note", "string"), StructType()))
    asked = ("schema", "rollback", "0", "--checkpoint", checkpoint)
    assert not lakehouse_json_here(here, *asked)["done"]
    done = lakehouse_json_here(here, *asked, "--yes")
    assert (done["done"], done["version"], done["removed"]) == (True, 2, ["note"])
    assert lakehouse_json_here(here, "schema", "show", "--checkpoint", checkpoint)["columns"] == {"id": "string"}


@pytest.mark.parametrize(
    "arguments", [("files",), ("checkpoint", "show"), ("checkpoint", "size"), ("quarantine",), ("schema", "show")]
)
def test_a_folder_that_is_no_checkpoint_is_named(lake, here, arguments):
    done = lakehouse_here(here, *arguments, "--checkpoint", f"s3a://{lake.settings.bucket}/nothing")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "there is" in done.stderr


def test_a_table_and_a_checkpoint_exclude_each_other(here):
    done = lakehouse_here(here, "files", "--table", "bronze.x", "--checkpoint", "s3a://a/b")
    assert done.returncode == 1
    assert "name one of them" in done.stderr
