"""COPY INTO killed at exact points, before or after a named request: the next call makes it exact."""

import pytest
from command import lakehouse_json, start_lakehouse
from e2e import kill_matrix
from e2e.kill_matrix import ROWS

TABLE = "bronze.copied"
POINTS = {
    "plan": rb"PUT /\S+/attempts/\S+/plan\.parquet",
    "receipt": rb"PUT /\S+/attempts/\S+\.jsonl",
    "data": rb"PUT /\S+/bronze/copied/part-\S+\.parquet",
    "delta": rb"PUT /\S+/copied/_delta_log/\d+\.json",
    "list": rb"PUT /\S+/_copy_into/segments/\d+\.parquet",
    "state": rb"PUT /\S+/_copy_into/state\.json",
}
KILLS = [
    ("receipt", True, "client"),  # Spark goes on without the client, and commits
    ("delta", False, "both"),
]
MORE = [
    ("plan", False, "client"),
    ("data", False, "engine"),
    ("delta", True, "engine"),
    ("list", False, "client"),
    ("state", True, "client"),
]


@pytest.mark.parametrize(("point", "before", "target"), KILLS)
def test_every_row_is_there_once_after_a_kill(matrix, monkeypatch, point, before, target):
    kill_a_copy(matrix, monkeypatch, point, before, target)


@pytest.mark.soak("a kill at each of the other kinds of request")
@pytest.mark.parametrize(("point", "before", "target"), MORE)
def test_every_row_is_there_once_after_a_kill_at_any_request(matrix, monkeypatch, point, before, target):
    kill_a_copy(matrix, monkeypatch, point, before, target)


def kill_a_copy(matrix, monkeypatch, point, before, target):
    monkeypatch.setattr(kill_matrix, "POINTS", POINTS)
    arguments = ["copy-into", TABLE, matrix.lake.settings.landing_uri, "--format", "json"]
    matrix.land()
    process = start_lakehouse(matrix.environment, *arguments)
    matrix.proxy.arm(point, before, lambda: matrix.strike(process, target))
    process.communicate(timeout=240)
    fired = matrix.proxy.fired.is_set()
    matrix.proxy.disarm()
    assert fired
    matrix.land(1)
    lakehouse_json(matrix.environment, *arguments)
    files = matrix.lake.delta(TABLE).to_pyarrow_table(columns=["order_id"])
    ids = files["order_id"].to_pylist()
    assert (len(ids), len(set(ids))) == (matrix.files * ROWS, matrix.files * ROWS)
    assert lakehouse_json(matrix.environment, *arguments)["already_loaded"] == matrix.files
