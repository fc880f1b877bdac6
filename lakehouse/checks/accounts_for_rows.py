"""``accounts_for_rows``: each row of the source is counted in its window, or in quarantine with the reason."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, ClassVar

from lakehouse.checks.accounts_here import Accounts, Rule, accounts_here
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.errors import ConfigurationError
from lakehouse.flows.windowing import PROBLEM
from lakehouse.flows.windows import Windows
from lakehouse.spark_sql import named, quoted
from lakehouse.table import At, Check, Finding

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# a key may have any other name
_SOURCE, _COUNTED, _LATE, _LINES = "_source_rows", "_counted_rows", "_late_rows", "_lines"


class AccountsForRows(Check):
    """Every row that the stream has read is counted in its closed windows once, or is in quarantine with the reason.

    Closed are the windows up to the watermark of its last batch; in update and complete mode all count as such. A
    window that counts more than the source has, or stands in the table twice, is a double; one that counts less without
    a late row in quarantine is a loss. Sessions are held against the source as a whole: a late row can join two.

    Where duplicates are dropped, a row that comes again is missing by intention: only doubles are found then. Where the
    table keeps what its source lost, it may count more: only losses, and lines that stand there twice, are found.
    """

    kind: ClassVar[str] = "accounts_for_rows"
    flows: ClassVar[tuple[str, ...]] = ("windows",)
    blocks: ClassVar[bool] = True
    about: ClassVar[str] = (
        "Every row of the source is counted in its closed window once, or is in quarantine with the reason."
    )

    def examine(self, at: At) -> Finding | None:
        """Compares the table, its quarantine and its source; None while the source has no table."""
        from lakehouse.checkpoints import agreement as checkpoints
        from lakehouse.checkpoints.kept import kept_removals

        lake, table = at.lake, at.table.name
        flow = windows_of(at)
        if lake.version(flow.of) is None:
            return None
        last = checkpoints.last_finished(lake, table)
        closes = flow.output_mode == "append" and flow.session_gap is None
        rule = Rule(
            # what comes again is dropped on purpose, and a session that is open is counted nowhere yet
            exact=flow.session_gap is None and not flow.drops_duplicates,
            keeps=bool(kept_removals(lake, table)),
            closed_upto_milliseconds=(last.watermark_milliseconds if last else 0) if closes else None,
        )
        found = accounts_here(at, flow, rule, last) or _by_spark(at, flow, rule)
        missing = found.source_rows - found.counted_rows - found.late_rows if rule.exact else 0
        problems, set_aside = found.problems, found.set_aside
        return self.finding(
            at,
            not found.sample and (problems <= set_aside if rule.keeps else problems == set_aside),
            {
                "windows": found.windows,
                "counted_rows": found.counted_rows,
                "late_rows": found.late_rows,
                "set_aside_rows": set_aside,
                "unaccounted_rows": missing + problems - set_aside,
            },
            found.sample,
            f"lakehouse replay-late {table} --yes   (when that was interrupted); else: "
            f"lakehouse checkpoint restart {table} --yes && lakehouse ingest",
        )


def _by_spark(at: At, flow: Windows, rule: Rule) -> Accounts:
    from pyspark.sql import functions as F  # noqa: N812

    from lakehouse.checkpoints.delta_offsets import rows_read
    from lakehouse.streams.set_aside import LATE, quarantined

    lake, table = at.lake, at.table.name
    read = rows_read(at.spark, lake, flow.of, reader=table)
    judged = flow.judge(read, flow.expected(at.catalogue), into=PROBLEM)
    counted = at.spark.read.format("delta").load(lake.settings.table_uri(table))
    kept = quarantined(at.spark, lake, table)
    sides = (_sides if flow.session_gap is None else _sides_of_sessions)(
        flow, judged.where(F.col(PROBLEM).isNull()), counted, waiting(kept)
    )
    upto = rule.closed_upto_milliseconds
    closed = sides if upto is None else sides.where(F.col("window_end") <= F.timestamp_millis(F.lit(upto)))
    wrong = F.col(_LINES) > 1
    if rule.relation is not None:
        wrong = wrong | F.expr(f"{_COUNTED} + {_LATE} {rule.relation} {_SOURCE}")
    totals = closed.agg(
        *(F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in (_SOURCE, _COUNTED, _LATE)),
        F.count("*").alias("windows"),
        F.count(F.when(wrong, 1)).alias("wrong"),
    ).first()
    assert totals is not None  # an aggregate without groups always gives one row
    sample = closed.where(wrong).orderBy("window_start").limit(SAMPLE_ROWS).collect() if totals["wrong"] else []
    return Accounts(
        int(totals["windows"]),
        int(totals[_SOURCE]),
        int(totals[_COUNTED]),
        int(totals[_LATE]),
        judged.where(F.col(PROBLEM).isNotNull()).count(),
        kept.where(F.col("reason") != LATE).count() if kept is not None else 0,
        tuple(_shown(row.asDict()) for row in sample),
    )


def windows_of(at: At) -> Windows:
    """The flow of a table of windows.

    Raises:
        ConfigurationError: its flow is of another kind.
    """
    if isinstance(at.table.flow, Windows):
        return at.table.flow
    known = [table.name for table in at.catalogue if isinstance(table.flow, Windows)]
    raise ConfigurationError(
        f"{at.table.name} is no table of windows",
        where=at.catalogue.where,
        state="nothing was read or written",
        next_command=f"name one of: {', '.join(known)}" if known else "declare a table of windows",
    )


def waiting(kept: DataFrame | None) -> DataFrame | None:
    """The late rows in quarantine whose windows are not corrected yet."""
    from pyspark.sql import functions as F  # noqa: N812

    from lakehouse.streams.set_aside import LATE

    return kept.where((F.col("reason") == LATE) & F.col("replayed_at").isNull()) if kept is not None else None


def missed_windows(flow: Windows, late: DataFrame) -> DataFrame:
    """The columns that identify the window that each late row missed."""
    from lakehouse.streams.set_aside import kept_name

    keys = (named(kept_name(key)).alias(key) for key in flow.keys)
    return late.select("window_start", "window_end", *keys)


def same_window(flow: Windows, left: str, right: str) -> Column:
    """Whether rows of two aliased frames are of the same window; two NULLs are the same."""
    from pyspark.sql import functions as F  # noqa: N812

    pairs = ((F.col(f"{side}.{quoted(name)}") for side in (left, right)) for name in flow.names_of_row)
    return reduce(and_, (first.eqNullSafe(second) for first, second in pairs))


def _sides(flow: Windows, believed: DataFrame, counted: DataFrame, late: DataFrame | None) -> DataFrame:
    """For each window its rows in source, table and quarantine, and how many rows of the table name it."""
    from pyspark.sql import functions as F  # noqa: N812

    names, count = [named(column) for column in flow.names_of_row], named(flow.counted_column)
    both = (
        flow.in_windows(believed)
        .select(*names, count.alias(_SOURCE))
        .unionByName(
            counted.select(*names, count.alias(_COUNTED), F.lit(1).alias(_LINES)),
            allowMissingColumns=True,
        )
    )
    if late is not None:
        missed = missed_windows(flow, late).withColumn(_LATE, F.lit(1))
        both = both.unionByName(missed, allowMissingColumns=True)
    # a union and one aggregation put all sides of a window into one row, without a join
    counts = [name for name in (_SOURCE, _COUNTED, _LATE, _LINES) if name in both.columns]
    sides = both.groupBy(*names).agg(*(F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in counts))
    return sides if late is not None else sides.withColumn(_LATE, F.lit(0))


def _sides_of_sessions(flow: Windows, believed: DataFrame, counted: DataFrame, late: DataFrame | None) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812

    def rows(count: Column, name: str) -> Column:
        return F.coalesce(count, F.lit(0)).cast("bigint").alias(name)

    sides = believed.agg(rows(F.count("*"), _SOURCE))
    lines = counted.groupBy(*(named(column) for column in flow.names_of_row)).agg(
        F.sum(named(flow.counted_column)).alias("_rows"), F.count("*").alias("_times")
    )
    sides = sides.crossJoin(lines.agg(rows(F.sum("_rows"), _COUNTED), rows(F.max("_times"), _LINES)))
    missed = late.agg(rows(F.count("*"), _LATE)) if late is not None else None
    sides = sides.crossJoin(missed) if missed is not None else sides.withColumn(_LATE, F.lit(0))
    return sides.withColumn("window_start", F.lit(None).cast("timestamp"))


def _shown(row: dict[str, object]) -> dict[str, object]:
    return {name.removeprefix("_") if name in (_SOURCE, _COUNTED, _LATE, _LINES) else name: row[name] for name in row}
