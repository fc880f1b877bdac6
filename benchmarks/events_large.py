"""A look by events where very many files are known: journal, cursor and events are written, and no file is put."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from lakehouse.autoloader.context import Source
from lakehouse.autoloader.files import segments
from lakehouse.autoloader.files.notified import Folder
from lakehouse.autoloader.files.segments import key_hash, version_hash
from lakehouse.dagster.arrivals import Seen
from lakehouse.dagster.cursor import Cursor
from lakehouse.dagster.landing import landing_folders
from lakehouse.dagster.looking import look_around
from lakehouse.declaration import read_catalogue
from lakehouse.events.address import InboxAddress
from lakehouse.events.event import Event
from lakehouse.events.inbox import Reader
from lakehouse.events.places import open_inbox
from lakehouse.lake import Lake

_DECLARATION = """
tables:
  bronze.large:
    files:
      path: s3a://landing/large/
      engine: local
      options: {cloudFiles.useNotifications: true}
"""
_BUCKET, _FOLDER, _SEGMENT_FILES, _ROUNDS = "landing", "large/", 100_000, 5


def large_journal(lake: Lake, known: int, new: int) -> dict[str, Any]:
    """Looks for ``new`` files among ``known`` ones, some times; the sensor's looks beside it."""
    (lake.settings.home / "large.yaml").write_text(_DECLARATION)
    settings = lake.settings.model_copy(update={"declaration": lake.settings.home / "large.yaml"})
    lake = Lake(settings, lake.endpoint, lake.store)
    source = _source(lake)
    _write_segments(source, known)
    inbox = open_inbox(InboxAddress.of(settings))
    folder = Folder(source.store, source.path, source.journal, (settings.bucket, "none"))
    at = source.journal.position(known)
    inbox.listed(Reader(folder.reader, inbox.last_number(), at.seq, at.segment, datetime.now(UTC)))
    watched = landing_folders(read_catalogue(settings))
    now = datetime.now(UTC)
    listed_at = (now - timedelta(minutes=1)).isoformat(timespec="seconds")
    last_number = inbox.last_number()
    seen = Seen(known=known, last_key=f"{_FOLDER}~", listed_at=listed_at, high=now.isoformat(), told=last_number)
    looks, work, ticks, quiet = [], [], [], []
    for number in range(_ROUNDS + 1):
        moment = datetime.now(UTC)
        names = [f"{_FOLDER}{at * (known // new):08d}-{number}.json" for at in range(new)]
        inbox.put([Event(_BUCKET, key, f"{number:032x}", 9, moment, f"{number}", moment) for key in names], moment)
        before, started, busy = source.journal.high_water, time.perf_counter(), time.process_time()
        source.discover()
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        if (found := source.journal.high_water - before) != new:
            raise SystemExit(f"{found:,} of {new:,} files were found")
        looks.append(seconds)
        work.append(busy)
        cursor = Cursor().after(watched[0], seen)
        for times, wanted in ((ticks, new), (quiet, 0)):
            started = time.perf_counter()
            looked = look_around(lake, watched, cursor, now=datetime.now(UTC), in_a_hurry=lambda folder: False)
            times.append(time.perf_counter() - started)
            [(_, look)] = looked.found
            if look.new != wanted or look.whole:
                raise SystemExit(f"the sensor found {look.new:,} of {wanted:,} files")
            cursor = cursor.after(watched[0], look.after)
        seen = look.after
    first = looks.pop(0)
    inbox.close()
    return {
        "known": known,
        "new": new,
        "first_look_seconds": round(first, 3),
        "look_best_median_worst_seconds": _spread(looks),
        "look_processor_seconds_best_median_worst": _spread(work[1:]),
        "sensor_look_with_new_files_best_median_worst_seconds": _spread(ticks),
        "sensor_look_without_best_median_worst_seconds": _spread(quiet),
    }


def _source(lake: Lake) -> Source:
    settings = lake.settings
    [table] = read_catalogue(settings)
    return Source(table.flow.cloud_files(settings, table.name), None, endpoint=lake.endpoint)  # type: ignore[attr-defined]


def _write_segments(source: Source, known: int) -> None:
    """A journal of that many files, as merged segments hold them."""
    (bucket, prefix), now, previous = source.journal_place, datetime.now(UTC), ""
    for ordinal, start in enumerate(range(0, known, _SEGMENT_FILES), 1):
        count = min(_SEGMENT_FILES, known - start)
        keys = [f"{_FOLDER}{number:08d}.json" for number in range(start, start + count)]
        name, e_tag = f"made-{ordinal:06d}", "5d41402abc4b2a76b9719d911017c592"
        columns = {
            "seq": np.arange(start + 1, start + count + 1),
            "bucket": pa.repeat(_BUCKET, count),
            "key": keys,
            "e_tag": pa.repeat(e_tag, count),
            "size_bytes": np.full(count, 9),
            "last_modified": pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), count),
            "discovered": pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), count),
            "first": pa.repeat(True, count),
            "segment": pa.repeat(name, count),
            "replaces": np.zeros(count, np.int64),
            "key_hash": np.array([key_hash(key) for key in keys], np.uint64),
            "version_hash": np.full(count, version_hash(e_tag, 9), np.uint64),
            "stream": pa.repeat("", count),
        }
        table = pa.table(columns, schema=segments.SCHEMA)
        place = f"{prefix.rstrip('/')}/segments/{segments.name_of(ordinal, ordinal)}"
        source.store.write(bucket, place, segments.encode(segments.joined(table, previous)))
        previous = name


def _spread(seconds: list[float]) -> list[float]:
    ordered = sorted(seconds)
    return [round(value, 3) for value in (ordered[0], ordered[len(ordered) // 2], ordered[-1])]
