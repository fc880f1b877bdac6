"""``./dev demo --events``: files are dropped one at a time, and each is in bronze without a listing of their folder.

The demo has a home and servers of its own, and touches nothing of yours. The store itself counts the LIST requests.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from lakehouse.errors import LakehouseError, StreamFailed
from lakehouse.events import receiver_process, setup
from lakehouse.events.address import InboxAddress
from lakehouse.events.places import opened
from lakehouse.lake import Lake
from lakehouse.pipeline import run_table
from lakehouse.service.service import Service
from lakehouse.settings import Settings
from lakehouse.storage import stop_store
from lakehouse.streams.progress import BatchProgress
from lakehouse.streams.run import Run
from lakehouse.streams.trigger import Trigger

TABLE, _FOLDER = "bronze.dropped", "dropped/"
_DECLARATION = """
tables:
  bronze.dropped:
    files:
      path: s3a://landing/dropped/
      engine: local
      options: {cloudFiles.useNotifications: true, cloudFiles.listOnStart: true}
"""
_PATIENCE_SECONDS = 120.0
Say = Callable[[str], None]


def main() -> None:
    """Runs the demo; exit code 1 and one clear message when anything fails."""
    parser = argparse.ArgumentParser(prog="./dev demo --events", description=__doc__)
    parser.add_argument("--files", type=int, default=20, help="how many are dropped")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    chosen = parser.parse_args()
    console = Console(markup=False, emoji=False, stderr=chosen.json, highlight=False)
    try:
        with _own_lake(lambda text: console.print(text, style="dim", soft_wrap=True)) as lake:
            result = _demo(lake, max(chosen.files, 1), lambda text: console.print(text, soft_wrap=True))
    except LakehouseError as error:
        console.print(f"error: {error}", style="red")
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("interrupted", style="red")
        sys.exit(1)
    if chosen.json:
        print(json.dumps(result, indent=2))


@contextmanager
def _own_lake(say: Say) -> Iterator[Lake]:
    with tempfile.TemporaryDirectory(prefix="lakehouse-demo-") as folder:
        home = Path(folder)
        settings = Settings.load(home=home, user="demo", declaration=home / "lakehouse.yaml", engine="local")
        settings.declaration.write_text(_DECLARATION)
        try:
            setup.enable(settings, {settings.landing_bucket: [_FOLDER]}, say)
            yield Lake.open(settings)
        finally:
            receiver_process.stop_receiver(settings)
            stop_store(settings)


def _demo(lake: Lake, files: int, say: Say) -> dict[str, Any]:
    bucket = lake.settings.landing_bucket
    batches: list[BatchProgress] = []
    service = Service(lake, [TABLE], Trigger.parse("default"), on_batch=batches.append)

    def drop(number: int) -> float:
        """Puts a file and waits for its batch; returns the seconds from the PUT to the commit."""
        seen = len(batches)
        lake.store.write(bucket, f"{_FOLDER}{number:05d}.json", f'{{"number": {number}}}\n'.encode())
        _until(lambda: len(batches) > seen or not running.is_alive(), service)
        [seconds] = batches[-1].latencies_seconds
        return seconds

    running = threading.Thread(target=service.run, daemon=True)
    running.start()
    try:
        drop(0)
        before = lists(lake)
        say(f"a first file began the table, with a listing; LIST requests for s3a://{bucket}/ so far: {before}\n")
        latencies = []
        for number in range(1, files + 1):
            latencies.append(drop(number))
            say(f"  {number:05d}.json  in bronze {latencies[-1] * 1000:6,.0f} ms after its PUT")
        dropping = lists(lake) - before
    finally:
        service.stop.ask()
        running.join()
    before = lists(lake)
    run_table(lambda: None, lake, TABLE, Run())  # type: ignore[arg-type,return-value]
    with opened(InboxAddress.of(lake.settings)) as inbox:
        [reader] = inbox.readers()
    numbers = sorted(lake.rows(TABLE).to_table(columns=["number"])["number"].to_pylist(), key=int)  # type: ignore[union-attr]
    result = {
        "files": files,
        "rows": len(numbers),
        "list_requests_while_dropping": dropping,
        "list_requests_of_the_reconcile": lists(lake) - before,
        "files_that_no_event_told_of": reader.lost_in_all,
        "put_to_commit_p50_seconds": round(statistics.median(latencies), 3),
        "put_to_commit_p95_seconds": round(sorted(latencies)[max(round(len(latencies) * 0.95) - 1, 0)], 3),
    }
    say(f"\n{files} files dropped one at a time, each in bronze once; LIST requests meanwhile: {dropping}")
    say(f"PUT to commit: p50 {result['put_to_commit_p50_seconds']} s, p95 {result['put_to_commit_p95_seconds']} s")
    say(
        f"the reconcile, a listing behind the events: {result['list_requests_of_the_reconcile']} LIST requests, "
        f"{reader.lost_in_all} files that no event had told of"
    )
    if dropping or [int(text) for text in numbers] != list(range(files + 1)):
        raise StreamFailed(
            f"{len(numbers)} rows of {files + 1} files, and {dropping} LIST requests",
            where=TABLE,
            state="the demo's lake is removed",
            next_command="./dev demo --events",
        )
    return result


def lists(lake: Lake) -> int:
    """How many LIST requests the store has counted for the bucket of the files."""
    url = f"{lake.endpoint.url}/minio/metrics/v3/bucket/api/{lake.settings.landing_bucket}"
    with urllib.request.urlopen(url) as response:
        lines = response.read().decode().splitlines()
    counted = [line for line in lines if line.startswith("minio_bucket_api_total") and "ListObjects" in line]
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in counted))


def _until(condition: Callable[[], bool], service: Service) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise StreamFailed(
                f"a file did not come: {service.health.as_dict()}",
                where=TABLE,
                state="the demo's lake is removed",
                next_command="./dev demo --events",
            )
        time.sleep(0.005)


if __name__ == "__main__":
    main()
