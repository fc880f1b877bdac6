"""What a reader needs of memory for one file that is far larger than what it may hold at a time."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LINES, BOUND_MB = 75_000, 400
# not ru_maxrss: a new program inherits the peak of the process that started it, here of pytest with the whole file
MEASURE = """
import json, re, sys
from pathlib import Path
from store.landed import SCHEMA
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.stream import Stream

def peak_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

stream = Stream(CloudFilesOptions.parse(json.loads(sys.argv[1])), None)
stream.fix_target()
start = stream.beginning()
parts = stream.parts(start, stream.next_end(start, max_files=1, max_bytes=None))
before = peak_mb()
rows = sum(batch.num_rows for part in parts for batch in stream.read(part, SCHEMA))
print(json.dumps([rows, peak_mb() - before]))
"""


def rows_and_growth(world, **options):
    """Rows read by a process of its own, and how many MB its peak grew by while it read them."""
    given = {"format": "json", "journalLocation": world.journal} | options
    named = {f"cloudFiles.{name}": value for name, value in given.items()}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps({"path": f"s3a://{world.bucket}/{world.folder}", **named})],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def put_large(world, packed):
    """About 300 MB of lines."""
    data = (json.dumps({"a": 1, "text": "x" * 4_000}).encode() + b"\n") * LINES
    world.put("large.json.gz" if packed else "large.json", gzip.compress(data, 1) if packed else data)


def assert_bounded(world):
    rows, grown_mb = rows_and_growth(world)
    assert rows == LINES
    assert 0 < grown_mb < BOUND_MB


def test_a_file_of_300_mb_is_read_in_bounded_memory(world):
    put_large(world, packed=False)
    assert_bounded(world)


@pytest.mark.soak("the same file packed, so that it cannot be cut into parts")
def test_a_packed_file_of_300_mb_is_read_in_bounded_memory(world):
    put_large(world, packed=True)
    assert_bounded(world)


@pytest.mark.soak("a control: the same file read at once needs more than the bound")
def test_the_bound_would_not_hold_if_the_file_were_read_at_once(world):
    put_large(world, packed=False)
    rows, grown_mb = rows_and_growth(world, maxPartitionBytes="1g")
    assert rows == LINES
    assert grown_mb > 2 * BOUND_MB
