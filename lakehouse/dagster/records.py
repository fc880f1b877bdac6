"""Rows as Dagster shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from lakehouse.plain_text import shortened

CELL_CHARACTERS = 1000
"""Of one cell: a preview goes into Dagster's log, and a cell of a table may hold megabytes."""


def records(rows: Sequence[dict[str, Any]]) -> dg.TableMetadataValue:
    """Rows as a table; what Dagster cannot show as it is becomes text."""
    shown = [{name: _cell(value) for name, value in row.items()} for row in rows]
    schema = dg.TableSchema(columns=[dg.TableColumn(name, "string") for name in (shown[0] if shown else {})])
    return dg.MetadataValue.table(records=[dg.TableRecord(row) for row in shown], schema=schema)


def _cell(value: Any) -> str | int | float | bool:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    # JSON has no NaN and no Infinity: one such amount in a preview, and the page of the asset does not load
    number = isinstance(value, int | float) and math.isfinite(value)
    return value if number else shortened(str(value), CELL_CHARACTERS)
