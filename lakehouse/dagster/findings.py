"""What the doctor finds of a table whose run failed: lines of that run's log, beside the error itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from lakehouse.lake import Lake


@contextmanager
def examined_on_failure(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, lake: Lake, table: str
) -> Iterator[None]:
    """Lets an error pass as it is, and notes before it what it means, what else is wrong, and what mends it."""
    try:
        yield
    except Exception as error:
        for line in _lines(lake, table, error):
            context.log.error(line)
        raise


def _lines(lake: Lake, table: str, error: Exception) -> list[str]:
    """Of the error's class and of the findings; a look that fails is a line, too."""
    from lakehouse.declaration import read_catalogue
    from lakehouse.doctor.examining import examine
    from lakehouse.doctor.explained import explanation_of
    from lakehouse.doctor.finding import Verdict

    lines = []
    if known := explanation_of(error):
        lines.append(f"{type(error).__name__}: {known.meaning} {known.cause} Run: {known.command}")
    try:
        found = examine(lake, read_catalogue(lake.settings), [table], shared=False)
        bad = found.of(Verdict.FAIL, Verdict.WARN)
        lines += ["\n".join(["lakehouse doctor says:", *finding.lines()]) for finding in bad]
        lines += [] if bad else [f"lakehouse doctor finds nothing else that is wrong with {table}"]
    except Exception as other:  # the run's own error is what counts
        lines.append(f"lakehouse doctor could not look: {type(other).__name__}: {other}")
    return lines
