"""The commands that correct what a check found."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from lakehouse.table import Table

_NAMED = 3


def correct_and_replay(table: Table, files: Sequence[str]) -> str:
    """What to do when the source files themselves are wrong."""
    return f"correct the lines in the files named, under their names; then: {replay(table, files)}"


def replay(table: Table, files: Sequence[str]) -> str:
    """The commands that remove the rows of these files and load them again; of many files the first are named.

    A table whose stream only adds rows is filled again as a whole.
    """
    if not getattr(table.flow, "replaces", False):
        return recompute(table)
    names = list(dict.fromkeys(files))
    options = " ".join(f"--files {shlex.quote(name)}" for name in names[:_NAMED])
    more = f"   (and the other {len(names) - _NAMED:,} files likewise)" if len(names) > _NAMED else ""
    return f"lakehouse replay {options} --table {table.name} --yes && lakehouse ingest{more}"


def recompute(table: Table) -> str:
    """The commands that fill a table again from all of its source."""
    return f"lakehouse checkpoint restart {table.name} --yes && lakehouse ingest {table.name}"
