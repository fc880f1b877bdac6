"""Three streams on one journal, driven as Spark drives a source and its sink, and killed at any call to the store.

The first stream can replace rows, as ``bronze.orders_autoloader`` does; the second only appends; the third appends
every version of a file. Spark's part is played here: ``offsets/N`` before batch N, ``commits/N`` after it, and a sink
that leaves out a batch which it has. Discovery, journal, receipts, replays and the choice of the rows that go are the
library's own. A model says what each table must hold.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
import uuid
from collections import Counter
from contextlib import suppress

from pyspark.sql.types import StructType

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.outcomes.file_states import file_states, read_stream_log
from lakehouse.autoloader.outcomes.file_sums import file_sums
from lakehouse.autoloader.outcomes.receipts import State
from lakehouse.autoloader.reading.columns import METADATA_TYPE
from lakehouse.autoloader.stream import Stream
from lakehouse.maintenance.replay import pending_replays, replay
from lakehouse.orders.tables import BRONZE
from lakehouse.storage import ObjectMissing
from lakehouse.streams import replacing

REPLACING, APPENDING, EVERY_VERSION = BRONZE, "bronze.second", "bronze.third"
TABLES = (REPLACING, APPENDING, EVERY_VERSION)
BROKEN = b"\x1f\x8b\x08\x00this is no gzip"
_SCHEMA = StructType().add("a", "long").add("_metadata", METADATA_TYPE)


class Killed(BaseException):
    """The process ends here."""


class KillingStore:
    """The store of a process that dies at one of its calls: before the server heard of it, or after."""

    def __init__(self, store, at=None, before=True):
        self._store, self._left, self._before, self._thread = store, at, before, threading.current_thread()

    def __getattr__(self, name):
        call = getattr(self._store, name)

        if threading.current_thread() is not self._thread:
            return call  # a lease is given back by a thread of its own

        def counted(*args, **more):
            die = False
            if self._left is not None:
                self._left -= 1
                die = self._left == 0
            if die and self._before:
                raise Killed
            found = call(*args, **more)
            if die:
                raise Killed
            return list(found) if name == "list" else found

        return counted


class Machine:
    """The three streams, the bucket, and the model of both.

    Args:
        lake: A lake; each machine has a folder of its own in it.
        overwrites: ``cloudFiles.allowOverwrites`` of the first stream: ``false`` or ``replace``.
        max_files: Files in one batch.
    """

    def __init__(self, lake, overwrites="false", max_files=2):
        name = uuid.uuid4().hex[:8]
        settings = lake.settings.model_copy(update={"user": name, "landing_prefix": f"{name}/"})
        self.lake, self.max_files = dataclasses.replace(lake, settings=settings), max_files
        self.modes = {REPLACING: overwrites, APPENDING: "false", EVERY_VERSION: "true"}
        self.journal_uri = f"{settings.journal_root}/orders"
        self.sinks = {table: Sink() for table in TABLES}
        self.bucket = {}  # key -> content number; None: broken
        self.numbers = itertools.count(1)
        self.model = Model(self.modes)

    # what happens to the bucket

    def put(self, key, content):
        """Content by number, so that a file can get an earlier content again; up to 0 it cannot be read."""
        self.bucket[key] = content
        data = (
            BROKEN + b"%d" % content
            if content <= 0
            else b"".join(b'{"a": %d}\n' % row for row in rows_of(key, content))
        )
        self.lake.store.write(self.lake.settings.landing_bucket, self._key(key), data)

    def remove(self, key):
        self.bucket.pop(key, None)
        self.lake.store.delete(self.lake.settings.landing_bucket, self._key(key))

    # what users do

    def replay(self, keys, kill=None):
        """Asked for again after a kill: twice is once."""
        if read_stream_log(self.lake.store, *split_uri(self.lake.settings.checkpoint_uri(REPLACING))) is None:
            return
        patterns = [self._key(key) for key in keys]
        overwrites = self.modes[REPLACING] != "false"
        if kill is not None:
            with suppress(Killed):
                replay(self._dying(kill), REPLACING, files=patterns, overwrites=overwrites, really=True)
            # the holder is this process, which lives on: of a dead one the lease would be free
            settings = self.lake.settings
            self.lake.store.delete(settings.bucket, f"{settings.user}/_checkpoints/{REPLACING}.lease")
        replay(self.lake, REPLACING, files=patterns, overwrites=overwrites, really=True)
        self.model.ask(keys, self.bucket)

    def run(self, table, kills=()):
        """Runs a stream to the end of what is there, killed and started again as ``kills`` say."""
        self.model.discover(self.bucket)
        for kill in [*kills, None]:
            try:
                self._run(self._dying(kill), table)
            except Killed:
                self.sums_tell_what_single_files_do(table)
                continue
        self.sums_tell_what_single_files_do(table)
        self.model.run(table, self.bucket)
        found = sorted((key, row) for _, key, row in self.sinks[table].rows)
        assert found == self.model.rows(table), f"{table} of {self.modes[table]}"
        if self.modes[table] == "false":
            numbers = {(key, seq) for seq, key, _ in self.sinks[table].rows}
            assert len(numbers) == len({key for key, _ in numbers}), "a file keeps the number of its first load"
            assert numbers <= set(self.model.first.items())
        if table == REPLACING:
            assert not pending_replays(self.lake, table)

    def sums_tell_what_single_files_do(self, table):
        location, store = self.lake.settings.checkpoint_uri(table), self.lake.store
        log = read_stream_log(store, *split_uri(location))
        if log is None:
            return
        in_table = Counter(seq for seq, _, _ in self.sinks[table].rows)
        states = [state for state in file_states(store, location, log=log) if state.ingestion_state is not None]
        sums = file_sums(store, log, in_table)
        singly = {state.sequence: state for state in sums.others}
        plain = [state for state in states if state.sequence not in singly]
        assert [state for state in states if state.sequence in singly] == list(sums.others)
        assert all((state.rows or 0) == in_table[state.sequence] and not state.error for state in plain)
        read = [state for state in plain if state.ingestion_state == State.INGESTED and state.commit_time]
        assert {state.ingestion_state for state in plain if state not in read} <= {State.PASSED_OVER}
        assert (sums.files, sums.read, sums.rows) == (len(plain), len(read), sum(state.rows for state in read))

    # Spark's part

    def _run(self, lake, table):
        store, place = lake.store, split_uri(lake.settings.checkpoint_uri(table))
        checkpoint = Checkpoint(store, *place)
        stream = self._stream(lake, table)
        replaces = table == REPLACING and (self.modes[table] == "replace" or pending_replays(lake, table))
        stream.fix_target()
        planned, finished = checkpoint.last("offsets"), checkpoint.last("commits")
        start = checkpoint.offset(finished) if finished is not None else None
        if start is None:
            start = checkpoint.offset(planned) and None
        batch = 0 if finished is None else finished + 1
        while True:
            if planned is not None and planned == batch:
                end = checkpoint.offset(batch)
                before = start or {**end, "seq": 0, "segment": ""}
            else:
                before = start or stream.beginning()
                end = stream.next_end(before, max_files=self.max_files, max_bytes=None)
                if end == before and batch:
                    return
                checkpoint.plan(batch, end)
            sink = self.sinks[table]
            if not sink.has(batch):
                rows = self._read(stream, before, end)
                gone = set()
                if replaces:
                    gone, left_out = self._places(store, lake, table, batch)
                    rows = [row for row in rows if row[0] not in left_out]
                store.info(lake.settings.bucket, "the sink's commit")  # a place to die at, before and after
                sink.commit(batch, rows, gone)
                store.info(lake.settings.bucket, "the sink's commit")
            checkpoint.finish(batch)
            start, batch = end, batch + 1

    def _read(self, stream, before, end):
        rows = []
        for task in stream.parts(before, end):
            for batch in stream.read(task, _SCHEMA):
                for row in batch.to_pylist():
                    said = row["_metadata"]
                    rows.append((said["sequence"], said["file_name"], row["a"]))
        return rows

    def _places(self, store, lake, table, batch):
        log = read_stream_log(store, *split_uri(lake.settings.checkpoint_uri(table)))
        after = log.ends[batch - 1][0] if batch - 1 in log.ends else 0
        end, overwrites = log.ends[batch][0], self.modes[table] == "replace"
        places = replacing.replaced_by(Journal.at(store, log.journal), log.stream, after, end, overwrites=overwrites)
        return replacing.decide(store, log, end, places, batch) if places else (set(), set())

    def _stream(self, lake, table):
        settings = self.lake.settings
        options = CloudFilesOptions.parse(
            {
                "path": settings.landing_uri,
                "cloudFiles.format": "json",
                "cloudFiles.journalLocation": self.journal_uri,
                "cloudFiles.schemaLocation": settings.schema_uri(table),
                "cloudFiles.allowOverwrites": self.modes[table],
            }
        )
        stream = Stream(options, None, endpoint=self.lake.endpoint)
        stream._source.__dict__["store"] = lake.store
        return stream

    def _dying(self, kill):
        at, before = kill or (None, True)
        return dataclasses.replace(self.lake, store=KillingStore(self.lake.store, at, before))

    def _key(self, key):
        return self.lake.settings.landing_prefix + key


class Sink:
    """A table: one commit a batch, all or nothing."""

    def __init__(self):
        self.rows, self.version = [], -1

    def has(self, batch):
        return batch <= self.version

    def commit(self, batch, rows, gone):
        self.rows = [row for row in self.rows if row[0] not in gone] + rows
        self.version = batch


class Checkpoint:
    """Spark's folder."""

    def __init__(self, store, bucket, prefix):
        self.store, self.bucket, self.prefix = store, bucket, prefix.rstrip("/") + "/"

    def last(self, folder):
        names = [info.key.rsplit("/", 1)[1] for info in self.store.list(self.bucket, f"{self.prefix}{folder}/")]
        return max(map(int, names), default=None)

    def offset(self, batch):
        if batch is None:
            return None
        return json.loads(self.store.read(self.bucket, f"{self.prefix}offsets/{batch}").decode().splitlines()[2])

    def plan(self, batch, end):
        try:
            self.store.read(self.bucket, f"{self.prefix}metadata")
        except ObjectMissing:
            self.store.write(self.bucket, f"{self.prefix}metadata", json.dumps({"id": uuid.uuid4().hex}).encode())
        text = f'v1\n{{"batchWatermarkMs":0}}\n{json.dumps(end)}'
        self.store.write(self.bucket, f"{self.prefix}offsets/{batch}", text.encode())

    def finish(self, batch):
        self.store.write(self.bucket, f"{self.prefix}commits/{batch}", b"v1\n{}")


class Model:
    """What each table must hold, from what happened to the bucket."""

    def __init__(self, modes):
        self.modes = modes
        self.journal = []  # (key, content) by number - 1; (None, None) is a replay
        self.newest, self.first = {}, {}
        self.read = dict.fromkeys(TABLES, 0)
        self.tables = {table: {} for table in TABLES}  # key -> list of contents
        self.asked = []

    def discover(self, bucket):
        for key in sorted(bucket):
            if self.newest.get(key) != bucket[key]:
                self.journal.append((key, bucket[key]))
                self.newest[key] = bucket[key]
                self.first.setdefault(key, len(self.journal))

    def ask(self, keys, bucket):
        for key in keys:
            known = [number for number, (name, _) in enumerate(self.journal, 1) if name == key]
            # where a newer version comes by itself, only the newest can be asked for
            which = known[-1:] if self.modes[REPLACING] == "replace" else known[:1]
            loaded = which and which[0] <= self.read[REPLACING]
            if loaded and key in bucket and key not in self.asked:
                self.asked.append(key)
                self.journal.append((None, None))

    def run(self, table, bucket):
        contents, mode = self.tables[table], self.modes[table]
        for number, (key, content) in enumerate(self.journal, 1):
            if number <= self.read[table] or key is None:
                continue
            is_there = key in bucket and (mode == "false" or bucket[key] == content)
            if not is_there or bucket[key] <= 0:
                continue
            if mode == "false" and self.first[key] == number:
                contents[key] = [bucket[key]]
            elif mode == "replace":
                contents[key] = [content]
            elif mode == "true":
                contents.setdefault(key, []).append(content)
        if table == REPLACING:
            for key in self.asked:
                if bucket.get(key, 0) > 0:
                    contents[key] = [bucket[key]]
            self.asked = []
        self.read[table] = len(self.journal)

    def rows(self, table):
        return sorted(
            (key, row) for key, some in self.tables[table].items() for content in some for row in rows_of(key, content)
        )


def rows_of(key, content):
    """The rows of a file: two, and one more for some."""
    return [100 * content + row for row in range(2 + (content + len(key)) % 2)]
