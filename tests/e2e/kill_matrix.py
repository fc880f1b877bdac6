"""Kills at exact points: a proxy before the object store waits for a request, and kills before or after it is served.

``python -m tests.e2e.kill_matrix --kills 200 --seed 1 --home FOLDER`` runs as many as asked for, each followed by a
clean run and an audit, and prints a JSON line a kill.
"""

import argparse
import json
import os
import random
import re
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from command import DECLARATION, lakehouse, start_lakehouse
from recording_proxy import RecordingProxy

from lakehouse.engine import engine_status, stop_engine
from lakehouse.lake import Lake
from lakehouse.orders.samples import file_name, generate_orders
from lakehouse.settings import Settings
from lakehouse.storage import stop_store

TABLE = "bronze.orders_autoloader"
POINTS = {
    "journal": rb"PUT /\S+/segments/\d+\.parquet",
    "offsets": rb"PUT /\S+/_checkpoints/\S+/offsets/\d+[ ?]",
    "read": rb"GET /landing/\S+orders_stream_\d+\.json",
    "receipt": rb"PUT /\S+/receipts/\S+\.jsonl",
    "data": rb"PUT /\S+/bronze/orders_autoloader/part-\S+\.parquet",
    "delta": rb"PUT /\S+/orders_autoloader/_delta_log/\d+\.json",
    "commits": rb"PUT /\S+/_checkpoints/\S+/commits/\d+[ ?]",
}
NUMBERED = rb"/(?:_delta_log/\d+\.json|offsets/\d+)"
"""Objects that nobody may write twice."""
TARGETS = ("client", "engine", "both")
ROWS = 5


class KillingProxy(RecordingProxy):
    """Forwards to ``port``; kills when an armed request passes, before it is sent on or before its answer is."""

    def __init__(self, port):
        self.armed, self.fired = None, threading.Event()
        self.poison, self.victims = None, []
        super().__init__(port, NUMBERED)

    def arm(self, point, before, kill):
        self.fired.clear()
        self.armed = (re.compile(POINTS[point]), before, kill)

    def disarm(self):
        self.armed = None

    def lets_pass(self, connection, data):
        if self.poison is not None and self.poison.match(data):
            self._kill_reader(connection.client.getpeername()[1])
            return False
        armed = self.armed
        if armed is not None and armed[0].match(data):
            if armed[1]:
                self._fire()
                connection.cut()  # cut off, not silent: that would be a minute's wait
                return False
            connection.waits = True
        return super().lets_pass(connection, data)

    def lets_back(self, connection, reply):
        if connection.waits:
            connection.waits = False
            self._fire()
            return False
        return super().lets_back(connection, reply)

    def _kill_reader(self, port):
        """Kills the process that asked: what a file does that makes its parser crash."""
        for connection in psutil.net_connections("tcp"):
            # a socket that is closing has no process, and None is this one for psutil
            if (
                connection.pid
                and connection.pid != os.getpid()
                and connection.laddr.port == port
                and connection.raddr[1:] == (self.port,)
            ):
                self.victims.append(connection.pid)
                with suppress(psutil.NoSuchProcess):
                    psutil.Process(connection.pid).kill()

    def _fire(self):
        armed, self.armed = self.armed, None
        if armed is not None:
            armed[2]()
            self.fired.set()


def killing_proxy(home):
    """A proxy before the embedded store of that home."""
    endpoint = Lake.open(Settings.load(home=Path(home), user="killed")).endpoint
    return KillingProxy(int(endpoint.url.rsplit(":", 1)[1]))


class KillMatrix:
    """One lake that grows by two files a kill; ``name`` makes it another's. Lakes of one proxy share an engine."""

    def __init__(self, home, name, proxy):
        embedded = Settings.load(
            home=Path(home),
            user="killed",
            bucket=f"killed-{name}",
            landing_prefix=f"killed-{name}/",
            declaration=DECLARATION,
        )
        self.lake, self.proxy = Lake.open(embedded), proxy
        endpoint = self.lake.endpoint
        self.environment = {
            **os.environ,
            "LAKEHOUSE_HOME": str(home),
            "LAKEHOUSE_USER": "killed",
            "LAKEHOUSE_DECLARATION": str(DECLARATION),
            "LAKEHOUSE_BUCKET": embedded.bucket,
            "LAKEHOUSE_LANDING_PREFIX": embedded.landing_prefix,
            "LAKEHOUSE_S3_ENDPOINT": self.proxy.url,
            "LAKEHOUSE_S3_ACCESS_KEY": endpoint.access_key.get_secret_value(),
            "LAKEHOUSE_S3_SECRET_KEY": endpoint.secret_key.get_secret_value(),
            "LAKEHOUSE_ENGINE_MEMORY": "1g",
        }
        self.files = 0

    def land(self, count=2):
        bucket, prefix = self.lake.settings.landing_bucket, self.lake.settings.landing_prefix
        generate_orders(
            lambda name, data: self.lake.store.write(bucket, prefix + name, data),
            files=count,
            first_file=self.files,
            rows_per_file=ROWS,
            late_share=0,
        )
        self.files += count

    def kill(self, point, before, target):
        """Whether the point was reached, and whether every row was there once after the next clean run."""
        self.land()
        process = start_lakehouse(self.environment, "ingest", TABLE)
        self.proxy.arm(point, before, lambda: self.strike(process, target))
        process.communicate(timeout=240)
        fired = self.proxy.fired.is_set()
        self.proxy.disarm()
        started = time.monotonic()
        clean = lakehouse(self.environment, "ingest", TABLE, "--json")
        return {
            "point": point,
            "before": before,
            "target": target,
            "fired": fired,
            "recovered": clean.returncode == 0,
            "recovery_seconds": round(time.monotonic() - started, 1),
            "exact": self.is_exact(),
            **({} if clean.returncode == 0 else {"error": (clean.stdout + clean.stderr)[-600:]}),
        }

    def strike(self, process, target):
        """Kills the command, the engine, or both."""
        if target in ("engine", "both"):
            status = engine_status(self.lake.settings)
            with suppress(psutil.Error):
                if status is not None:  # at its first requests a command has no engine yet
                    psutil.Process(status.pid).kill()
        if target in ("client", "both"):
            process.kill()

    def is_exact(self):
        table = self.lake.delta(TABLE)
        rows = table.to_pyarrow_table(columns=["_source_file", "_source_record"]).to_pylist() if table else []
        found = Counter((row["_source_file"].rsplit("/", 1)[1], row["_source_record"]) for row in rows)
        return found == Counter((file_name(number), row) for number in range(self.files) for row in range(ROWS))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", required=True)
    parser.add_argument("--lake-every", type=int, default=10, help="a new lake after so many kills")
    chosen = parser.parse_args()
    dice = random.Random(chosen.seed)
    proxy = killing_proxy(chosen.home)
    matrix = KillMatrix(chosen.home, f"{chosen.seed}-0", proxy)
    outcomes = []
    try:
        while sum(outcome["fired"] for outcome in outcomes) < chosen.kills:
            if outcomes and len(outcomes) % chosen.lake_every == 0:  # the first start of a lake is a case of its own
                matrix = KillMatrix(chosen.home, f"{chosen.seed}-{len(outcomes) // chosen.lake_every}", proxy)
            target = dice.choices(TARGETS, weights=(6, 2, 2))[0]
            outcomes.append(matrix.kill(dice.choice(sorted(POINTS)), dice.random() < 0.5, target))
            print(json.dumps(outcomes[-1]), flush=True)
    finally:
        proxy.listener.close()
        stop_engine(matrix.lake.settings)
        stop_store(matrix.lake.settings)
    fired = [outcome for outcome in outcomes if outcome["fired"]]
    bad = [outcome for outcome in outcomes if not (outcome["recovered"] and outcome["exact"])]
    print(
        json.dumps({"kills": len(fired), "bad": len(bad), "by": Counter(f"{o['point']}/{o['target']}" for o in fired)})
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
