"""The declared tables in the order of the data: what ``lakehouse ingest`` and the Dagster job run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import reduce
from typing import TYPE_CHECKING

from lakehouse.autoloader.outcomes.file_states import FileState
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.agreement import CheckpointState
from lakehouse.checks.kept import finding_of
from lakehouse.declaration import read_catalogue
from lakehouse.errors import (
    AccessDenied,
    CheckFailed,
    ConfigurationError,
    EngineUnavailable,
    LakehouseError,
    StoreUnavailable,
    naming,
)
from lakehouse.flows.files import Files, require_replacing
from lakehouse.flows.schema_versions import schema_of
from lakehouse.lake import Lake
from lakehouse.maintenance.asked import ask_for_run
from lakehouse.maintenance.repair import Repair, repair, start_over, start_over_steps
from lakehouse.maintenance.replay import Replay, of_day, quarantined, replay
from lakehouse.maintenance.rescue import RescuedData
from lakehouse.settings import Settings
from lakehouse.streams.progress import BatchProgress, StreamReport
from lakehouse.streams.run import Run
from lakehouse.table import At, Finding, Table
from lakehouse.tracing import traced
from lakehouse.turns import Turns

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    Session = SparkSession | Callable[[], SparkSession]

    from lakehouse.autoloader.schema.versions import SchemaLocation

_log = logging.getLogger(__name__)
_MORE_LOOKS = 2


def declared(lake: Lake, table: str) -> Table:
    """The declaration of a table.

    Raises:
        ConfigurationError: nobody declared it, or the declaration is wrong.
    """
    return read_catalogue(lake.settings)[table]


def default_tables(settings: Settings) -> tuple[str, ...]:
    """What a run without names brings up to date: every declared table that is not ``on_demand``."""
    return tuple(table.name for table in read_catalogue(settings) if not table.on_demand)


def run_table(spark: Session, lake: Lake, table: str, run: Run | None = None) -> StreamReport:
    """Brings a table up to date with its source, or as ``run`` says.

    Raises:
        ConfigurationError: there is no such table.
        LeaseHeld, StreamFailed, EngineUnavailable: see ``run_stream``.
    """
    at = _at(spark, lake, table)
    with naming(table):
        return traced(lake, table, run or Run(), lambda run: at.table.flow.bring_up_to_date(at, run))


def check_table(
    spark: Session, lake: Lake, table: str, *, names: Collection[str] | None = None, full: bool = False
) -> list[Finding]:
    """All checks of a table, or those of ``names``; an absent table has nothing wrong in it.

    With ``full`` everything is counted again, and what was kept of earlier counts is held against it: the finding
    ``check_state_agrees``.

    A check reads checkpoints and tables after each other. Beside a service they may not belong together: a blocking
    failure of a computed table is looked into again, and once more while the service moves it.
    """
    if lake.version(table) is None:
        return []
    findings = _check(_at(spark, lake, table, full), names)
    computed = bool(declared(lake, table).flow.reads)
    for _ in range(_MORE_LOOKS):
        if not computed or all(finding.passed or not finding.blocks for finding in findings):
            break
        before = _position(lake, table)
        findings = _check(_at(spark, lake, table, full), names)
        if before.at_rest and _position(lake, table) == before:
            break
    return findings


def _at(spark: Session, lake: Lake, table: str, full: bool = False) -> At:
    catalogue = read_catalogue(lake.settings)
    return At(spark, lake, catalogue[table], catalogue, full=full)


def _check(at: At, names: Collection[str] | None) -> list[Finding]:
    chosen = [
        check for check in at.table.checks if check.on_failure != "off" and (names is None or check.called in names)
    ]
    with naming(at.table.name):
        found = [*(check.examine(at) for check in chosen), finding_of(at)]
    return [finding for finding in found if finding is not None]


@dataclass(frozen=True)
class _Position:
    version: int | None
    source_versions: tuple[int | None, ...]
    checkpoint: CheckpointState | None

    @property
    def at_rest(self) -> bool:
        """Whether no batch is under way, or was left by a crash."""
        return self.checkpoint is None or self.checkpoint.last_commit == self.checkpoint.last_offset


def _position(lake: Lake, table: str) -> _Position:
    sources = tuple(lake.version(source) for source in declared(lake, table).flow.reads)
    return _Position(lake.version(table), sources, checkpoints.read_checkpoint(lake, table))


@dataclass(frozen=True)
class Ingested:
    """What a run over several tables did.

    Attributes:
        reports: Of the tables that were brought up to date, in order.
        findings: Of their checks.
        errors: Why a table could not be, or what its blocking check found; by its name.
        left_out: Tables that were not run, with the table that stopped them.
    """

    reports: list[StreamReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    errors: dict[str, LakehouseError] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def merged(self, other: Ingested) -> Ingested:
        """Both, the other behind."""
        return Ingested(
            self.reports + other.reports,
            self.findings + other.findings,
            self.errors | other.errors,
            self.left_out | other.left_out,
        )

    def require_success(self) -> None:
        """Raises the first error."""
        for error in self.errors.values():
            raise error


def ingest(
    spark: Session,
    lake: Lake,
    tables: Iterable[str] | None = None,
    run: Run | None = None,
    *,
    on_table: Callable[[str, str], None] = lambda table, doing: None,
    on_report: Callable[[StreamReport], None] = lambda report: None,
    on_finding: Callable[[Finding], None] = lambda finding: None,
) -> Ingested:
    """Runs tables in order, each followed by its checks; two of Spark's at once, where neither needs the other.

    A table that fails, or whose blocking check fails, stops the tables computed from it, and no other table.

    Args:
        spark: A session, or a function that opens it when it is needed.
        lake: Where the tables are.
        tables: Their names; None for all that are not ``on_demand``.
        run: Trigger and listeners. Its batches and what is below are told by whichever thread, one at a time.
        on_table: Told of each table, and of what is done with it now: it is brought up to date, then checked.
        on_report: Told of each table that was brought up to date.
        on_finding: Told of each check.

    Raises:
        EngineUnavailable, StoreUnavailable, AccessDenied: what all tables need is gone.
    """
    catalogue, run = read_catalogue(lake.settings), run or Run()
    order = list(tables or default_tables(lake.settings))
    done = {table: Ingested() for table in order}
    telling, connecting, on_batch = threading.Lock(), threading.Lock(), run.on_batch

    def tell(batch: BatchProgress) -> None:
        with telling:
            on_batch(batch)

    run = replace(run, on_batch=tell)

    def session() -> SparkSession:
        with connecting:
            return spark() if callable(spark) else spark

    def related(one: str, other: str) -> bool:
        return one == other or one in catalogue[other].flow.reads or other in catalogue[one].flow.reads

    def beside(table: str, others: Collection[str]) -> bool:
        """The local engine has a process for each core by itself."""
        return not others or all(catalogue[name].flow.needs_spark(lake.settings) for name in (table, *others))

    def bring(table: str) -> None:
        by = {name: found for name in catalogue[table].flow.reads if (found := done.get(name))}
        stopped = {name: found.left_out.get(name, name) for name, found in by.items() if found.errors or found.left_out}
        if stopped:
            because = next(iter(stopped.values()))
            _log.info("%s is left out: %s has to be right first", table, because)
            done[table].left_out[table] = because
            return
        try:
            with telling:
                on_table(table, "bringing it up to date")
            report = run_table(session, lake, table, run)
            _log.info("%s", report.line())
            with telling:
                done[table].reports.append(report)
                on_report(report)
                on_table(table, "checking it")
            findings = check_table(session, lake, table)
        except (EngineUnavailable, StoreUnavailable, AccessDenied):
            raise
        except LakehouseError as error:
            _log.info("%s: %s", table, error.what)
            done[table].errors[table] = error
            return
        with telling:
            done[table].findings.extend(findings)
            for finding in findings:
                _log.info("%s", finding.line())
                on_finding(finding)
        blocked = blocked_by(findings)
        if blocked is not None:
            done[table].errors[table] = blocked

    Turns(order, related=related, beside=beside, run=bring, stop=run.stop.ask).take()
    return reduce(Ingested.merged, done.values(), Ingested())


def blocked_by(
    findings: Iterable[Finding],
    *,
    state: str = "the table's rows and checkpoint are committed; nothing after it was run",
) -> CheckFailed | None:
    """The error for the first failed blocking check, which says in what ``state`` all is; or None."""
    for finding in findings:
        if not finding.passed and finding.blocks:
            numbers = ", ".join(f"{name} {value:,}" for name, value in finding.numbers.items())
            return CheckFailed(
                f"{finding.check} failed on {finding.table}: {numbers}",
                where=finding.table,
                state=state,
                next_command=finding.next_command,
            )
    return None


def repair_table(lake: Lake, table: str, *, really: bool = False) -> Repair:
    """Brings a table and its checkpoint together again; without ``really`` only says how. See ``repair.repair``."""
    flow = declared(lake, table).flow
    options = flow.cloud_files(lake.settings, table) if isinstance(flow, Files) and flow.replaces else None
    return repair(lake, table, options, computed=flow.refills, really=really)


def restart_table(lake: Lake, table: str, *, really: bool = False) -> Repair:
    """Empties a table and removes its checkpoint, so that it is computed anew; without ``really`` only says so.

    What it had stays in an older version, see ``emptying``.

    Raises:
        ConfigurationError: no run fills the table from its source again.
        LeaseHeld: a stream writes it now.
    """
    flow = declared(lake, table).flow
    if not flow.refills:
        able = [choice.name for choice in read_catalogue(lake.settings) if choice.flow.refills]
        raise ConfigurationError(
            f"no run fills {table} from its source again",
            where=lake.settings.checkpoint_uri(table),
            state="nothing was changed",
            next_command="name one of: " + ", ".join(able) if able else f"lakehouse replay --table {table}",
        )
    with checkpoints.writer_of(lake, table):
        steps = start_over_steps(lake, table)
        if really:
            start_over(lake, table, "asked for")
            ask_for_run(lake, table, "restart")
    if isinstance(flow, Files):
        steps += (f"files that are not in {flow.path} any more do not come again",)
    return Repair(table, "asked for", steps, really)


def replay_files(
    lake: Lake,
    table: str,
    *,
    files: Sequence[str] = (),
    since: datetime | None = None,
    batch: int | None = None,
    day: date | None = None,
    only_quarantined: bool = False,
    really: bool = False,
) -> Replay:
    """Asks for files to be loaded again; without ``really`` only says which. See ``replay.replay``.

    Args:
        lake: Where all of it is.
        table: A table of files.
        files: Paths, keys or names, globs allowed.
        since: Files that were found at this time or later.
        batch: Files of this micro-batch.
        day: Files of this day: of the date in their path, else of their modification, UTC.
        only_quarantined: Of those, the files that are in quarantine.
        really: Do it.

    Raises:
        ConfigurationError: the stream into the table only adds rows.
    """
    of_the_day = of_day(day) if day else None

    def chosen(file: FileState) -> bool:
        return (of_the_day is None or of_the_day(file)) and (not only_quarantined or quarantined(file))

    catalogue = read_catalogue(lake.settings)
    flow = require_replacing(catalogue[table], catalogue, "lakehouse replay")
    overwrites = bool(flow.cloud_files(lake.settings, table).allow_overwrites)
    return replay(
        *(lake, table),
        files=files,
        since=since,
        batch=batch,
        chosen_by=chosen,
        overwrites=overwrites,
        really=really,
    )


def schemas(lake: Lake, table: str) -> SchemaLocation:
    """The versions of the schema of the stream into ``table``."""
    return schema_of(lake, table)


def rescued_data(lake: Lake, table: str) -> RescuedData:
    """What the stream into ``table`` rescued.

    Raises:
        ConfigurationError: no ``cloudFiles`` stream with lineage writes that table.
    """
    flow = declared(lake, table).flow
    if not isinstance(flow, Files) or not flow.replaces:
        able = [choice.name for choice in read_catalogue(lake.settings) if getattr(choice.flow, "replaces", False)]
        raise ConfigurationError(
            f"no cloudFiles stream writes {table}, or its rows do not say where they are from",
            where="lakehouse schema",
            state="nothing was changed",
            next_command="name one of: " + ", ".join(able) if able else "declare a table of files",
        )
    return RescuedData(lake, table, flow.cloud_files(lake.settings, table))
