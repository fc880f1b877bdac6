"""``unique``: each key stands in the table once."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from lakehouse.autoloader.lineage import FILE, RECORD, SEQUENCE
from lakehouse.checks.cures import correct_and_replay, recompute
from lakehouse.checks.rows import need_columns, rows_of
from lakehouse.table import SAMPLE_ROWS, At, Check, Finding, Names


class Unique(Check):
    """``unique: id``, or ``unique: [country, id]``. A key with a NULL in it is none.

    The sample has the key, ``copies``, and the ``source_files`` that hold them: a single file means that it was loaded
    twice or repeats itself, several mean that the sender sent the row again.
    """

    kind: ClassVar[str] = "unique"
    main: ClassVar[str] = "columns"
    about: ClassVar[str] = "Each key stands in the table once; shows the rows that do not."

    columns: Names = Field(min_length=1)

    def examine(self, at: At) -> Finding:
        """Counts keys that stand there more than once."""
        from pyspark.sql import functions as F  # noqa: N812

        rows = rows_of(at)
        need_columns(self, rows, at, self.columns)
        file = F.col(FILE) if FILE in rows.columns else F.lit("unknown")
        copies = rows.groupBy(*self.columns).agg(
            F.count(F.lit(1)).alias("copies"), F.sort_array(F.collect_set(file)).alias("source_files")
        )
        named = F.lit(True)
        for name in self.columns:
            named = named & F.col(name).isNotNull()
        doubled = named & (F.col("copies") > 1)
        [totals] = copies.agg(
            F.coalesce(F.sum("copies"), F.lit(0)).alias("examined"),
            F.count(F.when(doubled, 1)).alias("keys"),
            F.coalesce(F.sum(F.when(doubled, F.col("copies"))), F.lit(0)).alias("rows"),
        ).collect()
        duplicates = int(totals["keys"])
        numbers = {
            "duplicate_keys": duplicates,
            "surplus_rows": int(totals["rows"]) - duplicates,
            "examined_rows": int(totals["examined"]),
        }
        if not duplicates:
            return self.finding(at, True, numbers)
        # samples are worth another pass only when there is something to show
        worst = copies.where(doubled).orderBy(F.desc("copies"), *self.columns).limit(SAMPLE_ROWS).collect()
        sample = tuple({**row.asDict(), "source_files": ", ".join(row["source_files"])} for row in worst)
        files = [file for row in worst for file in row["source_files"]]
        return self.finding(at, False, numbers, sample, self._cure(at, files, set(rows.columns)))

    def _cure(self, at: At, files: list[str], columns: set[str]) -> str:
        if at.table.flow.reads:
            return recompute(at.table)
        cure = correct_and_replay(at.table, files)
        if {SEQUENCE, RECORD} <= columns:
            name = at.table.name
            cure += f"; or keep the newest copy: lakehouse forget {name} --duplicates --yes && lakehouse ingest"
        return cure
