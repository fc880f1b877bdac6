"""A client that is killed leaves its query running in the engine: nobody writes beside it."""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import psutil
import pytest
from command import lakehouse, start_lakehouse
from recording_proxy import RecordingProxy

from lakehouse.engine import end_writes, engine_pid, stop_engine
from lakehouse.lake import Lake
from lakehouse.orders.samples import file_name, generate_orders
from lakehouse.settings import Settings
from lakehouse.storage.lease_holder import Holder, this_host

TABLE = "bronze.orders_autoloader"
ROWS, FILES = 5, 6
NUMBERED = rb"/(?:_delta_log/\d+\.json|offsets/\d+)"


@pytest.fixture(scope="module")
def proxy(home, own_engine):
    endpoint = Lake.open(Settings.load(home=home, user="orphan")).endpoint
    made = RecordingProxy(int(endpoint.url.rsplit(":", 1)[1]), NUMBERED)
    yield made
    made.listener.close()
    stop_engine(Settings.load(home=home, user="orphan"))


@pytest.fixture(scope="module")
def other_home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("other-home")
    yield folder
    stop_engine(Settings.load(home=folder, user="orphan"))


def processes_with(port):
    return {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.laddr and connection.laddr.port == port
    }


class Orphans:
    """A lake whose clients are killed in mid-stream."""

    def __init__(self, home, other_home, proxy, name):
        own = Settings.load(home=home, user="orphan", bucket=f"orphan-{name}", landing_prefix=f"orphan-{name}/")
        self.settings, self.lake, self.proxy, self.files = own, Lake.open(own), proxy, 0
        endpoint = self.lake.endpoint
        self.environment = {
            **os.environ,
            "LAKEHOUSE_HOME": str(home),
            "LAKEHOUSE_USER": "orphan",
            "LAKEHOUSE_BUCKET": own.bucket,
            "LAKEHOUSE_LANDING_PREFIX": own.landing_prefix,
            "LAKEHOUSE_S3_ENDPOINT": proxy.url,
            "LAKEHOUSE_S3_ACCESS_KEY": endpoint.access_key.get_secret_value(),
            "LAKEHOUSE_S3_SECRET_KEY": endpoint.secret_key.get_secret_value(),
            "LAKEHOUSE_ENGINE_MEMORY": "1g",
            "LAKEHOUSE_BRONZE_MAX_FILES_PER_TRIGGER": "1",
        }
        self.others = {
            "replay": (["replay", "--table", TABLE, "--files", file_name(0), "--yes"], {}),
            "repair": (["checkpoint", "repair", TABLE, "--yes"], {}),
            "in process": (["ingest", TABLE], {"LAKEHOUSE_SPARK_REMOTE": "local[2]"}),
            "other home": (["ingest", TABLE], {"LAKEHOUSE_HOME": str(other_home)}),
            "same engine": (["ingest", TABLE], {}),
        }

    def land(self, count=FILES):
        bucket, prefix = self.lake.settings.landing_bucket, self.lake.settings.landing_prefix
        generate_orders(
            lambda name, data: self.lake.store.write(bucket, prefix + name, data),
            files=count,
            first_file=self.files,
            rows_per_file=ROWS,
            late_share=0,
        )
        self.files += count

    def orphan(self, commands, after_commits=2, slow_seconds=3.0, files=FILES):
        """Kills a client in a batch, starts ``commands`` at once; returns what they said, and the engine's process.

        The orphan's commits are slow, so that it lasts.
        """
        self.land(files)
        process, commits, due = start_lakehouse(self.environment, *commands[0]), [], threading.Event()

        def on_write(path, port):
            if "_delta_log" not in path:
                return
            commits.append(path)
            if len(commits) == after_commits:
                process.kill()
                due.set()
            if due.is_set() and engine_pid(self.settings) in processes_with(port):
                time.sleep(slow_seconds)

        said = {}

        def run(name):
            said[name] = self.run(name)

        self.proxy.on_write = on_write
        try:
            assert due.wait(240), process.communicate(timeout=5)
            process.communicate(timeout=10)
            threads = [threading.Thread(target=run, args=(command,)) for command in commands[1:]]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self.proxy.on_write = lambda path, port: None
        return said

    def run(self, name):
        arguments, variables = self.others[name]
        return lakehouse({**self.environment, **variables}, *arguments)

    def rows(self):
        table = self.lake.delta(TABLE)
        rows = table.to_pyarrow_table(columns=["_source_file", "_source_record"]).to_pylist()
        return Counter((row["_source_file"].rsplit("/", 1)[1], row["_source_record"]) for row in rows)

    def expected(self):
        return Counter((file_name(number), row) for number in range(self.files) for row in range(ROWS))


def assert_one_writer(orphans, said):
    assert not orphans.proxy.twice(), said
    for name, done in said.items():
        told = any(text in done.stderr for text in ("is being written by", "may still be", "was faster"))
        refused = done.returncode == 1 and told
        assert done.returncode == 0 or refused, f"{name}: {done.stdout}{done.stderr}"
    assert any(done.returncode == 0 for done in said.values()), "a dead client keeps nobody out"
    clean = orphans.run("same engine")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert not orphans.proxy.twice()
    assert orphans.rows() == orphans.expected()


INGEST = ["ingest", TABLE]


def test_no_version_is_written_twice_when_a_client_is_killed_in_a_batch(home, other_home, proxy):
    orphans = Orphans(home, other_home, proxy, "short")
    said = orphans.orphan([INGEST, "replay", "same engine"], slow_seconds=2.0, files=4)
    engine = engine_pid(orphans.settings)
    assert_one_writer(orphans, said)
    assert engine and engine == engine_pid(orphans.settings), "the engine was left to its other clients"


WRITER = """
import sys, threading, time, uuid
from lakehouse.engine import connect, engine_in_use
from lakehouse.lake import Lake
from lakehouse.storage.lease_holder import Holder
from lakehouse.streams.transaction import SOURCE_VIEW

lake = Lake.open()
session, number = connect(lake), uuid.uuid4()

def slowly(batches):
    time.sleep(8)
    yield from batches

def write(writer, name):
    rows = writer.range(0, 1, 1, 1).mapInArrow(slowly, "id BIGINT")
    rows.write.format("delta").save(lake.settings.table_uri(name))

session.range(1).createOrReplaceTempView(SOURCE_VIEW + number.hex)
for writer, name in zip((session, session.cloneSession(str(number))), sys.argv[1:]):
    threading.Thread(target=write, args=(writer, name), daemon=True).start()
print(Holder("a", "bronze.first", "", 1, "1", 0.0, engine=engine_in_use(lake.settings)).encoded().decode(), flush=True)
time.sleep(600)
"""


def committed(orphans, tables):
    """Those that have a commit; a table's log has a folder before."""
    bucket, first = orphans.settings.bucket, f"_delta_log/{0:020}.json"
    keys = {table: f"orphan/{table.replace('.', '/')}/{first}" for table in tables}
    return {table for table, key in keys.items() if orphans.lake.store.info(bucket, key) is not None}


@pytest.mark.soak("writes that are no queries, and a control: what nobody ends goes on")
def test_writes_of_a_killed_client_and_of_clones_of_its_session_are_ended(home, other_home, proxy):
    orphans = Orphans(home, other_home, proxy, "writes")
    for ended in (False, True):
        tables = {f"bronze.{name}_{'ended' if ended else 'left'}" for name in ("session", "clone")}
        command = [sys.executable, "-c", WRITER, *sorted(tables)]
        process = subprocess.Popen(command, env=orphans.environment, stdout=subprocess.PIPE, text=True)
        left = replace(Holder.decoded(process.stdout.readline().encode()), host=this_host())
        time.sleep(2)  # both are at work
        process.kill()
        process.wait()
        if ended:
            assert end_writes(orphans.lake, TABLE, left)
            assert end_writes(orphans.lake, TABLE, left), "a second time there is nothing to end"
        deadline = time.monotonic() + (12 if ended else 60)
        while time.monotonic() < deadline and committed(orphans, tables) != tables:
            time.sleep(0.5)
        assert committed(orphans, tables) == (set() if ended else tables)


@pytest.mark.soak("ORPHAN_ROUNDS of them, ingest and stream, another home and an engine in process among the writers")
@pytest.mark.timeout(3600)
def test_no_version_is_written_twice_through_many_kills(home, other_home, proxy):
    dice, orphans = random.Random(1), None
    for number in range(int(os.environ.get("ORPHAN_ROUNDS", "8"))):
        if number % 5 == 0:  # the first commits of a table are a case of their own
            orphans = Orphans(home, other_home, proxy, f"long-{number}")
        first = dice.choice([INGEST, ["stream", TABLE]])
        others = dice.sample(sorted(orphans.others), k=dice.randint(1, 3))
        said = orphans.orphan([first, *others], dice.randint(1, 4), 3 * dice.random())
        assert_one_writer(orphans, said)
