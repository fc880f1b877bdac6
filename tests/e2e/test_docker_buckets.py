"""The containers' bucket set-up against a real store."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docker" / "make_buckets.py"


def run(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    return subprocess.run(
        [sys.executable, SCRIPT], env={**kept, **variables}, capture_output=True, text=True, timeout=120
    )


def variables_for(endpoint) -> dict[str, str]:
    return {
        "LAKEHOUSE_S3_ENDPOINT": endpoint.url,
        "LAKEHOUSE_S3_ACCESS_KEY": endpoint.access_key.get_secret_value(),
        "LAKEHOUSE_S3_SECRET_KEY": endpoint.secret_key.get_secret_value(),
        "LAKEHOUSE_BUCKET": f"tables-{uuid.uuid4().hex[:12]}",
        "LAKEHOUSE_LANDING_BUCKET": f"files-{uuid.uuid4().hex[:12]}",
    }


def test_the_bucket_setup_makes_both_buckets_and_a_second_time_changes_nothing(lake):
    variables = variables_for(lake.endpoint)
    buckets = [variables["LAKEHOUSE_BUCKET"], variables["LAKEHOUSE_LANDING_BUCKET"]]
    assert not any(lake.store.bucket_exists(bucket) for bucket in buckets)
    for _ in range(2):
        done = run(variables)
        assert done.returncode == 0, done.stderr
        assert all(lake.store.bucket_exists(bucket) for bucket in buckets)


def test_the_bucket_setup_fails_with_the_reason_and_without_the_secret_when_the_keys_are_wrong(lake):
    done = run({**variables_for(lake.endpoint), "LAKEHOUSE_S3_SECRET_KEY": "not-the-secret-key"})
    assert done.returncode == 1
    assert lake.endpoint.url in done.stderr
    assert "Traceback" not in done.stderr
    assert "not-the-secret-key" not in done.stderr + done.stdout
