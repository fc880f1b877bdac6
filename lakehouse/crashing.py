"""A run that is killed at a named moment, and the run after it: what recovery does is shown on a table of one's own.

The run that is killed is a process of its own, on the engine ``local``. It ends by SIGKILL, so that nothing is tidied
up: its lease, its batch and its data files stay as a crash leaves them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import ConfigurationError, LakehouseError, TerminalError
from lakehouse.flows.files import Files
from lakehouse.lake import Lake
from lakehouse.pipeline import blocked_by, check_table, declared, run_table
from lakehouse.settings import Settings
from lakehouse.storage.store import ObjectStore
from lakehouse.table import Finding, Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.pipeline import Session

Moment = Literal["planned", "committed"]
MOMENTS: dict[Moment, str] = {
    "planned": "when a batch is planned, and none of its rows is in the table",
    "committed": "when the rows of a batch are in the table, and the batch is not noted as finished",
}
_KINDS = ("no_file_loaded_twice", "every_file_loaded")


@dataclass(frozen=True)
class Crash:
    """What a kill and the run after it did, or that they would be.

    Attributes:
        table: The table.
        moment: When its run was killed.
        done: Whether there was a run.
        killed: Whether it was killed: without new files it ends before.
        batch: The batch that was under way; None without a kill.
        rows_before, rows_after_kill, rows_after: In the table: before, after the kill, and after the run behind it.
        findings: Of the checks that no file is loaded twice, and none is missing.
    """

    table: str
    moment: Moment
    done: bool = False
    killed: bool = False
    batch: int | None = None
    rows_before: int = 0
    rows_after_kill: int = 0
    rows_after: int = 0
    findings: Sequence[Finding] = ()

    def lines(self) -> list[str]:
        """A sentence each."""
        when = MOMENTS[self.moment]
        if not self.done:
            return [f"would load {self.table} in a process of its own, kill it {when}, and load the table again"]
        rows = f"{self.rows_before:,} before, {self.rows_after_kill:,} after the kill, {self.rows_after:,} in the end"
        if not self.killed:
            return [f"no file was new, and nothing was killed: put a file where {self.table} takes its files from"]
        return [
            f"killed in batch {self.batch}, {when}",
            f"rows of {self.table}: {rows}",
            *(finding.line() for finding in self.findings),
        ]

    @property
    def error(self) -> LakehouseError | None:
        """Of the first check that failed."""
        return blocked_by(self.findings, state="the table is as the run after the kill left it")


def crash(session: Session, lake: Lake, table: str, moment: Moment, *, really: bool = False) -> Crash:
    """Kills a run of a table at a moment, runs the table again, and checks it; without ``really`` only says so.

    Args:
        session: A session, or what opens it: for the run after the kill, where that needs one.
        lake: Where the table is.
        table: A table of files.
        moment: When to kill.
        really: Do it.

    Raises:
        ConfigurationError: the table is not one that the engine ``local`` fills from files.
        LeaseHeld: a run or a service writes the table now; nothing was started.
        TerminalError: the run ended with an error of its own before that moment.
    """
    local = lake.settings.model_copy(update={"engine": "local"})
    _require_local(declared(lake, table), lake, local)
    if not really:
        return Crash(table, moment)
    before = _rows(lake, table)
    with checkpoints.writer_of(lake, table):
        pass  # whoever writes it now is left alone
    process = multiprocessing.get_context("spawn").Process(target=_run_and_die, args=(local, table, moment))
    process.start()
    process.join()
    killed = process.exitcode == -signal.SIGKILL
    if not killed and process.exitcode != 0:
        raise TerminalError(
            f"the run of {table} ended with an error before it could be killed; its process wrote which",
            where=lake.settings.table_uri(table),
            state="as any run that fails leaves it: the next one goes on from there",
            next_command=f"lakehouse ingest {table}",
        )
    after_kill, state = _rows(lake, table), checkpoints.read_checkpoint(lake, table)
    run_table(session, lake, table)
    names = [check.called for check in declared(lake, table).checks if check.kind in _KINDS]
    findings = check_table(session, lake, table, names=names)
    batch = state.last_offset if killed and state is not None else None
    return Crash(table, moment, True, killed, batch, before, after_kill, _rows(lake, table), findings)


def _require_local(table: Table, lake: Lake, local: Settings) -> None:
    flow = table.flow
    if isinstance(flow, Files) and flow.replaces and not flow.needs_spark(local):
        return
    raise ConfigurationError(
        f"{table.name} is not filled from files by the engine local, which can be killed at an exact moment",
        where=f"{lake.settings.declaration}:{table.line}",
        state="nothing was started",
        next_command="name a table of files without source: spark, sink: spark, engine: spark and lineage: false",
    )


def _rows(lake: Lake, table: str) -> int:
    found = lake.describe(table)
    return found.rows or 0 if found else 0


class _DyingStore:
    """A store whose process dies beside the first write of a batch's mark in a checkpoint."""

    def __init__(self, store: ObjectStore, checkpoint: str, moment: Moment) -> None:
        self._store, self._checkpoint, self._moment = store, checkpoint, moment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, bucket: str, key: str, data: bytes, **conditions: Any) -> str:
        """See ``ObjectStore``."""
        if self._moment == "committed" and key.startswith(f"{self._checkpoint}commits/"):
            _die()
        written = self._store.write(bucket, key, data, **conditions)
        if self._moment == "planned" and key.startswith(f"{self._checkpoint}offsets/"):
            _die()
        return written


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process outlived its SIGKILL")


def _run_and_die(settings: Settings, table: str, moment: Moment) -> None:
    """What the process does that is killed."""

    def no_session() -> SparkSession:
        raise AssertionError("the engine local asked for a session")

    lake = Lake.open(settings)
    dying = _DyingStore(lake.store, checkpoints.object_key(lake, table, ""), moment)
    run_table(no_session, replace(lake, store=cast("ObjectStore", dying)), table)
