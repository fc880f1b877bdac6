"""Sorting hashes of more keys than fit into memory: they are divided by their first bits, and each part is sorted."""

from __future__ import annotations

from contextlib import ExitStack
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO

import numpy as np

from lakehouse.counting.hashes import BITS, Hashes

_HELD_KEYS = 1 << 22
_PART_KEYS = 1 << 21


def bits_for(keys: int) -> int:
    """The number of bits by which a part has about two million keys."""
    return min(max(0, (keys - 1) // _PART_KEYS).bit_length(), 9)


class Spill:
    """Takes hashes in any order, and returns them part by part; what does not fit into memory is on the disk."""

    def __init__(self, bits: int) -> None:
        self.parts = 1 << bits
        self._shift = np.uint64(BITS - bits)
        # the operating system gives memory only when it is written to
        self._held = np.empty((self.parts, _HELD_KEYS // self.parts), np.uint64)
        self._filled = [0] * self.parts
        self._files: dict[int, IO[bytes]] = {}
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
        """Takes more hashes."""
        numbers = (hashes >> self._shift).astype(np.uint16)
        hashes = hashes[np.argsort(numbers, kind="stable")]
        ends = np.cumsum(np.bincount(numbers, minlength=self.parts)).tolist()
        for number, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
            self._take(number, hashes[first:end])

    def sorted_part(self, number: int) -> Hashes:
        """The hashes of a part, sorted; it can be asked for once."""
        found = self._held[number, : self._filled[number]]
        if file := self._files.get(number):
            file.seek(0)
            found = np.concatenate([np.frombuffer(file.read(), np.uint64), found])
        return np.sort(found)

    def _take(self, number: int, hashes: Hashes) -> None:
        held = self._held[number]
        while len(hashes):
            filled = self._filled[number]
            piece = hashes[: len(held) - filled]
            held[filled : filled + len(piece)] = piece
            self._filled[number] += len(piece)
            hashes = hashes[len(piece) :]
            if self._filled[number] == len(held):
                if number not in self._files:
                    self._files[number] = self._open.enter_context(TemporaryFile())  # noqa: SIM115
                self._files[number].write(held.tobytes())
                self._filled[number] = 0
