"""Cutting a batch into parts of similar size: large line-delimited files are split, small files packed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import ceil

from lakehouse.autoloader.files.segments import FileVersion

COMPRESSED = (".gz", ".gzip", ".bz2", ".zst", ".lz4", ".deflate")


@dataclass(frozen=True)
class Span:
    """A file version, or the lines of it that begin in a range of bytes.

    Attributes:
        seq, key, e_tag, size_bytes, last_modified: See ``FileVersion``.
        start: First byte of the range.
        length: Bytes of the range; the whole file when ``start`` is 0 and this is its size.
        replaces: See ``FileVersion``.
    """

    seq: int
    key: str
    e_tag: str
    size_bytes: int
    last_modified: datetime
    start: int
    length: int
    replaces: int = 0

    @property
    def sequence(self) -> int:
        """The number that its rows carry: a file that is loaded again keeps the number of its first load."""
        return self.replaces or self.seq

    @property
    def whole(self) -> bool:
        """Whether it is all of the file."""
        return self.start == 0 and self.length == self.size_bytes


def plan(
    files: Sequence[FileVersion],
    *,
    lines: bool,
    min_partitions: int,
    max_partition_bytes: int,
    may_split: Callable[[FileVersion], bool] = lambda file: True,
) -> list[list[Span]]:
    """Parts of a batch, each in the order of the journal; the same input gives the same parts.

    Args:
        files: The batch.
        lines: Whether the format has lines as records: then uncompressed files over ``max_partition_bytes`` are split.
        min_partitions: As many parts at least, if there are as many files.
        max_partition_bytes: Roughly the most that one part reads.
        may_split: Asked for each large file. A file that was replaced since it was found stays in a single part, which
            alone can tell what to do about it.
    """
    spans = [span for file in files for span in _spans(file, lines, max_partition_bytes, may_split)]
    if not spans:
        return []
    total = sum(span.length for span in spans)
    count = min(len(spans), max(min_partitions, ceil(total / max_partition_bytes)))
    parts: list[list[Span]] = [[] for _ in range(count)]
    weights = [0] * count
    for span in sorted(spans, key=lambda span: (-span.length, span.seq, span.start)):
        # a request costs about as much as reading 64 KB
        at = weights.index(min(weights))
        parts[at].append(span)
        weights[at] += span.length + 65_536
    return [sorted(part, key=lambda span: (span.seq, span.start)) for part in parts]


def _spans(file: FileVersion, lines: bool, max_bytes: int, may_split: Callable[[FileVersion], bool]) -> list[Span]:
    whole = (file.seq, file.key, file.e_tag, file.size_bytes, file.last_modified)
    small = file.size_bytes <= max_bytes
    if small or not lines or file.key.lower().endswith(COMPRESSED) or not may_split(file):
        return [Span(*whole, 0, file.size_bytes, file.replaces)]
    pieces = ceil(file.size_bytes / max_bytes)
    edges = [file.size_bytes * number // pieces for number in range(pieces + 1)]
    return [Span(*whole, low, high - low, file.replaces) for low, high in pairwise(edges)]
