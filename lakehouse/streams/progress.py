"""What a stream did: a record and a printed line for each micro-batch, a report for each run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from lakehouse.plain_text import counted


@dataclass(frozen=True)
class BatchProgress:
    """One committed micro-batch.

    Attributes:
        table: The target, ``layer.name``.
        batch_id: Spark's number of the batch, counted from 0 since the checkpoint began.
        files: Files read by this batch; None where the source has no files to count.
        input_rows: Rows the batch read.
        rescued_rows: Rows with values that are kept in ``_rescued_data``; None where not measured.
        corrupt_rows: Rows that are no valid record; rescued rows may be among them. None where not measured.
        duration_seconds: From trigger to commit.
        backlog_files: Files known and still waiting after it; None where not measured.
        backlog_bytes: Their size; None where the source does not know it.
        watermark: The event-time watermark in force, ISO 8601 UTC; None without one.
        state_rows: Rows held in the state store; None for a stateless stream.
        state_memory_bytes: Memory of the state store; None for a stateless stream.
        late_rows: Rows that came after their window was closed, counted once a window; None where not measured.
        set_aside_rows: Rows that are not counted for another reason; None where not measured.
        phases_milliseconds: Spark's ``durationMs``: ``latestOffset`` is discovery, ``addBatch`` is work.
        latencies_seconds: For each file the time from its writing (the store's clock) to the end of the batch (the
            engine's); empty where the source does not know it.
    """

    table: str
    batch_id: int
    input_rows: int
    duration_seconds: float
    files: int | None = None
    rescued_rows: int | None = None
    corrupt_rows: int | None = None
    backlog_files: int | None = None
    backlog_bytes: int | None = None
    watermark: str | None = None
    state_rows: int | None = None
    state_memory_bytes: int | None = None
    late_rows: int | None = None
    set_aside_rows: int | None = None
    phases_milliseconds: dict[str, int] = field(default_factory=dict)
    latencies_seconds: tuple[float, ...] = ()

    def line(self) -> str:
        """``bronze.orders #7  12 files  4,310 rows  2.4 s  backlog 38 files  watermark 10:05:00Z``."""
        parts = [f"{self.table} #{self.batch_id}"]
        parts += [counted(self.files, "file")] if self.files is not None else []
        parts += [f"{self.input_rows:,} rows"]
        parts += [f"{self.rescued_rows:,} rescued"] if self.rescued_rows else []
        parts += [f"{self.corrupt_rows:,} corrupt"] if self.corrupt_rows else []
        parts += [f"{self.late_rows:,} late"] if self.late_rows else []
        parts += [f"{self.set_aside_rows:,} set aside"] if self.set_aside_rows else []
        parts += [f"{self.duration_seconds:.1f} s"]
        parts += [f"backlog {counted(self.backlog_files, 'file')}"] if self.backlog_files is not None else []
        parts += [f"watermark {self.watermark}"] if self.watermark else []
        return "  ".join(parts)


_SUMS = ("input_rows", "rescued_rows", "corrupt_rows", "late_rows", "set_aside_rows")


@dataclass(frozen=True)
class StreamReport:
    """One run of one table's stream, from start to end.

    Attributes:
        table: The target, ``layer.name``.
        batches: Its micro-batches in order; empty when there was nothing to do. Of a run that does not end by itself
            only the last batches; rows and files are of those, too.
        rows_added: Rows that this run's commits added to the table (Delta's own count).
        delta_version_before: Version of the table before the run; None when it did not exist.
        delta_version: Version after it; None when it still does not exist.
        duration_seconds: Wall time of the run.
        source_files: Keys of the files loaded by this run, in batch order; empty where the source has none.
        ignored_files: Objects under the source folder that are no input of this table.
        has_source: Whether there was anything to read from: silver has no source before bronze has a commit.
        rows_updated: Rows that this run's commits changed.
        rows_removed: Rows that this run's commits removed, or replaced by added rows.
    """

    table: str
    batches: tuple[BatchProgress, ...]
    rows_added: int
    delta_version_before: int | None
    delta_version: int | None
    duration_seconds: float
    source_files: tuple[str, ...] = ()
    ignored_files: int = 0
    has_source: bool = True
    rows_updated: int = 0
    rows_removed: int = 0

    @property
    def input_rows(self) -> int:
        """Rows read by all batches."""
        return sum(batch.input_rows for batch in self.batches)

    @property
    def rescued_rows(self) -> int:
        """Rows with a value that did not fit its column."""
        return sum(batch.rescued_rows or 0 for batch in self.batches)

    @property
    def corrupt_rows(self) -> int:
        """Rows that were no valid record."""
        return sum(batch.corrupt_rows or 0 for batch in self.batches)

    @property
    def late_rows(self) -> int:
        """Rows that came after their window was closed."""
        return sum(batch.late_rows or 0 for batch in self.batches)

    @property
    def set_aside_rows(self) -> int:
        """Rows that a window does not count for another reason."""
        return sum(batch.set_aside_rows or 0 for batch in self.batches)

    def line(self) -> str:
        """The sum of the run, also when there was nothing to do."""
        version = "not there yet" if self.delta_version is None else f"version {self.delta_version}"
        ignored = (
            f", {counted(self.ignored_files, 'object')} ignored: not named as the table's files are, or empty"
            if self.ignored_files
            else ""
        )
        if not self.batches:
            return f"{self.table}: nothing new{ignored}, {version}"
        files = f"{counted(len(self.source_files), 'file')}, " if self.source_files else ""
        updated = f", {self.rows_updated:,} updated" if self.rows_updated else ""
        removed = f", {self.rows_removed:,} removed" if self.rows_removed else ""
        return (
            f"{self.table}: {files}{self.input_rows:,} rows read, {self.rows_added:,} rows added{updated}{removed} in "
            f"{counted(len(self.batches), 'batch')}, {self.duration_seconds:.1f} s{ignored}, {version}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        sums = {name: getattr(self, name) for name in _SUMS}
        return {**asdict(self), **sums}


OnBatch = Callable[[BatchProgress], None]
"""Called once for each committed micro-batch, in order, while the stream runs."""
