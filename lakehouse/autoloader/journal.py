"""The journal: every file version ever found, with a number that never changes.

A journal is a folder of immutable segments on the object store. A discoverer gives new versions the next numbers and
writes them as the next segment with ``If-None-Match: *``: of two who try the same place one wins, and the other looks
again. So the files of (a, b] are the same for ever, on every machine, and an offset is one number. Segments are merged
as they grow many; a merged one holds the same rows.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse.autoloader import segments
from lakehouse.autoloader.known import KnownVersions
from lakehouse.autoloader.location import split_uri
from lakehouse.autoloader.segments import FileVersion, Segment
from lakehouse.errors import TerminalError, TransientError
from lakehouse.storage.contract import ObjectExists, ObjectInfo, ObjectMissing, ObjectStore

_HASHES = ["key_hash", "version_hash"]
_FAN_IN = 16
_MERGED_FILES = 100_000
_TRIES = 30
_CACHED = 2


class JournalMismatch(TerminalError):
    """A checkpoint names a place that this journal does not have: one of the two was lost or restored."""


def utc_now() -> datetime:
    """The clock of everything here that is given no other."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Position:
    """A place in the journal: what an offset says.

    Attributes:
        seq: Number of the last file before it; 0 at the beginning.
        segment: Id of the write that numbered that file: tells a restored journal from the one that was used.
    """

    seq: int
    segment: str = ""


class Journal:
    """Reads and extends one journal.

    Args:
        store: Where it lies.
        bucket: Its bucket.
        prefix: Its folder.
        now: The clock, for ``discovered``.
    """

    def __init__(self, store: ObjectStore, bucket: str, prefix: str, *, now: Callable[[], datetime] = utc_now) -> None:
        self._store, self._bucket, self._now = store, bucket, now
        self._folder = f"{prefix.rstrip('/')}/segments/"
        self._segments: list[Segment] = []
        self._known = KnownVersions()
        self._covered: set[str] = set()
        self._cache: OrderedDict[str, pq.ParquetFile] = OrderedDict()
        self.refresh()

    @classmethod
    def at(cls, store: ObjectStore, uri: str) -> Journal:
        """The journal in the folder ``uri``."""
        return cls(store, *split_uri(uri))

    @property
    def high_water(self) -> int:
        """Number of the newest file; 0 for an empty journal."""
        return self._segments[-1].last_seq if self._segments else 0

    @property
    def max_key(self) -> str:
        """The greatest key ever found."""
        return max((one.max_key for one in self._segments), default="")

    @property
    def uri(self) -> str:
        """Its folder."""
        return f"s3a://{self._bucket}/{self._folder.removesuffix('segments/')}"

    def refresh(self) -> None:
        """Takes in what others wrote since the last look.

        Raises:
            TransientError: it changes faster than it can be read.
        """
        for _ in range(_TRIES):
            try:
                if self._follow(self._segments[-1].last if self._segments else 0):
                    return
                self._forget()
            except ObjectMissing:  # merged while it was read
                self._forget()
        raise TransientError(
            "the journal changes faster than it can be read",
            where=self.uri,
            state="nothing was changed",
            next_command="run the same again",
        )

    def unseen(self, found: Sequence[ObjectInfo]) -> list[tuple[ObjectInfo, bool]]:
        """Those objects whose version is not in the journal, each with whether its key is new, too."""
        if not found:
            return []
        keys = np.array([segments.key_hash(one.key) for one in found], np.uint64)
        versions = np.array([segments.version_hash(one.e_tag, one.size_bytes) for one in found], np.uint64)
        known, key_known = self._known.look_up(keys, versions)
        fresh = [(found[at], bool(key_known[at])) for at in np.flatnonzero(~known).tolist()]
        doubtful = {one.key for one, has_key in fresh if has_key}
        overwritten = self._keys_among(doubtful) if doubtful else set()
        return [(one, one.key not in overwritten) for one, _ in fresh]

    def append(self, bucket: str, found: Sequence[ObjectInfo]) -> int:
        """Numbers those of ``found`` that are not in the journal yet, durably; returns how many that were.

        Args:
            bucket: Where they are.
            found: Objects of that bucket, in any order, with any repetitions.

        Raises:
            TransientError: others were faster every time.
        """
        return self._extend(bucket, lambda: [(one, first, 0) for one, first in self.unseen(_each_version_once(found))])

    def replay(self, bucket: str, again: Sequence[tuple[ObjectInfo, int]], stream: str) -> int:
        """Numbers versions that one stream is to load again; returns how many.

        They are that stream's requests, not discoveries: a version that only has such a number is still new.

        Args:
            bucket: Where they are.
            again: Versions, each with the number of the entry whose rows it takes the place of.
            stream: The stream's id.

        Raises:
            TransientError: others were faster every time.
        """
        return self._extend(bucket, lambda: [(one, True, replaced) for one, replaced in again], stream)

    def restore(self, files: Sequence[FileVersion]) -> None:
        """Makes the beginning of an empty journal from entries that keep their numbers.

        Raises:
            ObjectExists: the journal is not empty.
        """
        name = segments.name_of(1, 1)
        data = segments.encode(segments.to_table(files))
        self._store.write(self._bucket, self._key(name), data, if_absent=True)
        self._take(name, data)

    def files(self, after: int, upto: int) -> Iterator[FileVersion]:
        """The file versions numbered ``after`` < seq <= ``upto``, in order; the same for ever."""
        for table in self.tables(after, upto, segments.COLUMNS):
            yield from segments.to_files(table)

    def tables(self, after: int, upto: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The same as tables with some columns of ``segments.SCHEMA``, a row group at a time."""
        wanted, tries = list(dict.fromkeys(["seq", *columns])), 0
        while one := next((one for one in self._segments if one.last_seq > after and one.first_seq <= upto), None):
            try:
                opened = self._opened(one)
            except ObjectMissing:  # merged since the last look: its rows are in another segment
                tries += 1
                if tries > _TRIES:
                    raise
                self._reload()
                continue
            for number in range(opened.metadata.num_row_groups):
                seqs = opened.metadata.row_group(number).column(0).statistics
                if seqs.max > after and seqs.min <= upto:
                    table = opened.read_row_group(number, columns=wanted, use_threads=False)
                    table = segments.complete(table, wanted)
                    values = segments.numbers(table["seq"], np.int64)
                    low, high = np.searchsorted(values, [after, upto], "right")
                    yield table.slice(low, high - low)
            after = one.last_seq

    def position(self, seq: int) -> Position:
        """The place after that file."""
        if seq == 0:
            return Position(0)
        found = [name for table in self.tables(seq - 1, seq, ["segment"]) for name in table["segment"].to_pylist()]
        return Position(seq, found[0] if found else "")

    def verify(self, position: Position) -> None:
        """Makes sure that a checkpoint's place is one of this journal.

        Raises:
            JournalMismatch: it is not: going on would lose files or load them twice.
        """
        if position.seq == 0 or (
            position.seq <= self.high_water and self.position(position.seq).segment == position.segment
        ):
            return
        raise JournalMismatch(
            f"the checkpoint stands at file {position.seq:,} (write {position.segment}), which this journal of "
            f"{self.high_water:,} files does not have: the checkpoint or the journal was lost, or restored from a copy",
            where=self.uri,
            state="nothing was read or written",
            next_command="lakehouse checkpoint repair TABLE   (dry: says what it would do; --yes does it)",
        )

    def merge(self) -> int:
        """Merges segments where many small ones follow each other; returns how many disappeared."""
        gone = 0
        while run := _mergeable(self._segments):
            try:
                parts = [self._opened(one).read(use_threads=False) for one in run]
            except ObjectMissing:  # somebody else merges
                self._reload()
                return gone
            name = segments.name_of(run[0].first, run[-1].last)
            data = segments.encode(pa.concat_tables([segments.complete(one, segments.COLUMNS) for one in parts]))
            with suppress(ObjectExists):  # somebody else merged the same: the same rows
                self._store.write(self._bucket, self._key(name), data, if_absent=True)
            head, opened = segments.open_segment(name, data)
            at = self._segments.index(run[0])
            self._segments[at : at + len(run)] = [head]
            self._remember(name, opened)
            self._covered.update(one.name for one in run)
            gone += len(run) - 1
        for covered in sorted(self._covered):  # also those of a merge that was cut short
            self._store.delete(self._bucket, self._key(covered))
            self._cache.pop(covered, None)
        self._covered.clear()
        return gone

    def _extend(self, bucket: str, entries: Callable[[], list[tuple[ObjectInfo, bool, int]]], stream: str = "") -> int:
        """Writes the next segment; asks for the entries again whenever somebody else was faster."""
        for attempt in range(_TRIES):
            fresh = entries()
            if not fresh:
                return 0
            table = self._number(bucket, fresh, stream)
            ordinal = self._segments[-1].last + 1 if self._segments else 1
            try:
                data = segments.encode(table)
                self._store.write(self._bucket, self._key(segments.name_of(ordinal, ordinal)), data, if_absent=True)
            except ObjectExists:
                time.sleep(random.uniform(0, 0.05 * min(attempt, 10)))
                self.refresh()
                continue
            if self._counts(ordinal, table):
                self._take(segments.name_of(ordinal, ordinal), data)
                return len(fresh)
            self._reload()
        raise TransientError(
            "could not number new files: others wrote to the journal every time",
            where=self.uri,
            state="nothing was lost: they will be found again",
            next_command="run the same again",
        )

    def _reload(self) -> None:
        self._forget()
        self.refresh()

    def _forget(self) -> None:
        self._segments, self._known, self._covered = [], KnownVersions(), set()
        self._cache.clear()

    def _follow(self, last: int) -> bool:
        """Adds the segments after ordinal ``last``; False when they do not join."""
        start_after = self._key(segments.name_of(last, last)) if last else None
        names = [
            info.key.removeprefix(self._folder)
            for info in self._store.list(self._bucket, self._folder, start_after=start_after)
        ]
        spans = sorted((segments.ordinals_of(name) for name in names), key=lambda span: (span[0], -span[1]))
        for first, final in spans:
            if final <= last:
                self._covered.add(segments.name_of(first, final))  # its rows are in a merged one
                continue
            if first != last + 1:
                return False  # the ones between were merged into a name that sorts before
            name = segments.name_of(first, final)
            self._take(name, self._store.read(self._bucket, self._key(name)))
            last = final
        return True

    def _take(self, name: str, data: bytes) -> None:
        head, opened = segments.open_segment(name, data)
        hashes = segments.discoveries(opened.read(columns=[*_HASHES, "stream"], use_threads=False))
        self._known.add(*(segments.numbers(hashes[column], np.uint64) for column in _HASHES))
        self._segments.append(head)
        self._remember(name, opened)

    def _number(self, bucket: str, fresh: list[tuple[ObjectInfo, bool, int]], stream: str) -> pa.Table:
        segment, now = uuid.uuid4().hex[:12], self._now()
        seen: set[str] = set()
        files = []
        for seq, (one, first, replaces) in enumerate(fresh, self.high_water + 1):
            new_key = first and (replaces != 0 or one.key not in seen)
            seen.add(one.key)
            version = (one.key, one.e_tag, one.size_bytes, one.last_modified)
            files.append(FileVersion(seq, bucket, *version, now, new_key, segment, replaces, stream))
        return segments.to_table(files)

    def _counts(self, ordinal: int, table: pa.Table) -> bool:
        """Whether the segment just written at ``ordinal`` is part of the journal.

        A discoverer that slept for long can find its place free because the segment there was merged and removed:
        then the merged one holds other rows, and what was written counts for nobody.
        """
        for info in self._store.list(self._bucket, self._folder):
            first, last = segments.ordinals_of(info.key.removeprefix(self._folder))
            if first != last and first <= ordinal <= last:
                data = self._store.read(self._bucket, info.key)
                ids = segments.open_segment(segments.name_of(first, last), data)[1].read(columns=["segment"])
                return table["segment"][0].as_py() in set(ids["segment"].unique().to_pylist())
        return True

    def _keys_among(self, wanted: set[str]) -> set[str]:
        """Which of these keys the journal has."""
        value_set, found = pa.array(sorted(wanted)), set()
        for table in map(segments.discoveries, self.tables(0, self.high_water, ["key", "stream"])):
            hits = pc.is_in(table["key"], value_set=value_set)
            found.update(table["key"].filter(hits).to_pylist())
        return found

    def _opened(self, one: Segment) -> pq.ParquetFile:
        if one.name not in self._cache:
            data = self._store.read(self._bucket, self._key(one.name))
            self._remember(one.name, segments.open_segment(one.name, data)[1])
        self._cache.move_to_end(one.name)
        return self._cache[one.name]

    def _remember(self, name: str, opened: pq.ParquetFile) -> None:
        self._cache[name] = opened
        while len(self._cache) > _CACHED:
            self._cache.popitem(last=False)

    def _key(self, name: str) -> str:
        return self._folder + name


def _each_version_once(found: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    return list({(one.key, one.e_tag, one.size_bytes): one for one in found}.values())


def _mergeable(ordered: Sequence[Segment]) -> Sequence[Segment]:
    """Segments that fill a block of 16, 256, 4,096 ... ordinals and together stay small; empty when there are none.

    Blocks nest or are apart, so whoever merges, and from however old a view, no two merged segments overlap by half.
    """
    span = _FAN_IN
    while ordered and span <= ordered[-1].last:
        blocks = groupby(ordered, lambda one, span=span: (one.first - 1) // span)  # type: ignore[misc]
        for block, members in blocks:
            run = list(members)
            whole = run[0].first == block * span + 1 and run[-1].last == (block + 1) * span
            if whole and len(run) > 1 and sum(one.files for one in run) <= _MERGED_FILES:
                return run
        span *= _FAN_IN
    return []
