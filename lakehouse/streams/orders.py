"""Silver: every order once, as it was sent last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

from lakehouse.autoloader.lineage import RESCUED_DATA, SEQUENCE
from lakehouse.streams.silver import Limits, valid_orders
from lakehouse.streams.transaction import merge, transaction

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ORDERS = "silver.orders"
KEY = "order_id"
RECORD = "_source_record"
ABOUT_THE_ROW = (RESCUED_DATA, "_processing_time")
"""Columns of bronze that say how a row came, and are no fields of an order."""


def versions_of_orders(bronze: DataFrame, limits: Limits) -> DataFrame:
    """The valid orders of bronze, each as often as it was sent; streaming or not.

    Returns:
        The fields of an order as bronze has them; ``event_time`` TIMESTAMP and ``order_day`` DATE (UTC);
        ``_source_file``, ``_source_sequence``, ``_source_record``: where this version is from.
    """
    return valid_orders(bronze, limits).withColumn("order_day", F.to_date("event_time")).drop(*ABOUT_THE_ROW)


def latest(versions: DataFrame) -> DataFrame:
    """Each order once: the version with the highest file number, and within the file the highest record number.

    Rows without an ``order_id`` cannot be told from each other: they are left out, and ``every_order_has_an_id`` counts
    them.
    """
    newest_first = Window.partitionBy(KEY).orderBy(F.desc(SEQUENCE), F.desc(RECORD))
    place = F.row_number().over(newest_first)
    keyed = versions.where(F.col(KEY).isNotNull())
    return keyed.withColumn("_place", place).where("_place = 1").drop("_place")


@dataclass(frozen=True)
class OrdersWriter:
    """For ``foreachBatch``: one row an order, whatever order its versions come in, and in whatever batches.

    A version is written when it is newer than the table's. There is no condition that prunes files: an order may have
    moved to any day, and the range of a batch's keys costs more to find than it saves (docs/decisions.md).

    Attributes:
        table_uri: ``silver.orders``; it must exist.
        checkpoint_uri: The stream's checkpoint.
        session_keys: ``engine.conf.TRANSACTION``.
    """

    table_uri: str
    checkpoint_uri: str
    session_keys: dict[str, str]

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Commits the batch; a batch that the table has already is left out."""
        clauses = f"""
            ON t.{KEY} = s.{KEY}
            WHEN MATCHED AND struct(s.{SEQUENCE}, s.{RECORD}) > struct(t.{SEQUENCE}, t.{RECORD}) THEN UPDATE SET *
            WHEN NOT MATCHED THEN INSERT *"""
        options = transaction(self.checkpoint_uri, batch_id)
        merge(latest(frame), self.table_uri, clauses, options, self.session_keys)


def create_orders(bronze: DataFrame, table_uri: str, limits: Limits) -> None:
    """Makes the table, empty, with a change data feed from its first row on; leaves one that exists alone."""
    empty = versions_of_orders(bronze, limits).limit(0)
    empty.write.format("delta").mode("ignore").option("delta.enableChangeDataFeed", "true").save(table_uri)
