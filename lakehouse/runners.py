"""How each table is brought up to date: one function a table, from its source to its sink."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import yaml

from lakehouse import checkpoints
from lakehouse.autoloader.evolve import WIDENING
from lakehouse.autoloader.location import split_uri
from lakehouse.autoloader.options import CloudFilesOptions
from lakehouse.autoloader.schemas import SchemaLocation
from lakehouse.declaration.reading import _filled
from lakehouse.engine.conf import TRANSACTION
from lakehouse.errors import TerminalError
from lakehouse.lake import Commit, Lake
from lakehouse.landing import is_order_file, look_at_landing
from lakehouse.progress import StreamReport
from lakehouse.repair import start_over
from lakehouse.replay import pending_replays
from lakehouse.streams import bronze, daily_revenue, orders, silver
from lakehouse.streams.files import CloudFilesLog, SparkFileLog
from lakehouse.streams.replacing import ReplacingWriter
from lakehouse.streams.run import Run, nothing_to_do, run_stream
from lakehouse.streams.silver import Limits
from lakehouse.streams.trigger import AVAILABLE_NOW
from lakehouse.streams.widening import widen_table
from lakehouse.table import CHECKS, FLOWS, At, Catalogue, Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BASIC = bronze.ORDERS_STREAMING_BASIC
BRONZE = bronze.ORDERS_AUTOLOADER
AVAILABLE_NOW_TABLE = bronze.ORDERS_TRIGGER_AVAILABLENOW
SILVER = silver.ORDERS_WINDOWED_AGGREGATES
ORDERS = orders.ORDERS
DAILY_REVENUE = daily_revenue.DAILY_REVENUE


class RowsRemoved(TerminalError):
    """Rows that a table was computed from were removed, and nobody said what becomes of it."""


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
    if lake.version(BRONZE) is None and not _orders_have_landed(lake):
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


def _run_trigger_availablenow(spark: SparkSession, lake: Lake, run: Run) -> StreamReport:
    table, settings = AVAILABLE_NOW_TABLE, lake.settings
    if lake.version(table) is None and not _orders_have_landed(lake):
        return nothing_to_do(lake, table)  # nothing to infer a schema from
    return run_stream(
        run,
        lake,
        table,
        lambda: bronze.orders_trigger_availablenow(spark, settings),
        schema_version=lambda: schemas(lake, table).newest,
        file_log=CloudFilesLog(lake, CloudFilesOptions.parse(bronze.trigger_options(settings))),
    )


def silver_at(spark: SparkSession, lake: Lake) -> At:
    """The windows of the orders, as they are declared, and the table that they are made of."""
    given = yaml.safe_load(lake.settings.declaration.read_text())["tables"]
    tables = []
    for name, kind in ((BRONZE, "files"), (SILVER, "windows")):
        flow = FLOWS[kind].model_validate(_filled(given[name][kind], lake.settings))
        tables.append(Table(name, flow, (CHECKS["accounts_for_rows"](name="windows_account_for_orders"),)))
    catalogue = Catalogue(tuple(tables))
    return At(spark, lake, catalogue[SILVER], catalogue)


def _run_silver(spark: SparkSession, lake: Lake, run: Run) -> StreamReport:
    at = silver_at(spark, lake)
    return at.table.flow.bring_up_to_date(at, run)


def _orders_have_landed(lake: Lake) -> bool:
    listed = lake.store.list(lake.settings.landing_bucket, lake.settings.landing_prefix)
    return any(map(is_order_file, listed))


def _run_orders(spark: SparkSession, lake: Lake, run: Run) -> StreamReport:
    settings = lake.settings
    source, target = settings.table_uri(BRONZE), settings.table_uri(ORDERS)
    if lake.version(BRONZE) is None:
        return nothing_to_do(lake, ORDERS)
    limits = Limits.of(settings)
    _start_over_after_another(lake, BRONZE, reader=ORDERS)
    skip = _may_leave_out_changes(lake, BRONZE, reader=ORDERS)
    if run.trigger == AVAILABLE_NOW and _has_read_all(lake, BRONZE, reader=ORDERS):
        return nothing_to_do(lake, ORDERS)

    def frame() -> DataFrame:
        orders.create_orders(spark.read.format("delta").load(source), target, limits)
        stream = spark.readStream.format("delta").option("skipChangeCommits", str(skip).lower())
        versions = orders.versions_of_orders(stream.load(source), limits)
        widen_table(versions, target)
        return versions

    writer = orders.OrdersWriter(target, settings.checkpoint_uri(ORDERS), TRANSACTION)
    return run_stream(run, lake, ORDERS, frame, batch_writer=lambda: writer)


def _run_daily_revenue(spark: SparkSession, lake: Lake, run: Run) -> StreamReport:
    settings = lake.settings
    source, target = settings.table_uri(ORDERS), settings.table_uri(DAILY_REVENUE)
    if lake.version(ORDERS) is None:
        return nothing_to_do(lake, DAILY_REVENUE)
    _start_over_after_another(lake, ORDERS, reader=DAILY_REVENUE)
    if run.trigger == AVAILABLE_NOW and _has_read_all(lake, ORDERS, reader=DAILY_REVENUE):
        return nothing_to_do(lake, DAILY_REVENUE)

    def frame() -> DataFrame:
        daily_revenue.create_daily_revenue(spark, target)
        return daily_revenue.changes_of_orders(spark, source)

    writer = daily_revenue.DailyRevenueWriter(source, target, settings.checkpoint_uri(DAILY_REVENUE))
    return run_stream(run, lake, DAILY_REVENUE, frame, batch_writer=lambda: writer)


def _may_leave_out_changes(lake: Lake, source: str, *, reader: str, reads: frozenset[str] | None = None) -> bool:
    """Whether the stream into ``reader`` may leave out commits of ``source`` that change rows or take them out.

    It may when they promote columns, none of which it ``reads`` (None: it reads all), and when ``reader`` keeps what it
    has after rows were removed on purpose. After a replay, or whenever ``reader`` is to follow, it starts over.

    Raises:
        RowsRemoved: nobody said what the reader does about removed rows; or it would lose what it kept before.
    """
    changed = [commit for commit in _not_read(lake, source, reader=reader) if not commit.only_adds]
    left_out = {one.version for one in changed if one.promoted and reads is not None and not one.promoted & reads}
    todo = [one for one in changed if one.version not in left_out]
    if not todo:
        # Spark asks for the last batch once more when it starts: what that left out it must leave out again
        again = _not_read(lake, source, reader=reader, back=1)
        return bool(changed) or any(not commit.only_adds for commit in again)
    removals = [one for one in todo if one.batch_id is None and not one.promoted]
    choices = {one.forgotten or lake.settings.after_removals for one in removals}
    if "ask" in choices:
        raise _asks(lake, source, reader, removals)
    if choices == {"keep"} and len(removals) == len(todo):
        checkpoints.note_kept(lake, reader, [one.version for one in removals])
        return True
    _start_over(lake, reader, f"{source} was changed in version {todo[0].version}")
    return False


def _start_over(lake: Lake, reader: str, why: str) -> None:
    kept = checkpoints.kept_removals(lake, reader)
    if kept:
        raise RowsRemoved(
            f"{why}: {reader} has to be computed again, and would lose what it kept when its source lost rows",
            where=lake.settings.table_uri(reader),
            state="nothing was changed",
            next_command=f"lakehouse checkpoint restart {reader} --yes   (its rows of today stay in an older version)",
        )
    with checkpoints.writer_of(lake, reader):
        start_over(lake, reader, why)


def _asks(lake: Lake, source: str, reader: str, removals: list[Commit]) -> RowsRemoved:
    told = ", ".join(f"version {one.version} ({one.operation})" for one in removals)
    return RowsRemoved(
        f"rows were removed from {source}: {told}. {reader} can be computed again without them, or keep what it has",
        where=lake.settings.table_uri(source),
        state=f"nothing was changed; {reader} is as it was before",
        next_command="LAKEHOUSE_AFTER_REMOVALS=follow lakehouse ingest   (computed again; keep: it keeps what it has)",
    )


def _start_over_after_another(lake: Lake, source: str, *, reader: str) -> None:
    """Starts ``reader`` over when the table that it followed is gone, and another is in its place."""
    opened, offset = lake.delta(source), checkpoints.newest_offset(lake, reader)
    if opened is not None and offset is not None and offset.get("reservoirId") != str(opened.metadata().id):
        _start_over(lake, reader, f"{source} is another table now")


def _has_read_all(lake: Lake, source: str, *, reader: str) -> bool:
    """Whether a query would find nothing: its start alone takes about a second.

    Raises:
        CheckpointMismatch: the reader's table and its checkpoint do not belong together.
    """
    state, offset, version = (
        checkpoints.read_checkpoint(lake, reader),
        checkpoints.newest_offset(lake, reader),
        lake.version(source),
    )
    if state is None or offset is None or version is None or state.last_commit != state.last_offset:
        return False
    checkpoints.verify(lake, reader)
    return not offset["isStartingVersion"] and bool(offset["reservoirVersion"] > version)


def _not_read(lake: Lake, source: str, *, reader: str, back: int = 0) -> list[Commit]:
    """Commits of ``source`` that the stream into ``reader`` has not read, or had not so many batches ago."""
    offset = checkpoints.newest_offset(lake, reader, back=back)
    if offset is None or "reservoirVersion" not in offset:
        return []
    # the offset names the commit that is read next, or the version of a snapshot
    read = offset["reservoirVersion"] - (0 if offset.get("isStartingVersion") else 1)
    return lake.commits_since(source, read)


RUNNERS: dict[str, Callable[[SparkSession, Lake, Run], StreamReport]] = {
    BASIC: _run_basic,
    BRONZE: _run_autoloader,
    AVAILABLE_NOW_TABLE: _run_trigger_availablenow,
    SILVER: _run_silver,
    ORDERS: _run_orders,
    DAILY_REVENUE: _run_daily_revenue,
}
"""Every table that a stream writes."""
