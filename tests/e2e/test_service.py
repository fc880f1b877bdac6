"""``lakehouse stream`` as a process: signals, restarts, two of them, its endpoint."""

import signal

import psutil
import pytest
import requests
from command import lakehouse, lakehouse_json_here
from e2e.service_run import ROWS, TABLE, Service, disturb, expected, places
from e2e.test_recovery import running_queries

from lakehouse.autoloader.options.paths import SourcePath, source_id
from lakehouse.engine import engine_status
from lakehouse.errors import StoreUnavailable
from lakehouse.orders.tables import SILVER
from lakehouse.storage import store_status

FAST = ("--trigger", "processing-time=1s")


@pytest.mark.soak("two minutes of files, so that the ends come upon long streams and their backlog")
def test_every_row_of_two_minutes_is_there_once_whatever_ends_the_service(lake, spark, environment):
    outcome = disturb(lake, environment, seconds=120, pause=0.5, trigger="processing-time=1s")
    assert outcome["exit_codes"] == [0, -signal.SIGKILL, 0]
    assert outcome["exact"], outcome
    assert outcome["files"] >= 240
    assert running_queries(engine_status(lake.settings).pid) == 0


def test_a_second_service_is_told_who_writes_and_an_error_that_stays_ends_it(lake, land, spark, environment):
    """Between them the first is killed, and a third goes on after it."""
    land(files=1, rows_per_file=ROWS, late_share=0)
    service = Service(environment, TABLE, *FAST)
    service.wait_for(service.batches, "its first batch")
    second = lakehouse(environment, "stream", TABLE, *FAST)
    assert second.returncode == 1
    assert f"{TABLE} is being written by pid {service.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    told = requests.get(f"{service.address}/metrics", timeout=10).text
    assert f'lakehouse_stream_rows_total{{table="{TABLE}"}} {ROWS}.0' in told
    assert 'lakehouse_stream_latency_seconds_count{table="bronze.orders_autoloader"} 1.0' in told
    assert requests.get(f"{service.address}/", timeout=10).status_code == 404
    assert service.end(signal.SIGKILL) == -signal.SIGKILL
    land(files=1, first_file=1, rows_per_file=ROWS, late_share=0)
    service = Service(environment, TABLE, *FAST)
    # the killed client's query may have loaded the file before it was ended
    service.wait_for(lambda: service.health().json()["tables"][0]["state"] == "running", "it ran")
    service.wait_for(lambda: places(lake).total() >= 2 * ROWS, "the last file was in")
    assert service.end() == 0
    assert places(lake) == expected(2)
    assert running_queries(engine_status(lake.settings).pid) == 0
    journal = f"{lake.settings.user}/_journal/{source_id(SourcePath.parse(lake.settings.landing_uri))}/"
    lake.store.delete_prefix(lake.settings.bucket, f"{journal}segments/")
    done = lakehouse(environment, "stream", TABLE, *FAST, "--json")
    assert done.returncode == 1
    assert "JournalMismatch" in done.stdout
    assert "lakehouse checkpoint repair" in done.stdout
    assert '"state": "failed"' in done.stdout


def answers(lake):
    """Whether the store can be asked: it has a process before it listens."""
    try:
        lake.store.info(lake.settings.landing_bucket, "nothing")
    except StoreUnavailable:
        return False
    return True


@pytest.mark.soak(
    "the death of the engine and of the store under a service of Spark; tests/store/test_services.py stops a local one"
)
def test_tables_wait_for_their_sources_and_start_again_when_a_server_dies(lake, land, spark, environment):
    service = Service(environment, TABLE, SILVER, *FAST)
    service.wait_for(lambda: service.health().json()["tables"][0]["state"] == "waiting", "it waited for files")
    land(files=2, rows_per_file=ROWS, late_share=0)
    service.wait_for(lambda: any(SILVER in line for line in service.batches()), "silver's first batch")
    psutil.Process(engine_status(lake.settings).pid).kill()
    # a transient error: the service is not well, and does not end
    service.wait_for(lambda: service.health().status_code == 503, "it noticed")
    service.wait_for(lambda: service.health().status_code == 200, "it was well again")
    land(files=2, first_file=2, rows_per_file=ROWS, late_share=0)
    service.wait_for(lambda: places(lake) == expected(4), "all files were in")
    assert max(table["restarts"] for table in service.health().json()["tables"]) >= 1
    killed = store_status(lake.settings).pid
    psutil.Process(killed).kill()
    # started again before the streams have given up
    service.wait_for(lambda: getattr(store_status(lake.settings), "pid", killed) != killed, "it started the store")
    service.wait_for(lambda: answers(lake), "the store answered")
    land(files=2, first_file=4, rows_per_file=ROWS, late_share=0)
    service.wait_for(lambda: places(lake) == expected(6), "all files were in")
    assert service.end(signal.SIGINT) == 0
    checks = lakehouse_json_here(environment, "ingest", TABLE, SILVER)["checks"]
    assert {check["check"]: check["passed"] for check in checks} == {check["check"]: True for check in checks}
