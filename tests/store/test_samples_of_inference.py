"""Which bytes inference looks at: the newest files up to two limits, each once, on a real store."""

import gzip
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest

from lakehouse.autoloader.context import Source
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.reading.fetch import Fetcher


@pytest.fixture
def fetched(monkeypatch):
    """Keys and ranges asked for, in the order of the requests."""
    asked, get = [], obstore.get

    def counting(store, key, *, options):
        asked.append((key, options.get("range")))
        return get(store, key, options=options)

    monkeypatch.setattr(obstore, "get", counting)
    return asked


def columns(world, **options):
    """Names of the inferred columns."""
    named = {
        "path": f"s3a://{world.bucket}/{world.folder}",
        "cloudFiles.format": "json",
        "cloudFiles.schemaLocation": f"s3a://{world.lake.settings.bucket}/schemas/{time.time_ns()}",
        **{f"cloudFiles.schemaInference.sampleSize.{name}": str(value) for name, value in options.items()},
    }
    schema = Source(CloudFilesOptions.parse(named), None).inferred_schema()
    return set(schema.names) - {"_rescued_data", "_metadata"}


def line(name):
    return json.dumps({name: "x" * 80}).encode() + b"\n"


def test_a_thousand_files_are_fetched_once_each_and_no_more(world, fetched):
    def put(number):
        world.put(f"{number:05d}.json", line(f"c{number}"))

    with ThreadPoolExecutor(8) as pool:
        for numbers in (range(100), range(100, 1090)):
            list(pool.map(put, numbers))
    for number in range(1090, 1100):  # the newest, one after the other
        put(number)
    assert columns(world) == {f"c{number}" for number in range(100, 1100)}
    assert Counter(key for key, _ in fetched) == {f"{world.folder}{number:05d}.json": 1 for number in range(100, 1100)}
    assert all(asked is None for _, asked in fetched)
    fetched.clear()
    assert columns(world, numFiles=3) == {"c1097", "c1098", "c1099"}
    assert len(fetched) == 3


def test_the_limit_of_bytes_counts_lines_across_plain_and_compressed_files(world, fetched):
    size = len(line("a00"))
    for letter in "cba":
        lines = b"".join(line(f"{letter}{number:02d}") for number in range(10))
        world.put(
            f"{letter}.json.gz" if letter == "a" else f"{letter}.json", gzip.compress(lines) if letter == "a" else lines
        )
    for wanted in (1, 9, 10, 11, 19, 20, 21, 25, 30, 31):
        names = [f"{letter}{number:02d}" for letter in "abc" for number in range(10)]
        # a limit within a plain line takes it in; of a compressed file only whole lines below the limit
        assert columns(world, numBytes=wanted * size) == set(names[:wanted]), wanted
    assert columns(world, numBytes=12 * size + 1) == {f"a{n:02d}" for n in range(10)} | {"b00", "b01", "b02"}


def test_a_file_larger_than_a_piece_is_read_in_ranges_without_gap(world, fetched):
    lines = [json.dumps({f"c{number % 50}": "x" * 1000, "n": number}).encode() + b"\n" for number in range(17_000)]
    lines[-1] = b'{"last": 1}\n'
    world.put("large.json", b"".join(lines))
    assert columns(world) == {f"c{number}" for number in range(50)} | {"n", "last"}
    starts = sorted(asked[0] for _, asked in fetched)
    assert len(starts) == len(set(starts)) == 3, "two pieces of 8 MiB and the rest, each asked for once"


def test_a_file_that_vanished_leaves_its_bytes_to_the_next(world, monkeypatch):
    world.put("old.json", line("old"))
    world.put("gone.json", line("gone"))
    whole = Fetcher.lines

    def removed_first(fetcher, span, limit):
        if span.key.endswith("gone.json"):
            world.lake.store.delete(world.bucket, span.key)
        return whole(fetcher, span, limit)

    monkeypatch.setattr(Fetcher, "lines", removed_first)
    assert columns(world, numBytes=len(line("gone"))) == {"old"}
