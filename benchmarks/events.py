"""``./dev bench events``: how soon new files are known and loaded by events, beside a listing of the same folder.

A folder with many known files, MinIO and its receiver, all on this machine. ``told`` is from an object's time to its
event's commit in the inbox; ``loaded`` from an object's time to the end of its batch, by a service without pauses on
the local engine; ``look`` is one look for new files among the known ones, by events and by a listing, with the LIST
requests that the store counted; ``large`` the same by events, and a sensor's look, with a journal of many files that
were never put, and events of some; ``dagster`` from a file to the sensor's run request, to bronze and to gold, with the
seconds of the sensor's ticks. Then the inbox is away while files come: what was kept for it, and what one listing
finds.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.events_dagster import FOLDER as DROPPED
from benchmarks.events_dagster import by_dagster
from benchmarks.events_large import large_journal
from benchmarks.events_outage import BUCKET, FOLDER, KINDS, Place, outage, place_of, put, source_of, until
from benchmarks.own_lake import own_lake
from lakehouse.events import receiver_process, setup
from lakehouse.events.address import InboxAddress
from lakehouse.events.places import open_inbox
from lakehouse.lake import Lake
from lakehouse.service.service import Service
from lakehouse.streams.trigger import Trigger

_DECLARATION = """
tables:
  bronze.told:
    files:
      path: s3a://landing/told/
      engine: local
      options: {cloudFiles.useNotifications: true}
"""
_PARTS = ("service", "look", "large", "dagster", "outage")
_COUNT = "minio_bucket_api_total"


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="./dev bench events", description=__doc__)
    parser.add_argument("--known", type=int, default=20_000, help="files in the folder")
    parser.add_argument("--new", type=int, default=1_000, help="files that a look finds")
    parser.add_argument("--large", type=int, default=1_000_000, help="files in a journal that is written at once")
    parser.add_argument("--puts", type=int, default=60, help="files that the service loads, each alone")
    parser.add_argument("--drops", type=int, default=20, help="files that Dagster loads, each by a run of its own")
    parser.add_argument("--outage", type=int, default=2_000, help="files that come while nobody receives")
    parser.add_argument("--inbox", choices=KINDS, default="sqlite", help="of the outage; the other parts have a file")
    parser.add_argument("--only", choices=_PARTS, action="append", help="measure this alone; may be given again")
    chosen = parser.parse_args(arguments)
    wanted = set(chosen.only or _PARTS)
    if chosen.inbox != "sqlite" and wanted != {"outage"}:
        parser.error("another inbox than a file is only for --only outage")
    with place_of(chosen.inbox) as place, own_lake(engine="local", events_inbox=place.inbox) as made:
        settings = made.settings.model_copy(update={"declaration": made.settings.home / "lakehouse.yaml"})
        settings.declaration.write_text(_DECLARATION)
        lake = replace(made, settings=settings)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "service": lambda: _service(lake, chosen.puts),
            "look": lambda: _look(lake, chosen.known, chosen.new),
            "large": lambda: large_journal(lake, chosen.large, chosen.new),
            "dagster": lambda: by_dagster(lake, chosen.drops),
            "outage": lambda: {"inbox": chosen.inbox, **_outage(lake, place, chosen.outage)},
        }
        try:
            if chosen.inbox != "sqs":
                setup.enable(settings, {BUCKET: ["told/", "large/", DROPPED]})
            lake = replace(lake, endpoint=Lake.open(settings).endpoint)
            result = {name: measured() for name, measured in parts.items() if name in wanted}
            load = [round(average, 1) for average in os.getloadavg()]
            print(json.dumps({**result, "load_of_the_machine": load, "cores": os.cpu_count()}, indent=1))
        finally:
            receiver_process.stop_receiver(settings)


def _service(lake: Lake, puts: int) -> dict[str, Any]:
    latencies: list[float] = []
    put(lake, ["told/0.json"])
    service = Service(
        lake,
        ["bronze.told"],
        Trigger.parse("default"),
        on_batch=lambda batch: latencies.extend(batch.latencies_seconds),
    )
    running = threading.Thread(target=service.run)
    running.start()
    until(lambda: len(latencies) >= 1, lambda: f"the first batch; {service.health.as_dict()}")
    latencies.clear()
    for number in range(puts):
        put(lake, [f"told/{number:05d}.json"])
        time.sleep(0.3)
    until(lambda: len(latencies) >= puts, lambda: f"{len(latencies)} of {puts} files; {service.health.as_dict()}")
    service.stop.ask()
    running.join()
    return {"files": puts, "loaded_seconds": _percentiles(latencies), "told_seconds": _event_seconds(lake, "told/")}


def _look(lake: Lake, known: int, new: int) -> dict[str, Any]:
    lists = {"told": source_of(lake, "a", events=True), "listed": source_of(lake, "b", events=False)}
    put(lake, [f"many/{number:08d}.json" for number in range(known)])
    setup.enable(lake.settings, {BUCKET: [FOLDER]})  # of the known files no event is wanted
    for source in lists.values():
        source.discover()
    # behind known keys, so that no look may begin after the last one
    names = [f"many/{number * (known // new):08d}-new.json" for number in range(new)]
    put(lake, names)
    inbox = open_inbox(InboxAddress.of(lake.settings))
    until(lambda: len(inbox.has(BUCKET, names)) == new, lambda: f"{inbox.size()} events")
    inbox.close()
    result: dict[str, Any] = {"known": known, "new": new}
    for name, source in lists.items():
        before, requests = source.journal.high_water, _lists(lake)
        started = time.monotonic()
        source.discover()
        seconds = time.monotonic() - started
        found = source.journal.high_water - before
        if found != new:
            raise SystemExit(f"{name}: {found:,} of {new:,} files were found")
        result[name] = {"seconds": round(seconds, 3), "list_requests": int(_lists(lake) - requests)}
    return result


def _outage(lake: Lake, place: Place, files: int) -> dict[str, Any]:
    if InboxAddress.of(lake.settings).kind != "sqs":  # to which the embedded store sends nothing
        setup.enable(lake.settings, {BUCKET: [FOLDER]})
    return outage(lake, place, files)


def _event_seconds(lake: Lake, prefix: str) -> list[float]:
    inbox = open_inbox(InboxAddress.of(lake.settings))
    events = inbox.read(BUCKET, prefix, 0, inbox.last_number(), 1_000_000)
    seconds = [
        (inbox_event.received - inbox_event.event.modified).total_seconds()
        for inbox_event in events
        if inbox_event.event.modified
    ]
    inbox.close()
    return _percentiles(seconds)


def _lists(lake: Lake) -> float:
    """LIST requests for the bucket, as the store counted them."""
    with urllib.request.urlopen(f"{lake.endpoint.url}/minio/metrics/v3/bucket/api/{BUCKET}") as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(_COUNT) and "ListObjects" in line)


def _percentiles(seconds: list[float]) -> list[float]:
    return [round(percentile, 3) for percentile in np.percentile(seconds, [50, 95]).tolist()]


if __name__ == "__main__":
    main()
