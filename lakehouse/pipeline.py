"""The tables and their order: what ``lakehouse ingest`` and the Dagster job ``ingest_orders`` run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lakehouse import completeness, quality, quality_orders
from lakehouse.autoloader.options import CloudFilesOptions
from lakehouse.contract import schema_findings
from lakehouse.errors import CheckFailed, ConfigurationError
from lakehouse.lake import Lake
from lakehouse.progress import StreamReport
from lakehouse.quality import Finding
from lakehouse.repair import Repair, repair
from lakehouse.rescue import RescuedData
from lakehouse.runners import BASIC, BRONZE, DAILY_REVENUE, ORDERS, RUNNERS, SILVER, schemas
from lakehouse.settings import Settings
from lakehouse.streams import bronze
from lakehouse.streams.run import Run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TABLES = (BRONZE, SILVER, ORDERS, DAILY_REVENUE)
"""The pipeline, in the order in which data flows."""
ALL_TABLES = (BASIC, *TABLES)
"""Every table that can be named; ``BASIC`` shows what Spark's own file source does with the same files."""


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
    """All checks of one table; an absent table has nothing wrong in it."""
    if lake.version(table) is None:
        return []
    uri = lake.settings.table_uri
    shares = {name: getattr(lake.settings, name) for name in ("rescued_share", "corrupt_share")}
    if table == BASIC:
        return quality.orders_are_whole_and_single(spark, table, uri(table), **shares)
    if table == BRONZE:
        files = completeness.files_account_for_rows(lake, table)
        orders = quality.orders_are_whole_and_single(spark, table, uri(table), **shares)
        return [*files, *orders, *_check_schema(lake, table)]
    if table == ORDERS:
        return quality_orders.orders_match_bronze(spark, uri(BRONZE), ORDERS, uri(ORDERS))
    if table == DAILY_REVENUE:
        return [quality_orders.revenue_matches_orders(spark, uri(ORDERS), DAILY_REVENUE, uri(DAILY_REVENUE))]
    return [quality.windows_account_for_orders(spark, uri(BRONZE), SILVER, uri(SILVER))]


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
    return BLOCKING | (BLOCKING_BY_CHOICE if settings.schema_contract == "block" else frozenset())


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
    return repair(lake, table, options, really=really)


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
