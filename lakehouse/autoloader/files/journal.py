"""The journal: every file version ever found, with a number that never changes.

A journal is a folder of immutable segments on the object store. A discoverer gives new versions the next numbers and
writes them as the next segment with ``If-None-Match: *``. Of two discoverers at the same place the first wins, and the
second looks again. So the files of (a, b] are the same for ever, on every machine, and an offset is one number.

Segments are merged as they grow many. A merged segment holds the same rows, and the places of its parts are free again.
A writer that slept meanwhile can write to a free place, and no reader may count that write. Two rules prevent it:

- The segment of the last ordinal is removed only when there is a later segment. So a reader that lacks a part of the
  journal sees that there is more, and what is written behind the last segment is part of the journal.
- A segment names the write before it. So a reader that follows these names to the last segment meets no foreign
  segment.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import pyarrow as pa

from lakehouse.autoloader.files import segments
from lakehouse.autoloader.files.journal_reader import TRIES, JournalMismatch, JournalReader, Position, utc_now
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.errors import TransientError
from lakehouse.storage.store import ObjectExists, ObjectInfo, ObjectMissing

__all__ = ["Journal", "JournalMismatch", "Position", "utc_now"]

_MERGED_FILES = 100_000


class Journal(JournalReader):
    """Reads and extends one journal; made as a ``JournalReader`` is."""

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
                later = self._keys_after(since, [info.key for info, _ in fresh])
            return [(info, first, 0) for info, first in fresh if info.key not in later]

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
        return self._extend(bucket, lambda: [(version, True, replaced) for version, replaced in again], stream)

    def restore(self, files: Sequence[FileVersion]) -> None:
        """Makes the beginning of an empty journal from entries that keep their numbers.

        Raises:
            ObjectExists: the journal is not empty.
        """
        name = segments.name_of(1, 1)
        data = segments.encode(segments.joined(segments.to_table(files), ""))
        self._store.write(self._bucket, self._key(name), data, if_absent=True)
        self._take(*segments.open_segment(name, data))

    def merge(self) -> int:
        """Merges segments where many small ones follow each other; returns how many disappeared."""
        gone = 0
        while run := segments.mergeable(self._segments, self._fan_in, _MERGED_FILES):
            try:
                parts = [self._opened(segment).read(use_threads=False) for segment in run]
            except ObjectMissing:  # another process merges
                self._reload()
                return gone
            name = segments.name_of(run[0].first, run[-1].last)
            rows = pa.concat_tables([segments.complete(part, segments.COLUMNS) for part in parts])
            data = segments.encode(segments.joined(rows, run[0].previous))
            with suppress(ObjectExists):  # another process merged the same segments: the same rows
                self._store.write(self._bucket, self._key(name), data, if_absent=True)
            head, opened = segments.open_segment(name, data)
            at = self._segments.index(run[0])
            self._segments[at : at + len(run)] = [head]
            self._remember(name, opened)
            self._covered.update(segment.name for segment in run)
            gone += len(run) - 1
        last = segments.name_of(self._last, self._last)
        for covered in sorted(self._covered - {last}):  # also those of a merge that was cut short
            self._store.delete(self._bucket, self._key(covered))
            self._cache.pop(covered, None)
            self._covered.remove(covered)
        return gone

    def _extend(self, bucket: str, entries: Callable[[], list[tuple[ObjectInfo, bool, int]]], stream: str = "") -> int:
        """Writes the next segment; asks for the entries again whenever another process was faster."""
        for attempt in range(TRIES):
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
            if written:  # the place was free because the segment there was merged: no reader counts this segment
                self._store.delete(self._bucket, self._key(name))
        raise TransientError(
            "could not number new files: others wrote to the journal every time",
            where=self.uri,
            state="nothing was lost: they will be found again",
            next_command="run the same again",
        )

    def _number(self, bucket: str, fresh: list[tuple[ObjectInfo, bool, int]], stream: str) -> pa.Table:
        segment, now = uuid.uuid4().hex[:12], self._now()
        seen: set[str] = set()
        files = []
        for seq, (info, first, replaces) in enumerate(fresh, self.high_water + 1):
            new_key = first and (replaces != 0 or info.key not in seen)
            seen.add(info.key)
            version = (info.key, info.e_tag, info.size_bytes, info.last_modified)
            files.append(FileVersion(seq, bucket, *version, now, new_key, segment, replaces, stream))
        return segments.to_table(files)


def _each_version_once(found: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    return list({(info.key, info.e_tag, info.size_bytes): info for info in found}.values())
