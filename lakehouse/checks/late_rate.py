"""``late_rate``: rows that came after their window was closed, within the share that is allowed."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from lakehouse.autoloader.lineage import FILE
from lakehouse.checks.accounts_for_rows import windows_of
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.table import At, Check, Finding


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
        windows = at.lake.rows(table)
        if windows is None:
            return None
        import pyarrow.compute as pc

        column = flow.counted_column
        counted = int(pc.sum(windows.to_table(columns=[column])[column]).as_py() or 0)
        late = self._waiting(at)
        share = late.num_rows / max(late.num_rows + counted, 1)
        passed = share <= self.max_share
        numbers: dict[str, int | float] = {
            "late_rows": late.num_rows,
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
        return self.finding(at, False, numbers, _worst(late), cure)

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
