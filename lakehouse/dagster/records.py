"""Rows as Dagster shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


MARKDOWN_ROWS = 50


def markdown(rows: Sequence[Mapping[str, Any]], most: int = MARKDOWN_ROWS) -> str:
    """Rows as a table of Markdown; of very many only the first, with how many there are."""
    names = list(rows[0]) if rows else []
    lines = [_line(names), _line(["---"] * len(names))] if names else []
    lines += [_line([_text(row.get(name)) for name in names]) for row in rows[:most]]
    if len(rows) > most:
        lines += ["", f"the first {most:,} of {len(rows):,}"]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(value: Any) -> str:
    shown = _cell(value)
    if isinstance(shown, bool):
        return "yes" if shown else "no"
    if isinstance(shown, int):
        return f"{shown:,}"
    return f"{shown:,.3f}" if isinstance(shown, float) else escaped(shown)


def escaped(text: str) -> str:
    """Keys of objects are their senders' texts: they make no markup."""
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
