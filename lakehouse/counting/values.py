"""Comparing values of columns with literals of a declaration, as Spark does: in the wider of both types."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.counting.data_files import OnlySpark
from lakehouse.counting.names import found_in, parts_of

Literal = str | int | float | bool
Column = tuple[str, ...]
"""The path of a column: the names of the structs that it is in, then its own."""

_WHOLE = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d{1,6})?")
_LONGS = range(-(2**63), 2**63)


def column_of(schema: pa.Schema, name: str) -> Column | None:
    """The column that a name stands for; None where the table has none.

    Raises:
        OnlySpark: the name leads into a list or a map.
    """
    left = parts_of(name) or ("",)
    found: list[str] = []
    fields: list[pa.Field] | None = list(schema)
    for part in left:
        if fields is None:
            raise OnlySpark(f"{name} leads into a list, a map or a value without a structure")
        there = found_in([field.name for field in fields], part)
        if there is None:
            return None
        found.append(there)
        type_ = next(field for field in fields if field.name == there).type
        fields = [type_.field(n) for n in range(type_.num_fields)] if pa.types.is_struct(type_) else None
    return tuple(found)


def type_of(schema: pa.Schema, column: Column) -> pa.DataType:
    """The type of a column."""
    type_ = schema.field(column[0]).type
    for name in column[1:]:
        type_ = type_.field(name).type
    return type_


def values_of(rows: pa.RecordBatch, column: Column) -> pa.Array:
    """The values of a column; NULL where a struct that it is in is NULL."""
    whole = rows.column(column[0])
    return pc.struct_field(whole, list(column[1:])) if len(column) > 1 else whole


def is_below(values: pa.Array, limit: Literal) -> pa.Array:
    """Whether values are below a limit; NULL for NULL, and NaN is below nothing.

    Raises:
        OnlySpark: only Spark can compare the two types.
    """
    if pa.types.is_decimal(values.type) and not _is_exact(limit):
        return _at_least(values, _double(limit), above=False, invert=True)
    left, right = _meet(values, limit)
    return pc.less(left, right)


def is_above(values: pa.Array, limit: Literal) -> pa.Array:
    """Whether values are above a limit; NULL for NULL, and NaN is above everything.

    Raises:
        OnlySpark: only Spark can compare the two types.
    """
    if pa.types.is_decimal(values.type) and not _is_exact(limit):
        return _at_least(values, _double(limit), above=True)
    left, right = _meet(values, limit)
    above = pc.greater(left, right)
    return pc.or_(above, pc.is_nan(left)) if pa.types.is_floating(left.type) else above


def is_among(values: pa.Array, accepted: Sequence[Literal]) -> pa.Array:
    """Whether values are among those that are accepted; NULL for NULL.

    Raises:
        OnlySpark: only Spark can compare the types.
    """
    if any(isinstance(item, float) for item in accepted) and not any(isinstance(item, str | bool) for item in accepted):
        accepted = [float(item) for item in accepted]
    if len({type(item) for item in accepted}) > 1:
        raise OnlySpark("the values are of several types")
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        rights = [_meet(values, item)[1] for item in accepted]
        return pc.if_else(pc.is_valid(values), pc.is_in(values, pa.array([right.as_py() for right in rights])), None)
    found = pc.if_else(pc.is_valid(values), pa.scalar(False), pa.scalar(None, pa.bool_()))
    for item in accepted:
        found = pc.or_(found, _is_equal(values, item))
    return found


def _is_equal(values: pa.Array, given: Literal) -> pa.Array:
    if isinstance(given, float) and math.isnan(given) and pa.types.is_floating(values.type):
        return pc.is_nan(values)
    if pa.types.is_decimal(values.type) and not _is_exact(given):
        number = _double(given)
        return pc.and_not(_at_least(values, number, above=False), _at_least(values, number, above=True))
    left, right = _meet(values, given)
    return pc.equal(left, right)


def _meet(values: pa.Array, given: Literal) -> tuple[pa.Array, pa.Scalar]:
    """Casts both to the type in which Spark compares them."""
    type_, is_truth = values.type, isinstance(given, bool)
    if pa.types.is_boolean(type_) and is_truth:
        return values, pa.scalar(given)
    if (pa.types.is_string(type_) or pa.types.is_large_string(type_)) and isinstance(given, str):
        return values, pa.scalar(given, type_)
    if pa.types.is_integer(type_) and not is_truth:
        whole = int(given) if isinstance(given, str) and _WHOLE.fullmatch(given) else given
        if isinstance(whole, int) and whole in _LONGS:
            return values.cast(pa.int64()), pa.scalar(whole, pa.int64())
    widened = pa.types.is_integer(type_) and isinstance(given, float)
    if widened or (pa.types.is_floating(type_) and not is_truth):
        return values.cast(pa.float64(), safe=False), pa.scalar(_double(given), pa.float64())
    if pa.types.is_decimal(type_) and isinstance(given, int) and not is_truth:
        wide = pa.decimal256(min(type_.precision + 20, 76), type_.scale)
        return values.cast(wide), pa.scalar(Decimal(given), pa.decimal256(40, 0))
    if pa.types.is_date32(type_) and isinstance(given, str) and _DAY.fullmatch(given):
        return values, pa.scalar(_day(given), type_)
    if pa.types.is_timestamp(type_) and isinstance(given, str):
        return values, pa.scalar(_moment(given, type_.tz is not None), type_)
    raise OnlySpark(f"{given!r} is held against values of type {type_}")


def _is_exact(given: Literal) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)


def _double(given: Literal) -> float:
    if isinstance(given, str):
        if not _NUMBER.fullmatch(given):
            raise OnlySpark(f"{given!r} is no plain number")
        given = float(given)
    if isinstance(given, bool) or math.isnan(given):
        raise OnlySpark(f"{given!r} is no number")
    return float(given)


def _at_least(values: pa.Array, limit: float, *, above: bool, invert: bool = False) -> pa.Array:
    """Whether decimals are, as doubles, at least ``limit``, or above it.

    Arrow's conversion of decimals to doubles may be off by the last bit. So the least such decimal is searched, and
    decimals are compared with that.
    """
    type_ = values.type
    least, most = -(10**type_.precision), 10**type_.precision
    while least < most:
        middle = (least + most) // 2
        value = float(Fraction(middle, 10**type_.scale))
        if value > limit or (not above and value == limit):
            most = middle
        else:
            least = middle + 1
    if abs(most) < 10**type_.precision:
        edge = pa.scalar(Decimal(f"{most}E-{type_.scale}"), type_)
        return pc.less(values, edge) if invert else pc.greater_equal(values, edge)
    all_of_them = (most < 0) != invert
    return pc.if_else(pc.is_valid(values), pa.scalar(all_of_them), pa.scalar(None, pa.bool_()))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise OnlySpark(f"{text!r} is no day") from None


def _moment(text: str, zoned: bool) -> datetime:
    if not _DAY.fullmatch(text) and not _MOMENT.fullmatch(text):
        raise OnlySpark(f"{text!r} is no plain time")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise OnlySpark(f"{text!r} is no time") from None
    return found.replace(tzinfo=UTC) if zoned else found
