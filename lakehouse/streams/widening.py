"""Widens the columns of a table whose stream got wider columns. Delta widens some itself, others only by ALTER."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.autoloader.schema.evolve import changes
from lakehouse.autoloader.schema.hints import dotted
from lakehouse.autoloader.schema.wider import wider

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def widen_table(frame: DataFrame, table_uri: str) -> list[str]:
    """Alters the columns of a table that are narrower than those of ``frame``, where one may widen to the other.

    Returns:
        What was altered: ``size int to bigint``.
    """
    spark = frame.sparkSession
    have = spark.read.format("delta").load(table_uri).schema
    altered: list[str] = []
    for name, old, new in changes(have, frame.schema):
        if old is None or new is None or wider(old, new) != new:
            continue
        if not altered:
            spark.sql(f"ALTER TABLE delta.`{table_uri}` SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')")
        spark.sql(f"ALTER TABLE delta.`{table_uri}` ALTER COLUMN {dotted(name)} TYPE {new.simpleString()}")
        altered.append(f"{name} {old.simpleString()} to {new.simpleString()}")
    return altered
