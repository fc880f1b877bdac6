"""Aggregates of rows by groups, as Spark 4.2 computes them; in batches, so that memory holds groups and not rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from lakehouse.arrow_sql.parsing import parsed
from lakehouse.arrow_sql.scalars import Scalar, Scalars
from lakehouse.counting.data_files import OnlySpark

_GROUPED_BY = (
    *(pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_date, pa.types.is_timestamp),
    pa.types.is_decimal,
)
"""Types in which Arrow and Spark group the same values."""
_ROWS_AT_ONCE = 1_000_000
_FAR = float(1 << 62)
"""Limit of integer sums, below that of a BIGINT: Spark raises an error on overflow, so it computes larger sums."""
_MOST_DIGITS, _MORE_DIGITS = 38, 10
_NOTHING = pc.ScalarAggregateOptions(skip_nulls=True, min_count=1)
_VALID = pc.CountOptions(mode="only_valid")


@dataclass(frozen=True)
class _Step:
    """A column that is aggregated twice: over the rows of a batch, then over the results of all batches.

    Attributes:
        of: What is aggregated; None for the rows themselves.
        first: Arrow's function over rows.
        then: Arrow's function over results of ``first``.
    """

    of: Scalar | None
    first: str
    then: str


@dataclass(frozen=True)
class _Aggregate:
    type: pa.DataType
    kind: str
    steps: tuple[_Step, ...] = ()
    distinct: Scalar | None = None


@dataclass
class Groups:
    """Groups of the rows of a table. ``add`` takes rows, ``result`` returns the groups; NULL is a group, too.

    Args:
        schema: The columns of the rows.
        group: Name to SQL expression.
        aggregates: Name to SQL aggregate: ``count``, ``count(DISTINCT ..)``, ``count_if``, ``sum``, ``avg``, ``min``
            and ``max``, each of an expression.

    Raises:
        OnlySpark: the result of an expression could differ from Spark's.
    """

    schema: pa.Schema
    group: Mapping[str, str]
    aggregates: Mapping[str, str]
    _waiting: list[pa.Table] = field(default_factory=list)
    _waiting_rows: int = 0
    _sums: list[pa.Table] = field(default_factory=list)
    _seen: dict[str, list[pa.Table]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Makes the expressions."""
        self._scalars = Scalars(self.schema)
        self._keys = {name: self._scalars.of(parsed(sql)) for name, sql in self.group.items()}
        for name, key in self._keys.items():
            if not any(is_kind(key.type) for is_kind in _GROUPED_BY):
                raise OnlySpark(f"groups are made by {name}, a {key.type}")
        self._found = {name: self._aggregate(parsed(sql)) for name, sql in self.aggregates.items()}
        self._steps: list[_Step] = []
        for aggregate in self._found.values():
            self._steps += aggregate.steps
        self._names = [f"key{number}" for number in range(len(self._keys))]

    @property
    def result_schema(self) -> pa.Schema:
        """The columns of the groups, in Spark's types."""
        keys = [pa.field(name, key.type) for name, key in self._keys.items()]
        return pa.schema([*keys, *(pa.field(name, aggregate.type) for name, aggregate in self._found.items())])

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        arguments = [*(step.of for step in self._steps), *(aggregate.distinct for aggregate in self._found.values())]
        read = [*self._keys.values(), *(argument for argument in arguments if argument is not None)]
        return sorted(frozenset[str]().union(*(scalar.columns for scalar in read)))

    @property
    def part_columns(self) -> list[str]:
        """The columns that the first expression of the group reads."""
        return sorted(next(iter(self._keys.values())).columns)

    @property
    def part_is_a_column(self) -> bool:
        """Whether that expression is a column and nothing else."""
        return isinstance(parsed(next(iter(self.group.values()))), exp.Column)

    def part_of(self, rows: pa.RecordBatch) -> pa.Array:
        """Values of the first expression of the group."""
        return next(iter(self._keys.values())).value(rows)

    def add(self, rows: pa.RecordBatch) -> None:
        """Takes rows.

        Raises:
            OnlySpark: Spark treats a value in another way than Arrow does.
        """
        if not rows.num_rows:
            return
        columns = dict(zip(self._names, (key.value(rows) for key in self._keys.values()), strict=True))
        for number, step in enumerate(self._steps):
            if step.of is not None:
                columns[f"step{number}"] = _summable(step, step.of.value(rows))
        for name, aggregate in self._found.items():
            if aggregate.distinct is not None:
                columns[f"distinct_{name}"] = aggregate.distinct.value(rows)
        self._waiting.append(pa.Table.from_batches([pa.RecordBatch.from_pydict(columns)]))
        self._waiting_rows += rows.num_rows
        if self._waiting_rows >= _ROWS_AT_ONCE:
            self._sum_up()

    def result(self) -> pa.Table:
        """The groups of all rows."""
        self._sum_up()
        if not self._sums:
            return self.result_schema.empty_table()
        again = [(f"sum{number}", step.then, _options(step.then)) for number, step in enumerate(self._steps)]
        whole = pa.concat_tables(self._sums)
        summed = _grouped(whole, self._names, [*again, ("rows", "sum", None)])
        counts = {name: self._distinct(name, summed) for name, item in self._found.items() if item.distinct is not None}
        arrays: dict[str, pa.Array] = {
            name: summed[key].cast(scalar.type)
            for key, (name, scalar) in zip(self._names, self._keys.items(), strict=True)
        }
        number = 0
        for name, aggregate in self._found.items():
            steps = [summed[f"sum{number + more}_{step.then}"] for more, step in enumerate(aggregate.steps)]
            number += len(steps)
            arrays[name] = counts[name] if name in counts else _finished(aggregate, steps, summed["rows_sum"])
        return pa.table(arrays, schema=self.result_schema)

    def _aggregate(self, node: exp.Expression) -> _Aggregate:
        of, scalars = node.this, self._scalars
        if of is not None and isinstance(node, exp.Count) and not node.expressions:
            if isinstance(of, exp.Star) or (isinstance(of, exp.Literal) and not of.is_string):
                return _Aggregate(pa.int64(), "rows")
            if not isinstance(of, exp.Distinct):
                return _Aggregate(pa.int64(), "count", (_Step(scalars.of(of), "count", "sum"),))
            if len(of.expressions) == 1 and not of.args.get("on"):
                value = scalars.of(of.expressions[0])
                if any(is_kind(value.type) for is_kind in _GROUPED_BY):
                    return _Aggregate(pa.int64(), "distinct", distinct=value)
        if isinstance(node, exp.CountIf) and not isinstance(of, exp.Distinct):
            value = scalars.of(of)
            if pa.types.is_boolean(value.type):
                return _Aggregate(pa.int64(), "count", (_Step(value, "sum", "sum"),))
        if isinstance(node, exp.Sum | exp.Avg | exp.Min | exp.Max) and not isinstance(of, exp.Distinct):
            found = _of_numbers(node, scalars.of(of))
            if found is not None:
                return found
        raise OnlySpark(f"{node.sql('spark')} is left to Spark")

    def _sum_up(self) -> None:
        if not self._waiting:
            return
        rows = pa.concat_tables(self._waiting)
        self._waiting, self._waiting_rows = [], 0
        asked = [
            (f"step{number}", step.first, _options(step.first)) for number, step in enumerate(self._steps) if step.of
        ]
        summed = _grouped(rows, self._names, [*asked, ([], "count_all", None)])
        columns = {name: summed[name] for name in self._names}
        for number, step in enumerate(self._steps):
            columns[f"sum{number}"] = summed[f"step{number}_{step.first}"]
        self._sums.append(pa.table({**columns, "rows": summed["count_all"]}))
        for name, aggregate in self._found.items():
            if aggregate.distinct is not None:
                pairs = rows.select([*self._names, f"distinct_{name}"])
                self._seen.setdefault(name, []).append(_grouped(pairs, pairs.column_names, []))

    def _distinct(self, name: str, groups: pa.Table) -> pa.Array:
        """How many distinct values each group has, in the order of ``groups``."""
        pairs = pa.concat_tables(self._seen[name])
        value = f"distinct_{name}"
        single = _grouped(pairs, pairs.column_names, [])
        counted = _grouped(single, self._names, [(value, "count", _VALID)])
        # not by a join, which leaves out groups whose key has a NULL: both are sorted by their keys
        keys = [(name, "ascending") for name in self._names]
        order = [pc.sort_indices(table.select(self._names), sort_keys=keys) for table in (groups, counted)]
        back = pc.sort_indices(order[0])
        return pc.take(pc.take(counted[f"{value}_count"], order[1]), back)


def _of_numbers(node: exp.Expression, of: Scalar) -> _Aggregate | None:
    type_ = of.type
    whole, fraction = pa.types.is_integer(type_), type_ == pa.float64()
    if isinstance(node, exp.Min | exp.Max):
        name = "min" if isinstance(node, exp.Min) else "max"
        if fraction or any(is_kind(type_) for is_kind in _GROUPED_BY):
            return _Aggregate(type_, name, (_Step(of, name, name),))
    elif isinstance(node, exp.Sum):
        if whole:
            exact = Scalar(pa.int64(), of.columns, lambda rows: of.value(rows).cast(pa.int64()))
            rough = Scalar(pa.float64(), of.columns, lambda rows: pc.abs(_double(of, rows)))
            return _Aggregate(pa.int64(), "whole", (_Step(exact, "sum", "sum"), _Step(rough, "sum", "sum")))
        if fraction:
            return _Aggregate(type_, "sum", (_Step(of, "sum", "sum"),))
        if pa.types.is_decimal(type_) and type_.precision + _MORE_DIGITS <= _MOST_DIGITS:
            wide = pa.decimal128(type_.precision + _MORE_DIGITS, type_.scale)
            wider = Scalar(wide, of.columns, lambda rows: of.value(rows).cast(wide))
            return _Aggregate(wide, "sum", (_Step(wider, "sum", "sum"),))
    elif whole or fraction:
        double = Scalar(pa.float64(), of.columns, lambda rows: _double(of, rows))
        return _Aggregate(pa.float64(), "mean", (_Step(double, "sum", "sum"), _Step(double, "count", "sum")))
    return None


def _double(of: Scalar, rows: pa.RecordBatch) -> pa.Array:
    return of.value(rows).cast(pa.float64(), safe=False)


def _summable(step: _Step, values: pa.Array) -> pa.Array:
    if step.first in ("min", "max") and pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
        raise OnlySpark(f"NaN is the highest of all numbers for the {step.first} of Spark")
    return values.cast(pa.int64()) if pa.types.is_boolean(values.type) and step.first == "sum" else values


def _finished(aggregate: _Aggregate, steps: list[pa.Array], rows: pa.Array) -> pa.Array:
    if aggregate.kind == "rows":
        return rows.cast(pa.int64())
    if aggregate.kind == "count":
        return pc.fill_null(steps[0].cast(pa.int64()), 0)
    if aggregate.kind == "mean":
        return pc.divide(steps[0], steps[1].cast(pa.float64()))
    if aggregate.kind == "whole" and pc.any(pc.greater(steps[1], _FAR)).as_py():
        raise OnlySpark("a sum comes near to the limit of a BIGINT")
    try:
        return steps[0].cast(aggregate.type)
    except pa.ArrowException as error:
        raise OnlySpark(f"a sum does not fit: {error}") from error


def _options(function: str) -> pc.FunctionOptions:
    return _VALID if function == "count" else _NOTHING


def _grouped(rows: pa.Table, by: list[str], aggregates: list[tuple[object, str, object]]) -> pa.Table:
    return rows.group_by(by, use_threads=False).aggregate(aggregates)
