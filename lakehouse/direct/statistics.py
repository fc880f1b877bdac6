"""The statistics of a data file in Delta's log, by which readers skip files. They are made from Parquet's own."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_COLUMNS = 32
"""``delta.dataSkippingNumIndexedCols``."""
_TEXT = 32
"""Characters of a text that go into the log, as with Delta's own writer."""


def statistics_of(metadata: pq.FileMetaData, with_nan: Collection[str]) -> str:
    """The ``stats`` of an ``add`` action, JSON: rows, and of the first 32 plain columns the bounds and NULLs.

    Args:
        metadata: Of the file.
        with_nan: Columns with a NaN. Parquet's bounds leave NaN out, and Spark sorts it above every number.
    """
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for at in range(min(metadata.num_columns, _COLUMNS)):
        column = metadata.schema.column(at)
        if column.path != column.name or column.max_repetition_level:
            continue  # a part of a struct, an array or a map
        groups = [metadata.row_group(group).column(at).statistics for group in range(metadata.num_row_groups)]
        if any(group is None or not group.has_null_count for group in groups):
            continue
        nulls[column.name] = sum(group.null_count for group in groups)
        bounded = [group for group in groups if group.has_min_max]
        if column.name in with_nan or len(bounded) < len(groups) - _empty(metadata, at):
            continue
        bounds = _bounds(bounded)
        if bounds is not None:
            low[column.name], high[column.name] = bounds
    statistics = {"numRecords": metadata.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}
    return json.dumps(statistics, ensure_ascii=False)


def columns_with_nan(table: pa.Table) -> list[str]:
    """Names of the plain columns that have NaN in them."""
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    return [name for name in floats if pc.any(pc.is_nan(table[name])).as_py()]


def _empty(metadata: pq.FileMetaData, column: int) -> int:
    """How many row groups have only NULL in the column: they have no bounds, and need none."""
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    return sum(group.column(column).statistics.null_count == group.num_rows for group in groups)


def _bounds(groups: Sequence[Any]) -> tuple[Any, Any] | None:
    try:
        return _spelled(min(group.min for group in groups), max(group.max for group in groups))
    except (ValueError, OverflowError):  # no row has a value, or a time is beyond Python's years
        return None


def _spelled(lowest: Any, highest: Any) -> tuple[Any, Any] | None:
    if isinstance(lowest, bool | bytes):
        return None
    if isinstance(lowest, str):
        beyond = len(highest) > _TEXT
        if beyond and highest[_TEXT] == "\U0010ffff":
            return None
        return lowest[:_TEXT], highest[:_TEXT] + ("\U0010ffff" if beyond else "")
    if isinstance(lowest, datetime):
        # the log has milliseconds: the upper bound is the next millisecond
        return _time(lowest), _time(highest + timedelta(microseconds=999))
    if isinstance(lowest, date):
        return lowest.isoformat(), highest.isoformat()
    if isinstance(lowest, float):
        return (lowest, highest) if abs(lowest) < float("inf") and abs(highest) < float("inf") else None
    if isinstance(lowest, Decimal):
        return None  # JSON's numbers would be rounded
    return lowest, highest


def _time(value: datetime) -> str:
    text = (value.astimezone(UTC) if value.tzinfo else value).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")  # a time without a zone has none here either
