"""Killed between the last orders and the batch without data that closes their windows."""

import re

import psutil
import pytest
from command import lakehouse, lakehouse_json, start_lakehouse
from e2e.test_pipeline import assert_silver_is, lines_of

from lakehouse.checkpoints.agreement import read_checkpoint
from lakehouse.engine import engine_status
from lakehouse.orders.tables import BRONZE, SILVER

FINISHED = re.compile(rb"PUT /\S+/_checkpoints/silver\.orders_windowed_aggregates/commits/0[ ?]")


@pytest.mark.soak("a kill between a batch and the one that closes its windows; test_triggers.py ends a run there")
def test_its_windows_wait_for_newer_orders_and_nothing_is_missing(matrix):
    lake = matrix.lake
    matrix.land(6)
    lakehouse_json(matrix.environment, "ingest", BRONZE)
    process = start_lakehouse(matrix.environment, "ingest", SILVER)

    def strike():
        psutil.Process(engine_status(lake.settings).pid).kill()
        process.kill()

    matrix.proxy.armed = (FINISHED, False, strike)
    process.communicate(timeout=240)
    assert matrix.proxy.fired.is_set()
    matrix.proxy.disarm()
    assert read_checkpoint(lake, SILVER).last_commit == 0
    assert lake.describe(SILVER).rows == 0

    # as docs/windows.md says: without newer orders they wait, and the check does not take that for a loss
    waiting = lakehouse_json(matrix.environment, "ingest", SILVER)
    assert lake.describe(SILVER).rows == 0
    assert all(check["passed"] for check in waiting["checks"])

    matrix.land(3)
    done = lakehouse(matrix.environment, "ingest")
    assert done.returncode == 0, done.stdout + done.stderr
    # one run to the model: the watermark moved, and no batch without data came in between
    assert assert_silver_is(lake, [[lines_of(lake, 0, 6), lines_of(lake, 6, 3)]]) == 0
    assert lake.describe(SILVER).rows > 0
