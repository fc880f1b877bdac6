"""Comparing a ``latest`` table with its source, in one pass over both: each key in its latest version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakehouse.autoloader.lineage import FILE, RECORD
from lakehouse.checks.keys_here import Keys, keys_here
from lakehouse.checks.rows import rows_of
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.flows.judged import EVENT_TIME
from lakehouse.flows.latest import Latest
from lakehouse.spark_sql import named
from lakehouse.table import At

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructField

_PLACE, _VALUES, _SENT, _KEPT, _BOTH, _VERSIONS, _ROWS = (
    f"_{word}_" for word in ("place", "values", "sent", "kept", "both", "versions", "rows")
)


def keys_of(at: At, flow: Latest) -> Keys:
    """Compares the table with what its stream has read, once for all checks.

    Versions that are equal by ``order`` are equally late: the table may have any of them.
    """
    return at.once("keys", lambda: keys_here(at, flow) or _compare(at, flow))


def _compare(at: At, flow: Latest) -> Keys:
    from pyspark.sql import functions as F  # noqa: N812

    from lakehouse.checkpoints.delta_offsets import rows_read
    from lakehouse.checkpoints.kept import kept_removals

    read = rows_read(at.spark, at.lake, flow.of, reader=at.table.name)
    # it keeps rows that were removed from the source: then it may have more keys, and later versions of them
    keeps = bool(kept_removals(at.lake, at.table.name))
    versions = flow.versions(read, flow.expected(at.catalogue))
    order, fields, key = flow.compared(read.columns), versions.schema.fields, [named(column) for column in flow.key]
    sides = [
        _prints(rows, fields, flow.key, order).withColumn(_SENT, F.lit(sent))
        for rows, sent in ((versions, True), (rows_of(at), False))
    ]
    sent = F.col(_SENT)
    counted = (
        sides[0]
        .unionByName(sides[1])
        .repartition(*key)  # once for both of what follows
        .groupBy(*key, _PLACE, _VALUES)
        .agg(F.count(F.when(sent, 1)).alias(_VERSIONS), F.count(F.when(~sent, 1)).alias(_ROWS))
    )
    in_source, in_table = F.col(_VERSIONS) > 0, F.col(_ROWS) > 0
    keys = counted.groupBy(*key).agg(
        F.max(F.when(in_source, F.col(_PLACE))).alias(_SENT),
        F.max(F.when(in_table, F.col(_PLACE))).alias(_KEPT),
        F.max(F.when(in_source & in_table, F.col(_PLACE))).alias(_BOTH),
        F.sum(_VERSIONS).alias(_VERSIONS),
        F.sum(_ROWS).alias(_ROWS),
    )
    with_key = _named(key)
    same = F.col(_SENT).isNotNull() & F.col(_SENT).eqNullSafe(F.col(_BOTH))
    if keeps:
        same = same | F.col(_SENT).isNull() | F.coalesce(F.col(_KEPT) > F.col(_SENT), F.lit(False))
    wrong = F.when(with_key, ~(same & (F.col(_ROWS) == 1))).otherwise(F.col(_ROWS) > 0)
    [totals] = keys.agg(
        F.count(F.when(with_key, F.col(_SENT))).alias("in_source"),
        F.coalesce(F.sum(_ROWS), F.lit(0)).alias("rows"),
        F.count(F.when(wrong, 1)).alias("wrong"),
        F.coalesce(F.sum(F.when(~with_key, F.col(_VERSIONS))), F.lit(0)).alias("keyless"),
    ).collect()
    # samples are worth another pass only when there is something to show
    places = [
        F.col(f"{side}.place{number}").alias(f"{name}_{where}")
        for number, name in enumerate(order)
        for side, where in ((_SENT, "in_source"), (_KEPT, "in_table"))
    ]
    counts = [F.col(_VERSIONS).alias("versions"), F.col(_ROWS).alias("rows_in_table")]
    shown = keys.where(wrong).orderBy(*key).select(*key, *counts, *places)
    wanted = dict.fromkeys((FILE, RECORD, *flow.key, *flow.order, EVENT_TIME))
    keyless = versions.where(~with_key).select(*(named(column) for column in wanted if column in versions.columns))
    return Keys(
        int(totals["in_source"]),
        int(totals["rows"]),
        int(totals["wrong"]),
        int(totals["keyless"]),
        _sample(shown) if totals["wrong"] else (),
        _sample(keyless) if totals["keyless"] else (),
    )


def _prints(rows: DataFrame, fields: list[StructField], key: tuple[str, ...], order: tuple[str, ...]) -> DataFrame:
    """The key, the columns of the order and a hash of all ``fields``; a column that is missing is NULL."""
    from pyspark.sql import functions as F  # noqa: N812

    types = {field.name.lower(): field.dataType for field in fields}
    there = {name.lower() for name in rows.columns}

    def value(name: str) -> Column:
        type_ = types[name.lower()]
        return named(name).cast(type_) if name.lower() in there else F.lit(None).cast(type_)

    hashed: list[Column] = []
    for field in fields:
        column = value(field.name)
        # Spark hashes neither maps nor variants, and passes over NULLs as if they were no columns at all
        plain = not any(kind in field.dataType.simpleString() for kind in ("map<", "variant"))
        hashed += [column if plain else F.to_json(F.struct(column)), column.isNull()]
    place = [value(name).alias(f"place{number}") for number, name in enumerate(order)]
    return rows.select(
        *(value(name).alias(name) for name in key),
        F.struct(*place).alias(_PLACE),
        F.xxhash64(*hashed).alias(_VALUES),
    )


def _named(key: list[Column]) -> Column:
    first, *rest = [column.isNotNull() for column in key]
    for condition in rest:
        first = first & condition
    return first


def _sample(rows: DataFrame) -> tuple[dict[str, Any], ...]:
    return tuple(row.asDict() for row in rows.limit(SAMPLE_ROWS).collect())
