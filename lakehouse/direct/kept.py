"""Where a run goes on, and what it keeps open between two looks for input, so that each look reads only news."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deltalake.exceptions import DeltaError

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints.agreement import read_checkpoint, verify
from lakehouse.checkpoints.spark_log import SparkLog
from lakehouse.direct.own_commits import OwnCommits
from lakehouse.lake import Lake, LakeTable
from lakehouse.storage.delta_paths import commit_uri


@dataclass(frozen=True)
class At:
    """Where a stream stands after a finished batch.

    Attributes:
        query: The checkpoint's own id.
        number: Of the next batch.
        start: The offset at which the next batch begins.
    """

    query: str
    number: int
    start: dict[str, Any]


@dataclass(frozen=True)
class Planned:
    """The last batch that a checkpoint plans.

    Attributes:
        query: The checkpoint's own id.
        number: Of the batch; 0 when none is planned.
        end: The source's offset after it; None when none is planned.
        finished: Whether the checkpoint says that it is in the table.
    """

    query: str
    number: int
    end: dict[str, Any] | None
    finished: bool


def last_planned(lake: Lake, table: str, log: SparkLog) -> Planned:
    """Where a stream goes on: behind the last planned batch, or with that batch again where it is not finished.

    Args:
        lake: Where the checkpoint is.
        table: The target.
        log: The checkpoint; it gets an id when it has none.
    """
    state = read_checkpoint(lake, table)
    query = (state.query_id if state else None) or log.query_id()
    if state is None or state.last_offset is None:
        return Planned(query, 0, None, False)
    number = state.last_offset
    return Planned(query, number, log.planned(number), state.last_commit == number)


class Kept:
    """Journals by their folders, the table, the checkpoint, and where the run stands. The lease keeps others away.

    Args:
        lake: Where they are.
        table: The target.
        opened: The target, where somebody has opened it already.
    """

    def __init__(self, lake: Lake, table: str, opened: LakeTable | None = None) -> None:
        self.journals: dict[str, Journal] = {}
        self.own, self.log = OwnCommits(), SparkLog(lake, table)
        self.place: At | None = None
        self._lake, self._name = lake, table
        self._table, self._tag = opened, ""

    def opened(self) -> LakeTable | None:
        """The table at its newest version, or None when there is none yet.

        Raises:
            CheckpointMismatch: somebody removed it while the run goes on, or another is in its place.
        """
        if self._table is not None and self._tag and self._tag == self._tag_of(self._table):
            try:
                before = self._table.version()
                self._table.update_incremental()
                if self._table.version() != before:
                    self._tag = self._tag_of(self._table)
                return self._table
            except DeltaError:  # its log was replaced or damaged: opened anew
                pass
        known, self._table = self._table, self._lake.delta(self._name)
        if self._table is None or known is not None:
            verify(self._lake, self._name)
        self._tag = self._tag_of(self._table) if self._table is not None else ""
        return self._table

    def _tag_of(self, opened: LakeTable) -> str:
        """Of the newest commit that is known: somebody may remove the table, or make another in its place."""
        commit = split_uri(commit_uri(self._lake.settings.table_uri(self._name), opened.version()))
        info = self._lake.store.info(*commit)
        return "" if info is None else info.e_tag
