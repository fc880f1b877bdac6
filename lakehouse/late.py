"""Late rows: bringing them into windows that are closed, and foreseeing how many a watermark would drop."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.autoloader.lineage import PROCESSING_TIME, RECORD, SEQUENCE
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.delta_offsets import rows_read
from lakehouse.checks.accounts_for_rows import missed_windows, same_window, waiting, windows_of
from lakehouse.durations import spark_interval
from lakehouse.errors import ConfigurationError
from lakehouse.flows.judged import EVENT_TIME
from lakehouse.flows.windowing import ROW
from lakehouse.flows.windows import Windows
from lakehouse.spark_sql import named, quoted
from lakehouse.streams.set_aside import LATE, quarantined
from lakehouse.table import At, Catalogue, Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class LateReplay:
    """What a replay of late rows does, or would do.

    Attributes:
        late_rows: Rows that wait in quarantine.
        windows: Closed windows that miss them.
        windows_changed: Windows that were written; 0 when they were right already.
        done: Whether it was asked for.
    """

    late_rows: int
    windows: int
    windows_changed: int
    done: bool

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def table_of_windows(catalogue: Catalogue, name: str | None = None) -> Table:
    """The table of windows of that name; without a name the only table of windows.

    Raises:
        ConfigurationError: there is no such table; or several are declared, and none was named.
    """
    known = [table for table in catalogue if isinstance(table.flow, Windows)]
    found = [table for table in known if name in (None, table.name)]
    if len(found) == 1:
        return found[0]
    if not known:
        what = "no table of windows is declared"
    elif name is None:
        what = "several tables of windows are declared, and none was named"
    else:
        what = f"no table of windows {name} is declared"
    raise ConfigurationError(
        what,
        where=catalogue.where,
        state="nothing was read or written",
        next_command="name one of: " + ", ".join(table.name for table in known) if known else "lakehouse validate",
    )


def replay_late(at: At, *, really: bool = False) -> LateReplay:
    """Computes the closed windows that miss a late row again, from all that the table's stream has read of its source.

    A window is a function of its rows, so doing it twice, or again after a crash between the two commits (the windows,
    then the mark in quarantine), changes nothing. The stream goes on as if nothing had happened: it never writes a
    window that is closed.

    Raises:
        LeaseHeld: the stream writes the table now.
        ConfigurationError: the windows are sessions; a late row can join two of them.
    """
    flow, table, quarantine = windows_of(at), at.table.name, at.lake.settings.quarantine_uri(at.table.name)
    if flow.session_gap is not None:
        raise ConfigurationError(
            "late rows cannot be brought into sessions that are written: a row can join two of them",
            where=quarantine,
            state="nothing was changed; the late rows stay in quarantine",
            next_command=f"compute the table anew, from all of its source: lakehouse checkpoint restart {table} --yes",
        )
    with checkpoints.writer_of(at.lake, table):
        late = waiting(quarantined(at.spark, at.lake, table))
        if late is None:
            return LateReplay(0, 0, 0, really)
        missed = missed_windows(flow, late).groupBy(*map(named, flow.names_of_row)).agg(F.count("*").alias("_late"))
        totals = missed.agg(F.count("*").alias("windows"), F.sum("_late").alias("rows")).first()
        assert totals is not None  # an aggregate without groups always gives one row
        rows, count = int(totals["rows"] or 0), int(totals["windows"])
        if not (really and rows):
            return LateReplay(rows, count, 0, really)
        changed = _correct(at, flow, missed)
        moment = f"timestamp '{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}'"
        at.spark.sql(
            f"UPDATE delta.`{quarantine}` SET replayed_at = {moment} WHERE reason = '{LATE}' AND replayed_at IS NULL"
        )
        return LateReplay(rows, count, changed, True)


def _correct(at: At, flow: Windows, missed: DataFrame) -> int:
    """Merges the windows of ``missed`` as all of the source makes them; returns how many were written."""
    uri = at.lake.settings.table_uri(at.table.name)
    rows = flow.valid(rows_read(at.spark, at.lake, flow.of, reader=at.table.name), flow.expected(at.catalogue))
    if flow.drops_duplicates:
        rows = flow.with_row(rows)
        first = F.min(F.struct(SEQUENCE, RECORD)).alias("_first")
        firsts = rows.groupBy(ROW).agg(first).select("_first.*")
        rows = rows.join(firsts, [SEQUENCE, RECORD], "left_semi")
    # only what can be in those windows is read: data files know the smallest and largest time in them
    bounds = missed.agg(F.min("window_start").alias("first"), F.max("window_end").alias("last")).first()
    assert bounds is not None
    near = (F.col(EVENT_TIME) >= F.lit(bounds["first"])) & (F.col(EVENT_TIME) < F.lit(bounds["last"]))
    made = flow.in_windows(rows.where(near)).alias("new")
    corrected = made.join(missed.alias("old"), same_window(flow, "new", "old"), "left_semi").alias("new")
    written = at.spark.read.format("delta").load(uri).alias("old")
    values = [[F.col(f"{side}.{quoted(name)}") for side in ("new", "old")] for name in flow.aggregates]
    equal = reduce(and_, (new.eqNullSafe(old) for new, old in values), same_window(flow, "new", "old"))
    view = f"corrected_windows_{uuid.uuid4().hex}"
    corrected.join(written, equal, "left_anti").createOrReplaceTempView(view)
    same = " AND ".join(f"old.{name} <=> new.{name}" for name in map(quoted, flow.names_of_row))
    try:
        # a MERGE makes a commit also when there is nothing to write
        if not at.spark.table(view).head(1):
            return 0
        [row] = at.spark.sql(
            f"MERGE INTO delta.`{uri}` AS old USING {view} AS new ON {same} "
            "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        ).collect()
    finally:
        at.spark.catalog.dropTempView(view)
    return int(row["num_affected_rows"])


@dataclass(frozen=True)
class WatermarkForecast:
    """What one watermark would have done with all that is in the source.

    Attributes:
        watermark: The delay, as Spark reads it.
        late_rows: Rows that would have been dropped, counted once a window.
        share: Of all rows that can be counted.
        open_windows: Largest number of windows open at a time, for each value of the keys.
    """

    watermark: str
    late_rows: int
    share: float
    open_windows: int

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


DELAYS = tuple(timedelta(minutes=minutes) for minutes in (5, 10, 30, 60))


def forecast(at: At, delays: Sequence[timedelta] = DELAYS) -> list[WatermarkForecast]:
    """How many rows of the source each watermark would drop, if the table ran after every micro-batch of its source.

    That is the worst case: a batch that reads several micro-batches of the source at once drops no more rows.

    Raises:
        ConfigurationError: the source is not there yet, or does not say when its rows came.
    """
    flow = windows_of(at)
    batches_of_rows = _event_times(at, flow)
    newest = batches_of_rows.groupBy("batch").agg(F.max("event_time").alias("newest"))
    before = at.spark.sql(
        "SELECT batch, max(newest) OVER (ORDER BY batch ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) "
        "AS newest_before FROM {newest}",
        newest=newest,
    )
    length = flow.length or flow.session_gap or timedelta(0)
    slide = (flow.slide or length) / timedelta(milliseconds=1)
    span = length / timedelta(milliseconds=1)
    seen = batches_of_rows.join(F.broadcast(before), "batch")
    # ends of the windows that hold a row: the first end after it, then an end for each slide
    first_end = (F.floor(F.col("event_time") / slide) + 1) * slide - slide + span
    if flow.session_gap is not None:
        first_end = F.col("event_time") + span
    ends = [first_end - number * slide for number in range(max(int(-(-span // slide)), 1))]
    missing = []
    for number, delay in enumerate(delays):
        limit = F.col("newest_before") - delay / timedelta(milliseconds=1)
        dropped = [F.when((end <= limit) & (end > F.col("event_time")), 1).otherwise(0) for end in ends]
        missing.append(F.coalesce(F.sum(sum(dropped[1:], dropped[0])), F.lit(0)).alias(f"late_{number}"))
    counts = seen.agg(F.count("*").alias("rows"), *missing).first()
    assert counts is not None
    rows = int(counts["rows"])
    return [
        WatermarkForecast(
            watermark=spark_interval(delay),
            late_rows=int(counts[f"late_{number}"]),
            share=int(counts[f"late_{number}"]) / rows if rows else 0.0,
            open_windows=int(-(-(delay + length) // (flow.slide or length))),
        )
        for number, delay in enumerate(delays)
    ]


def _event_times(at: At, flow: Windows) -> DataFrame:
    """``batch`` and ``event_time`` in milliseconds of each row that can be counted."""
    uri = at.lake.settings.table_uri(flow.of)
    if at.lake.version(flow.of) is None:
        raise ConfigurationError(
            f"{flow.of} is not there yet: no event times to look at",
            where=uri,
            state="nothing was read",
            next_command="lakehouse ingest",
        )
    table = at.spark.read.format("delta").load(uri)
    if PROCESSING_TIME not in table.columns:
        raise ConfigurationError(
            f"{flow.of} has no column {PROCESSING_TIME}: when its rows came is not known",
            where=uri,
            state="nothing was read",
            next_command=f"give {flow.of} its lineage",
        )
    return flow.valid(table, flow.expected(at.catalogue)).select(
        F.col(PROCESSING_TIME).alias("batch"), F.unix_millis(EVENT_TIME).alias("event_time")
    )
