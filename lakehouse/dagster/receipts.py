"""The receipt of a run of a table that ``cloudFiles`` fills: what it was offered, and what became of all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lakehouse.autoloader.files.backlog import Backlog
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.paths import SourcePath, split_uri
from lakehouse.autoloader.outcomes.file_states import by_file
from lakehouse.autoloader.outcomes.receipt_log import read_receipts
from lakehouse.autoloader.outcomes.receipts import State
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import LakehouseError
from lakehouse.flows.files import Files
from lakehouse.lake import Lake
from lakehouse.streams.progress import BatchProgress, StreamReport
from lakehouse.table import Table

MOST_BATCHES = 20
"""So many micro-batches of a run are shown, the last ones."""
_SKIPPED = (State.SKIPPED_MISSING, State.SKIPPED_CORRUPTED)


@dataclass(frozen=True)
class Receipt:
    """What became of the files between two places of a journal.

    Attributes:
        journal_from: Number of the last file that was loaded before.
        journal_to: Number of the last file that is loaded now.
        files: How many files there are of each state.
        rows_in: Rows and records that the files gave.
        rows_quarantined: Records that are kept beside the table.
        rows_out: Rows that the table has of them.
        backlog_files: Files that wait.
        backlog_oldest_seconds: How long the oldest of them has waited; 0 where none does.
    """

    journal_from: int
    journal_to: int
    files: Counter[State]
    rows_in: int
    rows_quarantined: int
    rows_out: int
    backlog_files: int = 0
    backlog_oldest_seconds: float = 0.0

    @property
    def adds_up(self) -> bool:
        """Whether each row that came in is in the table, or beside it."""
        return self.rows_in == self.rows_out + self.rows_quarantined

    def numbers(self) -> dict[str, int | float]:
        """For metadata; the names stay for ever."""
        ingested, quarantined = self.files[State.INGESTED], self.files[State.QUARANTINED]
        skipped = sum(self.files[state] for state in _SKIPPED)
        return {
            "files_offered": ingested + skipped + quarantined + self.backlog_files,
            "files_ingested": ingested,
            "files_skipped": skipped,
            "files_quarantined": quarantined,
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "rows_quarantined": self.rows_quarantined,
            "rows_unaccounted": self.rows_in - self.rows_out - self.rows_quarantined,
            "journal_from": self.journal_from,
            "journal_to": self.journal_to,
            "backlog_oldest_seconds": self.backlog_oldest_seconds,
        }


def has_receipt(table: Table) -> bool:
    """Whether runs of a table have a receipt: only ``cloudFiles`` has a journal."""
    return isinstance(table.flow, Files) and table.flow.source == "cloudFiles"


def place_of(lake: Lake, table: str) -> int | None:
    """Number of the last file that a table has loaded, 0 before the first; None of a checkpoint that is damaged."""
    try:
        finished = checkpoints.last_finished(lake, table)
        return int(finished.offset["seq"]) if finished else 0
    except (LakehouseError, ValueError, KeyError, TypeError):
        return None  # the run mends it, or says what is wrong


def receipt_of(
    lake: Lake, table: Table, report: StreamReport, before: int | None, now: datetime | None = None
) -> Receipt | None:
    """The receipt of a run; None where it cannot be told from which file on the run has read.

    Args:
        lake: Where the table is.
        table: A table that has receipts.
        report: What the run told.
        before: Its place before the run.
        now: The moment.
    """
    if not report.batches:
        return None if before is None else Receipt(before, before, Counter(), 0, 0, 0)
    began = _began(lake, table.name, report.batches[0].batch_id, before)
    finished = checkpoints.last_finished(lake, table.name)
    if began is None or finished is None:
        return None
    offset = finished.offset
    place, upto = split_uri(offset["journal"]), int(offset["seq"])
    written = read_receipts(lake.store, *place, offset["stream"], first_end=began + 1)
    every = by_file(entry for entry in written if entry.end <= upto).values()
    receipts = [entry.receipt for entry in every if entry.receipt.seq > began]  # others are of files that were replaced
    bad = sum(receipt.bad_records for receipt in receipts)
    left = report.batches[-1].backlog_files or 0
    return Receipt(
        began,
        upto,
        Counter(receipt.state for receipt in receipts),
        sum(receipt.rows for receipt in receipts) + bad,
        bad,
        report.rows_added,
        left,
        _oldest_seconds(lake, table, offset, now or datetime.now(UTC)) if left else 0.0,
    )


def _began(lake: Lake, table: str, first_batch: int, before: int | None) -> int | None:
    """Where the run began: behind the batch before its first, which is truer than a checkpoint that the run mended."""
    if first_batch == 0:
        return 0
    try:
        return int(checkpoints.planned(lake, table, first_batch - 1).offset["seq"])
    except (LakehouseError, ValueError, KeyError, TypeError):  # a checkpoint keeps its last hundred batches
        return before


def _oldest_seconds(lake: Lake, table: Table, offset: dict[str, Any], now: datetime) -> float:
    flow = table.flow
    assert isinstance(flow, Files)
    options = flow.cloud_files(lake.settings, table.name)
    path = SourcePath.parse(flow.path, strict=options.use_strict_globber)
    journal = Journal.at(lake.store, offset["journal"])
    waiting = Backlog(journal, path, options, stream=offset["stream"]).files(offset["seq"], journal.high_water)
    oldest = min((file.last_modified for file in waiting), default=now)
    return round(max((now - oldest).total_seconds(), 0.0), 1)


def batch_rows(batches: Sequence[BatchProgress]) -> list[dict[str, Any]]:
    """A row for each of the last micro-batches; what none of them measured is left out."""
    rows = [_batch_row(batch) for batch in batches[-MOST_BATCHES:]]
    measured = [name for name in rows[0] if any(row[name] != "-" for row in rows)] if rows else []
    return [{name: row[name] for name in measured} for row in rows]


def _batch_row(batch: BatchProgress) -> dict[str, Any]:
    seconds = batch.duration_seconds
    phases = {name: took for name, took in batch.phases_milliseconds.items() if name != "triggerExecution" and took}
    slowest = sorted(phases, key=lambda name: phases[name], reverse=True)[:3]
    return {
        "batch_id": batch.batch_id,
        "files": _or_dash(batch.files),
        "input_rows": batch.input_rows,
        "rescued_rows": _or_dash(batch.rescued_rows),
        "late_rows": _or_dash(batch.late_rows),
        "watermark": batch.watermark or "-",
        "backlog_files": _or_dash(batch.backlog_files),
        "duration_seconds": seconds,
        "rows_per_second": round(batch.input_rows / seconds) if seconds else "-",
        "state_rows": _or_dash(batch.state_rows),
        "phases": ", ".join(f"{name} {phases[name] / 1000:.2f} s" for name in slowest) or "-",
    }


def _or_dash(count: int | None) -> int | str:
    return "-" if count is None else count
