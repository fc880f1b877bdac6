"""Kills at exact points, of streams and of COPY INTO: a few here, hundreds by ``kill_matrix.py`` alone."""

import re
from itertools import cycle

import pytest
from command import lakehouse_json, start_lakehouse
from e2e import kill_matrix
from e2e.kill_matrix import POINTS, ROWS, TABLE, TARGETS, KillMatrix
from e2e.orphans import INGEST, Orphans, assert_one_writer

from lakehouse.engine import engine_pid
from lakehouse.orders.samples import file_name

KILLS = [("offsets", True, "client")]  # the very first: Spark refuses what is left then
EACH = zip(sorted(POINTS) * 2, cycle([True, False]), cycle(TARGETS), strict=False)
MORE = [kill for kill in EACH if kill not in KILLS]


def assert_exact(outcome):
    assert outcome["fired"], outcome
    assert outcome["recovered"], outcome
    assert outcome["exact"], outcome


@pytest.mark.parametrize(("point", "before", "target"), KILLS)
def test_every_row_is_there_once_after_a_kill(matrix, point, before, target):
    assert_exact(matrix.kill(point, before, target))


@pytest.mark.soak("a kill before and one after each kind of request, of command, engine and both")
@pytest.mark.parametrize(("point", "before", "target"), MORE)
def test_every_row_is_there_once_after_a_kill_at_any_request(matrix, point, before, target):
    assert_exact(matrix.kill(point, before, target))


def test_a_file_that_kills_its_readers_is_quarantined_and_the_rest_is_loaded(matrix):
    matrix.land(5)
    poisoned = file_name(matrix.files - 3)
    matrix.proxy.poison = re.compile(rb"GET /landing/\S+" + poisoned.encode())
    try:
        report = lakehouse_json(matrix.environment, "ingest", TABLE)
    finally:
        matrix.proxy.poison = None
    assert len(set(matrix.proxy.victims)) > 2, "a task, then probes"
    (quarantined,) = lakehouse_json(matrix.environment, "files", "--table", TABLE, "--state", "QUARANTINED")["files"]
    assert quarantined["path"].endswith(poisoned)
    assert quarantined["error"].startswith("KILLS_ITS_READER")
    assert report["tables"][0]["rows_added"] == 4 * ROWS


def test_no_version_is_written_twice_when_a_client_is_killed_in_a_batch(home, other_home, proxy):
    orphans = Orphans(home, other_home, proxy, "short")
    said = orphans.orphan([INGEST, "replay", "same engine"], slow_seconds=2.0, files=4)
    engine = engine_pid(orphans.settings)
    assert_one_writer(orphans, said)
    assert engine and engine == engine_pid(orphans.settings), "the engine was left to its other clients"


COPIED = "bronze.copied"
OF_A_COPY = {
    "plan": rb"PUT /\S+/attempts/\S+/plan\.parquet",
    "receipt": rb"PUT /\S+/attempts/\S+\.jsonl",
    "data": rb"PUT /\S+/bronze/copied/part-\S+\.parquet",
    "delta": rb"PUT /\S+/copied/_delta_log/\d+\.json",
    "list": rb"PUT /\S+/_copy_into/segments/\d+\.parquet",
    "state": rb"PUT /\S+/_copy_into/state\.json",
}
KILLS_OF_A_COPY = [
    ("receipt", True, "client"),  # Spark goes on without the client, and commits
    ("delta", False, "both"),
    ("plan", False, "client"),
    ("data", False, "engine"),
    ("delta", True, "engine"),
    ("list", False, "client"),
    ("state", True, "client"),
]


@pytest.fixture(scope="module")
def copies(home, proxy):
    """A lake of its own behind the same proxy."""
    return KillMatrix(home, "copy", proxy)


@pytest.mark.soak(
    "a kill at each kind of request of a copy; test_copy_into.py has calls that die before and after their commit"
)
@pytest.mark.parametrize(("point", "before", "target"), KILLS_OF_A_COPY)
def test_every_row_of_a_copy_is_there_once_after_a_kill_at_any_request(copies, monkeypatch, point, before, target):
    matrix = copies
    monkeypatch.setattr(kill_matrix, "POINTS", OF_A_COPY)
    arguments = ["copy-into", COPIED, matrix.lake.settings.landing_uri, "--format", "json"]
    matrix.land()
    process = start_lakehouse(matrix.environment, *arguments)
    matrix.proxy.arm(point, before, lambda: matrix.strike(process, target))
    process.communicate(timeout=240)
    fired = matrix.proxy.fired.is_set()
    matrix.proxy.disarm()
    assert fired
    matrix.land(1)
    lakehouse_json(matrix.environment, *arguments)
    files = matrix.lake.delta(COPIED).to_pyarrow_table(columns=["order_id"])
    ids = files["order_id"].to_pylist()
    assert (len(ids), len(set(ids))) == (matrix.files * ROWS, matrix.files * ROWS)
    assert lakehouse_json(matrix.environment, *arguments)["already_loaded"] == matrix.files
