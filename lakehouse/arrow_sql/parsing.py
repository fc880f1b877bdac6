"""Parsing Spark's SQL into trees of expressions, and refusing some of them."""

from __future__ import annotations

import pyarrow as pa
from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from lakehouse.counting.data_files import OnlySpark
from lakehouse.plain_text import cause_of

_INT_LIMIT, _BIGINT_LIMIT = 2**31, 2**63


def parsed(sql: str) -> exp.Expression:
    """The expression in a text.

    Raises:
        OnlySpark: it cannot be parsed, or has a backslash, whose meaning depends on settings of Spark.
    """
    if "\\" in sql:
        raise OnlySpark(f"{sql} has a backslash")
    try:
        found = parse_one(sql, dialect="spark")
    except SqlglotError as error:
        raise OnlySpark(f"{sql} is not understood: {cause_of(error, 400)}") from None
    assert isinstance(found, exp.Expression)
    return found


def refused(node: exp.Expression) -> OnlySpark:
    """The error that the result of an expression could differ from Spark's."""
    return OnlySpark(f"{node.sql('spark')} is left to Spark")


def require(node: exp.Expression, fine: bool) -> None:
    """Refuses an expression unless ``fine``.

    Raises:
        OnlySpark: it is refused.
    """
    if not fine:
        raise refused(node)


def has_point(node: exp.Expression) -> bool:
    """Whether it is a number with a point, which is a DECIMAL."""
    number = node.this if isinstance(node, exp.Neg) else node
    return isinstance(number, exp.Literal) and not number.is_string and "." in number.name and "e" not in number.name


def number(node: exp.Expression, text: str) -> pa.Scalar:
    """A number as Spark types it: with a point it is a DECIMAL, which is refused."""
    if text.lstrip("-").isdigit():
        value = int(text)
        if -_INT_LIMIT < value < _INT_LIMIT:
            return pa.scalar(value, pa.int32())
        if -_BIGINT_LIMIT < value < _BIGINT_LIMIT:
            return pa.scalar(value, pa.int64())
    elif "e" in text.lower():
        return pa.scalar(float(text), pa.float64())
    raise refused(node)


def equals(left: exp.Expression, right: exp.Expression) -> exp.Expression:
    """The comparison of two expressions."""
    return exp.EQ(this=left, expression=right)


def either(left: exp.Expression, right: exp.Expression) -> exp.Expression:
    """One condition or another."""
    return exp.Or(this=left, expression=right)
