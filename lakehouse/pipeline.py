"""The tables and their order: what ``lakehouse ingest`` and the Dagster job ``ingest_orders`` run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from lakehouse import checkpoints, completeness, quality
from lakehouse.autoloader.evolve import WIDENING
from lakehouse.autoloader.location import split_uri
from lakehouse.autoloader.options import CloudFilesOptions
from lakehouse.autoloader.schemas import SchemaLocation
from lakehouse.contract import schema_findings
from lakehouse.errors import CheckFailed, ConfigurationError
from lakehouse.lake import Commit, Lake
from lakehouse.progress import OnBatch, StreamReport
from lakehouse.quality import Finding
from lakehouse.repair import Repair, repair, start_over
from lakehouse.replay import pending_replays
from lakehouse.rescue import RescuedData
from lakehouse.settings import Settings
from lakehouse.storage import ObjectInfo
from lakehouse.streams import bronze, silver
from lakehouse.streams.files import CloudFilesLog, SparkFileLog
from lakehouse.streams.replacing import ReplacingWriter
from lakehouse.streams.run import nothing_to_do, run_available_now
from lakehouse.streams.widening import widen_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BASIC = bronze.ORDERS_STREAMING_BASIC
BRONZE = bronze.ORDERS_AUTOLOADER
SILVER = silver.ORDERS_WINDOWED_AGGREGATES
TABLES = (BRONZE, SILVER)
"""The pipeline, in the order in which data flows."""
ALL_TABLES = (BASIC, *TABLES)
"""Every table that can be named; ``BASIC`` shows what Spark's own file source does with the same files."""


@dataclass(frozen=True)
class Landing:
    """What lies in the landing folder.

    Attributes:
        orders: Order files, oldest key first.
        ignored: Objects that are no order files: another name, a folder marker, no bytes.
    """

    orders: tuple[ObjectInfo, ...]
    ignored: tuple[ObjectInfo, ...]

    @property
    def next_number(self) -> int:
        """The number after the highest; a count would, after a removal, name a file that was loaded already."""
        numbers = [re.search(r"orders_stream_(\d+)\.json$", one.key) for one in self.orders]
        return max((int(found[1]) + 1 for found in numbers if found), default=0)


def is_order_file(info: ObjectInfo) -> bool:
    """Whether an object is input. Empty ones are not: a sender that is still writing, or one that had nothing."""
    name = info.key.rsplit("/", 1)[-1]
    return info.size_bytes > 0 and fnmatchcase(name, bronze.ORDER_FILES)


def look_at_landing(lake: Lake) -> Landing:
    """Lists the landing folder."""
    listed = list(lake.store.list(lake.settings.landing_bucket, lake.settings.landing_prefix))
    orders = tuple(info for info in listed if is_order_file(info))
    return Landing(orders, tuple(info for info in listed if not is_order_file(info)))


def run_table(spark: SparkSession, lake: Lake, table: str, *, on_batch: OnBatch = lambda batch: None) -> StreamReport:
    """Brings one table up to date with its source.

    Raises:
        ConfigurationError: there is no such table.
        LeaseHeld, StreamFailed, EngineUnavailable: see ``run_available_now``.
    """
    if table == BASIC:
        return _run_basic(spark, lake, on_batch)
    if table == BRONZE:
        return _run_autoloader(spark, lake, on_batch)
    if table == SILVER:
        return _run_silver(spark, lake, on_batch)
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
    return [quality.windows_account_for_orders(spark, uri(BRONZE), SILVER, uri(SILVER))]


BLOCKING = frozenset({"no_duplicate_orders", "no_file_loaded_twice", "every_file_loaded", "windows_account_for_orders"})
"""Checks whose failure always stops what comes after the table."""
BLOCKING_BY_CHOICE = frozenset({"schema_contract"})
"""Checks whose failure does so with ``LAKEHOUSE_SCHEMA_CONTRACT=block``. All others warn."""


def blocking(settings: Settings) -> frozenset[str]:
    """Checks whose failure stops what comes after the table."""
    return BLOCKING | (BLOCKING_BY_CHOICE if settings.schema_contract == "block" else frozenset())


def ingest(
    spark: SparkSession, lake: Lake, tables: Iterable[str] = TABLES, *, on_batch: OnBatch = lambda batch: None
) -> tuple[list[StreamReport], list[Finding]]:
    """Runs tables in order, each followed by its checks; stops after a failed blocking check."""
    reports: list[StreamReport] = []
    findings: list[Finding] = []
    for table in tables:
        reports.append(run_table(spark, lake, table, on_batch=on_batch))
        findings += check_table(spark, lake, table)
        if blocked_by(findings, lake.settings):
            break
    return reports, findings


def repair_table(lake: Lake, table: str, *, really: bool = False) -> Repair:
    """Brings a table and its checkpoint together again; without ``really`` only says how. See ``repair.repair``."""
    options = CloudFilesOptions.parse(bronze.autoloader_options(lake.settings)) if table == BRONZE else None
    return repair(lake, table, options, really=really)


def schemas(lake: Lake, table: str) -> SchemaLocation:
    """The versions of the schema of the stream into ``table``."""
    return SchemaLocation(lake.store, *split_uri(lake.settings.schema_uri(table)))


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


def _run_basic(spark: SparkSession, lake: Lake, on_batch: OnBatch) -> StreamReport:
    landing = look_at_landing(lake)
    if not landing.orders:
        return nothing_to_do(lake, BASIC, ignored_files=len(landing.ignored))
    known = sum(len(files) for files in checkpoints.source_files(lake, BASIC).values())
    return run_available_now(
        lake,
        BASIC,
        lambda: bronze.orders_streaming_basic(spark, lake.settings.landing_uri),
        on_batch=on_batch,
        file_log=SparkFileLog(lake, BASIC, pending=len(landing.orders) - known),
        ignored_files=len(landing.ignored),
    )


def _run_autoloader(spark: SparkSession, lake: Lake, on_batch: OnBatch) -> StreamReport:
    settings = lake.settings
    listed = lake.store.list(settings.landing_bucket, settings.landing_prefix)
    if lake.version(BRONZE) is None and not any(map(is_order_file, listed)):
        return nothing_to_do(lake, BRONZE)  # nothing to infer a schema from

    options = CloudFilesOptions.parse(bronze.autoloader_options(settings))

    def batch_writer() -> ReplacingWriter | None:
        overwrites = options.allow_overwrites == "replace"
        if not (overwrites or pending_replays(lake, BRONZE)):
            return None
        return ReplacingWriter(settings.table_uri(BRONZE), settings.checkpoint_uri(BRONZE), overwrites)

    def frame() -> DataFrame:
        orders = bronze.orders_autoloader(spark, settings)
        if options.schema_evolution_mode == WIDENING and lake.version(BRONZE) is not None:
            widen_table(orders, settings.table_uri(BRONZE))
        return orders

    return run_available_now(
        lake,
        BRONZE,
        frame,
        batch_writer=batch_writer,
        schema_version=lambda: schemas(lake, BRONZE).newest,
        on_batch=on_batch,
        file_log=CloudFilesLog(lake, options),
    )


def _run_silver(spark: SparkSession, lake: Lake, on_batch: OnBatch) -> StreamReport:
    if lake.version(BRONZE) is None:
        return nothing_to_do(lake, SILVER)
    changed = [commit for commit in _not_read(lake, BRONZE, reader=SILVER) if not commit.only_adds]
    # a promotion of other columns changes nothing that silver reads; all other changes do
    skip = bool(changed) and all(commit.promoted and not commit.promoted & silver.READS for commit in changed)
    if changed and not skip:
        with checkpoints.writer_of(lake, SILVER):
            start_over(lake, SILVER)
    uri = lake.settings.table_uri(BRONZE)
    return run_available_now(
        lake,
        SILVER,
        lambda: silver.orders_windowed_aggregates(spark, uri, skip_changes=skip),
        on_batch=on_batch,
    )


def _not_read(lake: Lake, source: str, *, reader: str) -> list[Commit]:
    """Commits of ``source`` that the stream into ``reader`` has not read."""
    offset = checkpoints.newest_offset(lake, reader)
    if offset is None or "reservoirVersion" not in offset:
        return []
    # the offset names the commit that is read next, or the version of a snapshot
    read = offset["reservoirVersion"] - (0 if offset.get("isStartingVersion") else 1)
    return lake.commits_since(source, read)
