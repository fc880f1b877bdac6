"""Runs that somebody waits for, because a table's next run does what was asked for: each is asked for once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import dagster as dg

from lakehouse.checkpoints.agreement import lease_key
from lakehouse.dagster.failures import UNFINISHED, Runs
from lakehouse.dagster.names import DAY_AGAIN, LEVER_TAG
from lakehouse.errors import AccessDenied
from lakehouse.lake import Lake
from lakehouse.maintenance.asked import asked_runs
from lakehouse.storage import ObjectMissing
from lakehouse.storage.lease_holder import Holder

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What a tick found.

    Attributes:
        due: For each table of which a run is to be asked for now, the tables of that run.
        held: What waits, and for what, a sentence each.
        after: For each table the version of its object for which a run was asked: what the cursor is to remember.
    """

    due: Mapping[str, Collection[dg.AssetKey]] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    after: Mapping[str, str] = field(default_factory=dict)

    def reasons(self) -> list[str]:
        """Names what is due, also among earlier wishes for the same tables."""
        return [f"{table} {self.after[table]}" for table in sorted(self.due)]


def look_for_asked(
    lake: Lake,
    instance: dg.DagsterInstance,
    runs: Runs,
    known: Mapping[str, str],
    concerned: Callable[[str], Collection[dg.AssetKey]],
) -> Asked:
    """Looks for runs that were asked for since; one listing, and for each of those a look at who writes the table.

    A run waits for the end of runs of its tables, of days that are loaded again, and of a process of this machine that
    writes the table: whoever asks in a shell often starts the run there, too.

    Args:
        lake: Where the tables are.
        instance: Where runs are recorded.
        runs: Those of the sensor's job.
        known: For each table the version of its object for which a run was asked.
        concerned: Of a table's name the tables of its run; none where no run of the job has it.
    """
    try:
        there = asked_runs(lake)
    except AccessDenied as problem:
        _log.warning("runs that were asked for are not seen: %s", problem)
        return Asked(after=known)
    after = {table: known[table] for table in there if table in known}
    due: dict[str, Collection[dg.AssetKey]] = {}
    held: list[str] = []
    for table, version in there.items():
        tables = concerned(table)
        if after.get(table) == version or not tables:
            continue
        run = runs.under_way(tables) or _day_under_way(instance)
        if run:
            held.append(f"what was asked of {table} waits until run {run[:8]} ends")
        elif writer := _writer_here(lake, table):
            held.append(f"what was asked of {table} waits for {writer.described()}, which writes it")
        else:
            due[table], after[table] = tables, version
    return Asked(due, tuple(held), after)


def _day_under_way(instance: dg.DagsterInstance) -> str | None:
    """A run that loads a day again, asked for or begun: behind the last of them one run is enough."""
    unfinished = dg.RunsFilter(tags={LEVER_TAG: DAY_AGAIN}, statuses=UNFINISHED)
    return next((record.dagster_run.run_id for record in instance.get_run_records(unfinished, limit=1)), None)


def _writer_here(lake: Lake, table: str) -> Holder | None:
    """The process of this machine that lives and has the table's lease."""
    with suppress(ObjectMissing, AccessDenied):
        holder = Holder.decoded(lake.store.read(lake.settings.bucket, lease_key(lake, table)))
        if holder is not None and not holder.released and holder.lives() is True:
            return holder
    return None
