"""Hashes of more keys than are held in memory, parted by their first bits: each part is sorted for itself."""

from __future__ import annotations

from contextlib import ExitStack
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO

import numpy as np

from lakehouse.counting.hashes import BITS, Hashes
from lakehouse.counting.segments import NONE

_HELD_BYTES = 48 << 20
_PART_KEYS = 1 << 21


def bits_for(keys: int) -> int:
    """So many bits that a part has about two million keys."""
    return min(max(0, (keys - 1) // _PART_KEYS).bit_length(), 9)


class Spill:
    """Takes hashes in any order, and gives them back part by part; what does not fit into memory is on the disk."""

    def __init__(self, bits: int) -> None:
        self.parts = 1 << bits
        self._shift = np.uint64(BITS - bits)
        self._held: list[list[Hashes]] = [[] for _ in range(self.parts)]
        self._held_bytes = 0
        self._files: list[IO[bytes]] = []
        self._open = ExitStack()

    def __enter__(self) -> Spill:
        """Makes no file yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the files."""
        self._open.close()

    def add(self, hashes: Hashes) -> None:
        """Takes some more."""
        numbers = (hashes >> self._shift).astype(np.uint16)
        order = np.argsort(numbers, kind="stable")
        hashes = hashes[order]
        ends = np.cumsum(np.bincount(numbers, minlength=self.parts)).tolist()
        for number, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
            if end > first:
                self._held[number].append(hashes[first:end])
        self._held_bytes += hashes.nbytes
        if self._held_bytes > _HELD_BYTES:
            self._to_disk()

    def sorted_part(self, number: int) -> Hashes:
        """The hashes of a part, sorted; it can be asked for once."""
        parts, self._held[number] = self._held[number], []
        if self._files:
            self._files[number].seek(0)
            parts.append(np.frombuffer(self._files[number].read(), np.uint64))
        found = np.concatenate(parts) if parts else NONE
        found.sort()
        return found

    def _to_disk(self) -> None:
        if not self._files:
            self._files = [self._open.enter_context(TemporaryFile()) for _ in range(self.parts)]  # noqa: SIM115
        for held, file in zip(self._held, self._files, strict=True):
            for one in held:
                file.write(one.tobytes())
            held.clear()
        self._held_bytes = 0
