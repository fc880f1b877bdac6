"""Files that land on a disk of this machine, in a lake on the object store: declared, loaded, checked without a JVM."""

import json

import pytest
from store.local_world import LocalWorld

from lakehouse.errors import ConfigurationError


@pytest.fixture
def world(lake, tmp_path):
    (tmp_path / "landed").mkdir()
    return LocalWorld(lake, tmp_path).declare(path=f"file:{tmp_path}/landed/", hints={"id": "BIGINT"})


def land(folder, name, *rows):
    (folder / "landed" / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_local_files_fill_a_table_of_the_lake_once(world, tmp_path):
    land(tmp_path, "a.json", {"id": 1}, {"id": 2})
    land(tmp_path, "_not yet.json", {"id": 9})
    assert (world.load_rows(), world.load_rows()) == (2, 0)
    land(tmp_path, "b c.json", {"id": 3})
    assert world.load_rows() == 1
    assert world.rows("id", "_source_file") == [
        (1, f"file://{tmp_path}/landed/a.json"),
        (2, f"file://{tmp_path}/landed/a.json"),
        (3, f"file://{tmp_path}/landed/b%20c.json"),
    ]
    assert world.failed_checks() == set()
    assert {state.path.rsplit("/", 1)[1]: state.ingestion_state for state in world.file_states()} == {
        "_not%20yet.json": "PASSED_OVER",
        "a.json": "INGESTED",
        "b%20c.json": "INGESTED",
    }


def test_a_local_folder_that_is_not_there_is_told(world, tmp_path):
    land(tmp_path, "a.json", {"id": 1})
    world.load()
    (tmp_path / "landed").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="there is no folder"):
        world.load()
