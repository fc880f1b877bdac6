"""``unique``: each key occurs in the table once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from lakehouse.autoloader.lineage import FILE, RECORD, SEQUENCE
from lakehouse.checks.cures import correct_and_replay, recompute
from lakehouse.checks.kept import compared, data_files_of
from lakehouse.checks.rows import columns_of, need_columns, rows_of
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.counting.names import parts_of
from lakehouse.spark_sql import quoted
from lakehouse.table import At, Check, Finding, Names

if TYPE_CHECKING:
    from lakehouse.counting.keys import Keys


@dataclass(frozen=True)
class _Found:
    """Counts of all rows, of keys that occur more than once, and of their rows; ``worst`` reads some of those keys."""

    examined: int
    keys: int
    rows: int
    columns: set[str]
    worst: Callable[[], list[dict[str, Any]]]


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
        """Counts keys that occur more than once."""
        found = self._here(at) or self._by_spark(at)
        numbers = {
            "duplicate_keys": found.keys,
            "surplus_rows": found.rows - found.keys,
            "examined_rows": found.examined,
        }
        if not found.keys:
            return self.finding(at, True, numbers)
        # samples are worth another pass only when there is something to show
        worst = found.worst()
        sample = tuple({**row, "source_files": ", ".join(row["source_files"])} for row in worst)
        files = [file for row in worst for file in row["source_files"]]
        return self.finding(at, False, numbers, sample, self._cure(at, files, found.columns))

    def _here(self, at: At) -> _Found | None:
        """What is counted without Spark; None where only Spark can count."""
        from lakehouse.counting.copies import Key
        from lakehouse.counting.data_files import OnlySpark
        from lakehouse.counting.keys import count_keys
        from lakehouse.counting.shown import rows_shown

        files = data_files_of(at)
        if files is None:
            return None
        try:
            columns = columns_of(self, files.schema, at, self.columns)
            key = Key(tuple(columns), FILE if FILE in files.schema.names else None)
            counted = count_keys(at.lake, at.table.name, files, key, SAMPLE_ROWS)
            if at.full and counted.read is not None:
                kept, counted = counted, count_keys(at.lake, at.table.name, files, key, SAMPLE_ROWS, afresh=True)
                compared(at, self.called, _summary(kept), _summary(counted))
                compared(at, f"keys of {self.called}", True, counted.index_agrees is not False)
        except OnlySpark:
            return None
        copies = counted.copies
        last = [(parts_of(name) or (name,))[-1] for name in self.columns]
        names = last if len(set(last)) == len(last) else list(self.columns)

        def worst() -> list[dict[str, Any]]:
            rows = rows_shown(copies.worst.rename_columns([*names, "copies", "source_files"]))
            return [{**row, "source_files": sorted(row["source_files"])} for row in rows]

        return _Found(counted.examined, copies.keys, copies.rows, set(files.schema.names), worst)

    def _by_spark(self, at: At) -> _Found:
        from pyspark.sql import functions as F  # noqa: N812

        rows = rows_of(at)
        need_columns(self, rows, at, self.columns)
        file = F.col(FILE) if FILE in rows.columns else F.lit("unknown")
        copies = rows.groupBy(*self.columns).agg(
            F.count(F.lit(1)).alias("copies"), F.sort_array(F.collect_set(file)).alias("source_files")
        )
        names = [*map(quoted, copies.columns[: len(self.columns)])]
        named = F.lit(True)
        for name in names:
            named = named & F.col(name).isNotNull()
        doubled = named & (F.col("copies") > 1)
        [totals] = copies.agg(
            F.coalesce(F.sum("copies"), F.lit(0)).alias("examined"),
            F.count(F.when(doubled, 1)).alias("keys"),
            F.coalesce(F.sum(F.when(doubled, F.col("copies"))), F.lit(0)).alias("rows"),
        ).collect()

        def worst() -> list[dict[str, Any]]:
            found = copies.where(doubled).orderBy(F.desc("copies"), *names).limit(SAMPLE_ROWS).collect()
            return [row.asDict() for row in found]

        return _Found(int(totals["examined"]), int(totals["keys"]), int(totals["rows"]), set(rows.columns), worst)

    def _cure(self, at: At, files: list[str], columns: set[str]) -> str:
        if at.table.flow.reads:
            return recompute(at.table)
        cure = correct_and_replay(at.table, files)
        if {SEQUENCE, RECORD} <= columns:
            name = at.table.name
            cure += f"; or keep the newest copy: lakehouse forget {name} --duplicates --yes && lakehouse ingest"
        return cure


def _summary(keys: Keys) -> str:
    return f"{keys.examined} rows, {keys.copies.keys} keys in {keys.copies.rows} of them"
