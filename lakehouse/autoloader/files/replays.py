"""Replays in a journal: a stream's requests to load files again. Each is an entry that names the file's first entry."""

from __future__ import annotations

import pyarrow.compute as pc

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.segments import FileVersion


def replays_of(journal: Journal, stream: str, after: int = 0) -> list[FileVersion]:
    """The replays that ``stream`` asked for after number ``after``, in order; none without a stream."""
    if not stream:
        return []
    # they are few: one column says which, and only around them all columns are read
    numbers = [
        seq
        for table in journal.tables(after, journal.high_water, ["stream"])
        for seq in table["seq"].filter(pc.equal(table["stream"], stream)).to_pylist()
    ]
    if not numbers:
        return []
    return [file for file in journal.files(numbers[0] - 1, numbers[-1]) if file.stream == stream and file.replaces]
