"""What becomes of a table when rows of its source were removed on purpose."""

import json
from dataclasses import replace

import pytest
from deltalake import CommitProperties
from store.local_world import TABLE, LocalWorld
from store.test_upkeep import load, stand

from lakehouse.delta_commit import FORGOTTEN
from lakehouse.flows.following import RowsRemoved, may_leave_out_changes
from lakehouse.flows.latest import Latest
from lakehouse.table import Table


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(options={"cloudFiles.inferColumnTypes": True})


@pytest.mark.parametrize(("answer", "keeps"), [("keep", True), ("follow", False)])
def test_the_setting_answers_for_rows_that_were_forgotten_with_ask(things, answer, keeps):
    load(things, 0, 2)
    stand(things, "silver.things", 2)
    said = CommitProperties(custom_metadata={"userMetadata": json.dumps({FORGOTTEN: "ask"})})
    things.lake.delta(TABLE).delete("a = 0", commit_properties=said)
    reader = Table("silver.things", Latest(of=TABLE, key=("a",)))
    with pytest.raises(RowsRemoved, match="LAKEHOUSE_AFTER_REMOVALS=follow lakehouse ingest"):
        may_leave_out_changes(things.lake, TABLE, reader=reader)
    settings = things.lake.settings.model_copy(update={"after_removals": answer})
    assert may_leave_out_changes(replace(things.lake, settings=settings), TABLE, reader=reader) is keeps
