"""A client that is killed leaves its query running in the engine: nobody writes beside it."""

import os
import random
import threading
import time
from collections import Counter

import psutil
import pytest
from command import lakehouse, start_lakehouse
from recording_proxy import RecordingProxy

from lakehouse.engine import engine_status, stop_engine
from lakehouse.lake import Lake
from lakehouse.samples import file_name, generate_orders
from lakehouse.settings import Settings

TABLE = "bronze.orders_autoloader"
ROWS, FILES = 5, 12
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


class Orphans:
    """A lake whose clients are killed in mid-stream."""

    def __init__(self, home, other_home, proxy, name):
        own = Settings.load(home=home, user="orphan", bucket=f"orphan-{name}", landing_prefix=f"orphan-{name}/")
        self.lake, self.proxy, self.files = Lake.open(own), proxy, 0
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

    def orphan(self, commands, after_commits=2, slow_seconds=0.5):
        """Kills a client in a batch, starts ``commands`` at once; returns what they said, and the engine's process.

        Commits are slow meanwhile, so that the orphan lasts.
        """
        self.land()
        process, commits, due = start_lakehouse(self.environment, *commands[0]), [], threading.Event()

        def on_write(path):
            if "_delta_log" in path:
                commits.append(path)
                if len(commits) == after_commits:
                    process.kill()
                    due.set()
                time.sleep(slow_seconds)

        self.proxy.on_write = on_write
        try:
            assert due.wait(240), process.communicate(timeout=5)
            engine = engine_status(Settings.load(home=self.environment["LAKEHOUSE_HOME"], user="orphan"))
            process.communicate(timeout=10)
            said = {}
            threads = [
                threading.Thread(target=lambda one=one: said.update({one: self.run(one)})) for one in commands[1:]
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            self.proxy.on_write = lambda path: None
        return said, engine.pid

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
    for name, done in said.items():
        refused = done.returncode == 1 and ("is being written by" in done.stderr or "may still be" in done.stderr)
        assert done.returncode == 0 or refused, f"{name}: {done.stdout}{done.stderr}"
    assert any(done.returncode == 0 for done in said.values()), "a dead client keeps nobody out"
    assert not orphans.proxy.twice()
    clean = orphans.run("same engine")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert not orphans.proxy.twice()
    assert orphans.rows() == orphans.expected()


INGEST = ["ingest", TABLE]


def test_no_version_is_written_twice_when_a_client_is_killed_in_a_batch(home, other_home, proxy):
    orphans = Orphans(home, other_home, proxy, "short")
    said, engine = orphans.orphan([INGEST, "replay", "repair", "in process"])
    assert_one_writer(orphans, said)
    assert psutil.pid_exists(engine), "the engine itself was left to its other clients"


@pytest.mark.soak("many rounds, ingest and stream, with another home and the same engine among the writers")
def test_no_version_is_written_twice_through_many_kills(home, other_home, proxy):
    dice, orphans = random.Random(1), None
    for number in range(25):
        if number % 5 == 0:  # the first commits of a table are a case of their own
            orphans = Orphans(home, other_home, proxy, f"long-{number}")
        first = dice.choice([INGEST, ["stream", TABLE]])
        others = dice.sample(sorted(orphans.others), k=dice.randint(1, 3))
        said, _ = orphans.orphan([first, *others], dice.randint(1, 4), dice.random())
        assert_one_writer(orphans, said)
