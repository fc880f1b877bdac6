"""Counts that checks keep from earlier runs, and whether a full count agrees with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakehouse.counting import SAMPLE_ROWS
from lakehouse.table import At, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lakehouse.counting.conditions import Condition, Counts
    from lakehouse.counting.data_files import DataFiles

AGREES = "check_state_agrees"
"""Name of the finding of a full check about the kept counts of its table."""


def data_files_of(at: At) -> DataFiles | None:
    """The table's data files, opened once for all checks; None where only Spark can read them."""
    from lakehouse.counting.data_files import DataFiles, OnlySpark

    def look() -> DataFiles | None:
        try:
            return DataFiles.of(at.lake, at.table.name)
        except OnlySpark:
            return None

    return at.once("data files", look)


def counts_of(
    at: At,
    files: DataFiles,
    conditions: Mapping[str, Condition],
    *,
    rows_of: str = "rows of the table",
    name: str = "rows",
) -> Counts:
    """Counts rows, those of known data files by what was kept of them; a full check counts all, and compares.

    Args:
        at: Where the check is made.
        files: The data files.
        conditions: By any name.
        rows_of: What the rows are, for the comparison.
        name: Of the object with the kept counts.

    Raises:
        OnlySpark: the rows cannot be read from the data files alone.
    """
    from lakehouse.counting.conditions import count, keep

    table = at.table.name
    counts = count(at.lake, table, files, conditions, name=name)
    if not at.full or counts.read == len(counts.rows):
        return counts
    kept, counts = counts, count(at.lake, table, files, conditions, afresh=True)
    compared(at, rows_of, sum(kept.rows.values()), sum(counts.rows.values()))
    for called, condition in conditions.items():
        compared(at, called, sum(kept.found[condition.key].values()), sum(counts.found[condition.key].values()))
    if (kept.rows, kept.found) != (counts.rows, counts.found):
        keep(at.lake, table, files, counts, name=name)
    return counts


def compared(at: At, what: str, kept: object, counted: object) -> bool:
    """Records a kept count and the full count, for ``finding_of``; returns whether they are equal."""
    notes: list[dict[str, Any]] = at.once("kept counts", list)
    notes.append({"of": what, "kept": str(kept), "counted": str(counted)})
    return kept == counted


def finding_of(at: At) -> Finding | None:
    """Whether the kept counts were right; None where nothing was kept.

    The other findings of the run are of the full count. Kept counts that were wrong have been replaced.
    """
    notes: list[dict[str, Any]] = at.memo.get("kept counts", [])
    wrong = [note for note in notes if note["kept"] != note["counted"]]
    if not notes:
        return None
    cure = f"the counts are put right; look again: lakehouse check {at.table.name} --full"
    return Finding(
        AGREES,
        at.table.name,
        not wrong,
        {"kept_counts": len(notes), "counts_that_differ": len(wrong)},
        tuple(wrong[:SAMPLE_ROWS]),
        cure if wrong else "",
        True,
    )
