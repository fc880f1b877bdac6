"""How each table is brought up to date: one function a table, from its source to its sink."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lakehouse import checkpoints
from lakehouse.autoloader.evolve import WIDENING
from lakehouse.autoloader.location import split_uri
from lakehouse.autoloader.options import CloudFilesOptions
from lakehouse.autoloader.schemas import SchemaLocation
from lakehouse.lake import Commit, Lake
from lakehouse.landing import is_order_file, look_at_landing
from lakehouse.progress import StreamReport
from lakehouse.repair import start_over
from lakehouse.replay import pending_replays
from lakehouse.streams import bronze, silver
from lakehouse.streams.files import CloudFilesLog, SparkFileLog
from lakehouse.streams.replacing import ReplacingWriter
from lakehouse.streams.run import Run, nothing_to_do, run_stream
from lakehouse.streams.widening import widen_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BASIC = bronze.ORDERS_STREAMING_BASIC
BRONZE = bronze.ORDERS_AUTOLOADER
SILVER = silver.ORDERS_WINDOWED_AGGREGATES


def schemas(lake: Lake, table: str) -> SchemaLocation:
    """The versions of the schema of the stream into ``table``."""
    return SchemaLocation(lake.store, *split_uri(lake.settings.schema_uri(table)))


def _run_basic(spark: SparkSession, lake: Lake, run: Run) -> StreamReport:
    landing = look_at_landing(lake)
    if not landing.orders:
        return nothing_to_do(lake, BASIC, ignored_files=len(landing.ignored))
    known = sum(len(files) for files in checkpoints.source_files(lake, BASIC).values())
    return run_stream(
        run,
        lake,
        BASIC,
        lambda: bronze.orders_streaming_basic(spark, lake.settings.landing_uri),
        file_log=SparkFileLog(lake, BASIC, pending=len(landing.orders) - known),
        ignored_files=len(landing.ignored),
    )


def _run_autoloader(spark: SparkSession, lake: Lake, run: Run) -> StreamReport:
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

    return run_stream(
        run,
        lake,
        BRONZE,
        frame,
        batch_writer=batch_writer,
        schema_version=lambda: schemas(lake, BRONZE).newest,
        file_log=CloudFilesLog(lake, options),
    )


def _run_silver(spark: SparkSession, lake: Lake, run: Run) -> StreamReport:
    if lake.version(BRONZE) is None:
        return nothing_to_do(lake, SILVER)
    changed = [commit for commit in _not_read(lake, BRONZE, reader=SILVER) if not commit.only_adds]
    # a promotion of other columns changes nothing that silver reads; all other changes do
    skip = bool(changed) and all(commit.promoted and not commit.promoted & silver.READS for commit in changed)
    if changed and not skip:
        with checkpoints.writer_of(lake, SILVER):
            start_over(lake, SILVER)
    uri = lake.settings.table_uri(BRONZE)
    return run_stream(
        run,
        lake,
        SILVER,
        lambda: silver.orders_windowed_aggregates(spark, uri, skip_changes=skip),
    )


def _not_read(lake: Lake, source: str, *, reader: str) -> list[Commit]:
    """Commits of ``source`` that the stream into ``reader`` has not read."""
    offset = checkpoints.newest_offset(lake, reader)
    if offset is None or "reservoirVersion" not in offset:
        return []
    # the offset names the commit that is read next, or the version of a snapshot
    read = offset["reservoirVersion"] - (0 if offset.get("isStartingVersion") else 1)
    return lake.commits_since(source, read)


RUNNERS: dict[str, Callable[[SparkSession, Lake, Run], StreamReport]] = {
    BASIC: _run_basic,
    BRONZE: _run_autoloader,
    SILVER: _run_silver,
}
"""Every table that a stream writes."""
