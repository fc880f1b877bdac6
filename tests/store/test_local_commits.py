"""One commit a batch, whoever else writes, and whatever the store says to it."""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pyarrow as pa
import pytest
import storm_proxy
from command import lakehouse, lakehouse_here
from deltalake import write_deltalake
from deltalake.schema import Field, PrimitiveType
from e2e.kill_matrix import POINTS, KillingProxy
from store.local_world import TABLE, LocalWorld, NeedsSpark
from store.local_writers import Writers

from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.direct import commit as commits
from lakehouse.direct import stream as streams
from lakehouse.errors import TransientError
from lakehouse.lake import LakeTable


@pytest.fixture
def things(lake, tmp_path):
    return LocalWorld(lake, tmp_path).declare(options={"cloudFiles.inferColumnTypes": True})


def play(lake, tmp_path, rounds, seed):
    writers = Writers(lake, tmp_path, seed)
    try:
        for _ in range(rounds):
            writers.round()
            assert writers.is_exact(), writers.said
    finally:
        writers.close()
    assert writers.world.failures() == []
    assert not [line for line in writers.said if line.startswith("error")]


def test_two_writers_who_both_believe_to_be_alone_double_nothing(lake, tmp_path):
    play(lake, tmp_path, 5, 1)


def test_a_run_asks_the_log_of_its_table_no_more_often_the_more_batches_it_makes(things, monkeypatch):
    asked = []

    def counted(name, plain):
        return lambda *given, **named: asked.append(name) or plain(*given, **named)

    for name in ("history", "transaction_version"):
        monkeypatch.setattr(LakeTable, name, counted(name, getattr(LakeTable, name)))
    things.declare(options={"cloudFiles.maxFilesPerTrigger": 1})
    counts = []
    for files in (1, 2, 5):  # the first run makes the table
        for number in range(files):
            things.put(f"{files}-{number}.json", [{"a": number}])
        asked.clear()
        assert len(things.load().batches) == files
        counts.append(Counter(asked))
    assert counts[2] == counts[1]
    assert sorted(int(a) for (a,) in things.rows("a")) == [0, 0, 0, 1, 1, 2, 3, 4]


def test_a_batch_that_another_writer_planned_first_ends_where_that_one_said(things, monkeypatch):
    things.put("0.json", [{"a": 0}])
    things.load()
    for number in (1, 2, 3):
        things.put(f"{number}.json", [{"a": number}])
    plan = SparkLog.plan

    def planned_first(log, batch, offset):
        if batch == 1:
            plan(log, batch, {**offset, "seq": offset["seq"] - 2})
        plan(log, batch, offset)

    monkeypatch.setattr(SparkLog, "plan", planned_first)
    assert [(loaded_batch.batch_id, loaded_batch.files) for loaded_batch in things.load().batches] == [(1, 1), (2, 2)]
    assert [a for (a,) in things.rows("a")] == [0, 1, 2, 3]
    assert things.failed_checks() == set()


def test_a_batch_that_is_done_again_tells_what_waits_behind_it(things, monkeypatch):
    things.declare(options={"cloudFiles.maxFilesPerTrigger": 1})
    for number in range(3):
        things.put(f"{number}.json", [{"a": number}])

    def fail(*arguments):
        raise TransientError("no commit", where="", state="", next_command="")

    with monkeypatch.context() as patched:
        patched.setattr(streams, "commit", fail)
        with pytest.raises(TransientError):
            things.load()
    assert [(batch.batch_id, batch.backlog_files) for batch in things.load().batches] == [(0, 2), (1, 1), (2, 0)]


@pytest.mark.soak("twenty times the rounds of two writers")
def test_two_writers_double_nothing_in_a_hundred_rounds(lake, tmp_path):
    play(lake, tmp_path, 100, 2)


def append(world):
    opened = world.lake.delta(TABLE)
    row = pa.table({"a": pa.array([1000], pa.int64())})
    write_deltalake(opened, row, mode="append", schema_mode="merge")


def optimize(world):
    world.lake.delta(TABLE).optimize.compact()


def add_a_column(world):
    world.lake.delta(TABLE).alter.add_columns([Field("more", PrimitiveType("long"))])


def another_type(world):
    opened = world.lake.delta(TABLE)
    rows = opened.to_pyarrow_table()
    at = rows.schema.get_field_index("a")
    changed = rows.set_column(at, "a", rows["a"].cast(pa.string()))
    write_deltalake(opened, changed, mode="overwrite", schema_mode="overwrite")


def constrain(world):
    world.lake.delta(TABLE).alter.add_constraint({"small": "a < 100"})


FOREIGN = {"append": append, "optimize": optimize, "add a column": add_a_column}
LOADED = [0, 1, 2, 3, 4]


def load_two(things):
    for number in (0, 1):
        things.put(f"{number}.json", [{"a": number}])
        things.load()


def meanwhile(monkeypatch, action, *, within=False):
    """Lets ``action`` happen once between the reading of a batch and its commit; ``within``: after the commit began."""
    owner, name = (streams, "commit")
    if within:
        from lakehouse.direct import commit as owner

        name = "require_direct"
    plain, left = getattr(owner, name), [action]

    def then(*given, **named):
        if left:
            left.pop()()
        return plain(*given, **named)

    monkeypatch.setattr(owner, name, then)


@pytest.mark.parametrize("within", [False, True], ids=["before", "during"])
@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_others_commit_meanwhile_neither_loses_nor_doubles(things, monkeypatch, foreign, within):
    load_two(things)
    things.put("2.json", [{"a": 2}])
    meanwhile(monkeypatch, lambda: FOREIGN[foreign](things), within=within)
    try:
        things.load()
    except TransientError as error:
        assert "another writer was faster" in error.what
        assert (foreign, within) == ("add a column", True)
    for number in (3, 4):
        things.put(f"{number}.json", [{"a": number}])
    things.load()
    assert sorted(a for (a,) in things.rows("a")) == LOADED + ([1000] if foreign == "append" else [])
    assert things.failed_checks() == set()


@pytest.mark.parametrize("foreign", [another_type, constrain])
def test_rows_of_another_type_are_never_written_into_a_table_that_was_changed_meanwhile(things, monkeypatch, foreign):
    load_two(things)
    things.put("2.json", [{"a": 2}])
    meanwhile(monkeypatch, lambda: foreign(things))
    with pytest.raises(NeedsSpark):
        things.load()
    assert len(things.rows("a")) == 2, "every row can still be read"


def elsewhere(things, url):
    """The same lake for a command of another home, by way of a proxy."""
    settings, endpoint = things.lake.settings, things.lake.endpoint
    return {
        "LAKEHOUSE_HOME": str(things.tmp / "elsewhere"),
        "LAKEHOUSE_S3_ENDPOINT": url,
        "LAKEHOUSE_S3_ACCESS_KEY": endpoint.access_key.get_secret_value(),
        "LAKEHOUSE_S3_SECRET_KEY": endpoint.secret_key.get_secret_value(),
        "LAKEHOUSE_DECLARATION": str(settings.declaration),
        "LAKEHOUSE_USER": settings.user,
        "LAKEHOUSE_BUCKET": settings.bucket,
        "LAKEHOUSE_LANDING_PREFIX": settings.landing_prefix,
    }


@pytest.mark.parametrize("first", [True, False], ids=["of the table", "of a batch"])
def test_a_commit_whose_reply_was_lost_counts_once(things, monkeypatch, first):
    if not first:
        things.put("0.json", [{"a": 0}])
        things.load()
    things.put("1.json", [{"a": 1}])
    monkeypatch.setitem(POINTS, "delta", rb"PUT /\S+/things/_delta_log/\d+\.json")
    proxy = KillingProxy(int(things.lake.endpoint.url.rsplit(":", 1)[1]))
    proxy.arm("delta", False, lambda: None)
    done = lakehouse(elsewhere(things, proxy.url), "ingest", TABLE, "--json")
    proxy.listener.close()
    assert proxy.fired.is_set()
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["tables"][0]["rows_added"] == 1
    assert [a for (a,) in things.rows("a")] == ([1] if first else [0, 1])
    assert things.load().batches == ()
    assert things.objects() == {add["path"] for add in things.adds()}


def test_files_of_a_commit_whose_reply_was_lost_stay_when_they_were_joined_before_anybody_looked(things, monkeypatch):
    """The commit is in the table, and its files are not in the newest version: a reader that is behind needs them."""
    things.put("0.json", [{"a": 0}])
    things.load()
    things.put("1.json", [{"a": 1}])
    real = commits._commit

    def lose_reply(*given):
        real(*given)
        things.lake.delta(TABLE).optimize.compact()
        raise OSError("connection closed before message completed")

    with monkeypatch.context() as patch:
        patch.setattr(commits, "_commit", lose_reply)
        assert things.load_rows() == 1
    settings = things.lake.settings
    before = LakeTable(settings.table_uri(TABLE), things.lake.endpoint, 1)
    assert sorted(before.to_pyarrow_table(columns=["a"])["a"].to_pylist()) == [0, 1]
    assert things.load().batches == ()


REFUSALS = {
    "conflict": b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "precondition": b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("fault", ["busy", "conflict", "precondition", "denied", "reset"])
def test_a_commit_that_the_store_refuses_once_or_for_good_is_not_doubled(things, monkeypatch, fault):
    things.put("0.json", [{"a": 0}])
    things.load()
    things.put("1.json", [{"a": 1}])
    monkeypatch.setattr(storm_proxy, "REPLIES", {**storm_proxy.REPLIES, **REFUSALS})
    proxy = storm_proxy.StormProxy(int(things.lake.endpoint.url.rsplit(":", 1)[1]))
    plain, pattern = proxy._fault, re.compile(rb"PUT /\S+/things/_delta_log/\d+\.json")
    proxy._fault = lambda data: plain(data) if len(proxy.met) < 2 else None
    proxy.strike(pattern.pattern, fault)
    done = lakehouse_here(elsewhere(things, proxy.url), "ingest", TABLE, "--json")
    proxy.listener.close()
    assert proxy.met
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert json.loads(done.stdout)["next"]
        assert [a for (a,) in things.rows("a")] in ([0], [0, 1])
    things.put("2.json", [{"a": 2}])
    things.load()
    assert [a for (a,) in things.rows("a")] == [0, 1, 2]
    assert things.failed_checks() == set()
    assert things.load().batches == ()


def test_a_disk_without_room_for_a_byte_is_not_needed(things):
    things.put("0.json", [{"a": 0}])
    environment = elsewhere(things, things.lake.endpoint.url)
    assert lakehouse_here(environment, "ingest", TABLE).returncode == 0, "the home is there"
    things.put("1.json", [{"a": 1}])
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    command = [sys.executable, "-c", f"{full}; from lakehouse.cli.main import main; main()", "ingest", TABLE]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [a for (a,) in things.rows("a")] == [0, 1]
