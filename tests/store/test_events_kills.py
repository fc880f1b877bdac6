"""Files drop without a pause while streams and receivers are killed, and listing and events change places."""

import json
import os
import random
import subprocess
import threading
import time

import pytest
from command import COMMAND

from lakehouse.events import setup
from lakehouse.lake import Lake
from lakehouse.pipeline import check_table, run_table
from lakehouse.settings import Settings
from lakehouse.storage import stop_store
from lakehouse.streams.run import Run

TABLE, FILES = "bronze.told", 300
DECLARATION = """
tables:
  bronze.told:
    files: {path: s3a://landing/told/, engine: local, options: {cloudFiles.useNotifications: EVENTS}}
"""


@pytest.fixture
def told_lake(tmp_path):
    settings = Settings.load(home=tmp_path / "home", user="tester", declaration=tmp_path / "lakehouse.yaml")
    declare(settings, True)
    setup.enable(settings, {"landing": ["told/"]})
    yield Lake.open(settings)
    setup.stop_receiver(settings)
    stop_store(settings)


def declare(settings, events):
    settings.declaration.write_text(DECLARATION.replace("EVENTS", str(events).lower()))


@pytest.mark.soak("kills of processes during a continuous drop of files; test_events.py has crashes at named calls")
def test_every_row_is_there_once_while_streams_and_receivers_are_killed_and_modes_change(told_lake):
    settings, chance, dropped = told_lake.settings, random.Random(1), threading.Event()

    def drop():
        for number in range(FILES):
            name = f"told/{random.Random(number).randrange(10**6):06d}-{number}.json"
            told_lake.store.write("landing", name, json.dumps({"n": number}).encode())
            time.sleep(0.1)
        dropped.set()

    dropping = threading.Thread(target=drop)
    dropping.start()
    names = ("home", "user", "declaration")
    environment = {**os.environ, **{f"LAKEHOUSE_{name.upper()}": str(getattr(settings, name)) for name in names}}
    kills = 0
    while not dropped.is_set():
        declare(settings, chance.random() < 0.6)
        stream = subprocess.Popen(
            [*COMMAND, "stream", TABLE, "--trigger", "default"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        dropped.wait(chance.uniform(3, 9))
        receiver = setup.receiver_server(settings).running()
        if receiver is not None and chance.random() < 0.5:
            receiver.process().kill()
        stream.kill()
        stream.wait()
        kills += 1
    dropping.join()
    declare(settings, True)
    lake = Lake.open(settings)
    webhook = setup.webhook_of(setup.store_server(settings).folder)
    deadline = time.monotonic() + 120
    while webhook.waiting():
        assert time.monotonic() < deadline, "the store kept its events"
        time.sleep(0.1)
    run_table(lambda: None, lake, TABLE, Run())
    rows = lake.delta(TABLE).to_pyarrow_table(columns=["n"])["n"].to_pylist()
    assert sorted(map(int, rows)) == list(range(FILES))
    assert all(one.passed for one in check_table(lambda: None, lake, TABLE))
    assert kills > 2
