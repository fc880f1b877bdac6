"""What belongs to nothing that is known here, and may be in use elsewhere: it is listed with the doubt, and stays."""

from datetime import UTC, datetime, timedelta

import pytest
from store.local_world import TABLE, LocalWorld

from lakehouse.errors import ConfigurationError
from lakehouse.maintenance.orphans import orphans
from lakehouse.upkeep import find_orphans, remove_orphans


@pytest.fixture
def things(lake, tmp_path):
    world = LocalWorld(lake, tmp_path)
    for number in range(2):
        world.put(f"{number}.json", [{"a": number}])
        world.load()
    return world


def test_a_journal_that_only_a_stream_with_a_checkpoint_elsewhere_uses_is_not_removed(things):
    lake, bucket, user = things.lake, things.lake.settings.bucket, things.lake.settings.user
    checkpoint = things.checkpoint()
    things.set_checkpoint({})
    for name, data in checkpoint.items():
        lake.store.write(bucket, f"{user}/notebooks/things/{name}", data)
    things.declare(path="{landing}/other/")
    lake = things.lake
    [found] = [orphan for orphan in find_orphans(lake) if orphan.name.startswith("_journal/")]
    assert "checkpoint is elsewhere" in found.in_doubt
    with pytest.raises(ConfigurationError, match="may be in use"):
        remove_orphans(lake, [found.name])
    later = datetime.now(UTC) + timedelta(days=8)
    assert [orphan.in_doubt for orphan in orphans(lake, [], [], now=later) if orphan.name == found.name] == [""]


@pytest.mark.parametrize("content", [b"", b"v1\n{}\n{cut", b"\xff"])
def test_a_damaged_checkpoint_hides_no_orphan_and_loses_no_journal(things, content):
    lake, bucket, user = things.lake, things.lake.settings.bucket, things.lake.settings.user
    lake.store.write(bucket, f"{user}/_checks/silver.gone/rows.parquet", b"12345")
    things.declare(path="{landing}/other/")
    lake.store.write(bucket, f"{user}/_checkpoints/{TABLE}/offsets/1", content)
    assert [orphan.name for orphan in find_orphans(things.lake)] == ["_checks/silver.gone"], (
        "an older batch names the journal"
    )
    lake.store.write(bucket, f"{user}/_checkpoints/{TABLE}/offsets/0", content)
    [_, journal] = find_orphans(things.lake)
    assert f"the checkpoint of {TABLE} cannot be read" in journal.in_doubt
