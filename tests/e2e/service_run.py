"""A service under files that keep coming: stopped, started, killed, started; then every row is there once.

``cd tests && python -m e2e.service_run --seconds 120 --home FOLDER`` prints one JSON object with counts and the time
from the writing of a file to the commit that holds its rows.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).parents[1]))

from command import DECLARATION, lakehouse_json, start_lakehouse

from lakehouse.engine import engine_status, stop_engine, warm_up
from lakehouse.lake import Lake
from lakehouse.orders.samples import file_name, generate_orders
from lakehouse.service.health import latency
from lakehouse.settings import Settings
from lakehouse.storage import stop_store

TABLE = "bronze.orders_autoloader"
ROWS = 5

_PATIENCE_SECONDS = 300


class Service:
    """A running ``lakehouse stream``; its output is read as it comes."""

    def __init__(self, environment, *arguments):
        self.process = start_lakehouse(environment, "stream", *arguments)
        self.errors, self.lines = [], []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, into), daemon=True)
            for stream, into in ((self.process.stderr, self.errors), (self.process.stdout, self.lines))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream, into):
        for line in stream:
            into.append(line.rstrip("\n"))

    def wait_for(self, condition, what):
        """Until the condition holds; a service that ends before, or that hangs, is an error with its own words."""
        began = time.monotonic()
        while not condition():
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended before {what}: {self.errors}")
            if time.monotonic() - began > _PATIENCE_SECONDS:
                raise AssertionError("\n".join([f"the service hangs before {what}", *self.threads()]))
            time.sleep(0.05)

    def threads(self):
        """How the service says that it is, what it said, and at last where each of its threads is."""
        try:
            health = requests.get(f"{self.address}/health", timeout=10).text
        except requests.RequestException as error:
            health = f"no health: {error}"
        self.process.send_signal(signal.SIGUSR1)
        time.sleep(2)
        return [health, *self.errors]

    @property
    def address(self):
        found = [re.search(r"health: (\S+)/health", line) for line in list(self.errors)]
        return next((match[1] for match in found if match), None)

    def health(self):
        self.wait_for(lambda: self.address, "it told its address")
        return requests.get(f"{self.address}/health", timeout=10)

    def batches(self):
        return [line for line in list(self.lines) if "#" in line]

    def end(self, number=signal.SIGTERM):
        """Exit code, after that signal."""
        self.process.send_signal(number)
        try:
            code = self.process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            said = self.threads()
            self.process.kill()
            raise AssertionError("\n".join([f"the service did not end on signal {number}", *said])) from None
        for reader in self._readers:
            reader.join(timeout=30)
        return code


class Sender:
    """Writes a file every ``pause`` seconds, until it is stopped."""

    def __init__(self, lake, pause):
        self.lake, self.pause, self.files = lake, pause, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self):
        began = time.monotonic()
        bucket, prefix = self.lake.settings.landing_bucket, self.lake.settings.landing_prefix
        while not self._stop.wait(max(began + self.files * self.pause - time.monotonic(), 0)):
            generate_orders(
                lambda name, data: self.lake.store.write(bucket, prefix + name, data),
                files=1,
                first_file=self.files,
                rows_per_file=ROWS,
                late_share=0,
            )
            self.files += 1

    def stop(self):
        self._stop.set()
        self._thread.join()


def places(lake):
    """How often each record of each file is in the table."""
    table = lake.delta(TABLE)
    rows = table.to_pyarrow_table(columns=["_source_file", "_source_record"]).to_pylist() if table else []
    return Counter((row["_source_file"].rsplit("/", 1)[1], row["_source_record"]) for row in rows)


def expected(files):
    return Counter((file_name(number), row) for number in range(files) for row in range(ROWS))


def put_to_commit(lake, environment):
    """Seconds from each file's writing to the writing of the commit with its rows, both by the store's clock."""
    files = lakehouse_json(environment, "files", "--table", TABLE)["files"]
    log = f"{lake.settings.user}/{TABLE.replace('.', '/')}/_delta_log/"
    commits = {info.key.removeprefix(log): info.last_modified for info in lake.store.list(lake.settings.bucket, log)}
    bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix
    landed = {info.key: info.last_modified for info in lake.store.list(bucket, prefix)}
    return {
        file["path"].rsplit("/", 1)[1]: (
            landed[file["path"].split(f"{bucket}/", 1)[1]],
            commits[f"{file['delta_version']:020d}.json"],
        )
        for file in files
    }


def disturb(lake, environment, *, seconds, pause, trigger):
    """A third of the time each: until SIGTERM, until SIGKILL, until the last file is in. Then what became of it."""
    arguments = (TABLE, "--trigger", trigger)
    service = Service(environment, *arguments)
    service.health()
    memory = [engine_status(lake.settings).memory_bytes]
    sender, codes, gaps, told = Sender(lake, pause), [], [], []
    for number in (signal.SIGTERM, signal.SIGKILL):
        # a third of the time, and some batches: the first start is the slowest
        time.sleep(seconds / 3)
        service.wait_for(lambda: len(service.batches()) >= 2, "its second batch")  # noqa: B023
        told.append(service.health().json()["tables"][0])
        began = time.time()
        codes.append(service.end(number))
        service = Service(environment, *arguments)
        service.wait_for(service.batches, "its first batch")
        gaps.append((began, time.time()))
    time.sleep(seconds / 3)
    sender.stop()
    service.wait_for(lambda: places(lake).total() >= sender.files * ROWS, "the last file was in")
    told.append(service.health().json()["tables"][0])
    memory.append(engine_status(lake.settings).memory_bytes)
    codes.append(service.end())
    pairs = put_to_commit(lake, environment).values()
    undisturbed = [
        (done - put).total_seconds()
        for put, done in pairs
        if not any(put.timestamp() <= end and done.timestamp() >= start for start, end in gaps)
    ]
    return {
        "files": sender.files,
        "rows": places(lake).total(),
        "exact": places(lake) == expected(sender.files),
        "exit_codes": codes,
        "batches": [table["batches"] for table in told],
        "all_files": latency((done - put).total_seconds() for put, done in pairs),
        "files_of_undisturbed_service": {"files": len(undisturbed), **latency(undisturbed)},
        "told_by_the_service": [table["latency_p95_seconds"] for table in told],
        "down_seconds": [round(end - start, 1) for start, end in gaps],
        "engine_megabytes": [round(size_bytes / 1e6) for size_bytes in memory],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--pause", type=float, default=1, help="seconds between two files")
    parser.add_argument("--trigger", default="processing-time=1s")
    parser.add_argument("--home", required=True)
    chosen = parser.parse_args()
    name = f"service-{int(time.time())}"
    settings = Settings.load(
        home=Path(chosen.home), user="service", bucket=name, landing_prefix=f"{name}/", declaration=DECLARATION
    )
    lake = Lake.open(settings)
    environment = {
        **os.environ,
        "LAKEHOUSE_HOME": str(settings.home),
        "LAKEHOUSE_USER": settings.user,
        "LAKEHOUSE_DECLARATION": str(DECLARATION),
        "LAKEHOUSE_BUCKET": settings.bucket,
        "LAKEHOUSE_LANDING_PREFIX": settings.landing_prefix,
    }
    try:
        warm_up(lake)
        outcome = disturb(lake, environment, seconds=chosen.seconds, pause=chosen.pause, trigger=chosen.trigger)
    finally:
        stop_engine(settings)
        stop_store(settings)
    print(json.dumps({"seconds": chosen.seconds, "trigger": chosen.trigger, **outcome}, indent=2))
    sys.exit(not (outcome["exact"] and outcome["exit_codes"] == [0, -signal.SIGKILL, 0]))


if __name__ == "__main__":
    main()
