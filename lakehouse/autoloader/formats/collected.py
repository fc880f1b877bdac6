"""Collects rows a record at a time, and says what becomes of a malformed record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import types as T  # noqa: N812
from pyspark.sql.pandas.types import to_arrow_schema

from lakehouse.autoloader.formats.json_text import dump
from lakehouse.autoloader.formats.rows import FILE_PATH, QUARANTINE, BadFile, BadRecord, PathAt, bad_table
from lakehouse.autoloader.lineage import CORRUPT_RECORD

Part = tuple[pa.Table, np.ndarray]
"""Rows, and for each row the number of its record."""


class Collector:
    """Collects rows of records.

    Attributes:
        arrow_schema: The schema of the tables it gives.
        new_fields: Top-level names met that no column has in any spelling.
        mode: The reader's mode, in upper case.
        unit: What a record of the input is called.
    """

    unit = "record"

    def __init__(
        self,
        schema: T.StructType,
        reader: Mapping[str, str],
        path_at: PathAt,
        corrupt_column: str | None,
        rescued_column: str | None,
    ) -> None:
        self.arrow_schema = to_arrow_schema(schema, timezone="UTC")
        self.new_fields: set[str] = set()
        self.mode = reader.get("mode", "PERMISSIVE").strip().upper()
        names = schema.fieldNames()
        self._bad: list[BadRecord] = []
        self._bad_tables: list[pa.Table] = []
        self._path_at = path_at
        self._corrupt = names.index(corrupt_column) if corrupt_column is not None else None
        self._rescued = names.index(rescued_column) if rescued_column is not None else None
        self._known = {name.lower() for name in names}
        self._rows: list[list[Any]] = []
        self._records: list[int] = []

    def take(self) -> Part:
        """The rows since the last call."""
        values = list(zip(*self._rows, strict=True)) or [()] * len(self.arrow_schema)
        arrays = [pa.array(column, field.type) for column, field in zip(values, self.arrow_schema, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=self.arrow_schema)
        records = np.array(self._records, dtype=np.int64)
        self._rows, self._records = [], []
        if self._bad:
            self._bad_tables.append(bad_table(self._bad))
            self._bad = []
        return table, records

    def bad(self) -> pa.Table | None:
        """In the mode ``QUARANTINE`` the records that gave no row, of all that was taken since the last call."""
        tables, self._bad_tables = self._bad_tables, []
        return pa.concat_tables(tables) if tables else None

    def malformed(self, text: str, record: int, why: str) -> None:
        """Takes in a record without any value: its text is kept as the mode and the columns say."""
        if self.mode == "FAILFAST":
            self._fail(record, why)
        if self.mode == "DROPMALFORMED":
            return
        if self.mode == QUARANTINE:
            self._bad.append((record, text, f"MALFORMED: {why}"))
            return
        row: list[Any] = [None] * len(self.arrow_schema)
        if self._corrupt is not None:
            row[self._corrupt] = text
        elif self._rescued is not None:
            row[self._rescued] = self._rescue([(CORRUPT_RECORD, text)], record)
        self._rows.append(row)
        self._records.append(record)

    def _leaves_out(self, mismatch: str, text: str, record: int) -> bool:
        """Whether a record gives no row because a value of it has a wrong type, and nothing rescues it."""
        if self.mode == "FAILFAST":
            self._fail(record, "a value does not have the type of its column")
        if self.mode == QUARANTINE:
            self._bad.append((record, text, f"WRONG_TYPE: the value of {mismatch} is not of its column's type"))
        return self.mode in ("DROPMALFORMED", QUARANTINE)

    def _rescue(self, values: Sequence[tuple[str, Any]], record: int) -> str:
        named = [*values, (FILE_PATH, self._path_at(record))]
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{dump(value)}" for name, value in named) + "}"

    def _fail(self, record: int, why: str) -> None:
        raise BadFile("MALFORMED", f"{self.unit} {record + 1} of the input, in {self._path_at(record)}: {why}")
