"""What a journal says: the file versions of its segments, followed as others write and merge them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse.autoloader.files import segments
from lakehouse.autoloader.files.known import KnownVersions
from lakehouse.autoloader.files.segments import FileVersion, Segment
from lakehouse.autoloader.options.paths import plain_uri, split_uri
from lakehouse.errors import SOME_TABLE, ConfigurationError, TerminalError, TransientError
from lakehouse.storage.store import ObjectInfo, ObjectMissing, ObjectStore

TRIES = 30
_HASHES = ["key_hash", "version_hash"]
_FAN_IN = 16
_CACHED = 2


class JournalMismatch(TerminalError):
    """A checkpoint names a place that this journal does not have: one of the two was lost or restored."""


class JournalUnsettled(TransientError):
    """Segments of a journal do not join: others merge them at this moment, or a segment in between was lost."""


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Position:
    """A place in the journal: what an offset says.

    Attributes:
        seq: Number of the last file before it; 0 at the beginning.
        segment: Id of the write that numbered that file: tells a restored journal from the journal that was used.
    """

    seq: int
    segment: str = ""


class JournalReader:
    """Reads one journal; ``Journal`` extends it, too.

    Args:
        store: Where it lies.
        bucket: Its bucket.
        prefix: Its folder.
        now: The clock, for ``discovered``.
        fan_in: How many segments are merged into one segment.
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
    def at(cls, store: ObjectStore, uri: str) -> Self:
        """The journal in the folder ``uri``."""
        return cls(store, *split_uri(uri))

    @property
    def high_water(self) -> int:
        """Number of the newest file; 0 for an empty journal."""
        return self._segments[-1].last_seq if self._segments else 0

    @property
    def max_key(self) -> str:
        """The greatest key ever found."""
        return max((segment.max_key for segment in self._segments), default="")

    @property
    def uri(self) -> str:
        """Its folder."""
        return plain_uri(self._bucket, self._folder.removesuffix("segments/"))

    def require_bucket(self, bucket: str) -> None:
        """Makes sure that the journal is empty or of that bucket: a key is known without its bucket.

        Raises:
            ConfigurationError: it is of another bucket.
        """
        if self._segments and self._segments[0].bucket != bucket:
            held, asked = plain_uri(self._segments[0].bucket, ""), plain_uri(bucket, "")
            raise ConfigurationError(
                f"this journal is of files in {held}, not in {asked}",
                where=self.uri,
                state="nothing was read or written",
                next_command=f"give the stream of {asked} another cloudFiles.journalLocation "
                "(or, where there is none, another cloudFiles.schemaLocation)",
            )

    def refresh(self) -> None:
        """Takes in what others wrote since the last look.

        Raises:
            JournalUnsettled: it changes faster than it can be read, or a segment is missing.
            SegmentUnreadable: a segment is damaged.
        """
        for _ in range(TRIES):
            with suppress(ObjectMissing):  # merged while it was read
                if self._follow():
                    return
            self._forget()
        raise JournalUnsettled(
            "the journal changes faster than it can be read, or a segment of it is missing",
            where=self.uri,
            state="nothing was changed",
            next_command=f"run the same again; when it stays so: lakehouse checkpoint repair {SOME_TABLE}",
        )

    def unseen(self, found: Sequence[ObjectInfo]) -> list[tuple[ObjectInfo, bool]]:
        """Those objects whose version is not the newest of their key here, each with whether its key is new, too."""
        return self._known.unseen(found)

    def files(self, after: int, upto: int) -> Iterator[FileVersion]:
        """The file versions numbered ``after`` < seq <= ``upto``, in order; the same for ever."""
        for table in self.tables(after, upto, segments.COLUMNS):
            yield from segments.to_files(table)

    def tables(self, after: int, upto: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The same as tables with some columns of ``segments.SCHEMA``, a row group at a time."""
        wanted, tries = list(dict.fromkeys(["seq", *columns])), 0
        while segment := next(
            (segment for segment in self._segments if segment.last_seq > after and segment.first_seq <= upto), None
        ):
            try:
                opened = self._opened(segment)
            except ObjectMissing:  # merged since the last look: its rows are in another segment
                tries += 1
                if tries > TRIES:
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
            after = segment.last_seq

    def position(self, seq: int) -> Position:
        """The place after that file."""
        if seq == 0:
            return Position(0)
        found = [name for table in self.tables(seq - 1, seq, ["segment"]) for name in table["segment"].to_pylist()]
        return Position(seq, found[0] if found else "")

    def verify(self, position: Position) -> None:
        """Makes sure that this journal has the place that a checkpoint names.

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
            next_command=f"lakehouse checkpoint repair {SOME_TABLE}   (dry: says what it would do; --yes does it)",
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
        """Ordinals of the segments after the last segment, the widest first where several begin alike."""
        start_after = self._key(segments.name_of(self._last, self._last)) if self._last else None
        names = [
            info.key.removeprefix(self._folder)
            for info in self._store.list(self._bucket, self._folder, start_after=start_after)
        ]
        return sorted((segments.ordinals_of(name) for name in names), key=lambda span: (span[0], -span[1]))

    def _follow(self) -> bool:
        """Adds the segments after the last segment; False when they do not join.

        What was read may be foreign until a later look finds nothing more: then the last segment was there all the
        time, and it follows those before it.
        """
        while spans := self._later():
            for first, final in spans:
                name = segments.name_of(first, final)
                if final <= self._last:
                    self._covered.add(name)  # its rows are in a merged segment
                    continue
                if first != self._last + 1:
                    return False  # those between were merged into a name that sorts before
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

    def _opened(self, segment: Segment) -> pq.ParquetFile:
        if segment.name not in self._cache:
            data = self._store.read(self._bucket, self._key(segment.name))
            head, opened = segments.open_segment(segment.name, data)
            if head.id != segment.id:
                raise ObjectMissing("the segment was merged, and another was written in its place")
            self._remember(segment.name, opened)
        self._cache.move_to_end(segment.name)
        return self._cache[segment.name]

    def _remember(self, name: str, opened: pq.ParquetFile) -> None:
        self._cache[name] = opened
        while len(self._cache) > _CACHED:
            self._cache.popitem(last=False)

    def _key(self, name: str) -> str:
        return self._folder + name
