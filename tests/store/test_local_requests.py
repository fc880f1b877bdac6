"""What a run costs, whatever came before: its requests follow what is new, and it loads no library that it need not."""

import os
import subprocess
import sys

from store.local_world import TABLE, LocalWorld

from benchmarks.ingest import requests_served

RUN = """
import sys
from lakehouse.cli.main import app
app(["ingest", "--json"], standalone_mode=False)
sys.exit(", ".join({"pandas", "minio", "grpc", "duckdb", "sqlglot", "dagster"} & set(sys.modules)) or 0)
"""


def requests_of(lake, act):
    before = requests_served(lake)
    act()
    return requests_served(lake) - before


def test_a_run_behind_many_commits_asks_for_little_more_than_behind_few(lake, tmp_path):
    things = LocalWorld(lake, tmp_path)
    for number in range(3):
        things.put(f"{number}.json", [{"a": number}])
        things.load()
    few = requests_of(things.lake, things.load)
    for _ in range(40):
        opened = things.lake.delta(TABLE)
        opened.create_write_transaction([], "append", opened.schema())
    things.put("more.json", [{"a": 4}])
    things.load()  # the newest commit is the stream's own, as a rule
    many = requests_of(things.lake, things.load)
    assert many < few + 50, "at most ten commits are read, those since the last checkpoint"
    assert requests_of(things.lake, lambda: things.lake.version(TABLE)) <= 3


def test_a_run_loads_no_library_that_it_need_not(lake, tmp_path):
    things = LocalWorld(lake, tmp_path).declare()
    things.put("0.json", [{"a": 0}])
    things.load()  # what finds the columns removes its mark, for which the SDK is asked
    things.put("1.json", [{"a": 1}])
    here = {**os.environ, **things.environment}
    done = subprocess.run([sys.executable, "-c", RUN], env=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert things.rows("a") == [("0",), ("1",)]
