"""What a format makes of bytes. These modules run in Spark's Python workers: they import pyarrow and little else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

CORRUPT_RECORD = "_corrupt_record"
RESCUED_DATA = "_rescued_data"

PathAt = Callable[[int], str]
"""The full path of the file that a line of the input came from: several small files may be parsed as one input."""


@dataclass(frozen=True)
class Rows:
    """Parsed rows.

    Attributes:
        table: Exactly the columns that were asked for, in that order, with the Arrow types of
            ``pyspark.sql.pandas.types.to_arrow_schema(schema, timezone="UTC")``.
        records: For each row the number (from 0) of the record it came from: the line of the input for formats of
            lines, the row of the file for the others. A line can give no row (a blank one) or several.
        new_fields: Names of top-level fields that the input has and the schema lacks.
    """

    table: pa.Table
    records: np.ndarray
    new_fields: frozenset[str] = frozenset()


class BadFile(Exception):
    """A file that cannot be read as a whole: it goes to quarantine, the others are loaded.

    Attributes:
        reason: A stable code such as ``TRUNCATED``, ``NOT_PARQUET``, ``LINE_TOO_LONG``.
        detail: What exactly, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")
