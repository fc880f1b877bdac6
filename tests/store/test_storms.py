"""An object store in trouble, and files far larger than the memory that may be used."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from storm_proxy import storm_proxy

from lakehouse.errors import AccessDenied, StoreUnavailable

FILES = rb"GET /landing/\S+\.json"


@pytest.fixture
def storm(world, monkeypatch):
    with storm_proxy(world.lake.endpoint.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.mark.parametrize("faults", [["busy"], ["reset"], ["cut"], ["busy", "reset", "cut"]], ids="+".join)
def test_a_storm_costs_time_and_no_row(world, storm, faults):
    for number in range(40):
        world.put(f"{number:02d}.json", b'{"a": %d}\n' % number * 5)
    storm.strike(FILES, *faults, share=0.3)
    rows = world.run(max_files=100)
    assert rows == sorted(((f"{n:02d}.json", row, n) for n in range(40) for row in range(5)), key=str)
    assert len(storm.met) > 5
    assert {one.ingestion_state for one in world.states().values()} == {"INGESTED"}


def test_a_storm_without_end_is_an_error_and_the_next_run_loads_the_files(world, storm):
    world.put("a.json")
    storm.strike(FILES, "reset")
    with pytest.raises(StoreUnavailable, match="did not hand out a file") as raised:
        world.run()
    assert "a.json" in raised.value.where
    storm.strike(FILES, "reset", share=0.0)
    assert world.run() == [("a.json", 0, 1)]


def test_keys_that_are_refused_in_the_middle_of_a_run_quarantine_nothing(world, storm):
    for name in ("a.json", "b.json", "c.json"):
        world.put(name)
    storm.strike(rb"GET /landing/\S+c\.json", "denied")
    with pytest.raises(AccessDenied) as raised:
        world.run()
    said = str(raised.value)
    assert "s3:GetObject" in said
    endpoint = world.lake.endpoint
    for secret in (endpoint.access_key, endpoint.secret_key):
        assert secret.get_secret_value() not in said
    assert {one.ingestion_state for one in world.states().values()} <= {None, "INGESTED"}
    storm.strike(FILES, "denied", share=0.0)
    assert world.run() == [("c.json", 0, 1)]


MEASURE = """
import json, resource, sys
from store.landed import SCHEMA
from lakehouse.autoloader.options import CloudFilesOptions
from lakehouse.autoloader.stream import Stream
options = json.loads(sys.argv[1])
stream = Stream(CloudFilesOptions.parse(options), None)
stream.fix_target()
start = stream.beginning()
end = stream.next_end(start, max_files=1000, max_bytes=None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(batch.num_rows for task in stream.parts(start, end) for batch in stream.read(task, SCHEMA))
print(json.dumps({"rows": rows, "grown_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}))
"""


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_memory_is_bounded_whatever_the_size_of_a_file(world, packed):
    line = json.dumps({"a": 1, "text": "x" * 4_000}).encode() + b"\n"
    data = line * 75_000
    world.put("large.json.gz" if packed else "large.json", gzip.compress(data, 1) if packed else data)
    size_mb = len(data) / (1 << 20)
    del data
    options = {
        "path": f"s3a://{world.bucket}/{world.folder}",
        "cloudFiles.format": "json",
        "cloudFiles.journalLocation": world.journal,
    }
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(options)],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(re.findall(r"\{.*\}", done.stdout)[-1])
    assert found["rows"] == 75_000
    assert found["grown_mb"] < 240 < size_mb
