"""``late_rate``: rows that came after their window was closed, within the share that is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from lakehouse.autoloader.lineage import FILE
from lakehouse.checks.accounts_for_rows import windows_of
from lakehouse.checks.kept import counts_of
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.spark_sql import quoted
from lakehouse.table import At, Check, Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa


class LateRate(Check):
    """``late_rate: 0.05``: late rows that wait in quarantine, as a share of these and of the rows that are counted.

    The sample has the windows that miss most of them, with the files that brought them. Rows that ``lakehouse
    replay-late`` has brought into their windows are counted there, and do not wait any more.
    """

    kind: ClassVar[str] = "late_rate"
    main: ClassVar[str] = "max_share"
    flows: ClassVar[tuple[str, ...]] = ("windows",)
    about: ClassVar[str] = "Rows that came after their window was closed: within the share that is allowed."
    blocks: ClassVar[bool] = False

    max_share: float = Field(0.05, ge=0, le=1)

    def examine(self, at: At) -> Finding | None:
        """Counts table and quarantine; None while there is no table."""
        flow, table = windows_of(at), at.table.name
        counted, late_rows = self._counted(at, flow.counted_column)
        if counted is None:
            return None
        share = late_rows / max(late_rows + counted, 1)
        passed = share <= self.max_share
        numbers: dict[str, int | float] = {
            "late_rows": late_rows,
            "counted_rows": counted,
            "late_share": round(share, 6),
            "allowed_share": self.max_share,
        }
        if passed:
            return self.finding(at, True, numbers)
        if flow.session_gap is None:
            cure = f"lakehouse replay-late {table} --yes"
        else:  # a late row can join two sessions: only from all of the source
            cure = f"lakehouse checkpoint restart {table} --yes && lakehouse ingest {table}"
        cure += f"; which watermark would take such rows in: lakehouse watermark {table}"
        return self.finding(at, False, numbers, _worst(self._waiting(at)), cure)

    def _counted(self, at: At, column: str) -> tuple[int | None, int]:
        """Rows that windows count, None without a table; and late rows that wait."""
        import pyarrow.compute as pc

        from lakehouse.streams.set_aside import LATE

        def waits(rows: pa.RecordBatch) -> pa.Array:
            return pc.and_(pc.equal(rows["reason"], LATE), pc.is_null(rows["replayed_at"]))

        uri, quarantine = at.lake.settings.table_uri(at.table.name), at.lake.settings.quarantine_uri(at.table.name)
        is_late = f"reason = '{LATE}' AND replayed_at IS NULL"
        return (
            _sum(at, uri, "windows", (column,), lambda rows: rows[column], f"sum({quoted(column)})"),
            _sum(at, quarantine, "late rows", ("reason", "replayed_at"), waits, f"count_if({is_late})") or 0,
        )

    def _waiting(self, at: At) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        from lakehouse.streams.set_aside import LATE

        names = ["window_start", "window_end", "lateness_seconds", FILE]
        rows = at.lake.rows_at(at.lake.settings.quarantine_uri(at.table.name))
        if rows is None:
            return pa.table({name: pa.array([], pa.null()) for name in names})
        waits = (pc.field("reason") == LATE) & ~pc.field("replayed_at").is_valid()
        return rows.to_table(columns=[name for name in names if name in rows.schema.names], filter=waits)


def _sum(
    at: At, uri: str, what: str, columns: tuple[str, ...], amount: Callable[[pa.RecordBatch], pa.Array], in_sql: str
) -> int | None:
    """What the rows of a table amount to; None without a table. Data files that were read before are not read again.

    Args:
        at: Where the check is made.
        uri: The table.
        what: What is added up.
        columns: Of which columns.
        amount: A number for each row of a batch.
        in_sql: The sum in SQL, for tables that only Spark can read.
    """
    from lakehouse.counting.conditions import Condition, definition_of
    from lakehouse.counting.data_files import DataFiles, OnlySpark

    try:
        files = DataFiles.at(at.lake, uri, at.table.name)
        if files is None:
            return None
        amounts = Condition(definition_of(what, files.schema, columns), columns, amount)
        name = f"late_rate_{what.partition(' ')[0]}"
        counts = counts_of(at, files, {f"sum of {what}": amounts}, rows_of=f"rows of {what}", name=name)
        return counts.totals()[amounts.key]
    except OnlySpark:
        [row] = at.spark.read.format("delta").load(uri).selectExpr(in_sql).collect()
        return int(row[0] or 0)


def _worst(late: Any) -> tuple[dict[str, Any], ...]:
    """The windows that miss most rows."""
    sums = [("lateness_seconds", "count"), ("lateness_seconds", "max")]
    sums += [(FILE, "distinct")] if FILE in late.column_names else []
    found = late.group_by(["window_start", "window_end"]).aggregate(sums)
    order = [("lateness_seconds_count", "descending"), ("window_start", "ascending")]
    return tuple(
        {
            "window_start": row["window_start"],
            "window_end": row["window_end"],
            "late_rows": row["lateness_seconds_count"],
            "most_seconds_late": row["lateness_seconds_max"],
            "source_files": ", ".join(sorted(str(file) for file in row.get(f"{FILE}_distinct") or ())),
        }
        for row in found.sort_by(order).slice(0, SAMPLE_ROWS).to_pylist()
    )
