"""Where a row is from: the columns that a table of files has beside the columns of its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

METADATA = "_metadata"
"""Of Spark and of this source: the column with what is known of a row's file."""
CORRUPT_RECORD = "_corrupt_record"
RESCUED_DATA = "_rescued_data"

FILE = "_source_file"
"""STRING: full path of the row's file."""
SEQUENCE = "_source_sequence"
"""BIGINT: the file's number in the journal."""
RECORD = "_source_record"
"""BIGINT: number of the record in the file; with the file's number it is unique."""
PROCESSING_TIME = "_processing_time"
"""TIMESTAMP: start of the micro-batch that read the row, UTC."""
READ_AT = "processing_time"
"""The name of that moment in a declaration. Every other name is a field of ``_metadata``."""

LINEAGE = {PROCESSING_TIME: READ_AT, FILE: "file_path", SEQUENCE: "sequence", RECORD: "record_index"}
"""Column to what is in it."""
ABOUT_THE_ROW = (RESCUED_DATA, CORRUPT_RECORD, PROCESSING_TIME)
"""Columns that say how a row came. They are not fields of the row."""


def with_metadata(rows: DataFrame, columns: Mapping[str, str]) -> DataFrame:
    """Adds ``columns``: name to field of ``_metadata``, or to ``processing_time``; ``_metadata`` itself goes."""
    from pyspark.sql import functions as F  # noqa: N812

    for name, source in columns.items():
        value = F.current_timestamp() if source == READ_AT else F.col(f"{METADATA}.{source}")
        rows = rows.withColumn(name, value)
    return rows.drop(METADATA)


def evidence_column(rows: DataFrame) -> str | None:
    """The column that keeps values that did not fit; None without such a column."""
    return evidence_among(rows.columns)


def evidence_among(columns: Iterable[str]) -> str | None:
    """The same for a table of which only the columns' names are known."""
    there = set(columns)
    return next((name for name in (RESCUED_DATA, CORRUPT_RECORD) if name in there), None)


def is_invalid(rows: DataFrame, expected: Iterable[str]) -> Column:
    """Whether a row is no whole record: its line is broken, or a value of an ``expected`` column is of another type.

    A field that the schema does not have yet is rescued as well, and does not make a row invalid.
    """
    from pyspark.sql import functions as F  # noqa: N812

    evidence = evidence_column(rows)
    if evidence is None:
        return F.lit(False)
    if evidence == CORRUPT_RECORD:
        return F.col(evidence).isNotNull()
    wrong = F.array(*map(F.lit, [*expected, CORRUPT_RECORD]))
    return F.coalesce(F.arrays_overlap(F.json_object_keys(F.col(evidence)), wrong), F.lit(False))
