"""What the sensor knows of the job's runs: which are under way, and which tables failed and are to be tried again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.execution.stats import StepEventStatus

from lakehouse.dagster.names import check_step_of, step_of

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_RETRY_AFTER_MINUTES = (1, 4, 16)
_TOLD_FOR = timedelta(days=1)
_MOST_FAILED = 50
_MOST_OTHERS = 200
_NAMED = 3


@dataclass(frozen=True)
class Retries:
    """Tables that failed in their last run.

    Attributes:
        due: Those to be tried again now, each with the run in which it failed last.
        waiting: Those to be tried again later, with that run and the time.
        left: Those that failed too often, with that run: new files and the schedule alone run them again.
        cancelled: Those that the newest cancelled run did not finish, with that run: new files and the schedule alone
            run them again, too, because whoever cancelled it meant that.
    """

    due: dict[dg.AssetKey, str]
    waiting: dict[dg.AssetKey, tuple[str, datetime]]
    left: dict[dg.AssetKey, str]
    cancelled: dict[dg.AssetKey, str]

    def why_not(self) -> str:
        """A sentence on those that are not tried again now; empty when there are none."""
        sentence = ""
        if self.waiting:
            run, due = min(self.waiting.values(), key=lambda entry: entry[1])
            sentence += f"; {_names(self.waiting)} failed in run {run[:8]}, tried again at {due:%Y-%m-%d %H:%M:%SZ}"
        if self.left:
            run = next(iter(self.left.values()))
            sentence += f"; {_names(self.left)} failed in run {run[:8]} like in those before it: left to the schedule"
        if self.cancelled:
            run = next(iter(self.cancelled.values()))
            sentence += f"; run {run[:8]} was cancelled: what it left of {_names(self.cancelled)} "
            sentence += "comes with new files, or by the schedule"
        return sentence


class Runs:
    """The runs of one job.

    Args:
        instance: Where they are recorded.
        job: The job's name.
        every: The tables of a run without a selection, in the order of the data.
    """

    def __init__(self, instance: dg.DagsterInstance, job: str, every: Sequence[dg.AssetKey]) -> None:
        self._instance, self._job, self._every = instance, job, every
        under_way = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=UNFINISHED), limit=_MOST_OTHERS)
        self._under_way = [(record.dagster_run.run_id, self._tables(record)) for record in under_way]

    def under_way(self, tables: Collection[dg.AssetKey]) -> str | None:
        """Id of an unfinished run of any of these tables."""
        return next((run_id for run_id, its in self._under_way if its & set(tables)), None)

    def retries(self, now: datetime) -> Retries:
        """What failed in its last finished run, and is in no run now.

        A run of many tables ends as failed when one of them does: only that table, and what reads it, is tried again.
        """
        due: dict[dg.AssetKey, str] = {}
        waiting: dict[dg.AssetKey, tuple[str, datetime]] = {}
        left: dict[dg.AssetKey, str] = {}
        for table, runs in self._failed().items():
            run_id, last = runs[0].dagster_run.run_id, runs[0]
            if len(runs) > len(_RETRY_AFTER_MINUTES):
                left[table] = run_id
                continue
            ended = datetime.fromtimestamp(last.end_time or last.update_timestamp.timestamp(), UTC)
            at = ended + timedelta(minutes=_RETRY_AFTER_MINUTES[len(runs) - 1])
            if now < at:
                waiting[table] = run_id, at
            elif self.under_way([table]) is None:
                due[table] = run_id
        return Retries(due, waiting, left, self._cancelled(now))

    def _cancelled(self, now: datetime) -> dict[dg.AssetKey, str]:
        cancelled = dg.RunsFilter(
            job_name=self._job, statuses=[dg.DagsterRunStatus.CANCELED], updated_after=now - _TOLD_FOR
        )
        for record in self._instance.get_run_records(cancelled, limit=1):
            ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
            since = record.create_timestamp - timedelta(seconds=1)  # SQLite's times have no fractions
            later = dg.RunsFilter(job_name=self._job, statuses=ended, created_after=since)
            undone = self._undone_in(record)
            for other in self._instance.get_run_records(later, limit=_MOST_FAILED):
                undone -= self._tables(other) if other.storage_id > record.storage_id else set()
            for _, its in self._under_way:
                undone -= its
            return {table: record.dagster_run.run_id for table in self._every if table in undone}
        return {}

    def _failed(self) -> dict[dg.AssetKey, list[dg.RunRecord]]:
        """For each table whose last run failed, the runs since the last good one, newest first."""
        streaks: dict[dg.AssetKey, list[dg.RunRecord]] = {table: [] for table in self._every}
        undecided = set(self._every)
        for record in self._finished():
            concerned = self._tables(record) & undecided
            if not concerned:
                continue
            failed = self._failed_in(record) & concerned
            for table in failed:
                streaks[table].append(record)
            undecided -= concerned - failed
            undecided -= {table for table in failed if len(streaks[table]) > len(_RETRY_AFTER_MINUTES)}
        return {table: runs for table, runs in streaks.items() if runs}

    def _finished(self) -> Iterator[dg.RunRecord]:
        """Newest first; none where none failed, which is the usual case."""
        failed = self._instance.get_run_records(
            dg.RunsFilter(job_name=self._job, statuses=[dg.DagsterRunStatus.FAILURE]), limit=_MOST_FAILED
        )
        if failed:
            ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED]
            since = failed[-1].create_timestamp
            others = self._instance.get_run_records(
                dg.RunsFilter(job_name=self._job, statuses=ended, created_after=since), limit=_MOST_OTHERS
            )
            yield from sorted([*failed, *others], key=lambda record: record.storage_id, reverse=True)

    def _failed_in(self, record: dg.RunRecord) -> set[dg.AssetKey]:
        failed = record.dagster_run.status == dg.DagsterRunStatus.FAILURE
        return self._undone_in(record) if failed else set()

    def _undone_in(self, record: dg.RunRecord) -> set[dg.AssetKey]:
        """The tables that a run should have brought up to date and did not, or whose blocking check failed."""
        run = record.dagster_run
        steps = {step.step_key: step.status for step in self._instance.get_run_step_stats(run.run_id)}
        return {
            table
            for table in self._tables(record)
            if steps.get(step_of(table)) != StepEventStatus.SUCCESS
            or steps.get(check_step_of(table)) == StepEventStatus.FAILURE
        }

    def _tables(self, record: dg.RunRecord) -> set[dg.AssetKey]:
        run = record.dagster_run
        if not run.asset_selection and not run.asset_check_selection:  # a run of checks alone has none of the tables
            return set(self._every)
        return {*(run.asset_selection or ())}


def _names(tables: Collection[dg.AssetKey]) -> str:
    names = [".".join(table.path) for table in tables]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
