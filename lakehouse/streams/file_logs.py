"""Which files a batch read, and how many wait: from the log of the stream's source."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from lakehouse.autoloader.files.backlog import Backlog
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.lake import Lake


@dataclass(frozen=True)
class BatchFiles:
    """A batch's files.

    Attributes:
        keys: Their keys, in the order of the log.
        backlog_files: Files found and still waiting after it.
        backlog_bytes: Their size; None where the source does not know it.
        landed: When each file was written, by the store's clock; empty where the source does not know it.
    """

    keys: list[str]
    backlog_files: int
    backlog_bytes: int | None = None
    landed: tuple[datetime, ...] = ()


class FileLog(Protocol):
    """The log in which a source records its files."""

    def of_batch(self, progress: dict[str, Any]) -> BatchFiles:
        """The files of a batch, from Spark's progress of it."""
        ...


class SparkFileLog:
    """The log of Spark's own file source; ``pending`` are the files that waited before the run."""

    def __init__(self, lake: Lake, table: str, pending: int) -> None:
        self._lake, self._table, self._pending = lake, table, pending
        self._log: dict[int, list[str]] = {}

    def of_batch(self, progress: dict[str, Any]) -> BatchFiles:
        """See ``FileLog``."""
        source = progress["sources"][0]
        first, last = (self._number(source[name]) for name in ("startOffset", "endOffset"))
        if last not in self._log:
            self._log = checkpoints.source_files(self._lake, self._table)
        keys = [key for number in range(first + 1, last + 1) for key in self._log.get(number, [])]
        self._pending = max(self._pending - len(keys), 0)
        return BatchFiles(keys, self._pending)

    def _number(self, offset: Any) -> int:
        return (_offset(offset) or {"logOffset": -1})["logOffset"]


class CloudFilesLog:
    """The journal of a ``cloudFiles`` source; ``journals`` are those that are open already."""

    def __init__(self, lake: Lake, options: CloudFilesOptions, journals: dict[str, Journal] | None = None) -> None:
        self._lake, self._options, self._journals = lake, options, {} if journals is None else journals
        self._backlog: Backlog | None = None

    def of_batch(self, progress: dict[str, Any]) -> BatchFiles:
        """See ``FileLog``."""
        source = progress["sources"][0]
        start, end, latest = (_offset(source.get(name)) for name in ("startOffset", "endOffset", "latestOffset"))
        files = self._opened(end).batch(start["seq"] if start else 0, end["seq"])
        known = latest or {}
        return BatchFiles(
            [file.key for file in files],
            known.get("numFilesOutstanding", 0),
            known.get("numBytesOutstanding"),
            tuple(file.last_modified for file in files),
        )

    def _opened(self, end: dict[str, Any]) -> Backlog:
        if self._backlog is None:
            place = f"{(self._options.journal_location or '').rstrip('/')}/"
            self._journal = self._journals.get(place) or Journal.at(self._lake.store, place)
            path = SourcePath.parse(self._options.path, strict=self._options.use_strict_globber)
            self._backlog = Backlog(self._journal, path, self._options, stream=end["stream"])
        if self._journal.high_water < end["seq"]:
            self._journal.refresh()
        return self._backlog


def _offset(value: Any) -> dict[str, Any]:
    if value in (None, "null", ""):
        return {}
    return dict(json.loads(value) if isinstance(value, str) else value)
