"""Values of Arrow as Python has them; a day or time beyond Python's years 1 to 9999 is its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def listed(values: pa.Array | pa.ChunkedArray, *, maps_as_dicts: bool = False) -> list[Any]:
    """The values, as ``to_pylist`` has them.

    Args:
        values: A column.
        maps_as_dicts: Whether a map is a dictionary, in which the last of equal keys counts; else a list of pairs.
    """
    options: dict[str, Any] = {"maps_as_pydicts": "lossy"} if maps_as_dicts else {}
    try:
        found: list[Any] = values.to_pylist(**options)
    except OverflowError:
        return [_value(scalar, options) for scalar in values]
    return found


def listed_rows(rows: pa.RecordBatch | pa.Table) -> list[dict[str, Any]]:
    """The rows, each a dictionary by column."""
    names = rows.schema.names
    return [dict(zip(names, row, strict=True)) for row in zip(*map(listed, rows.columns), strict=True)]


def day_text(days: int) -> str:
    """A day, as Spark and Delta's log have it: ``2026-01-31``, with a sign where the year has more than four digits."""
    import numpy as np

    return _with_sign(str(np.datetime64(days, "D")))


def _value(scalar: pa.Scalar, options: dict[str, Any]) -> Any:
    import pyarrow as pa

    try:
        return scalar.as_py(**options)
    except OverflowError:
        pass
    if pa.types.is_map(scalar.type):
        pairs = [(_value(pair[0], options), _value(pair[1], options)) for pair in scalar.values]
        return dict(pairs) if options else pairs
    if pa.types.is_struct(scalar.type):
        return {name: _value(field, options) for name, field in scalar.items()}
    if pa.types.is_nested(scalar.type):
        return [_value(element, options) for element in scalar.values]
    return day_text(scalar.value) if pa.types.is_date32(scalar.type) else _time_text(scalar)


def _time_text(scalar: pa.Scalar) -> str:
    import numpy as np

    text = _with_sign(str(np.datetime64(scalar.value, scalar.type.unit)).replace("T", " "))
    whole, _, fraction = text.partition(".")
    return (text if fraction.strip("0") else whole) + ("+00:00" if scalar.type.tz else "")


def _with_sign(text: str) -> str:
    """NumPy pads the year with its sign: ``-768``."""
    year, dash, rest = text[1:].partition("-")
    year = text[0] + year
    sign = "-" if year[0] == "-" else "+" if len(year) > len("2026") else ""
    return f"{sign}{year.removeprefix('-').zfill(4)}{dash}{rest}"
