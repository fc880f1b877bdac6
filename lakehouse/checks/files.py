"""Whether the files that were found are the files that were loaded: journal, receipts and table are compared."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lakehouse.checks.cures import replay
from lakehouse.checks.kept import compared
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.table import At, Check, Finding

if TYPE_CHECKING:
    from lakehouse.autoloader.outcomes.file_states import FileState
    from lakehouse.autoloader.outcomes.file_sums import FileSums
    from lakehouse.maintenance.file_rows import RemovedRows


@dataclass(frozen=True)
class _Files:
    """What the three checks look at.

    Attributes:
        sums: Files in which journal, receipts and table agree, as sums; all other files one by one.
        rows: Rows in the table, by the file's number.
        removed: Rows that were removed on purpose.
    """

    sums: FileSums
    rows: dict[int, int]
    removed: RemovedRows

    @property
    def done(self) -> list[FileState]:
        """The files that are held one by one, and whose batch is finished."""
        return [state for state in self.sums.others if state.commit_time is not None]


def _files(at: At) -> _Files | None:
    """What the three checks look at; None before the stream's first batch.

    Raises:
        TerminalError: the journal or the checkpoint cannot be read.
    """
    from lakehouse.autoloader.options.paths import split_uri
    from lakehouse.autoloader.outcomes.file_states import file_states, read_stream_log
    from lakehouse.autoloader.outcomes.file_sums import FileSums, file_sums
    from lakehouse.maintenance.file_rows import RemovedRows, forget_kept_rows, kept_rows_by_sequence, rows_by_sequence

    lake, table = at.lake, at.table.name
    location = lake.settings.checkpoint_uri(table)
    log = read_stream_log(lake.store, *split_uri(location))
    if log is None:
        return None
    removed, rows = RemovedRows.of(lake, table), kept_rows_by_sequence(lake, table)
    sums = file_sums(lake.store, log, rows, removed.files)
    if at.full or sums is None:
        states = file_states(lake.store, location, log=log)
        singly = FileSums(0, 0, 0, 0, tuple(state for state in states if state.ingestion_state is not None))
        if at.full:
            kept, rows = rows, rows_by_sequence(lake, table)
            differ = [number for number in kept.keys() | rows.keys() if kept.get(number) != rows.get(number)]
            if not compared(at, "rows of files that differ", 0, len(differ)):
                forget_kept_rows(lake, table)
            elif sums is not None:
                compared(at, "files, read, rows and bad records", _totals(sums), _totals(singly))
        sums = singly
    return _Files(sums, rows, removed)


def _totals(sums: FileSums) -> tuple[int, int, int, int]:
    done = [state for state in sums.others if state.commit_time is not None]
    return (
        sums.files + len(sums.others),
        sums.read + len(done),
        sums.rows + sum(state.rows or 0 for state in done),
        sums.bad_records + sum(state.bad_records or 0 for state in done),
    )


class _FilesCheck(Check):
    def examine(self, at: At) -> Finding | None:
        """Compares; nothing to examine before the first batch."""
        files = at.once("files", lambda: _files(at))
        return None if files is None else self._compare(at, files)

    @abstractmethod
    def _compare(self, at: At, files: _Files) -> Finding: ...


class NoFileLoadedTwice(_FilesCheck):
    """``no_file_loaded_twice``."""

    kind: ClassVar[str] = "no_file_loaded_twice"
    flows: ClassVar[tuple[str, ...]] = ("files",)
    about: ClassVar[str] = "No file has more rows in the table than it gave, nor rows under two numbers."

    def _compare(self, at: At, files: _Files) -> Finding:
        first: dict[tuple[str, str], int] = {}
        wrong = []
        for state in files.sums.others:
            rows = files.rows.get(state.sequence, 0)
            before = first.setdefault((state.path, state.e_tag), state.sequence) if rows else state.sequence
            if rows > (state.rows or 0) or before != state.sequence:
                shown = {"file": state.path, "rows_read": state.rows, "rows_in_table": rows, "also_loaded_as": before}
                wrong.append(shown)
        numbers = {"files": files.sums.files + len(files.sums.others), "files_loaded_twice": len(wrong)}
        return self.finding(at, not wrong, numbers, tuple(wrong), _replay(at, wrong))


class EveryFileLoaded(_FilesCheck):
    """``every_file_loaded``."""

    kind: ClassVar[str] = "every_file_loaded"
    flows: ClassVar[tuple[str, ...]] = ("files",)
    about: ClassVar[str] = "Files journalled are files committed; rows read are rows in the table."

    def _compare(self, at: At, files: _Files) -> Finding:
        from lakehouse.autoloader.outcomes.receipts import State

        rows_read, bad_records = files.sums.rows, files.sums.bad_records
        quarantined = missing = forgotten = 0
        wrong = []
        for state in files.done:
            read, removed = state.rows or 0, files.removed.rows(state)
            rows_read += read
            bad_records += state.bad_records or 0
            quarantined += state.ingestion_state == State.QUARANTINED
            forgotten += removed
            rows = files.rows.get(state.sequence, 0)
            if rows < read - removed:
                missing += read - removed - rows
                shown = {"file": state.path, "rows_read": state.rows, "rows_in_table": rows, "batch_id": state.batch_id}
                wrong.append(shown)
        numbers = {
            "files": files.sums.read + len(files.done),
            "files_quarantined": quarantined,
            "rows_read": rows_read,
            "bad_records": bad_records,
            "rows_in_table": sum(files.rows.values()),
            "rows_forgotten": forgotten,
            "rows_missing": missing,
        }
        cure = (
            f"{_replay(at, wrong)}; or, if they were removed on purpose: "
            f"lakehouse forget {at.table.name} --already-removed --yes && lakehouse ingest"
        )
        return self.finding(at, not wrong, numbers, tuple(wrong), cure)


class NoQuarantinedFiles(_FilesCheck):
    """``no_quarantined_files``."""

    kind: ClassVar[str] = "no_quarantined_files"
    flows: ClassVar[tuple[str, ...]] = ("files",)
    about: ClassVar[str] = "Files that could not be read, with the reason; the others were loaded."
    blocks: ClassVar[bool] = False

    def _compare(self, at: At, files: _Files) -> Finding:
        bad = [state for state in files.done if state.error]
        shown = [{"file": state.path, "state": state.ingestion_state, "error": state.error} for state in bad]
        cure = f"correct the file under its name; then: {_replay(at, shown)}"
        return self.finding(at, not bad, {"quarantined_files": len(bad)}, tuple(shown[:SAMPLE_ROWS]), cure)


def _replay(at: At, wrong: Iterable[Mapping[str, object]]) -> str:
    return replay(at.table, [str(shown["file"]) for shown in wrong])
