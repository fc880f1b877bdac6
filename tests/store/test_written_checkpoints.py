"""A checkpoint that a command wrote, and that loses a part before its first run, loads nothing twice."""

import json
import re
import shlex

import pytest
from command import lakehouse_here
from declared import with_declaration
from store.local_world import TABLE, LocalWorld, no_session

from lakehouse.checkpoints.agreement import CheckpointMismatch
from lakehouse.pipeline import run_table
from lakehouse.streams.run import Run

NEW = "bronze.newer"
WRITERS = {
    "restore-version": ("maintain", "restore-version", TABLE, "0", "--yes"),
    "restore": ("checkpoint", "restore", TABLE, "--with-table", "--yes"),
    "repair": ("checkpoint", "repair", TABLE, "--yes"),
    "fork": ("checkpoint", "fork", TABLE, NEW, "--yes"),
}


class Two(LocalWorld):
    """Two tables of the same files."""

    def declare(self, **flow):
        files = {"path": "{landing}/things/", "engine": "local", "schema": "a BIGINT", **flow}
        tables = {name: {"files": files} for name in (TABLE, NEW)}
        self.lake = with_declaration(self.plain, self.tmp, json.dumps({"tables": tables}))
        return self

    def run(self, *words):
        done = lakehouse_here(self.environment, *words)
        assert done.returncode == 0, done.stdout + done.stderr

    def lose(self, table, part):
        settings = self.lake.settings
        self.lake.store.delete_prefix(settings.bucket, f"{settings.user}/_checkpoints/{table}/{part}")


@pytest.fixture
def two(lake, tmp_path):
    return Two(lake, tmp_path)


@pytest.mark.parametrize("part", ["offsets/", "commits/", ""])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_written_checkpoint_that_lost_a_part_is_refused_and_its_cure_loads_each_file_once(two, writer, part):
    two.put("0.json", [{"a": 0}, {"a": 1}])
    two.load()
    two.run("checkpoint", "backup", TABLE)
    two.put("1.json", [{"a": 2}])
    two.load()
    if writer == "repair":
        two.lose(TABLE, "")
    two.run(*WRITERS[writer])
    table, left = (NEW, [3]) if writer == "fork" else (TABLE, [0, 1, 2, 3])
    two.put("2.json", [{"a": 3}])
    two.lose(table, part)
    try:
        run_table(no_session, two.lake, table, Run())
    except CheckpointMismatch as refused:
        command = re.search(r"lakehouse (.*?)(?=   \(|; |$)", refused.next_command).group(1)
        two.run(*shlex.split(command), *(["--yes"] if "--yes" not in command else []))
        run_table(no_session, two.lake, table, Run())
    ids = sorted(row["a"] for row in two.lake.rows(table).to_table().to_pylist())
    if writer == "fork" and part == "":
        assert ids == [0, 1, 2, 3], "nothing tells that it was to begin elsewhere: it is a new table"
    else:
        assert ids == left
