"""What must be true of the tables: each check is a query over the table's state, with the offending rows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.streams.bronze import RESCUED_DATA, SEQUENCE, evidence_column, is_invalid
from lakehouse.streams.replacing import REPLACING_TABLES

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: Its name, as in Dagster.
        table: The table that was examined, whole.
        passed: True when the table is as it must be.
        numbers: Counts and shares, with their unit in the name.
        sample: At most ``SAMPLE_ROWS`` offending rows.
        next_command: What mends it; empty when passed.
    """

    check: str
    table: str
    passed: bool
    numbers: dict[str, int | float]
    sample: tuple[dict[str, Any], ...] = ()
    next_command: str = ""

    def line(self) -> str:
        """``PASS  no_duplicate_orders on bronze.x  duplicate_orders 0  ...``."""
        numbers = "  ".join(f"{name} {value:,}" for name, value in self.numbers.items())
        cure = f"  next: {self.next_command}" if self.next_command else ""
        return f"{'PASS' if self.passed else 'FAIL'}  {self.check} on {self.table}  {numbers}{cure}"

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


SAMPLE_ROWS = 20


def orders_are_whole_and_single(
    spark: SparkSession, table: str, uri: str, *, rescued_share: float, corrupt_share: float
) -> list[Finding]:
    """Findings from one pass over the table.

    ``no_duplicate_orders``: each ``order_id`` stands in the table once, whatever run, batch or file brought it. The
    sample has ``order_id``, ``copies`` and the ``source_files`` that hold them: one file named means that a file was
    loaded twice or repeats itself, several mean that the sender sent the order again.

    ``no_corrupt_records``: lines that are no valid order are kept whole, counted here and left out of silver.

    ``rescue_rate``, where the table has ``_rescued_data``: rows with a value that did not fit its column.

    Args:
        spark: A session.
        table: Its name, for the findings.
        uri: Where it is.
        rescued_share: Share of all rows that may have rescued values.
        corrupt_share: Share of all rows that may be corrupt.
    """
    orders = _read(spark, uri)
    evidence = evidence_column(orders)
    copies = orders.groupBy("order_id").agg(
        F.count("*").alias("copies"),
        F.count(evidence).alias("rescued"),
        F.count(F.when(is_invalid(orders), 1)).alias("corrupt"),
        F.sort_array(F.collect_set(_source_file(orders))).alias("source_files"),
    )
    doubled = F.col("order_id").isNotNull() & (F.col("copies") > 1)
    totals = copies.agg(
        F.coalesce(F.sum("copies"), F.lit(0)).alias("examined"),
        F.coalesce(F.sum("rescued"), F.lit(0)).alias("rescued"),
        F.coalesce(F.sum("corrupt"), F.lit(0)).alias("corrupt"),
        F.count(F.when(doubled, 1)).alias("orders"),
        F.coalesce(F.sum(F.when(doubled, F.col("copies"))), F.lit(0)).alias("rows"),
    ).first()
    assert totals is not None  # an aggregate without groups always gives one row
    # samples are worth another pass only when there is something to show
    duplicates, examined = int(totals["orders"]), int(totals["examined"])
    worst = copies.where(doubled).orderBy(F.desc("copies"), "order_id").drop("rescued", "corrupt").limit(SAMPLE_ROWS)

    sample = tuple(row.asDict() for row in (worst.collect() if duplicates else []))
    places = {SEQUENCE, "_source_record"} <= set(orders.columns)
    named = [file for row in sample for file in row["source_files"]]
    findings = [
        Finding(
            check="no_duplicate_orders",
            table=table,
            passed=duplicates == 0,
            numbers={
                "duplicate_orders": duplicates,
                "surplus_rows": int(totals["rows"]) - duplicates,
                "examined_rows": examined,
            },
            sample=tuple({**row, "source_files": ", ".join(row["source_files"])} for row in sample),
            next_command=""
            if duplicates == 0
            else _corrected(table, named)
            + (
                f"; or keep the newest copy: lakehouse forget {table} --duplicates --yes && lakehouse ingest"
                if places
                else ""
            ),
        ),
        _share(
            "no_corrupt_records",
            table,
            ("corrupt", int(totals["corrupt"]), examined),
            corrupt_share,
            orders.where(is_invalid(orders)),
        ),
    ]
    if evidence == RESCUED_DATA:
        rescued = _share(
            "rescue_rate",
            table,
            ("rescued", int(totals["rescued"]), examined),
            rescued_share,
            orders.where(F.col(evidence).isNotNull()),
            f"new columns among them: lakehouse schema approve --table {table}; values of a wrong type: ",
        )
        findings.append(rescued)
    return findings


def _source_file(orders: DataFrame) -> Column:
    """Where a row is from; a table of ``cloudFiles``' defaults does not say."""
    return F.col("_source_file") if "_source_file" in orders.columns else F.lit("unknown")


def _share(
    check: str, table: str, counted: tuple[str, int, int], allowed: float, wrong: DataFrame, first: str = ""
) -> Finding:
    """Whether so many rows of all are allowed; a sample of them costs a pass of its own."""
    kind, rows, examined = counted
    passed = rows <= allowed * examined
    where = [name for name in ("_source_file", "_source_record") if name in wrong.columns]
    shown = wrong.select(*where, F.substring(evidence_column(wrong), 1, 200).alias("line")).limit(SAMPLE_ROWS)
    sample = () if passed else tuple(row.asDict() for row in shown.collect())
    return Finding(
        check=check,
        table=table,
        passed=passed,
        numbers={
            f"{kind}_rows": rows,
            "examined_rows": examined,
            f"{kind}_share": round(rows / max(examined, 1), 6),
            "allowed_share": allowed,
        },
        sample=sample,
        next_command=""
        if passed
        else first + _corrected(table, [row.get("_source_file", "unknown") for row in sample]),
    )


def _read(spark: SparkSession, uri: str) -> DataFrame:
    return spark.read.format("delta").load(uri)


def _corrected(table: str, files: Sequence[str]) -> str:
    """What ends a fault of the files themselves."""
    return f"correct the lines in the files named, under their names; then: {replay_command(table, files)}"


def replay_command(table: str, files: Sequence[str]) -> str:
    """The commands that take out the rows of these files and load them again; of many the first are spelled out.

    A table whose stream only adds rows is filled again as a whole.
    """
    if table not in REPLACING_TABLES:
        return f"lakehouse checkpoint restart {table} --yes && lakehouse ingest {table}"
    names = list(dict.fromkeys(files))
    told = " ".join(f"--files {shlex.quote(name)}" for name in names[:_NAMED])
    more = f"   (and the other {len(names) - _NAMED:,} files likewise)" if len(names) > _NAMED else ""
    return f"lakehouse replay {told} --yes && lakehouse ingest{more}"


_NAMED = 3
