"""Functions of values in which Arrow's own differ from Spark's: comparisons, division, upper and lower case."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.counting.data_files import OnlySpark


def day_of(values: pa.Array) -> pa.Array:
    """The day of dates, or of times."""
    return values if pa.types.is_date(values.type) else pc.floor_temporal(values, unit="day").cast(pa.date32())


def equal(left: pa.Array, right: pa.Array) -> pa.Array:
    """Whether values are equal; NaN is equal to NaN."""
    same = pc.equal(left, right)
    return pc.or_(same, pc.and_(pc.is_nan(left), pc.is_nan(right))) if pa.types.is_floating(left.type) else same


def equal_or_null(left: pa.Array, right: pa.Array) -> pa.Array:
    """Whether values are equal, or both are NULL."""
    return pc.or_(pc.fill_null(equal(left, right), False), pc.and_(left.is_null(), right.is_null()))


def greater(left: pa.Array, right: pa.Array) -> pa.Array:
    """Whether values are greater; NaN is greater than any other number."""
    more = pc.greater(left, right)
    if not pa.types.is_floating(left.type):
        return more
    return pc.or_(more, pc.and_(pc.is_nan(left), pc.invert(pc.is_nan(right))))


def divided(left: pa.Array, right: pa.Array) -> pa.Array:
    """Quotients of numbers.

    Raises:
        OnlySpark: a divisor is zero, which is an error in Spark.
    """
    if pc.any(pc.equal(right, 0.0)).as_py():
        raise OnlySpark("a number is divided by zero")
    return pc.divide(left, right)


def changed_letters(texts: pa.Array, *, upper: bool) -> pa.Array:
    """Texts in lower case, or in upper case.

    Raises:
        OnlySpark: a text is not ASCII: Java's rules hold for other letters.
    """
    if not pc.all(pc.string_is_ascii(texts), min_count=0).as_py():
        raise OnlySpark("letters of other alphabets are turned into small and capital ones by Java's rules")
    return pc.ascii_upper(texts) if upper else pc.ascii_lower(texts)


def plain_text(values: pa.Array) -> pa.Array:
    """The values; texts of other Arrow types as ``string``, the type in Delta tables."""
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        return values.cast(pa.string())
    return values
