"""Kills of the local engine at exact points, of the command and of the processes that read for it, on its three tables.

``python -m e2e.local_kills --kills 150 --seed 1 --home FOLDER`` runs as many as asked for, each followed by a clean run
and an audit, and prints a JSON line a kill. With ``--spark`` every other clean run is Spark's.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from command import COMMAND, lakehouse, lakehouse_here
from e2e import kill_matrix
from e2e.kill_matrix import POINTS, TABLE, KillMatrix, killing_proxy

from lakehouse.autoloader.outcomes.file_states import file_states
from lakehouse.engine import engine_in_use, stop_engine
from lakehouse.lake import Lake
from lakehouse.orders.samples import generate_orders
from lakehouse.processes import HEARING
from lakehouse.storage import stop_store

DECLARATION = """
tables:
  bronze.orders_autoloader:
    files:
      path: s3a://${LAKEHOUSE_LANDING_BUCKET}/${LAKEHOUSE_LANDING_PREFIX}
      glob: orders_stream_*.json
      options: {cloudFiles.inferColumnTypes: true, cloudFiles.maxFilesPerTrigger: 2, minPartitions: 2}
  silver.newest:
    latest: {of: bronze.orders_autoloader, key: payment_method}
  gold.by_quantity:
    rollup:
      of: silver.newest
      group: {quantity: quantity}
      aggregates: {methods: count(*), revenue: sum(total_amount), newest_file: max(_source_sequence)}
"""
FIRST = {
    "metadata": rb"PUT /\S+/_checkpoints/\S+/metadata[ ?]",
    "schema": rb"PUT /\S+/_schemas/\S+",
}
"""Only the first run of a lake asks for these."""
LATEST = {
    "latest_offsets": rb"PUT /\S+/_checkpoints/silver\.newest/offsets/\d+[ ?]",
    "latest_data": rb"PUT /\S+/silver/newest/part-\S+\.parquet",
    "latest_changes": rb"PUT /\S+/silver/newest/_change_data/\S+\.parquet",
    "latest_delta": rb"PUT /\S+/silver/newest/_delta_log/\d+\.json",
    "latest_commits": rb"PUT /\S+/_checkpoints/silver\.newest/commits/\d+[ ?]",
}
"""What the table of latest versions asks for, behind bronze."""
ROLLUP = {
    "rollup_offsets": rb"PUT /\S+/_checkpoints/gold\.by_quantity/offsets/\d+[ ?]",
    "rollup_data": rb"PUT /\S+/gold/by_quantity/part-\S+\.parquet",
    "rollup_delta": rb"PUT /\S+/gold/by_quantity/_delta_log/\d+\.json",
    "rollup_commits": rb"PUT /\S+/_checkpoints/gold\.by_quantity/commits/\d+[ ?]",
}
"""The same of the rollup behind that."""
TARGETS = ("here", "beside", "reader")
"""The command that reads by itself; the command, its readers beside it; a reader alone."""
READER_POINTS = ("read", "receipt", "data")
BESIDE = [
    sys.executable,
    "-c",
    "import lakehouse.direct.pool as pool; pool._SMALL_BYTES = -1; from lakehouse.cli.main import main; main()",
]
"""The same command; also small batches are read by processes of their own."""


class LocalKills(KillMatrix):
    """One lake of the local engine that grows by two files a kill."""

    def __init__(self, home, name, proxy):
        super().__init__(home, name, proxy)
        declaration = Path(home) / f"local-kills-{name}.yaml"
        declaration.write_text(DECLARATION)
        settings = self.lake.settings.model_copy(update={"declaration": declaration})
        self.lake = Lake(settings, self.lake.endpoint, self.lake.store)
        self.environment |= {
            "LAKEHOUSE_DECLARATION": str(declaration),
            "LAKEHOUSE_LANDING_BUCKET": settings.landing_bucket,
            "LAKEHOUSE_ENGINE": "local",
        }

    def kill(self, point, before, target, *, recover_by="local", new_column=None):
        """Whether the point was reached, and whether every row was there once after the next clean run."""
        self.land(new_column)
        orphans = []
        process = psutil.Popen(
            [*HEARING, *(COMMAND if target == "here" else BESIDE), "ingest"],
            env=self.environment,
            stdout=-1,
            stderr=-1,
        )
        self.proxy.arm(point, before, lambda: self.strike(process, target, orphans))
        process.communicate(timeout=120)
        fired = self.proxy.fired.is_set()
        self.proxy.disarm()
        _, alive = psutil.wait_procs(orphans, timeout=20)
        started = time.monotonic()
        # not by way of the proxy, which is of this process, too: deltalake holds on to the interpreter while it waits
        directly = {**self.environment, "LAKEHOUSE_S3_ENDPOINT": self.lake.endpoint.url}
        run = lakehouse_here if recover_by == "local" else lakehouse  # a session is of one lake
        clean = run({**directly, "LAKEHOUSE_ENGINE": recover_by}, "ingest", "--json")
        seconds = round(time.monotonic() - started, 1)
        passed = clean.returncode == 0 and all(check["passed"] for check in json.loads(clean.stdout)["checks"])
        again = lakehouse_here(directly, "ingest", "--json")
        quiet = again.returncode == 0 and not any(table["batches"] for table in json.loads(again.stdout)["tables"])
        return {
            "point": point,
            "before": before,
            "target": target,
            "fired": fired,
            "by": recover_by,
            "recovered": clean.returncode == 0,
            "recovery_seconds": seconds,
            "exact": self.is_exact(),
            "checks": passed,
            "nothing_more": quiet,
            "readers_left": len(alive),
            **({} if clean.returncode == 0 else {"error": (clean.stdout + clean.stderr)[-600:]}),
        }

    def run(self, beside=False):
        """A run in a process of its own, by way of the proxy."""
        command = [*(BESIDE if beside else COMMAND), "ingest", TABLE]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=120)

    def states(self):
        """What became of each file."""
        return list(file_states(self.lake.store, self.lake.settings.checkpoint_uri(TABLE)))

    def land(self, new_column=None):
        """Two files; in the second there may be a new column."""
        bucket, prefix = self.lake.settings.landing_bucket, self.lake.settings.landing_prefix
        generate_orders(
            lambda name, data: self.lake.store.write(bucket, prefix + name, data),
            files=2,
            first_file=self.files,
            rows_per_file=kill_matrix.ROWS,
            late_share=0,
            new_column=new_column,
            new_column_from_file=self.files + 1 if new_column else None,
        )
        self.files += 2

    def strike(self, process, target, orphans=None):
        """Kills the command, or one of its readers."""
        with suppress(psutil.Error):
            readers = [
                child for child in process.children(recursive=True) if "direct.worker" in " ".join(child.cmdline())
            ]
            if target == "reader" and readers:  # the columns of a new lake are found by the command itself
                readers[0].kill()
                return
            orphans.extend(readers)
            process.kill()

    def orphaned_files(self):
        """Data files that no version names."""
        bucket, prefix = self.lake.settings.bucket, f"{self.lake.settings.user}/bronze/orders_autoloader/part-"
        there = {info.key.rsplit("/", 1)[1] for info in self.lake.store.list(bucket, prefix)}
        table = self.lake.delta(TABLE)
        named = {uri.rsplit("/", 1)[1] for uri in table.file_uris()} if table else set()
        return len(there - named)


def is_good(outcome):
    """Whether nothing was lost, nothing doubled, and no reader outlived its command."""
    kept = ("recovered", "exact", "checks", "nothing_more")
    return all(outcome[name] for name in kept) and not outcome["readers_left"]


def arm_more_points():
    """Lets ``arm`` know the points of a first run, and of the tables behind, too."""
    POINTS.update({**FIRST, **LATEST, **ROLLUP})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", required=True)
    parser.add_argument("--lake-every", type=int, default=10, help="a new lake after so many kills")
    parser.add_argument("--spark", action="store_true", help="every other clean run is Spark's")
    chosen = parser.parse_args()
    dice = random.Random(chosen.seed)
    points = sorted([*POINTS, *LATEST, *ROLLUP])
    arm_more_points()
    proxy = killing_proxy(chosen.home)
    outcomes, orphaned = [], 0
    matrix = None
    try:
        while sum(outcome["fired"] for outcome in outcomes) < chosen.kills:
            first = len(outcomes) % chosen.lake_every == 0
            if first:
                orphaned += matrix.orphaned_files() if matrix else 0
                matrix = LocalKills(chosen.home, f"local-{chosen.seed}-{len(outcomes) // chosen.lake_every}", proxy)
            point = dice.choice([*points, *FIRST] if first else points)
            target = dice.choice(TARGETS if point in READER_POINTS else TARGETS[:2])
            by = "spark" if chosen.spark and len(outcomes) % 2 else "local"
            column = f"new_{len(outcomes)}" if dice.random() < 0.3 else None
            outcomes.append(matrix.kill(point, dice.random() < 0.5, target, recover_by=by, new_column=column))
            outcomes[-1]["new_column"] = bool(column)
            print(json.dumps(outcomes[-1]), flush=True)
    finally:
        proxy.listener.close()
        if engine_in_use(matrix.lake.settings):
            stop_engine(matrix.lake.settings)
        stop_store(matrix.lake.settings)
    fired = [outcome for outcome in outcomes if outcome["fired"]]
    bad = [outcome for outcome in outcomes if not is_good(outcome)]
    by = Counter(f"{outcome['point']}/{outcome['target']}" for outcome in fired)
    print(json.dumps({"kills": len(fired), "bad": len(bad), "orphaned_files": orphaned, "by": by}))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
