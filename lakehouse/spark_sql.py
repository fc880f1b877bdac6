"""Names and values written out in Spark's SQL: no name of a column and no value of a row is taken for SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import Column

MOST_NAMED = 500
"""Values that a condition names one by one, where a range would do as well."""


def quoted(name: str) -> str:
    """A name of a column or a table, whatever signs are in it."""
    return "`" + name.replace("`", "``") + "`"


def named(name: str) -> Column:
    """The column of a name, whatever signs are in it."""
    from pyspark.sql import functions as F  # noqa: N812

    return F.col(quoted(name))


def literal(value: Any) -> str:
    """A value as a literal of SQL; a time names its zone, or has none (TIMESTAMP_NTZ).

    In the text of SQL Spark puts a variable in the place of ``${env:NAME}``, also within quotes: of its environment,
    which has the keys of the store. So no dollar of a value is written as one.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(value).upper()
    if isinstance(value, datetime):
        return f"TIMESTAMP{'_NTZ' if value.tzinfo is None else ''}'{value.isoformat(' ')}'"
    if isinstance(value, date):
        return f"DATE'{value}'"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("$", "\\u0024") + "'"
    raise TypeError(f"{type(value).__name__} cannot be written as a value of SQL")


def within(expression: str, values: Sequence[Any], *, most: int | None = MOST_NAMED) -> str | None:
    """The condition that ``expression`` has one of ``values``, spelled out so that Delta leaves out other files.

    Args:
        expression: SQL.
        values: NULL may be among them.
        most: More values than that become a range: what lies between is taken in, too. None: never.

    Returns:
        None when there are too many values to name, and they have no range: text.
    """
    named = [value for value in values if value is not None]
    parts = []
    if most is not None and len(named) > most:
        if isinstance(named[0], str):
            return None
        parts.append(f"{expression} BETWEEN {literal(min(named))} AND {literal(max(named))}")
    elif named:
        parts.append(f"{expression} IN ({', '.join(map(literal, named))})")
    if len(named) < len(values):
        parts.append(f"{expression} IS NULL")
    return f"({' OR '.join(parts)})" if parts else "false"
