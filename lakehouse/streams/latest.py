"""The writer of a ``latest`` table: it commits a batch of versions, so that each key is there once, as its latest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

from lakehouse.spark_sql import quoted
from lakehouse.streams.transaction import merge, transaction

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PLACE = "_place"


def newest(versions: DataFrame, key: Sequence[str], order: Sequence[str]) -> DataFrame:
    """Each key once: the version that is highest by ``order``, where NULL is lower than any value.

    Rows with a NULL in the key cannot be told from each other: they are left out, and the check ``keyed`` counts them.
    """
    highest_first = Window.partitionBy(*map(quoted, key)).orderBy(*(F.desc_nulls_last(quoted(name)) for name in order))
    keyed = versions.where(" AND ".join(f"{quoted(name)} IS NOT NULL" for name in key))
    return keyed.withColumn(_PLACE, F.row_number().over(highest_first)).where(f"{_PLACE} = 1").drop(_PLACE)


@dataclass(frozen=True)
class LatestWriter:
    """For ``foreachBatch``: one row for each key, in whatever order and batches its versions come.

    A version is written when it is newer than the table's. There is no condition that prunes files: a row may have
    moved to any part of the table, and the range of a batch's keys costs more to find than it saves
    (docs/decisions.md).

    Attributes:
        table_uri: The table; it must exist.
        checkpoint_uri: The stream's checkpoint.
        session_keys: ``engine.conf.TRANSACTION``.
        key: Columns that identify a row.
        order: Columns by which two versions are compared, the most important first. Structs compare field by field,
            and a NULL is lower than any value, as in ``newest``.
    """

    table_uri: str
    checkpoint_uri: str
    session_keys: dict[str, str]
    key: tuple[str, ...]
    order: tuple[str, ...]

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Commits the batch; a batch that the table has already is skipped."""
        same = " AND ".join(f"t.{quoted(name)} = s.{quoted(name)}" for name in self.key)
        theirs, ours = (", ".join(f"{side}.{quoted(name)}" for name in self.order) for side in "st")
        clauses = f"""
            ON {same}
            WHEN MATCHED AND struct({theirs}) > struct({ours}) THEN UPDATE SET *
            WHEN NOT MATCHED THEN INSERT *"""
        options = transaction(self.checkpoint_uri, batch_id)
        merge(newest(frame, self.key, self.order), self.table_uri, clauses, options, self.session_keys)


def create_table(rows: DataFrame, table_uri: str, *, change_data_feed: bool = False, anew: bool = False) -> None:
    """Makes the table, empty, with the columns of ``rows``.

    Args:
        rows: Not a stream.
        table_uri: Where.
        change_data_feed: Whether the table has a change data feed, from its first row on.
        anew: Whether the table exists, was emptied, and may get other columns. Otherwise a table that exists stays as
            it is.
    """
    empty = rows.limit(0).write.format("delta")
    if not anew:
        if change_data_feed:
            empty = empty.option("delta.enableChangeDataFeed", "true")
        empty.mode("ignore").save(table_uri)
        return
    has = {column.name: column.dataType for column in rows.sparkSession.read.format("delta").load(table_uri).schema}
    wanted = {column.name: column.dataType for column in rows.schema}
    if has == {name: type_ for name, type_ in wanted.items() if name in has}:
        if len(has) < len(wanted):  # columns are only added: streams that follow this table can go on
            empty.mode("append").option("mergeSchema", "true").save(table_uri)
    else:
        empty.mode("overwrite").option("overwriteSchema", "true").save(table_uri)
