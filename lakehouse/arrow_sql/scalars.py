"""Expressions of single rows. Results are those of Spark 4.2 in ANSI mode, with times in UTC; others are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from lakehouse.arrow_sql.parsing import either, equals, has_point, number, refused, require
from lakehouse.arrow_sql.values import (
    changed_letters,
    day_of,
    divided,
    equal,
    equal_or_null,
    greater,
    plain_text,
)
from lakehouse.counting.data_files import OnlySpark

_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_UNITS = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")
_FIELDS: dict[type, Callable[..., pa.Array]] = {
    exp.Year: pc.year,
    exp.Quarter: pc.quarter,
    exp.Month: pc.month,
    exp.Day: pc.day,
}
_SUMS: dict[type, Callable[..., pa.Array]] = {
    exp.Add: pc.add_checked,
    exp.Sub: pc.subtract_checked,
    exp.Mul: pc.multiply_checked,
}
_ORDERS: dict[type, tuple[bool, bool]] = {
    exp.GT: (False, False),
    exp.LTE: (False, True),
    exp.LT: (True, False),
    exp.GTE: (True, True),
}
"""Comparisons by means of ``greater``: whether the sides are swapped, and whether the result is negated."""


@dataclass(frozen=True)
class Scalar:
    """An expression of a row.

    Attributes:
        type: Arrow's type of its values.
        columns: The columns that it reads, as the table spells them.
        value: Its values for a batch. Raises ``OnlySpark`` where Spark would end with an error, or where the two could
            differ.
    """

    type: pa.DataType
    columns: frozenset[str]
    value: Callable[[pa.RecordBatch], pa.Array]


class Scalars:
    """Makes expressions of the columns of a table.

    Args:
        schema: The columns.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        names = [name.lower() for name in schema.names]
        self._named = {name.lower(): name for name in schema.names if names.count(name.lower()) == 1}

    def of(self, node: exp.Expression) -> Scalar:
        """The expression of a parsed text.

        Raises:
            OnlySpark: its result could differ from Spark's.
        """
        if isinstance(node, exp.Paren):
            return self.of(node.this)
        for kinds, make in (
            (exp.Column, self._column),
            ((exp.Literal, exp.Boolean, exp.Neg), self._literal_or_negated),
            ((exp.EQ, exp.NEQ, exp.NullSafeEQ), self._equality),
            (tuple(_ORDERS), self._order),
            ((exp.Between, exp.In), self._among),
            ((exp.And, exp.Or, exp.Not), self._logic),
            ((exp.Is, exp.IsNan), self._is),
            ((exp.Add, exp.Sub, exp.Mul, exp.Div), self._arithmetic),
            (exp.Abs, self._absolute),
            ((exp.TsOrDsToDate, exp.Cast), self._cast),
            ((exp.TimestampTrunc, *_FIELDS), self._of_time),
            ((exp.Coalesce, exp.If, exp.Case), self._choice),
            ((exp.Lower, exp.Upper, exp.Trim), self._text),
        ):
            if isinstance(node, kinds):
                return make(node)
        raise refused(node)

    def _column(self, node: exp.Expression) -> Scalar:
        name = self._named.get(node.name.lower())
        if name is None or node.args.get("table") is not None:
            raise refused(node)
        return Scalar(self._schema.field(name).type, frozenset({name}), lambda rows: plain_text(rows.column(name)))

    def _literal_or_negated(self, node: exp.Expression) -> Scalar:
        if isinstance(node, exp.Boolean):
            return _constant(pa.scalar(bool(node.this)))
        if isinstance(node, exp.Neg):
            if isinstance(node.this, exp.Literal) and not node.this.is_string:
                return _constant(number(node.this, f"-{node.this.name}"))
            of = self.of(node.this)
            require(node, _is_number(of.type))
            return _apply(node, of.type, pc.negate_checked, of)
        return _constant(pa.scalar(node.name) if node.args["is_string"] else number(node, node.name))

    def _equality(self, node: exp.Expression) -> Scalar:
        sides = self._comparable(node, node.this, node.expression)
        if isinstance(node, exp.NullSafeEQ):
            return _apply(node, pa.bool_(), equal_or_null, *sides)
        turned = isinstance(node, exp.NEQ)
        return _apply(node, pa.bool_(), lambda a, b: pc.invert(equal(a, b)) if turned else equal(a, b), *sides)

    def _order(self, node: exp.Expression) -> Scalar:
        swapped, turned = _ORDERS[type(node)]
        left, right = self._comparable(node, node.this, node.expression)
        first, second = (right, left) if swapped else (left, right)

        return _apply(
            node, pa.bool_(), lambda a, b: pc.invert(greater(a, b)) if turned else greater(a, b), first, second
        )

    def _among(self, node: exp.Expression) -> Scalar:
        if isinstance(node, exp.Between):
            low = exp.GTE(this=node.this, expression=node.args["low"])
            return self.of(exp.And(this=low, expression=exp.LTE(this=node.this, expression=node.args["high"])))
        require(node, bool(node.expressions) and not node.args.get("query"))
        return self.of(reduce(either, [equals(node.this, value) for value in node.expressions]))

    def _logic(self, node: exp.Expression) -> Scalar:
        sides = [self.of(part) for part in (node.this, node.args.get("expression")) if part is not None]
        require(node, all(pa.types.is_boolean(side.type) for side in sides))
        with_null: dict[type, Callable[..., pa.Array]] = {
            exp.And: pc.and_kleene,
            exp.Or: pc.or_kleene,
            exp.Not: pc.invert,
        }
        return _apply(node, pa.bool_(), with_null[type(node)], *sides)

    def _is(self, node: exp.Expression) -> Scalar:
        of = self.of(node.this)
        if isinstance(node, exp.IsNan):
            require(node, pa.types.is_floating(of.type))
            return _apply(node, pa.bool_(), lambda values: pc.fill_null(pc.is_nan(values), False), of)
        require(node, isinstance(node.expression, exp.Null))
        return _apply(node, pa.bool_(), pc.is_null, of)

    def _arithmetic(self, node: exp.Expression) -> Scalar:
        left, right = self._sides(node.this, node.expression)
        require(node, _is_number(left.type) and _is_number(right.type))
        type_ = pa.float64() if isinstance(node, exp.Div) else _wider(node, left.type, right.type)
        left, right = (_as(side, type_) for side in (left, right))
        if not isinstance(node, exp.Div):
            return _apply(node, type_, _SUMS[type(node)], left, right)
        return _apply(node, type_, divided, left, right)

    def _absolute(self, node: exp.Expression) -> Scalar:
        of = self.of(node.this)
        require(node, _is_number(of.type))
        return _apply(node, of.type, pc.abs_checked, of)

    def _cast(self, node: exp.Expression) -> Scalar:
        of = self.of(node.this)
        wanted = "DATE" if isinstance(node, exp.TsOrDsToDate) else node.args["to"].this.value
        require(node, not (isinstance(node, exp.TsOrDsToDate) and node.args.get("format")))
        if wanted == "DATE":
            require(node, pa.types.is_date(of.type) or _is_utc(of.type) or of.type == pa.timestamp("us"))
            return _apply(node, pa.date32(), day_of, of)
        if wanted in ("BIGINT", "DOUBLE") and of.type in _INTEGERS:
            return _as(of, pa.int64() if wanted == "BIGINT" else pa.float64())
        require(node, wanted == "TEXT" and of.type in _INTEGERS)
        return _as(of, pa.string())

    def _of_time(self, node: exp.Expression) -> Scalar:
        if isinstance(node, exp.TimestampTrunc):
            of, unit = self.of(node.this), node.args["unit"].name.upper()
            require(node, _is_utc(of.type) and unit in _UNITS)
            return _apply(node, of.type, lambda times: pc.floor_temporal(times, unit=unit.lower()), of)
        of = self.of(node.this)
        require(node, pa.types.is_date(of.type))
        return _apply(node, pa.int32(), lambda dates: _FIELDS[type(node)](dates).cast(pa.int32()), of)

    def _choice(self, node: exp.Expression) -> Scalar:
        if isinstance(node, exp.Coalesce):
            values = [self.of(expression) for expression in (node.this, *node.expressions)]
            require(node, len({value.type for value in values}) == 1)
            return _apply(node, values[0].type, pc.coalesce, *values)
        branches = [node] if isinstance(node, exp.If) else node.args["ifs"]
        last = node.args.get("false" if isinstance(node, exp.If) else "default")
        if last is None or (isinstance(node, exp.Case) and node.this is not None):
            raise refused(node)
        chosen = self.of(last)
        for branch in reversed(branches):
            when, then, otherwise = self.of(branch.this), self.of(branch.args["true"]), chosen
            require(node, pa.types.is_boolean(when.type) and then.type == otherwise.type)
            chosen = _apply(
                node, then.type, lambda a, b, c: pc.if_else(pc.fill_null(a, False), b, c), when, then, otherwise
            )
        return chosen

    def _text(self, node: exp.Expression) -> Scalar:
        of = self.of(node.this)
        require(node, pa.types.is_string(of.type) and not (node.args.get("expression") or node.args.get("position")))
        if isinstance(node, exp.Trim):
            return _apply(node, pa.string(), lambda texts: pc.utf8_trim(texts, characters=" "), of)
        upper = isinstance(node, exp.Upper)
        return _apply(node, pa.string(), lambda texts: changed_letters(texts, upper=upper), of)

    def _sides(self, *sides: exp.Expression) -> list[Scalar]:
        """Both sides. A number with a point is a DECIMAL, which Spark turns into the DOUBLE beside it."""
        found = [None if has_point(node) else self.of(node) for node in sides]
        floating = any(scalar is not None and scalar.type == pa.float64() for scalar in found)
        return [
            scalar or (_constant(pa.scalar(float(side.sql()))) if floating else self.of(side))
            for scalar, side in zip(found, sides, strict=True)
        ]

    def _comparable(self, node: exp.Expression, *sides: exp.Expression) -> list[Scalar]:
        found = self._sides(*sides)
        left, right = (scalar.type for scalar in found)
        if left == right:
            require(node, not pa.types.is_nested(left))
            return found
        require(node, _is_number(left) and _is_number(right))
        return [_as(scalar, _wider(node, left, right)) for scalar in found]


def _constant(value: pa.Scalar) -> Scalar:
    return Scalar(value.type, frozenset(), lambda rows: pa.repeat(value, rows.num_rows))


def _apply(node: exp.Expression, type_: pa.DataType, function: Callable[..., pa.Array], *arguments: Scalar) -> Scalar:
    def value(rows: pa.RecordBatch) -> pa.Array:
        try:
            return function(*(argument.value(rows) for argument in arguments))
        except pa.ArrowException as error:
            raise OnlySpark(f"{node.sql('spark')}: {error}") from error

    return Scalar(type_, frozenset().union(*(argument.columns for argument in arguments)), value)


def _as(of: Scalar, type_: pa.DataType) -> Scalar:
    if of.type == type_:
        return of
    return Scalar(type_, of.columns, lambda rows: of.value(rows).cast(type_, safe=False))


def _wider(node: exp.Expression, left: pa.DataType, right: pa.DataType) -> pa.DataType:
    if left in _INTEGERS and right in _INTEGERS:
        return max(left, right, key=_INTEGERS.index)
    require(node, pa.float32() not in (left, right) or left == right)
    return pa.float64() if left != right else left


def _is_number(type_: pa.DataType) -> bool:
    return type_ in _INTEGERS or pa.types.is_floating(type_)


def _is_utc(type_: pa.DataType) -> bool:
    return bool(type_ == pa.timestamp("us", "UTC"))
