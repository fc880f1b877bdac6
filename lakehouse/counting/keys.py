"""Counting keys that occur in a table more than once: all keys anew, or those of new data files by an index.

The index has the hashes of all keys, sorted, in parts by their first bits. Beside the parts it has the hashes that were
added and removed since. A new key whose hash is in the index is compared by its value before it counts as a duplicate.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa

from lakehouse.counting.copies import Copies, Key, copies_of
from lakehouse.counting.data_files import DataFileMissing, DataFiles
from lakehouse.counting.hashes import BITS, Hashes, hashes_of
from lakehouse.counting.segments import NONE, Segments, doubled_in, part_of, times_in, without
from lakehouse.counting.spill import Spill, bits_for
from lakehouse.counting.state import State, read_state, write_state
from lakehouse.counting.values import type_of
from lakehouse.errors import AccessDenied
from lakehouse.lake import Lake
from lakehouse.storage.store import ObjectMissing

_MOST_NEW_ROWS = 4_000_000
_MOST_DOUBLED = 100_000
_MOST_LATER = 8
_READERS = 4
_UNREADABLE = (ObjectMissing, DataFileMissing, pa.ArrowException, KeyError)


class _CountAll(Exception):
    """The index does not help: all keys have to be counted."""


@dataclass(frozen=True)
class Keys:
    """What was counted.

    Attributes:
        examined: Rows of the table.
        copies: The keys that occur more than once.
        read: How many data files were read; None for all.
        index_agrees: Whether the kept index had the same keys as a full count; None without such a comparison.
    """

    examined: int
    copies: Copies
    read: int | None = None
    index_agrees: bool | None = None


@dataclass(frozen=True)
class _Part:
    """An object of the index: a part, or hashes that were added (``sign`` 1) or removed (-1) since."""

    name: str
    keys: int
    sign: int = 1


@dataclass(frozen=True)
class _Index:
    """The index as it is kept.

    Attributes:
        bits: How many first bits of a hash are the number of its part.
        parts: By their number.
        later: Hashes that were added and removed since the parts were written.
        examined: Rows of the table.
        copies: The keys that occur more than once.
    """

    bits: int
    parts: tuple[_Part, ...]
    later: tuple[_Part, ...]
    examined: int
    copies: Copies

    @property
    def names(self) -> set[str]:
        """The names of its objects."""
        return {part.name for part in (*self.parts, *self.later)}

    def manifest(self) -> dict[str, Any]:
        """The index as JSON, for the state."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.copies.worst.schema) as writer:
            writer.write_table(self.copies.worst)
        return {
            "bits": self.bits,
            "parts": [[part.name, part.keys, part.sign] for part in self.parts],
            "later": [[part.name, part.keys, part.sign] for part in self.later],
            "examined": self.examined,
            "doubled": [self.copies.keys, self.copies.rows, self.copies.hashes.tolist()],
            "worst": base64.b64encode(sink.getvalue()).decode(),
        }

    @classmethod
    def of(cls, manifest: dict[str, Any]) -> _Index | None:
        """The index from its JSON; None where that is no index."""
        try:
            keys, rows, hashes = manifest["doubled"]
            worst = pa.ipc.open_stream(base64.b64decode(manifest["worst"])).read_all()
            return cls(
                manifest["bits"],
                tuple(_Part(*entry) for entry in manifest["parts"]),
                tuple(_Part(*entry) for entry in manifest["later"]),
                manifest["examined"],
                Copies(keys, rows, worst, np.array(hashes, np.uint64)),
            )
        except (KeyError, TypeError, ValueError):
            return None


def count_keys(lake: Lake, table: str, files: DataFiles, key: Key, most: int, *, afresh: bool = False) -> Keys:
    """Counts keys that occur in the table more than once.

    Args:
        lake: Where the table is.
        table: Its name.
        files: Its data files.
        key: What identifies a row.
        most: How many of the worst keys are wanted.
        afresh: Whether to count all keys, without the index.

    Raises:
        OnlySpark: a part of the key is of a type that has no hash here.
    """
    hashes_of(key.values(pa.RecordBatch.from_pylist([], schema=files.schema)))
    types = [str(type_of(files.schema, column)) for column in key.columns]
    name = "keys-" + sha256(json.dumps([key.columns, types, key.file, most]).encode()).hexdigest()[:16]
    return _Count(lake, table, name, files, key, most).count(afresh)


class _Count:
    def __init__(self, lake: Lake, table: str, name: str, files: DataFiles, key: Key, most: int) -> None:
        self._lake, self._table, self._name = lake, table, name
        self._files, self._key, self._most = files, key, most
        self._segments = Segments.of(lake, table, name)
        self._state = read_state(lake, table, name, files.table_id)
        self._index = _Index.of(self._state.manifest)
        self._moved: tuple[Hashes, Hashes] | None = None

    def count(self, afresh: bool) -> Keys:
        if not afresh and self._index is not None:
            try:
                return self._by_index(self._index)
            except (_CountAll, *_UNREADABLE):
                pass
        return self._all(afresh)

    def _all(self, compare: bool) -> Keys:
        examined, keeps = 0, True
        # never coarser than the index, so that each part lies in one part of the index
        bits = max(bits_for(self._files.about_rows), self._index.bits if self._index is not None else 0)
        agrees = None if self._index is None or not compare else True
        candidates, surplus, parts = [NONE], 0, list[_Part]()
        with Spill(bits) as spill:
            for _, batch in self._files.batches(self._files.sizes, self._key.read):
                hashes, there = hashes_of(self._key.values(batch))
                examined += batch.num_rows
                spill.add(hashes[there])
            pa.default_memory_pool().release_unused()
            for number in range(spill.parts):
                sorted_ = spill.sorted_part(number)
                doubled = doubled_in(sorted_)
                candidates.append(doubled)
                surplus += int(times_in(sorted_, doubled).sum())
                if agrees and self._index is not None:
                    agrees = self._had(self._index, number, bits, sorted_)
                try:
                    parts += [_Part(self._segments.write(sorted_), len(sorted_))] if keeps else []
                except AccessDenied:
                    keeps = False
        copies = copies_of(self._files, self._key, np.concatenate(candidates), surplus, self._most)
        if keeps and len(copies.hashes) <= _MOST_DOUBLED:
            self._keep(_Index(bits, tuple(parts), (), examined, copies), clean=True)
        else:
            self._segments.remove({part.name for part in parts})
        return Keys(examined, copies, None, agrees)

    def _by_index(self, index: _Index) -> Keys:
        paths, sizes = self._state.files["path"].to_pylist(), self._state.files["size_bytes"].to_pylist()
        before = dict(zip(paths, sizes, strict=True))
        came = [path for path in self._files.sizes if path not in before]
        gone = [path for path in paths if path not in self._files.sizes]
        if not came and not gone:
            return Keys(index.examined, index.copies, 0)
        moved = sum(self._files.sizes[path] for path in came) + sum(before[path] for path in gone)
        whole = sum(self._files.sizes.values())
        if moved * 2 > whole or self._files.about_rows * moved > _MOST_NEW_ROWS * whole:
            raise _CountAll
        new_rows, new = self._hashes(came)
        old_rows, old = self._hashes(gone)
        new, old = without(new, old), without(old, new)
        examined = index.examined + new_rows - old_rows
        candidates = np.union1d(doubled_in(new), self._known(index, np.unique(new)))
        copies = index.copies
        if len(candidates) or (gone and len(copies.hashes)):
            candidates = np.union1d(candidates, copies.hashes)
            copies = copies_of(self._files, self._key, candidates, copies.rows + 2 * len(candidates), self._most)
            if len(copies.hashes) > _MOST_DOUBLED:
                raise _CountAll
        try:
            later = [
                _Part(self._segments.write(part), len(part), sign) for part, sign in ((new, 1), (old, -1)) if len(part)
            ]
            grown = replace(index, later=(*index.later, *later), examined=examined, copies=copies)
            self._keep(self._merged(grown), written={stored.name for stored in later})
        except AccessDenied:
            pass  # these keys may only read: the next count reads the same files again
        return Keys(examined, copies, len(came))

    def _hashes(self, paths: list[str]) -> tuple[int, Hashes]:
        rows, found = 0, [NONE]
        for _, batch in self._files.batches(paths, self._key.read):
            hashes, there = hashes_of(self._key.values(batch))
            rows += batch.num_rows
            found.append(hashes[there])
        return rows, np.sort(np.concatenate(found))

    def _known(self, index: _Index, wanted: Hashes) -> Hashes:
        """The hashes of ``wanted`` (sorted) that the index has."""
        times = np.zeros(len(wanted), np.int64)
        if not len(wanted):
            return wanted

        def look(number: int, part: _Part) -> None:
            first, end = np.searchsorted(wanted, _borders(number, index.bits))
            if end > first:
                times[first:end] += times_in(self._segments.read(part.name), wanted[first:end])

        with ThreadPoolExecutor(_READERS) as pool:
            for _ in pool.map(look, range(len(index.parts)), index.parts):
                pass
        for part in index.later:
            times += part.sign * times_in(self._segments.read(part.name), wanted)
        return wanted[times > 0]

    def _later(self, index: _Index) -> tuple[Hashes, Hashes]:
        """The hashes that were added and removed since the parts were written."""
        found = {sign: [NONE] for sign in (1, -1)}
        for part in index.later:
            found[part.sign].append(self._segments.read(part.name))
        came, gone = (np.sort(np.concatenate(pieces)) for pieces in found.values())
        return without(came, gone), without(gone, came)

    def _had(self, index: _Index, number: int, bits: int, sorted_: Hashes) -> bool:
        """Whether the index has just the counted hashes among those that begin with ``number``."""
        try:
            if self._moved is None:
                self._moved = self._later(index)
            part = self._segments.read(index.parts[number >> (bits - index.bits)].name)
        except _UNREADABLE:
            return False
        kept, came, gone = (part_of(hashes, number, bits) for hashes in (part, *self._moved))
        return np.array_equal(without(np.sort(np.concatenate([kept, came])), gone), sorted_)

    def _merged(self, index: _Index) -> _Index:
        """The index in fewer objects, once it has too many beside its parts."""
        if len(index.later) <= _MOST_LATER:
            return index
        came, gone = self._later(index)
        if (len(came) + len(gone)) * 4 < sum(stored.keys for stored in index.parts):
            later = [
                _Part(self._segments.write(hashes), len(hashes), sign)
                for hashes, sign in ((came, 1), (gone, -1))
                if len(hashes)
            ]
            return replace(index, later=tuple(later))
        keys = sum(stored.keys for stored in index.parts) + len(came) - len(gone)
        bits = max(index.bits, bits_for(keys))  # a part that has grown is cut into several
        children = 1 << (bits - index.bits)
        parts = []
        for number, part in enumerate(index.parts):
            kept = np.concatenate([self._segments.read(part.name), part_of(came, number, index.bits)])
            sorted_ = without(np.sort(kept), part_of(gone, number, index.bits))
            for child in range(number * children, (number + 1) * children):
                piece = part_of(sorted_, child, bits)
                parts.append(_Part(self._segments.write(piece), len(piece)))
        return replace(index, bits=bits, parts=tuple(parts), later=())

    def _keep(self, index: _Index, written: Iterable[str] = (), *, clean: bool = False) -> None:
        files = pa.table(
            {
                "path": pa.array(list(self._files.sizes), pa.string()),
                "size_bytes": pa.array(list(self._files.sizes.values()), pa.int64()),
            }
        )
        state = State(files, index.manifest(), self._state.e_tag)
        if write_state(self._lake, self._table, self._name, self._files.table_id, state):
            before = self._index.names if self._index is not None else set()
            self._segments.remove((self._segments.names() if clean else before | set(written)) - index.names)
        else:  # another process was first: its index is as good
            self._segments.remove((index.names | set(written)) - (self._index.names if self._index else set()))


def _borders(number: int, bits: int) -> np.ndarray:
    return np.array([number << (BITS - bits), (number + 1) << (BITS - bits)], np.uint64)
