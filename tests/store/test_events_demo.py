"""The demo of events says what is so: it fails by itself when a listing was made or a row is missing."""

import json
import subprocess
import sys
from pathlib import Path


def test_dropped_files_are_in_bronze_without_a_listing():
    command = [sys.executable, "-m", "lakehouse.cli.main", "demo", "--events", "--files", "2", "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["files"], said["rows"], said["list_requests_while_dropping"]) == (2, 3, 0)
    assert said["list_requests_of_the_reconcile"] > 0
    assert said["files_that_no_event_told_of"] == 0
    assert 0 < said["put_to_commit_p50_seconds"] <= said["put_to_commit_p95_seconds"]
