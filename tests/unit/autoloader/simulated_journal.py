"""The journal under every order of requests: real journals and discovery on one store, and a seed says who goes next.

Each request of a discoverer to the store hands the turn to whom the seed names. So four discoverers sleep over merges,
between a write and the look after it, in the middle of a listing; they crash at any request, and others take their
place. Whatever they read on the way is held against what all others read.

    cd tests && ../.venv/bin/python -m unit.autoloader.simulated_journal --seeds 100000
"""

import argparse
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import md5
from random import Random
from types import SimpleNamespace
from unittest import mock

import pyarrow as pa
from unit.autoloader.memory_store import Crash

from lakehouse.autoloader.files import discovery, journal, segments
from lakehouse.autoloader.files.discovery import discover
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.paths import SourcePath
from lakehouse.storage.store import ObjectExists, ObjectInfo, ObjectMissing

START = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = SourcePath.parse("s3a://landing/in/")
FAN_IN = 2
DISCOVERERS = 4
PART = 10_000


class Table:
    """A segment without the price of Parquet, and what ``pq.ParquetFile`` is asked for here."""

    def __init__(self, table):
        self._table, self.heads = table, {}
        seqs = segments.numbers(table["seq"], "int64")
        said = {0: (int(seqs[0]), int(seqs[-1])), 2: ("", max(table["key"].to_pylist()))}
        columns = {
            number: SimpleNamespace(statistics=SimpleNamespace(min=low, max=high))
            for number, (low, high) in said.items()
        }
        group = SimpleNamespace(column=columns.__getitem__)
        self.metadata = SimpleNamespace(num_row_groups=1, row_group=lambda _: group, metadata=table.schema.metadata)

    def read(self, columns=None, use_threads=False):
        return self._table if columns is None else self._table.select(columns)

    def read_row_group(self, number, columns=None, use_threads=False):
        return self.read(columns)


@contextmanager
def tables_as_objects():
    """Segments are kept as they are in memory: a history takes milliseconds."""

    def to_table(files):
        columns = {name: [file.__dict__[name] for file in files] for name in segments.COLUMNS}
        columns["key_hash"] = [segments.key_hash(file.key) for file in files]
        columns["version_hash"] = [segments.version_hash(file.e_tag, file.size_bytes) for file in files]
        return pa.table(columns, segments.SCHEMA)

    def open_segment(name, opened):
        if name not in opened.heads:
            opened.heads[name] = segments.head_of(name, opened)
        return opened.heads[name], opened

    with mock.patch.multiple(segments, encode=Table, to_table=to_table, open_segment=open_segment):
        yield


class World:
    """The objects, and whose turn it is.

    Listings come in pages, each true of another moment; a request may fail to come back, whether it was done or not.
    """

    def __init__(self, seed):
        self.random = Random(seed)
        self.objects = {}
        self.keys = []
        self.page = self.random.choice([2, 1000, 1000])
        self.crashes = self.random.choice([0, 0, 0.02])
        self.sleeps = self.random.choice([0.02, 0.1])
        self.stays = self.random.random() * 0.8
        self.turns = 0
        self.wakes = {}
        self.gates = {}
        self.history = defaultdict(list)
        self.reverts = self.random.random() < 0.5
        self.failed = False

    def put(self, bucket, key, data, modified=START):
        if (bucket, key) not in self.objects:
            self.keys = sorted([*self.keys, (bucket, key)])
        self.objects[bucket, key] = (data, modified)

    def delete(self, bucket, key):
        if self.objects.pop((bucket, key), None) is not None:
            self.keys = [place for place in self.keys if place != (bucket, key)]

    def send(self):
        """A file that is new, or new below its name, or again what it once was; its time says nothing."""
        key = f"in/{self.random.randrange(6)}"
        data = str(self.random.randrange(3) if self.reverts else self.turns).encode()
        self.put("landing", key, data, START + timedelta(hours=self.random.randrange(-9, 9)))
        if self.history[key][-1:] != [data]:
            self.history[key].append(data)

    def turn(self, me):
        """Lets whoever is next go on, until it is this one's turn again."""
        self.turns += 1
        if self.random.random() < self.sleeps:
            self.wakes[me] = self.turns + self.random.randrange(100)
        elif self.random.random() < self.stays:
            return
        self._hand_on(me)
        if self.failed:
            raise Crash

    def leave(self, me):
        del self.wakes[me]
        if self.wakes:
            self._hand_on(None)

    def _hand_on(self, me):
        awake = [discoverer for discoverer, at in self.wakes.items() if at <= self.turns]
        if awake:
            chosen = self.random.choice(awake)
        else:
            chosen = min(self.wakes, key=self.wakes.__getitem__)
            self.turns = self.wakes[chosen]
        if chosen != me:
            self.gates[chosen].release()
            if me is not None:
                self.gates[me].acquire()


class Store:
    """One discoverer's way to the world."""

    def __init__(self, world, me):
        self._world, self._me = world, me

    def _request(self):
        self._world.turn(self._me)
        self._maybe_crash()

    def _maybe_crash(self):
        if self._world.random.random() < self._world.crashes:
            raise Crash

    def list(self, bucket, prefix="", start_after=None):
        world, last = self._world, (bucket, max(prefix, start_after or ""))
        while True:
            self._request()
            low = bisect_right(world.keys, last)
            page = [
                pair for pair in world.keys[low : low + world.page] if pair[0] == bucket and pair[1].startswith(prefix)
            ]
            for place in page:
                data, modified = world.objects[place]
                if isinstance(data, bytes):
                    yield ObjectInfo(place[1], len(data), md5(data).hexdigest(), modified)
                else:
                    yield ObjectInfo(place[1], 1, "", modified)
            if len(page) < world.page:
                return
            last = page[-1]

    def read(self, bucket, key):
        self._request()
        if (bucket, key) not in self._world.objects:
            raise ObjectMissing("there is no such object")
        return self._world.objects[bucket, key][0]

    def write(self, bucket, key, data, *, if_absent=False, if_match=None):
        self._request()
        if if_absent and (bucket, key) in self._world.objects:
            raise ObjectExists("there")
        self._world.put(bucket, key, data)
        self._maybe_crash()

    def delete(self, bucket, key):
        self._request()
        self._world.delete(bucket, key)


class Simulation:
    """Discoverers of one world, and what must hold."""

    def __init__(self, seed):
        self.world = World(seed)
        self.said = {}
        self.places = []
        self.problems = []
        self.views = []

    def run(self, pool):
        world = self.world
        for me in range(DISCOVERERS):
            world.wakes[me] = world.random.randrange(3)
            world.gates[me] = threading.Semaphore(0)
        done = [pool.submit(self._guarded, me) for me in range(DISCOVERERS)]
        world._hand_on(None)
        for future in done:
            future.result()
        if not self.problems:
            self._in_the_end()

    def _guarded(self, me):
        self.world.gates[me].acquire()
        try:
            self._discoverer(me)
        except Crash:
            if not self.world.failed:
                raise
        except BaseException as error:  # the others have to end, too
            self.problems.append(error)
            self.world.failed = True
        finally:
            self.world.leave(me)

    def _opened(self, me):
        while True:
            try:
                return Journal(Store(self.world, me), "lake", "j/", now=lambda: START, fan_in=FAN_IN)
            except Crash:
                if self.world.failed:
                    raise

    def _discoverer(self, me):
        random, view = self.world.random, self._opened(me)
        for _ in range(random.randrange(2, 5)):
            self.world.send()
            try:
                self._look(me, view)
                if random.random() < 0.2 and view.high_water:
                    self._replay(view)
                self._read(view)
            except Crash:
                if self.world.failed:
                    raise
                view = self._opened(me)
            if random.random() < 0.3:
                self.world.wakes[me] = self.world.turns + random.randrange(100)
        self.views.append(view)

    def _look(self, me, view):
        store = view._store
        discover(store, SOURCE, view, ("lake", "j/audit.json"), now=lambda: START, audit_interval_seconds=3600)

    def _replay(self, view):
        seq = self.world.random.randint(1, view.high_water)
        for file in view.files(seq - 1, seq):
            again = ObjectInfo(file.key, file.size_bytes, file.e_tag, file.last_modified)
            assert view.replay("landing", [(again, seq)], f"stream-{seq % 2}") == 1

    def _read(self, view):
        """What a batch does: the places of others must be known here, and the files be the same."""
        high = view.high_water
        for place in self.places[-1:]:
            if place.seq <= high:
                view.verify(place)
        after = self.world.random.randint(0, high)
        self._same(view, after, high)
        if high:
            self.places.append(view.position(high))

    def _same(self, view, after, upto):
        files = list(view.files(after, upto))
        assert [file.seq for file in files] == list(range(after + 1, upto + 1))
        for file in files:
            assert self.said.setdefault(file.seq, file) == file, "a number names two files"

    def _in_the_end(self):
        world = self.world
        world.crashes = world.sleeps = 0
        world.stays = 1
        fresh = self._opened(None)
        for view in [*self.views, fresh]:
            view.refresh()
            self._same(view, 0, view.high_water)
        for place in self.places:
            fresh.verify(place)
        for view in (world.random.choice(self.views), fresh):  # whoever looks finds what is there, however old its view
            world.send()
            self._look(None, view)
            newest = {file.key: file.e_tag for file in view.files(0, view.high_water) if not file.stream}
            there = {
                key: md5(data).hexdigest() for (_, key), (data, _) in world.objects.items() if key in world.history
            }
            assert newest == there, "what is there was not found last"
        fresh.refresh()
        files = list(fresh.files(0, fresh.high_water))
        self._same(fresh, 0, fresh.high_water)
        assert len(self.said) == len(files), "a number disappeared"
        found = defaultdict(list)
        for file in files:
            if not file.stream:
                assert file.first == (not found[file.key])
                found[file.key].append(file.e_tag)
        for key, contents in world.history.items():
            tags = [md5(content).hexdigest() for content in contents]
            assert all(tag != other for tag, other in zip(found[key], found[key][1:], strict=False)), "twice"
            rest = iter(tags)
            assert all(tag in rest for tag in found[key]), "found in another order than sent"
        fresh.merge()
        names = {key.removeprefix("j/segments/") for bucket, key in world.objects if key.startswith("j/segments/")}
        last = fresh._segments[-1].last
        assert names - {segments.name_of(last, last)} <= {segment.name for segment in fresh._segments}, (
            "rubbish is left"
        )


def search(seeds, *, parquet=False):
    """Runs the seeds; the first that breaks a promise raises."""
    small = mock.patch.multiple(discovery, _PAGE=2, _APPEND=3)
    with small, mock.patch.object(journal.time, "sleep", lambda _: None), ThreadPoolExecutor(DISCOVERERS) as pool:
        for seed in seeds:
            simulation = Simulation(seed)
            if parquet:
                simulation.run(pool)
            else:
                with tables_as_objects():
                    simulation.run(pool)
            if simulation.problems:
                raise AssertionError(f"seed {seed}") from simulation.problems[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--parquet", action="store_true")
    told = parser.parse_args()
    began, end = time.monotonic(), told.first + told.seeds
    for first in range(told.first, end, PART):  # what was looked at stays known where the command is ended
        last = min(first + PART, end)
        search(range(first, last), parquet=told.parquet)
        spent = time.monotonic() - began
        print(f"{last - told.first:,} histories from {told.first:,}: every promise kept, {spent:.0f} s", flush=True)
