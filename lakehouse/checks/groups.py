"""Comparing a ``rollup`` table with its source: the same groups, with the same aggregates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lakehouse.checks.groups_here import TOLERANCE, Groups, groups_here
from lakehouse.checks.rows import rows_of
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.flows.rollup import Rollup
from lakehouse.flows.sql_text import Kind, tokens
from lakehouse.spark_sql import named, quoted, within
from lakehouse.table import At

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

_SOURCE, _TABLE, _ROWS, _N = "_source_", "_table_", "_rows_", "_n_"


def groups_of(at: At, flow: Rollup) -> Groups:
    """Computes all groups again, and compares them with the table.

    Values that are no floating-point numbers have to be equal. A floating-point sum depends on the order of its terms,
    by a share of the sum of their absolute values. So ``sum(x)`` may be off by 1e-9 of ``sum(abs(x))``, and ``avg(x)``
    by 1e-9 of ``avg(abs(x))``. Any other expression may be off by 1e-9 of its value, or of 1 where that is larger.
    """
    scales = {name: scale for name, sql in flow.aggregates.items() if (scale := scale_of(sql)) is not None}
    return groups_here(at, flow, scales) or _compare(at, flow, scales)


def _compare(at: At, flow: Rollup, scales: dict[str, str]) -> Groups:
    from pyspark.sql import functions as F  # noqa: N812

    from lakehouse.streams.rollup import rolled_up

    source = at.spark.read.format("delta").load(at.lake.settings.table_uri(flow.of))
    more = [F.expr(sql).alias(_scale(name)) for name, sql in scales.items()]
    whole = rolled_up(source, flow.group, flow.aggregates, F.count(F.lit(1)).alias(_ROWS), *more)
    types = {name: whole.schema[name].dataType for name in flow.aggregates}
    group = [named(name) for name in flow.group]
    # aggregates that are maps are compared as text: Spark knows no order of them
    own: list[Column] = [*(_measure(whole, name, type_) for name, type_ in types.items()), F.col(_ROWS)]
    own += [named(_scale(name)) for name in scales]
    expected = whole.select(*group, F.struct(*own).alias(_SOURCE))
    kept = rows_of(at)
    found = kept.select(*group, F.struct(*(_measure(kept, name, type_) for name, type_ in types.items())).alias(_TABLE))
    ahead = _parts_ahead(at, flow)
    judged = ~F.coalesce(F.expr(within(quoted(flow.part[0]), ahead, most=None) or "false"), F.lit(False))
    groups = (
        expected.unionByName(found, allowMissingColumns=True)
        .where(judged)
        .groupBy(*group)
        .agg(F.max(_SOURCE).alias(_SOURCE), F.max(_TABLE).alias(_TABLE), F.count(_TABLE).alias(_N))
    )
    right = F.col(_N) == 1
    for name, type_ in types.items():
        right = right & _same(name, type_, name in scales)
    wrong = ~F.coalesce(right & F.col(_SOURCE).isNotNull(), F.lit(False))
    [totals] = groups.agg(
        F.count(_SOURCE).alias("groups"),
        F.coalesce(F.sum(_N), F.lit(0)).alias("rows"),
        F.coalesce(F.sum(f"{_SOURCE}.{_ROWS}"), F.lit(0)).alias("source_rows"),
        F.count(F.when(wrong, 1)).alias("wrong"),
    ).collect()
    sides = [
        F.col(f"{side}.{quoted(name)}").alias(f"{name}_{where}")
        for name in flow.aggregates
        for side, where in ((_SOURCE, "of_source"), (_TABLE, "in_table"))
    ]
    shown = groups.where(wrong).orderBy(*group).select(*group, *sides).limit(SAMPLE_ROWS)
    return Groups(
        int(totals["groups"]),
        int(totals["rows"]),
        int(totals["source_rows"]),
        int(totals["wrong"]),
        len(ahead),
        tuple(row.asDict() for row in shown.collect()) if totals["wrong"] else (),
    )


def scale_of(aggregate: str) -> str | None:
    """The SQL aggregate that scales the tolerance of a sum or a mean; None for any other aggregate."""
    found = re.fullmatch(r"\s*(sum|avg|mean)\s*\((.*)\)\s*", aggregate, re.DOTALL | re.IGNORECASE)
    if found is None or re.match(r"\s*(distinct|all)\b", found[2], re.IGNORECASE):
        return None
    depth = 0
    for token in tokens(found[2]):
        if token.kind == Kind.OTHER:
            depth += (token.text == "(") - (token.text == ")")
        if depth < 0 or token.kind == Kind.COMMENT:  # the last bracket is not that of the function
            return None
    return f"{found[1]}(abs({found[2]}))"


def _scale(aggregate: str) -> str:
    return f"_scale_of_{aggregate}"


def _measure(rows: DataFrame, aggregate: str, type_: DataType) -> Column:
    from pyspark.sql import functions as F  # noqa: N812

    there = aggregate.lower() in {column.lower() for column in rows.columns}
    value = named(aggregate).cast(type_) if there else F.lit(None).cast(type_)
    text = any(kind in type_.simpleString() for kind in ("map<", "variant"))
    return (F.to_json(F.struct(value)) if text else value).alias(aggregate)


def _same(aggregate: str, type_: DataType, has_scale: bool) -> Column:
    from pyspark.sql import functions as F  # noqa: N812

    expected, found = F.col(f"{_SOURCE}.{quoted(aggregate)}"), F.col(f"{_TABLE}.{quoted(aggregate)}")
    same = expected.eqNullSafe(found)
    if type_.typeName() not in ("double", "float"):
        return same
    off = F.abs(expected - found)
    scale = F.col(f"{_SOURCE}.{quoted(_scale(aggregate))}") if has_scale else F.greatest(F.abs(expected), F.lit(1.0))
    # an infinite scale allows nothing: such a sum is infinite or no number, and the same however it is added
    return same | (off < float("inf")) & (off <= F.lit(TOLERANCE) * scale)


def _parts_ahead(at: At, flow: Rollup) -> list[Any]:
    """Parts that were changed by commits of the source which the table has not read yet, while a service runs."""
    from lakehouse.checkpoints import agreement as checkpoints
    from lakehouse.checkpoints.delta_offsets import Place
    from lakehouse.streams.rollup import changed_parts, changes_since

    last, source = checkpoints.last_finished(at.lake, at.table.name), at.lake.delta(flow.of)
    if last is None or source is None or last.offset["reservoirId"] != str(source.metadata().id):
        return []  # it has read nothing of this table
    read = Place.of(last.offset).last_commit
    if read >= source.version():
        return []
    changes = changes_since(at.spark, at.lake.settings.table_uri(flow.of), read)
    return changed_parts(changes, flow.part[1], flow.left_out)
