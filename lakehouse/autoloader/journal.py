"""The journal: every file version ever found, with a number that never changes.

A journal is a folder of immutable segments on the object store. A discoverer gives new versions the next numbers and
writes them as the next segment with ``If-None-Match: *``: of two who try the same place one wins, and the other looks
again. So the files of (a, b] are the same for ever, on every machine, and an offset is one number.

Segments are merged as they grow many; a merged one holds the same rows, and the place of those it was made of is free.
Who slept meanwhile can write there, which must count for nobody. Two rules see to that:

- The segment of the last ordinal is removed only when there is a later one. So whoever has not all of the journal sees
  that there is more, and what is written behind the last one is part of the journal.
- A segment names the write before it. So whoever follows from there to the last one has no foreign one between.
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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse.autoloader import segments
from lakehouse.autoloader.known import KnownVersions
from lakehouse.autoloader.location import split_uri
from lakehouse.autoloader.segments import FileVersion, Segment
from lakehouse.errors import ConfigurationError, TerminalError, TransientError
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
        fan_in: How many segments become one.
    """

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        prefix: str,
        *,
        now: Callable[[], datetime] = utc_now,
        fan_in: int = _FAN_IN,
    ) -> None:
        self._store, self._bucket, self._now, self._fan_in = store, bucket, now, fan_in
        self._folder = f"{prefix.rstrip('/')}/segments/"
        self._cache: OrderedDict[str, pq.ParquetFile] = OrderedDict()
        self._forget()
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

    def require_bucket(self, bucket: str) -> None:
        """Makes sure that the journal is empty or of that bucket: a key is known without its bucket.

        Raises:
            ConfigurationError: it is another's.
        """
        if self._segments and self._segments[0].bucket != bucket:
            raise ConfigurationError(
                f"this journal is of files in s3a://{self._segments[0].bucket}/, not in s3a://{bucket}/",
                where=self.uri,
                state="nothing was read or written",
                next_command=f"give the stream of s3a://{bucket}/ another cloudFiles.journalLocation "
                "(or, where there is none, another cloudFiles.schemaLocation)",
            )

    def refresh(self) -> None:
        """Takes in what others wrote since the last look.

        Raises:
            TransientError: it changes faster than it can be read.
        """
        for _ in range(_TRIES):
            with suppress(ObjectMissing):  # merged while it was read
                if self._follow():
                    return
            self._forget()
        raise TransientError(
            "the journal changes faster than it can be read",
            where=self.uri,
            state="nothing was changed",
            next_command="run the same again",
        )

    def unseen(self, found: Sequence[ObjectInfo]) -> list[tuple[ObjectInfo, bool]]:
        """Those objects whose version is not the newest of their key here, each with whether its key is new, too."""
        return self._known.unseen(found)

    def append(self, bucket: str, found: Sequence[ObjectInfo], since: int | None = None) -> int:
        """Numbers those of ``found`` that are not the newest of their key yet, durably; returns how many that were.

        Args:
            bucket: Where they are.
            found: Objects of that bucket, in any order, with any repetitions.
            since: The newest number when their listing began. A key that was numbered later is left for the next
                listing: which of the two versions came first is not known. None when no listing found them: they are
                newer than all here, and their keys say which bucket is meant.

        Raises:
            TransientError: others were faster every time.
            ConfigurationError: the journal is of another bucket.
        """

        def entries() -> list[tuple[ObjectInfo, bool, int]]:
            fresh = self.unseen(_each_version_once(found))
            later: dict[str, int] = {}
            if since is not None:
                self.require_bucket(bucket)  # others may have begun the journal meanwhile
                later = self._keys_after(since, [one.key for one, _ in fresh])
            return [(one, first, 0) for one, first in fresh if one.key not in later]

        return self._extend(bucket, entries)

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
        data = segments.encode(segments.joined(segments.to_table(files), ""))
        self._store.write(self._bucket, self._key(name), data, if_absent=True)
        self._take(*segments.open_segment(name, data))

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
        while run := segments.mergeable(self._segments, self._fan_in, _MERGED_FILES):
            try:
                parts = [self._opened(one).read(use_threads=False) for one in run]
            except ObjectMissing:  # somebody else merges
                self._reload()
                return gone
            name = segments.name_of(run[0].first, run[-1].last)
            rows = pa.concat_tables([segments.complete(one, segments.COLUMNS) for one in parts])
            data = segments.encode(segments.joined(rows, run[0].previous))
            with suppress(ObjectExists):  # somebody else merged the same: the same rows
                self._store.write(self._bucket, self._key(name), data, if_absent=True)
            head, opened = segments.open_segment(name, data)
            at = self._segments.index(run[0])
            self._segments[at : at + len(run)] = [head]
            self._remember(name, opened)
            self._covered.update(one.name for one in run)
            gone += len(run) - 1
        last = segments.name_of(self._last, self._last)
        for covered in sorted(self._covered - {last}):  # also those of a merge that was cut short
            self._store.delete(self._bucket, self._key(covered))
            self._cache.pop(covered, None)
            self._covered.remove(covered)
        return gone

    def _extend(self, bucket: str, entries: Callable[[], list[tuple[ObjectInfo, bool, int]]], stream: str = "") -> int:
        """Writes the next segment; asks for the entries again whenever somebody else was faster."""
        for attempt in range(_TRIES):
            last = self._last
            fresh = entries()
            if self._last != last:
                continue  # others wrote while it was looked up: what is new was asked of an older view
            if not fresh:
                return 0
            table = self._number(bucket, fresh, stream)
            seq, segment = table["seq"][0].as_py(), table["segment"][0].as_py()
            ordinal = last + 1
            name = segments.name_of(ordinal, ordinal)
            data = segments.encode(segments.joined(table, self._id))
            try:
                self._store.write(self._bucket, self._key(name), data, if_absent=True)
            except ObjectExists:
                written = False
                time.sleep(random.uniform(0, 0.05 * min(attempt, 10)))
            else:
                written = True
                if self._later() == [(ordinal, ordinal)]:
                    self._take(*segments.open_segment(name, data))
                    return len(fresh)
            self.refresh()
            if self.position(seq).segment == segment:  # others came after it, or the reply to the write was lost
                return len(fresh)
            if written:  # the place was free because the segment there was merged: nobody counts this one
                self._store.delete(self._bucket, self._key(name))
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
        self._segments: list[Segment] = []
        self._covered: set[str] = set()
        self._known = KnownVersions(lambda keys: self._keys_after(0, keys))
        self._cache.clear()

    @property
    def _last(self) -> int:
        """The last ordinal."""
        return self._segments[-1].last if self._segments else 0

    @property
    def _id(self) -> str:
        """Id of the last write."""
        return self._segments[-1].id if self._segments else ""

    def _later(self) -> list[tuple[int, int]]:
        """Ordinals of the segments after the last one, the widest first where several begin alike."""
        start_after = self._key(segments.name_of(self._last, self._last)) if self._last else None
        names = [
            info.key.removeprefix(self._folder)
            for info in self._store.list(self._bucket, self._folder, start_after=start_after)
        ]
        return sorted((segments.ordinals_of(name) for name in names), key=lambda span: (span[0], -span[1]))

    def _follow(self) -> bool:
        """Adds the segments after the last one; False when they do not join.

        What was read may be foreign until a later look finds nothing more: then the last segment was there all the
        time, and those before it are the ones it follows.
        """
        while spans := self._later():
            for first, final in spans:
                name = segments.name_of(first, final)
                if final <= self._last:
                    self._covered.add(name)  # its rows are in a merged one
                    continue
                if first != self._last + 1:
                    return False  # the ones between were merged into a name that sorts before
                data = self._store.read(self._bucket, self._key(name))
                head, opened = segments.open_segment(name, data)
                if head.previous not in (self._id, None):
                    return False
                self._take(head, opened)
        return True

    def _take(self, head: Segment, opened: pq.ParquetFile) -> None:
        hashes = segments.discoveries(opened.read(columns=[*_HASHES, "stream"], use_threads=False))
        self._known.add(*(segments.numbers(hashes[column], np.uint64) for column in _HASHES))
        self._segments.append(head)
        self._remember(head.name, opened)

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

    def _keys_after(self, after: int, wanted: Sequence[str]) -> dict[str, int]:
        """Which of these keys were found after that number, each with the hash of its newest version."""
        found: dict[str, int] = {}
        if not wanted or after >= self.high_water:
            return found
        value_set = pa.array(sorted(set(wanted)))
        for table in self.tables(after, self.high_water, ["key", "version_hash", "stream"]):
            hits = segments.discoveries(table.filter(pc.is_in(table["key"], value_set=value_set)))
            found.update(zip(hits["key"].to_pylist(), hits["version_hash"].to_pylist(), strict=True))
        return found

    def _opened(self, one: Segment) -> pq.ParquetFile:
        if one.name not in self._cache:
            data = self._store.read(self._bucket, self._key(one.name))
            head, opened = segments.open_segment(one.name, data)
            if head.id != one.id:
                raise ObjectMissing("the segment was merged, and another was written in its place")
            self._remember(one.name, opened)
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
