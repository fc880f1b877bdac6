"""What must be true of ``silver.orders`` and ``gold.daily_revenue``: each is held against the table it comes from."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.quality import replay_command
from lakehouse.streams.bronze import ORDERS_AUTOLOADER
from lakehouse.streams.daily_revenue import GROUP, MEASURES, daily_revenue
from lakehouse.streams.orders import KEY, RECORD, versions_of_orders
from lakehouse.streams.silver import Limits
from lakehouse.table import SAMPLE_ROWS, Finding

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import DataType

_TOLERANCE = 1e-9
"""Of the sum of absolute amounts: a sum of doubles depends on the order in which they are added."""


def orders_match_bronze(
    bronze: DataFrame, limits: Limits, table: str, uri: str, *, keeps: bool = False
) -> list[Finding]:
    """Two findings from one pass over both tables.

    ``orders_match_bronze``: the table has each order of bronze once, with the values of its latest version, and no
    other.

    ``every_order_has_an_id``: valid orders without ``order_id`` cannot be told from each other. They are left out of
    the table, and counted here.

    Args:
        bronze: The rows that the table's stream has read.
        limits: What makes an order a valid one.
        table: The table's name, for the findings.
        uri: Where it is.
        keeps: Whether the table keeps what bronze forgot: then it may have more orders, and later versions of them.
    """
    versions = versions_of_orders(bronze, limits)
    types = {field.name: field.dataType for field in versions.schema.fields}
    rows = _fingerprints(versions, types, "sent").unionByName(
        _fingerprints(_read(bronze.sparkSession, uri), types, "kept"), allowMissingColumns=True
    )
    orders = rows.groupBy(KEY).agg(
        F.max("sent").alias("sent"),
        F.max("kept").alias("kept"),
        F.count("sent").alias("versions"),
        F.count("kept").alias("rows_in_table"),
    )
    named = F.col(KEY).isNotNull()
    same = F.col("sent").eqNullSafe(F.col("kept"))
    if keeps:
        place = [F.struct(f"{side}.{SEQUENCE}", f"{side}.{RECORD}") for side in ("kept", "sent")]
        same = same | F.col("sent").isNull() | F.coalesce(place[0] > place[1], F.lit(False))
    wrong = named & ~(same & (F.col("rows_in_table") == 1))
    [totals] = orders.agg(
        F.count(F.when(named, F.col("sent"))).alias("orders"),
        F.coalesce(F.sum("rows_in_table"), F.lit(0)).alias("rows"),
        F.count(F.when(wrong, 1)).alias("wrong"),
        F.coalesce(F.sum(F.when(~named, F.col("versions"))), F.lit(0)).alias("nameless"),
    ).collect()
    # samples are worth another pass only when there is something to show
    shown = orders.where(wrong).orderBy(KEY).limit(SAMPLE_ROWS)
    shown = shown.select(KEY, "versions", "rows_in_table", *(_number(side) for side in ("sent", "kept")))
    nameless = versions.where(~named).select("_source_file", RECORD, "order_date").limit(SAMPLE_ROWS)
    without = _rows(nameless) if totals["nameless"] else ()
    return [
        Finding(
            check="orders_match_bronze",
            table=table,
            passed=not totals["wrong"],
            numbers={
                "orders_in_bronze": int(totals["orders"]),
                "rows_in_table": int(totals["rows"]),
                "wrong_orders": int(totals["wrong"]),
            },
            sample=_rows(shown) if totals["wrong"] else (),
            next_command=_recompute(table) if totals["wrong"] else "",
        ),
        Finding(
            check="every_order_has_an_id",
            table=table,
            passed=not totals["nameless"],
            numbers={"orders_without_id": int(totals["nameless"])},
            sample=without,
            next_command=""
            if not totals["nameless"]
            else "correct the lines in the files named, under their names; then: "
            + replay_command(ORDERS_AUTOLOADER, [str(one["_source_file"]) for one in without]),
        ),
    ]


def revenue_matches_orders(orders: DataFrame, table: str, uri: str, *, ahead: Collection[date] = ()) -> Finding:
    """The table has what all orders give: the same groups, with the same measures but for rounding.

    Args:
        orders: ``silver.orders``.
        table: The table's name, for the finding.
        uri: Where it is.
        ahead: Days with orders that the table's stream has still to read: they are not judged, only counted.
    """
    spark = orders.sparkSession
    judged = ~F.coalesce(F.col("day").isin(list(ahead)), F.lit(False))
    orders = daily_revenue(orders, F.sum(F.abs("total_amount")).alias("scale"))
    expected = orders.select(*GROUP, F.struct(*MEASURES, "scale").alias("of_orders"))
    found = _read(spark, uri).select(*GROUP, F.struct(*MEASURES).alias("in_table"))
    groups = (
        expected.unionByName(found, allowMissingColumns=True)
        .where(judged)
        .groupBy(*GROUP)
        .agg(F.max("of_orders").alias("of_orders"), F.max("in_table").alias("in_table"), F.count("in_table").alias("n"))
    )
    allowed = F.lit(_TOLERANCE) * F.col("of_orders.scale")
    right = (
        (F.col("n") == 1)
        & (F.col("of_orders.orders") == F.col("in_table.orders"))
        & (F.col("of_orders.distinct_customers") == F.col("in_table.distinct_customers"))
        & _close("revenue", allowed)
        & _close("avg_order_value", allowed / F.col("of_orders.orders"))
    )
    wrong = ~F.coalesce(right, F.lit(False))
    [totals] = groups.agg(
        F.count("of_orders").alias("groups"),
        F.coalesce(F.sum("n"), F.lit(0)).alias("rows"),
        F.coalesce(F.sum("of_orders.orders"), F.lit(0)).alias("orders"),
        F.count(F.when(wrong, 1)).alias("wrong"),
    ).collect()
    sides = [
        F.col(f"{side}.{name}").alias(f"{name}_{side}")
        for name in ("orders", "revenue")
        for side in ("of_orders", "in_table")
    ]
    shown = groups.where(wrong).orderBy(*GROUP).select(*GROUP, *sides).limit(SAMPLE_ROWS)
    return Finding(
        check="revenue_matches_orders",
        table=table,
        passed=not totals["wrong"],
        numbers={
            "groups": int(totals["groups"]),
            "rows_in_table": int(totals["rows"]),
            "orders": int(totals["orders"]),
            "wrong_groups": int(totals["wrong"]),
            "days_to_come": len(ahead),
        },
        sample=_rows(shown) if totals["wrong"] else (),
        next_command=_recompute(table) if totals["wrong"] else "",
    )


def _fingerprints(rows: DataFrame, types: dict[str, DataType], side: str) -> DataFrame:
    """Key, and as ``side`` the place and a hash of all columns of ``types``; a missing column is NULL."""
    columns = []
    for name, type_ in types.items():
        column = _column(name).cast(type_) if name in rows.columns else F.lit(None).cast(type_)
        # Spark hashes neither maps nor variants
        hashed = not any(kind in type_.simpleString() for kind in ("map<", "variant"))
        columns.append(column if hashed else F.to_json(F.struct(column)))
    return rows.select(KEY, F.struct(SEQUENCE, RECORD, F.xxhash64(*columns)).alias(side))


def _column(name: str) -> Column:
    return F.col("`" + name.replace("`", "``") + "`")


def _number(side: str) -> Column:
    return F.col(f"{side}.{SEQUENCE}").alias(f"file_number_{side}")


def _close(name: str, allowed: Column) -> Column:
    expected, found = F.col(f"of_orders.{name}"), F.col(f"in_table.{name}")
    return expected.eqNullSafe(found) | (F.abs(expected - found) <= allowed)


def _rows(frame: DataFrame) -> tuple[dict[str, object], ...]:
    return tuple(row.asDict() for row in frame.collect())


def _recompute(table: str) -> str:
    return f"lakehouse checkpoint restart {table} --yes && lakehouse ingest   (without --yes it says what it would do)"


def _read(spark: SparkSession, uri: str) -> DataFrame:
    return spark.read.format("delta").load(uri)
