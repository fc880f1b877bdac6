"""What one stream has still to read of a journal: its own choice of the files, in the journal's order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from heapq import nlargest
from typing import Any

import numpy as np

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath, glob_regex
from lakehouse.storage.store import ObjectInfo


class FileFilter:
    """Which files the options name: path, ``pathGlobFilter``, ``modifiedAfter`` and ``modifiedBefore``."""

    def __init__(self, path: SourcePath, options: CloudFilesOptions) -> None:
        self._path, self._options = path, options
        glob = options.path_glob_filter
        self._name = re.compile(glob_regex(glob), re.DOTALL) if glob else None

    def takes(self, file: FileVersion | ObjectInfo) -> bool:
        """Whether the options name this file."""
        options = self._options
        if self._name and not self._name.fullmatch(file.key.rsplit("/", 1)[-1]):
            return False
        if options.modified_after and file.last_modified <= options.modified_after:
            return False
        if options.modified_before and file.last_modified >= options.modified_before:
            return False
        return self._path.covers(file.key)


class Backlog:
    """Numbers and sizes of the files after a place. Each file takes 16 bytes, so a million files take 16 MB.

    Args:
        journal: Where the files are numbered.
        path: The stream's path with its globs.
        options: The stream's filters.
        after: Files up to this number are done.
        stream: The stream's id: the files that only this stream is to load again are then among them.
    """

    def __init__(
        self, journal: Journal, path: SourcePath, options: CloudFilesOptions, after: int = 0, *, stream: str = ""
    ) -> None:
        self._journal, self._options, self._stream = journal, options, stream
        self._filter = FileFilter(path, options)
        self.after = after
        self._upto = after
        self._seqs = np.empty(0, np.int64)
        self._sizes = np.empty(0, np.int64)
        self._found_at = np.empty(0, np.int64)

    def extend(self, upto: int) -> None:
        """Takes in the files up to that number."""
        if upto <= self._upto:
            return
        chosen = [(row.seq, row.size_bytes, int(row.discovered.timestamp())) for row in self.files(self._upto, upto)]
        rows = np.array(chosen, np.int64).reshape(-1, 3)
        self._seqs = np.concatenate([self._seqs, rows[:, 0]])
        self._sizes = np.concatenate([self._sizes, rows[:, 1]])
        self._found_at = np.concatenate([self._found_at, rows[:, 2]])
        self._upto = upto

    def end_of_batch(self, start: int, *, max_files: int | None, max_bytes: int | None) -> int:
        """Number of the last file of the batch that begins after ``start``; ``start`` when nothing is left.

        At least one file; then as many as both limits allow. The limit of bytes is soft, as Auto Loader's: the file
        that reaches it is read.
        """
        low = int(np.searchsorted(self._seqs, start, "right"))
        count = len(self._seqs) - low
        if not count:
            return start
        if max_files is not None:
            count = min(count, max(max_files, 1))
        if max_bytes is not None:
            reached = int(np.searchsorted(np.cumsum(self._sizes[low : low + count]), max_bytes, "left")) + 1
            count = min(count, reached)
        return int(self._seqs[low + count - 1])

    def outstanding(self, read: int) -> dict[str, Any]:
        """Files and bytes after ``read``, and when the oldest of them was found (seconds since the epoch)."""
        low = int(np.searchsorted(self._seqs, read, "right"))
        oldest = {"oldestPendingSeconds": int(self._found_at[low])} if low < len(self._seqs) else {}
        sizes = self._sizes[low:]
        return {"numFilesOutstanding": len(sizes), "numBytesOutstanding": int(sizes.sum()), **oldest}

    def newest(self, count: int) -> list[FileVersion]:
        """The stream's files that were written last."""
        return nlargest(count, self.files(0, self._journal.high_water), key=lambda file: (file.last_modified, file.seq))

    def files(self, after: int, upto: int) -> Iterator[FileVersion]:
        """The stream's files in a range; the same at every call."""
        return filter(self._takes, self._journal.files(after, upto))

    def batch(self, after: int, upto: int) -> list[FileVersion]:
        """The files of a range as a single batch reads them. Rows that several entries stand for are read once."""
        files = list(self.files(after, upto))
        again = {file.replaces: file.seq for file in files if file.replaces}
        newest = {file.key: file.seq for file in files if not file.replaces}
        if self._options.allow_overwrites != "replace":
            return [file for file in files if not file.replaces or again[file.replaces] == file.seq]
        return [
            file
            for file in files
            if newest.get(file.key, file.seq) == file.seq and again.get(file.replaces, file.seq) == file.seq
        ]

    def _takes(self, file: FileVersion) -> bool:
        if file.replaces:
            return bool(self._stream) and file.stream == self._stream
        return (file.first or bool(self._options.allow_overwrites)) and self._filter.takes(file)
