"""Makes values of columns from cells of workbooks, and finds the types of columns of cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyspark.sql.types as spark
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import DataType

from lakehouse.autoloader.formats.text import values_of

_EXACT = 1 << 53
"""Up to here a cell's number, which is a DOUBLE, is exact as an integer."""

_ALONE: dict[type[DataType], frozenset[type]] = {
    spark.DoubleType: frozenset({float}),
    spark.BooleanType: frozenset({bool}),
    spark.DateType: frozenset({date}),
    spark.TimestampNTZType: frozenset({datetime}),
}
"""Columns in which cells of a kind alone are values as they are."""


_ODD_NUMBERS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
"""Spark's spelling of these numbers."""


def _is_whole(cell: float) -> bool:
    """Whether the number is an exact integer: NaN and the infinite numbers are not."""
    return abs(cell) < _EXACT and cell == int(cell)


def text_of(cell: Any) -> str:
    """A cell as text: whole numbers without a point, dates and times as ISO 8601 writes them."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float | int):
        return str(int(cell)) if _is_whole(cell) else _ODD_NUMBERS.get(repr(cell), repr(cell).removesuffix(".0"))
    if isinstance(cell, timedelta):
        seconds = abs(round(cell.total_seconds()))
        sign = "-" if cell < timedelta() else ""
        return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return str(cell.isoformat())


def plain(cell: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(cell, bool | str):
        return cell
    if isinstance(cell, float | int):
        return int(cell) if _is_whole(cell) else cell if isfinite(cell) else text_of(cell)
    return text_of(cell)


def column_of(cells: Sequence[Any], wanted: DataType, reader: Mapping[str, str]) -> tuple[pa.Array, list[int]]:
    """The values of a column, and the places whose cell has no value of its type.

    Raises:
        ConfigurationError: no cell can have a value of that type.
    """
    values = [None if cell == "" else cell for cell in cells]
    kinds = set(map(type, values)) - {type(None)}
    if isinstance(wanted, spark.StringType):
        texts = values if kinds <= {str} else [None if value is None else text_of(value) for value in values]
        return pa.array(texts, pa.string()), []
    values_of(pa.array([], pa.string()), wanted, reader)
    arrow = to_arrow_type(wanted, timezone="UTC")
    if kinds <= _ALONE.get(type(wanted), frozenset()):
        return pa.array(values, arrow), []
    if isinstance(wanted, spark.IntegralType) and kinds == {float}:
        found = _whole(pa.array(values, pa.float64()), arrow)
    else:
        found = pa.array([_native(value, wanted) for value in values], arrow)
        written = pa.array([_written(value, wanted) for value in values], pa.string())
        if written.null_count < len(written):
            found = pc.coalesce(found, values_of(written, wanted, reader).cast(arrow))
    missing = found.is_null().to_numpy(zero_copy_only=False)
    return found, [row for row in np.flatnonzero(missing).tolist() if values[row] is not None]


def _whole(numbers: pa.Array, arrow: pa.DataType) -> pa.Array:
    """The numbers that are whole and within the type; NULL for the others."""
    values = numbers.fill_null(0.5).to_numpy()
    fit = (values == np.trunc(values)) & (np.abs(values) < min(_EXACT, 1 << arrow.bit_width - 1))
    return pa.array(np.where(fit, values, 0).astype(np.int64), mask=~fit).cast(arrow)


def _written(cell: Any, wanted: DataType) -> str | None:
    """The text of a cell that is parsed: a text; for DECIMAL a number, too, with the digits that Excel shows."""
    if isinstance(wanted, spark.DecimalType) and isinstance(cell, float | int) and not isinstance(cell, bool):
        return text_of(cell)
    return cell if isinstance(cell, str) else None


def _native(cell: Any, wanted: DataType) -> Any:
    """The cell's own value in that type; None where it has no such value."""
    if isinstance(cell, bool):
        return cell if isinstance(wanted, spark.BooleanType) else None
    if isinstance(cell, float | int):
        if isinstance(wanted, spark.DoubleType | spark.FloatType):
            return float(cell)
        bits = {"byte": 8, "short": 16, "integer": 32, "long": 64}.get(wanted.typeName())
        if bits is None or not _is_whole(cell):
            return None
        return int(cell) if -(1 << bits - 1) <= cell < 1 << bits - 1 else None
    if isinstance(cell, datetime):
        if isinstance(wanted, spark.TimestampNTZType):
            return cell
        if isinstance(wanted, spark.TimestampType):
            return cell.replace(tzinfo=UTC)
        whole_day = cell.time() == time()
        return cell.date() if whole_day and isinstance(wanted, spark.DateType) else None
    if isinstance(cell, date):
        if isinstance(wanted, spark.DateType):
            return cell
        return _native(datetime(cell.year, cell.month, cell.day), wanted)
    return None


def type_of(cells: Iterable[Any], known: DataType | None = None) -> DataType | None:
    """The narrowest type for cells, and for the earlier cells whose type ``known`` is; None without a value."""
    for cell in cells:
        if isinstance(known, spark.StringType):
            break
        if cell != "":
            known = _wider(known, _kind(cell))
    return known


def _kind(cell: Any) -> DataType:
    if isinstance(cell, bool):
        return spark.BooleanType()
    if isinstance(cell, float | int):
        return spark.LongType() if _is_whole(cell) else spark.DoubleType()
    if isinstance(cell, datetime):
        return spark.TimestampNTZType()
    return spark.DateType() if isinstance(cell, date) else spark.StringType()


def _wider(known: DataType | None, found: DataType) -> DataType:
    if known is None or known == found:
        return found
    pair = {type(known), type(found)}
    if pair == {spark.LongType, spark.DoubleType}:
        return spark.DoubleType()
    return spark.TimestampNTZType() if pair == {spark.DateType, spark.TimestampNTZType} else spark.StringType()
