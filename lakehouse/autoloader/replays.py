"""Replays in a journal: requests of one stream to load files again, each an entry that names the file's first one."""

from __future__ import annotations

import pyarrow.compute as pc

from lakehouse.autoloader.journal import Journal
from lakehouse.autoloader.segments import COLUMNS, FileVersion, to_files


def replays_of(journal: Journal, stream: str, after: int = 0) -> list[FileVersion]:
    """The replays that ``stream`` asked for after number ``after``, in order; none without a stream."""
    if not stream:
        return []
    return [
        one
        for table in journal.tables(after, journal.high_water, COLUMNS)
        for one in to_files(table.filter(pc.equal(table["stream"], stream)))
        if one.replaces
    ]
