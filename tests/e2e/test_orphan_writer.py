"""Clients that are killed leave their queries running in the engine: nobody writes beside them."""

import os
import random
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from e2e.orphans import INGEST, TABLE, Orphans, assert_one_writer

from lakehouse.engine import end_writes
from lakehouse.storage.lease_holder import Holder, this_host

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
    keys = {table: f"killed/{table.replace('.', '/')}/{first}" for table in tables}
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
