"""Two writers of one table in processes of their own, each of which believes that it has the lease.

``python -m store.local_writers --rounds 200 --seed 1 --home FOLDER`` plays as many rounds as asked for.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1]))

from store.local_world import TABLE, LocalWorld

from lakehouse.checkpoints import agreement
from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.direct import pool, stream
from lakehouse.errors import LakehouseError, TransientError
from lakehouse.lake import Lake
from lakehouse.pipeline import run_table
from lakehouse.settings import Settings
from lakehouse.storage import stop_store


def write(seed):
    """One of the writers: a run for each line that it is sent, slow at random places; answers with a line."""
    from contextlib import contextmanager

    dice, lake = random.Random(seed), Lake.open(Settings.load())

    @contextmanager
    def no_lease(*_):
        yield SimpleNamespace(check=lambda: None)

    agreement.loader_of = no_lease

    def slow(owner, name):
        plain = getattr(owner, name)

        def later(*given, **named):
            time.sleep(dice.choice((0, 0, 0.02, 0.1)))
            return plain(*given, **named)

        setattr(owner, name, later)

    for owner, name in ((SparkLog, "plan"), (SparkLog, "finish"), (stream, "commit"), (pool, "write_parts")):
        slow(owner, name)
    for _ in sys.stdin:
        try:
            run_table(None, lake, TABLE)
            said = ""
        except TransientError as error:
            said = f"transient: {error.what}"
        except LakehouseError as error:
            said = f"error: {error}"
        print(json.dumps(said), flush=True)


class Writers:
    """A table and its two writers, each with a home of its own."""

    def __init__(self, lake, folder, seed):
        self.world = LocalWorld(lake, folder).declare(options={"cloudFiles.maxFilesPerTrigger": 2})
        self.dice, self.files, self.said = random.Random(seed), 0, []
        endpoint, settings = lake.endpoint, self.world.lake.settings
        environment = {
            **os.environ,
            "LAKEHOUSE_S3_ENDPOINT": endpoint.url,
            "LAKEHOUSE_S3_ACCESS_KEY": endpoint.access_key.get_secret_value(),
            "LAKEHOUSE_S3_SECRET_KEY": endpoint.secret_key.get_secret_value(),
            "LAKEHOUSE_DECLARATION": str(settings.declaration),
            "LAKEHOUSE_USER": settings.user,
            "LAKEHOUSE_BUCKET": settings.bucket,
            "LAKEHOUSE_LANDING_PREFIX": settings.landing_prefix,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]),
        }
        self.writers = [
            subprocess.Popen(
                [sys.executable, "-c", f"from store.local_writers import write; write({seed * 2 + number})"],
                env={**environment, "LAKEHOUSE_HOME": str(folder / f"home{number}")},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(2)
        ]

    def round(self):
        """New files, some with a new column; both writers at once. Then one more run, and the rows must be exact."""
        for _ in range(self.dice.randint(1, 5)):
            more = {f"c{self.files}": 1} if self.dice.random() < 0.1 else {}
            self.world.put(f"{self.files:05}.json", [{"a": self.files, "n": row, **more} for row in range(3)])
            self.files += 1
        for writer in self.writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        self.said += [json.loads(writer.stdout.readline()) for writer in self.writers]
        self.world.load()

    def is_exact(self):
        found = sorted((int(a), int(n)) for a, n in self.world.rows("a", "n"))
        return found == [(a, n) for a in range(self.files) for n in range(3)]

    def close(self):
        for writer in self.writers:
            writer.stdin.close()
            writer.wait()
            writer.stdout.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", required=True)
    chosen = parser.parse_args()
    folder = Path(chosen.home)
    folder.mkdir(parents=True, exist_ok=True)
    bucket = f"writers-{chosen.seed}-{os.getpid()}"
    settings = Settings.load(home=folder, user="writers", bucket=bucket, landing_prefix=f"{bucket}/")
    writers, bad = Writers(Lake.open(settings), folder, chosen.seed), 0
    try:
        for _ in range(chosen.rounds):
            writers.round()
            bad += not writers.is_exact()
        checks = writers.world.failed_checks()
    finally:
        writers.close()
        stop_store(settings)
    errors = [line for line in writers.said if line.startswith("error")]
    lost = sum(line.startswith("transient") for line in writers.said)
    said = {"rounds": chosen.rounds, "files": writers.files, "bad": bad, "failed_checks": sorted(checks)}
    print(json.dumps({**said, "transient": lost, "errors": len(errors), "first_error": errors[:1]}))
    sys.exit(bool(bad or errors or checks))


if __name__ == "__main__":
    main()
