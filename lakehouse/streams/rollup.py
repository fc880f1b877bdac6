"""Aggregates of a table by groups: the parts whose rows changed are computed anew, and replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from lakehouse.spark_sql import named, quoted, within
from lakehouse.streams.transaction import transaction

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

CHANGE, COMMIT, COMMITTED_AT = "_change_type", "_commit_version", "_commit_timestamp"
_PART = "_part"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PART_TYPES = ("tinyint", "smallint", "int", "bigint", "string", "boolean", "date", "timestamp", "timestamp_ntz")
"""Types of the first column of a group: its values are written out in conditions."""


def rolled_up(
    rows: DataFrame, group: Mapping[str, str], aggregates: Mapping[str, str], *more: Column, where: str | None = None
) -> DataFrame:
    """The groups of ``rows``; NULL is a group, too.

    Args:
        rows: Not a stream.
        group: Name to SQL expression.
        aggregates: Name to SQL aggregate.
        more: Further aggregates.
        where: Which rows; None for all.
    """
    rows = rows if where is None else rows.where(where)
    groups = [F.expr(sql).alias(name) for name, sql in group.items()]
    return rows.groupBy(*groups).agg(*(F.expr(sql).alias(name) for name, sql in aggregates.items()), *more)


def changes_of(spark: SparkSession, source_uri: str) -> DataFrame:
    """The change data feed of a table as a stream: first all rows as inserted, then what each commit did."""
    feed = spark.readStream.format("delta").option("readChangeFeed", "true").load(source_uri)
    return feed.drop(COMMITTED_AT)


def changes_since(spark: SparkSession, source_uri: str, version: int) -> DataFrame:
    """What the commits after ``version`` did, in the columns of ``changes_of``; there must be one."""
    feed = spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", version + 1)
    return feed.load(source_uri).drop(COMMITTED_AT)


def changed_parts(changes: DataFrame, part: str, left_out: tuple[str, ...]) -> list[Any]:
    """Values of the expression ``part`` in rows that were changed, before and after the change.

    A row that was sent again unchanged, or only written into another data file, is in the feed twice: as removed and as
    added. The two cancel each other.

    Args:
        changes: Of ``changes_of``, not a stream.
        part: SQL over the columns of the source.
        left_out: Columns of the source whose changes alone alter no group.
    """
    about = {*left_out, CHANGE, COMMIT}
    read = [
        _comparable(field.name, field.dataType.simpleString()) for field in changes.schema if field.name not in about
    ]
    sign = F.when(F.col(CHANGE).isin("insert", "update_postimage"), 1).otherwise(-1)
    value = F.expr(part)
    images = changes.withColumn(_PART, value).groupBy(_PART, *read, COMMIT).agg(F.sum(sign).alias("_more"))
    parts = images.where("_more <> 0").select(_PART).distinct()
    if parts.schema[_PART].dataType.typeName() == "timestamp":
        # as numbers: PySpark returns times in the time zone of this machine
        rows = parts.select(F.unix_micros(_PART)).collect()
        return [None if row[0] is None else _EPOCH + timedelta(microseconds=row[0]) for row in rows]
    return [row[0] for row in parts.collect()]


def _comparable(column: str, type_: str) -> Column:
    """The column as Spark can group by it: maps and variants become text."""
    value = named(column)
    return F.to_json(F.struct(value)) if "map<" in type_ or "variant" in type_ else value


@dataclass(frozen=True)
class RollupWriter:
    """For ``foreachBatch`` of ``changes_of``: computes the parts that changed anew, and replaces them.

    The rows that are read may be newer than the batch. That does no harm: a part is computed from all its rows as they
    are then, and a later batch computes it again for what changed after this batch.

    Attributes:
        source_uri: The table that is read.
        table_uri: The table that is written; it must exist.
        checkpoint_uri: The stream's checkpoint.
        group: Name to SQL expression. The values of the first are the parts that are replaced.
        aggregates: Name to SQL aggregate.
        left_out: Columns of the source whose changes alone alter no group.
    """

    source_uri: str
    table_uri: str
    checkpoint_uri: str
    group: dict[str, str]
    aggregates: dict[str, str]
    left_out: tuple[str, ...]

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Commits the batch; a batch that the table has already is skipped."""
        column, part = next(iter(self.group.items()))
        parts = changed_parts(frame, part, self.left_out)
        source = frame.sparkSession.read.format("delta").load(self.source_uri)
        groups = rolled_up(source, self.group, self.aggregates, where=within(f"({part})", parts))
        writer = groups.write.format("delta").options(**transaction(self.checkpoint_uri, batch_id))
        replaced = within(quoted(column), parts)
        if parts and replaced is not None:
            writer = writer.option("replaceWhere", replaced)
        writer.mode("overwrite" if parts else "append").save(self.table_uri)
