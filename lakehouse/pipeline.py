"""The tables and their order: what ``lakehouse ingest`` and the Dagster job ``ingest_orders`` run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from lakehouse import checkpoints, completeness, quality, quality_orders
from lakehouse.autoloader.options import CloudFilesOptions
from lakehouse.checkpoints import CheckpointState
from lakehouse.contract import schema_findings
from lakehouse.errors import CheckFailed, ConfigurationError
from lakehouse.lake import Lake
from lakehouse.progress import StreamReport
from lakehouse.quality import Finding
from lakehouse.repair import Repair, repair, start_over, start_over_steps
from lakehouse.rescue import RescuedData
from lakehouse.runners import (
    AVAILABLE_NOW_TABLE,
    BASIC,
    BRONZE,
    DAILY_REVENUE,
    ORDERS,
    RUNNERS,
    SILVER,
    schemas,
    silver_at,
)
from lakehouse.settings import Settings
from lakehouse.streams import bronze
from lakehouse.streams.daily_revenue import changed_days, changes_since
from lakehouse.streams.delta_batches import Place, rows_read
from lakehouse.streams.run import Run
from lakehouse.streams.silver import Limits

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TABLES = (BRONZE, SILVER, ORDERS, DAILY_REVENUE)
"""The pipeline, in the order in which data flows."""
ALL_TABLES = (BASIC, AVAILABLE_NOW_TABLE, *TABLES)
"""Every table that can be named; ``BASIC`` shows what Spark's own file source does with the same files, and
``AVAILABLE_NOW_TABLE`` what ``cloudFiles`` does with its defaults."""

COMPUTED = (SILVER, ORDERS, DAILY_REVENUE)
"""Tables that are computed from another one."""
RESTARTED = (*COMPUTED, BASIC, AVAILABLE_NOW_TABLE)
"""Tables that can be filled again from their source. Not ``BRONZE``: its rows outlive their files."""


def run_table(spark: SparkSession, lake: Lake, table: str, run: Run | None = None) -> StreamReport:
    """Brings one table up to date with its source, or as ``run`` says.

    Raises:
        ConfigurationError: there is no such table.
        LeaseHeld, StreamFailed, EngineUnavailable: see ``run_stream``.
    """
    if table in RUNNERS:
        return RUNNERS[table](spark, lake, run or Run())
    raise ConfigurationError(
        f"there is no stream for {table}",
        where="lakehouse ingest",
        state="nothing was read or written",
        next_command="name one of: " + ", ".join(ALL_TABLES),
    )


def check_table(spark: SparkSession, lake: Lake, table: str) -> list[Finding]:
    """All checks of one table; an absent table has nothing wrong in it.

    A check reads checkpoints and tables one after the other. Beside a service they may not belong together: a blocking
    failure of a computed table is looked into again, and once more while the service moves it.
    """
    if lake.version(table) is None:
        return []
    findings = _check(spark, lake, table)
    for _ in range(_MORE_LOOKS):
        if table not in COMPUTED or all(one.passed or one.check not in BLOCKING for one in findings):
            break
        before = _position(lake, table)
        findings = _check(spark, lake, table)
        if before.at_rest and _position(lake, table) == before:
            break
    return findings


_MORE_LOOKS = 2


@dataclass(frozen=True)
class _Position:
    version: int | None
    source_version: int | None
    checkpoint: CheckpointState | None

    @property
    def at_rest(self) -> bool:
        """Whether no batch is under way, or was left by a crash."""
        return self.checkpoint is None or self.checkpoint.last_commit == self.checkpoint.last_offset


def _position(lake: Lake, table: str) -> _Position:
    source = {SILVER: BRONZE, ORDERS: BRONZE, DAILY_REVENUE: ORDERS}.get(table)
    source_version = lake.version(source) if source else None
    return _Position(lake.version(table), source_version, checkpoints.read_checkpoint(lake, table))


def _check(spark: SparkSession, lake: Lake, table: str) -> list[Finding]:
    uri = lake.settings.table_uri
    shares = {name: getattr(lake.settings, name) for name in ("rescued_share", "corrupt_share")}
    if table in (BASIC, AVAILABLE_NOW_TABLE):
        return quality.orders_are_whole_and_single(spark, table, uri(table), **shares)
    if table == BRONZE:
        files = completeness.files_account_for_rows(lake, table)
        orders = quality.orders_are_whole_and_single(spark, table, uri(table), **shares)
        return [*files, *orders, *_check_schema(lake, table)]
    if table == ORDERS:
        read, keeps = rows_read(spark, lake, BRONZE, reader=ORDERS), bool(checkpoints.kept_removals(lake, ORDERS))
        return quality_orders.orders_match_bronze(read, Limits.of(lake.settings), ORDERS, uri(ORDERS), keeps=keeps)
    if table == DAILY_REVENUE:
        rows, ahead = spark.read.format("delta").load(uri(ORDERS)), _days_ahead(spark, lake)
        return [quality_orders.revenue_matches_orders(rows, DAILY_REVENUE, uri(DAILY_REVENUE), ahead=ahead)]
    at = silver_at(spark, lake)
    return [one for check in at.table.checks if (one := check.examine(at))]  # type: ignore[misc]


def _days_ahead(spark: SparkSession, lake: Lake) -> list[date]:
    """Days that commits of ``silver.orders`` changed which gold has not read: beside a service there may be some."""
    last, orders = checkpoints.last_finished(lake, DAILY_REVENUE), lake.delta(ORDERS)
    if last is None or orders is None or last.offset["reservoirId"] != str(orders.metadata().id):
        return []  # gold has read nothing of this table
    read = Place.of(last.offset).last_commit
    if read >= orders.version():
        return []
    return changed_days(changes_since(spark, lake.settings.table_uri(ORDERS), read))


BLOCKING = frozenset(
    {
        "no_duplicate_orders",
        "no_file_loaded_twice",
        "every_file_loaded",
        "windows_account_for_orders",
        "orders_match_bronze",
        "revenue_matches_orders",
    }
)
"""Checks whose failure always stops what comes after the table."""
BLOCKING_BY_CHOICE = frozenset({"schema_contract"})
"""Checks whose failure does so with ``LAKEHOUSE_SCHEMA_CONTRACT=block``. All others warn."""


def blocking(settings: Settings) -> frozenset[str]:
    """Checks whose failure stops what comes after the table."""
    allowed = {"no_duplicate_orders"} if settings.duplicate_orders == "drop" else set()
    return (BLOCKING | (BLOCKING_BY_CHOICE if settings.schema_contract == "block" else frozenset())) - allowed


def ingest(
    spark: SparkSession, lake: Lake, tables: Iterable[str] = TABLES, run: Run | None = None
) -> tuple[list[StreamReport], list[Finding]]:
    """Runs tables in order, each followed by its checks; stops after a failed blocking check."""
    reports: list[StreamReport] = []
    findings: list[Finding] = []
    for table in tables:
        reports.append(run_table(spark, lake, table, run))
        findings += check_table(spark, lake, table)
        if blocked_by(findings, lake.settings):
            break
    return reports, findings


def repair_table(lake: Lake, table: str, *, really: bool = False) -> Repair:
    """Brings a table and its checkpoint together again; without ``really`` only says how. See ``repair.repair``."""
    options = CloudFilesOptions.parse(bronze.autoloader_options(lake.settings)) if table == BRONZE else None
    return repair(lake, table, options, computed=table in RESTARTED, really=really)


def restart_table(lake: Lake, table: str, *, really: bool = False) -> Repair:
    """Empties a table and removes its checkpoint, so that it is computed anew; without ``really`` only says so.

    What it had stays in an older version, see ``emptying``.

    Raises:
        ConfigurationError: no run fills the table from its source again.
        LeaseHeld: a stream writes it now.
    """
    if table not in RESTARTED:
        raise ConfigurationError(
            f"no run fills {table} from its source again",
            where=lake.settings.checkpoint_uri(table),
            state="nothing was changed",
            next_command="name one of: " + ", ".join(RESTARTED),
        )
    with checkpoints.writer_of(lake, table):
        steps = start_over_steps(lake, table)
        if really:
            start_over(lake, table, "asked for")
    if table not in COMPUTED:
        steps += (f"files that are not in {lake.settings.landing_uri} any more do not come again",)
    return Repair(table, "asked for", steps, really)


def rescued_data(lake: Lake, table: str) -> RescuedData:
    """What the stream into ``table`` rescued.

    Raises:
        ConfigurationError: no ``cloudFiles`` stream writes that table.
    """
    if table != BRONZE:
        raise ConfigurationError(
            f"no cloudFiles stream writes {table}",
            where="lakehouse schema",
            state="nothing was changed",
            next_command=f"name one of: {BRONZE}",
        )
    return RescuedData(lake, table, CloudFilesOptions.parse(bronze.autoloader_options(lake.settings)))


def blocked_by(findings: Iterable[Finding], settings: Settings) -> CheckFailed | None:
    """The error for the first failed blocking check, or None."""
    for one in findings:
        if not one.passed and one.check in blocking(settings):
            return CheckFailed(
                f"{one.check} failed on {one.table}: " + ", ".join(f"{n} {v:,}" for n, v in one.numbers.items()),
                where=one.table,
                state="the table's rows and checkpoint are committed; nothing after it was run",
                next_command=one.next_command,
            )
    return None


def _check_schema(lake: Lake, table: str) -> list[Finding]:
    if lake.settings.schema_contract == "off":
        return []
    return schema_findings(lake.settings, table, schemas(lake, table).history())
