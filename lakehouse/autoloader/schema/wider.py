"""The wider of two types, where Auto Loader's ``addNewColumnsWithTypeWidening`` and Delta both allow it."""

from __future__ import annotations

from pyspark.sql import types as T  # noqa: N812

_WHOLE: list[type[T.DataType]] = [T.ByteType, T.ShortType, T.IntegerType, T.LongType]
_DIGITS: dict[type[T.DataType], int] = {T.ByteType: 10, T.ShortType: 10, T.IntegerType: 10, T.LongType: 20}
MOST_DIGITS = 38
"""The most digits of a DECIMAL."""


def wider(known: T.DataType, found: T.DataType) -> T.DataType | None:
    """The type that ``known`` widens to so that it takes the values of ``found`` too; None when none may.

    TINYINT, SMALLINT and INT widen to larger integers, DECIMAL and DOUBLE; BIGINT to DECIMAL; FLOAT to DOUBLE; DECIMAL
    to a larger DECIMAL; DATE to TIMESTAMP_NTZ. Nothing becomes a STRING: such a value is rescued.
    """
    left, right = type(known), type(found)
    if left in _WHOLE and right in _WHOLE:
        return found if _WHOLE.index(right) > _WHOLE.index(left) else None
    if right is T.DoubleType and (left is T.FloatType or left in _WHOLE[:3]):
        return found
    if left is T.DateType and right is T.TimestampNTZType:
        return found
    if T.DecimalType in (left, right):
        old, new = _decimal(known), _decimal(found)
        if old is None or new is None:
            return None
        scale = max(old.scale, new.scale)
        digits = max(old.precision - old.scale, new.precision - new.scale) + scale
        grown = T.DecimalType(digits, scale) if digits <= MOST_DIGITS else None
        return grown if grown != known else None
    return None


def _decimal(type_: T.DataType) -> T.DecimalType | None:
    if isinstance(type_, T.DecimalType):
        return type_
    return T.DecimalType(_DIGITS[type(type_)], 0) if type(type_) in _DIGITS else None
