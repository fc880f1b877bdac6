"""The peers of ``./dev bench ingest --peers``: what is installed, and that no wrong run passes for a good one."""

import re
import sys

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from benchmarks import peers

LOCKED = peers.LOCK.read_text()
ASKED = peers.LOCK.with_suffix(".in").read_text()


def test_the_lock_has_exact_versions_with_hashes_and_no_place():
    packages = re.split(r"\n(?=\S)", LOCKED.strip())
    assert len(packages) > 20
    for package in packages:
        assert re.match(r"[a-z0-9-]+==\S+( ; [^\\]+)? \\\n( +--hash=sha256:[0-9a-f]{64}( \\\n|$))+$", package), package
    assert not re.search(r"https?:|file:|--index|--find-links|^/", LOCKED, re.MULTILINE)


def test_the_lock_has_what_is_asked_for():
    for name, version in re.findall(r"^([a-z0-9-]+)(?:\[.+\])?==(\S+)$", ASKED, re.MULTILINE):
        assert f"\n{name}=={version} " in LOCKED
    assert {peer: list(peers._versions(peer)) for peer in peers.LACKS} == {
        "polars": ["polars", "deltalake", "s3fs"],
        "dlt": ["dlt", "deltalake", "s3fs"],
    }


@pytest.mark.parametrize("orders", [["a", "b"], ["a", "b", "b"], ["a", "b", "c", "d"]])
def test_a_table_that_does_not_hold_what_was_landed_is_an_error(tmp_path, orders):
    write_deltalake(str(tmp_path / "right"), pa.table({"order_id": ["a", "b", "c"]}))
    peers._check(str(tmp_path / "right"), {}, 3)
    write_deltalake(str(tmp_path / "wrong"), pa.table({"order_id": orders}))
    with pytest.raises(peers._WentWrong, match="3 were landed"):
        peers._check(str(tmp_path / "wrong"), {}, 3)


def test_a_run_that_fails_is_an_error_without_secrets(tmp_path):
    program = "import os, sys; sys.exit('lost: ' + os.environ['AWS_SECRET_ACCESS_KEY'])"
    with pytest.raises(peers._WentWrong) as caught:
        peers._started([sys.executable, "-c", program], str(tmp_path), {"AWS_SECRET_ACCESS_KEY": "hunter2"})
    assert str(caught.value) == "exit code 1: lost: ***"


def test_failures_are_named():
    measured = {"cloudFiles": {"small": {"seconds": 1}}, "dlt": {"small": {"error": "lost"}, "lacks": []}}
    assert peers.failures(measured) == ["dlt, small: lost"]
