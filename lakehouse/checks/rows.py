"""Checks of single rows: ``not_null``, ``accepted_values``, ``range``, and the base of all of them.

All row checks of a table are counted in a single pass over the data files that were not counted before. What Arrow does
not read as Spark does, and conditions that are written for Spark alone, are counted by Spark, over all rows.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from lakehouse.autoloader.lineage import FILE, RECORD, evidence_among, evidence_column
from lakehouse.checks.cures import correct_and_replay, recompute
from lakehouse.checks.kept import counts_of, data_files_of
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.counting.names import has_column
from lakehouse.errors import ConfigurationError
from lakehouse.spark_sql import named
from lakehouse.table import At, Check, Finding, Names

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

    from lakehouse.counting.conditions import Condition, Counts
    from lakehouse.counting.data_files import DataFiles

_LINE_CHARACTERS = 200


def rows_of(at: At) -> DataFrame:
    """The table, whole, for Spark."""
    return at.once("rows", lambda: at.spark.read.format("delta").load(at.lake.settings.table_uri(at.table.name)))


class RowCheck(Check):
    """A condition that rows must not fulfil.

    Attributes:
        noun: Begins the names of its numbers: ``null_rows``, ``null_share``.
        shows_line: Whether a sample shows the beginning of what did not fit in place of the columns.
        max_share: Share of all rows that may fulfil it.
    """

    noun: ClassVar[str] = "wrong"
    shows_line: ClassVar[bool] = False

    max_share: float = Field(0, ge=0, le=1)

    @abstractmethod
    def wrong(self, rows: DataFrame, at: At) -> Column | None:
        """Whether a row is offending, where NULL counts as no; None when the table lacks the columns for it."""

    def condition(self, schema: pa.Schema, at: At) -> Condition | None:
        """The same without Spark.

        Raises:
            OnlySpark: there is only ``wrong``.
        """
        from lakehouse.counting.data_files import OnlySpark

        raise OnlySpark(f"{self.kind} is written for Spark")

    def shown(self, rows: DataFrame) -> list[str | Column]:
        """What a sample shows of a row beside its file and record."""
        return _line(rows) if self.shows_line else list(rows.columns)

    def cure(self, at: At, sample: tuple[dict[str, Any], ...]) -> str:
        """What to do about offending rows."""
        if at.table.flow.reads:
            return f"correct its source ({', '.join(at.table.flow.reads)}); then: {recompute(at.table)}"
        return correct_and_replay(at.table, [str(row[FILE]) for row in sample if row.get(FILE)] or ["*"])

    def examine(self, at: At) -> Finding | None:
        """Counts the offending rows."""
        counted = at.once("row counts", lambda: _count(at))
        if self.called in counted.conditions:
            condition = counted.conditions[self.called]
            offending = _offending(self, counted, condition) if condition is not None else None
        else:
            offending = _offending_for_spark(self, at, counted)
        if offending is None:
            return None
        passed = offending.found <= self.max_share * offending.examined
        # samples are worth another pass only when there is something to show
        sample = () if passed else offending.look()
        numbers = {
            f"{self.noun}_rows": offending.found,
            "examined_rows": offending.examined,
            f"{self.noun}_share": round(offending.found / max(offending.examined, 1), 6),
            "allowed_share": self.max_share,
        }
        return self.finding(at, passed, numbers, sample, "" if passed else self.cure(at, sample))


@dataclass(frozen=True)
class _Offending:
    """How many rows a check found, of how many; and a look at some of them."""

    found: int
    examined: int
    look: Callable[[], tuple[dict[str, Any], ...]]


@dataclass(frozen=True)
class _Counted:
    """What was counted without Spark: the conditions by the names of their checks, and how many rows fulfil them.

    A condition is None where the table lacks the columns for it.
    """

    files: DataFiles | None = None
    conditions: Mapping[str, Condition | None] = field(default_factory=dict)
    counts: Counts | None = None


def _row_checks(at: At) -> list[RowCheck]:
    return [check for check in at.table.checks if isinstance(check, RowCheck) and check.on_failure != "off"]


def _count(at: At) -> _Counted:
    import pyarrow as pa

    from lakehouse.counting.conditions import Condition
    from lakehouse.counting.data_files import OnlySpark

    files, conditions = data_files_of(at), dict[str, Condition | None]()
    if files is None:
        return _Counted()
    for check in _row_checks(at):
        try:
            condition = check.condition(files.schema, at)
            if condition is not None:  # raises for types that it does not know, before anything is read
                condition.holds(pa.RecordBatch.from_pylist([], schema=files.schema))
        except (OnlySpark, pa.ArrowException):
            continue
        conditions[check.called] = condition
    wanted = {name: condition for name, condition in conditions.items() if condition is not None}
    if not wanted:
        return _Counted(files, conditions)
    try:
        counts = counts_of(at, files, wanted)
    except OnlySpark:
        return _Counted(files, {name: None for name, condition in conditions.items() if condition is None})
    return _Counted(files, conditions, counts)


def _offending(check: RowCheck, counted: _Counted, condition: Condition) -> _Offending:
    files, counts = counted.files, counted.counts
    assert files is not None and counts is not None  # a condition was counted
    of_files = counts.found[condition.key]

    def look() -> tuple[dict[str, Any], ...]:
        from lakehouse.counting.shown import first_rows

        names = files.schema.names
        evidence = evidence_among(names)
        place = [name for name in (FILE, RECORD) if name in names]
        what = [evidence] if check.shows_line and evidence else [name for name in names if name not in place]
        paths = [path for path, count in of_files.items() if count]
        found = first_rows(files, paths, condition, [*place, *what], SAMPLE_ROWS)
        if check.shows_line and evidence:
            lines = [str(row[evidence])[:_LINE_CHARACTERS] for row in found]
            found = [
                {**{name: row[name] for name in place}, "line": line} for row, line in zip(found, lines, strict=True)
            ]
        return tuple(found)

    return _Offending(sum(of_files.values()), sum(counts.rows.values()), look)


def _offending_for_spark(check: RowCheck, at: At, counted: _Counted) -> _Offending | None:
    rows = rows_of(at)
    wrong = check.wrong(rows, at)
    if wrong is None:
        return None
    counts = at.once("row counts by Spark", lambda: _count_by_spark(at, rows, counted))

    def look() -> tuple[dict[str, Any], ...]:
        place = [name for name in (FILE, RECORD) if name in rows.columns]
        what = [shown for shown in check.shown(rows) if not (isinstance(shown, str) and shown in place)]
        names = set(rows.columns)
        what = [named(shown) if isinstance(shown, str) and shown in names else shown for shown in what]
        return tuple(row.asDict() for row in rows.where(wrong).select(*place, *what).limit(SAMPLE_ROWS).collect())

    return _Offending(counts[check.called], counts["examined_rows"], look)


def _count_by_spark(at: At, rows: DataFrame, counted: _Counted) -> dict[str, int]:
    from pyspark.sql import functions as F  # noqa: N812

    counts = [F.count(F.lit(1)).alias("examined_rows")]
    for check in _row_checks(at):
        wrong = check.wrong(rows, at) if check.called not in counted.conditions else None
        if wrong is not None:
            counts.append(F.count(F.when(wrong, 1)).alias(check.called))
    [totals] = rows.agg(*counts).collect()
    return {name: int(value) for name, value in totals.asDict().items()}


def need_columns(check: Check, rows: DataFrame | Names, at: At, names: Names) -> None:
    """Makes sure that a table has the columns that a check names.

    Args:
        check: The check.
        rows: The table's rows, or the names of its columns.
        at: Where it looks.
        names: The names, as Spark reads them.

    Raises:
        ConfigurationError: the table lacks a column.
    """
    columns = rows if isinstance(rows, tuple) else rows.columns
    missing = [name for name in names if not has_column(columns, name)]
    if missing:
        raise ConfigurationError(
            f"{at.table.name} has no column {', '.join(missing)}, which its check {check.called} names",
            where=f"{at.catalogue.where}:{at.table.line}",
            state="the table is as it was; this check did not run",
            next_command=f"correct the check; the table has {', '.join(columns)}",
        )


class NotNull(RowCheck):
    """``not_null: [id, name]``: none of the columns is NULL."""

    kind: ClassVar[str] = "not_null"
    main: ClassVar[str] = "columns"
    about: ClassVar[str] = "None of the columns is NULL; shows the rows in which any is."
    noun: ClassVar[str] = "null"

    columns: Names = Field(min_length=1)

    def wrong(self, rows: DataFrame, at: At) -> Column:
        """Whether one of the columns is NULL."""
        need_columns(self, rows, at, self.columns)
        conditions = [rows[name].isNull() for name in self.columns]
        return _any(conditions)

    def condition(self, schema: pa.Schema, at: At) -> Condition:
        """The same without Spark."""
        import pyarrow.compute as pc

        from lakehouse.counting.conditions import any_of
        from lakehouse.counting.values import values_of

        columns = columns_of(self, schema, at, self.columns)
        return condition_of(
            self, schema, columns, lambda rows: any_of([pc.is_null(values_of(rows, column)) for column in columns])
        )


class AcceptedValues(RowCheck):
    """``accepted_values: {column: country, values: [DE, FR]}``: no other value; NULL is none."""

    kind: ClassVar[str] = "accepted_values"
    about: ClassVar[str] = "The column has only the values that are listed; NULL is no value."
    noun: ClassVar[str] = "unaccepted"

    column: str
    values: tuple[str | int | float | bool, ...] = Field(min_length=1)

    def wrong(self, rows: DataFrame, at: At) -> Column:
        """Whether the column has another value."""
        need_columns(self, rows, at, (self.column,))
        return ~rows[self.column].isin(list(self.values))

    def condition(self, schema: pa.Schema, at: At) -> Condition:
        """The same without Spark."""
        import pyarrow.compute as pc

        from lakehouse.counting.values import is_among, values_of

        [column] = columns = columns_of(self, schema, at, (self.column,))
        return condition_of(
            self, schema, columns, lambda rows: pc.invert(is_among(values_of(rows, column), self.values)), self.values
        )


class Range(RowCheck):
    """``range: {column: amount, min: 0}``: no value below or above; NULL is none, NaN is above everything."""

    kind: ClassVar[str] = "range"
    about: ClassVar[str] = "No value of the column is below or above the limits; NULL is no value."
    noun: ClassVar[str] = "outside"

    column: str
    min: float | str | None = None
    max: float | str | None = None

    @model_validator(mode="after")
    def _has_a_limit(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("a range needs min, max or both")
        return self

    def wrong(self, rows: DataFrame, at: At) -> Column:
        """Whether the value is outside of the limits."""
        need_columns(self, rows, at, (self.column,))
        value = rows[self.column]
        conditions = []
        if self.min is not None:
            conditions.append(value < self.min)
        if self.max is not None:
            conditions.append(value > self.max)
        return _any(conditions)

    def condition(self, schema: pa.Schema, at: At) -> Condition:
        """The same without Spark."""
        from lakehouse.counting.conditions import any_of
        from lakehouse.counting.values import is_above, is_below, values_of

        [column] = columns = columns_of(self, schema, at, (self.column,))

        def outside(rows: pa.RecordBatch) -> pa.Array:
            values = values_of(rows, column)
            below = [is_below(values, self.min)] if self.min is not None else []
            return any_of([*below, *([is_above(values, self.max)] if self.max is not None else [])])

        return condition_of(self, schema, columns, outside, self.min, self.max)


def columns_of(check: Check, schema: pa.Schema, at: At, names: Names) -> list[tuple[str, ...]]:
    """The columns that a check names, each as its path of names: ``("address", "city")``.

    Raises:
        ConfigurationError: the table lacks a column.
        OnlySpark: a name leads into a list or a map.
    """
    from lakehouse.counting.values import column_of

    need_columns(check, tuple(schema.names), at, names)
    found = [column_of(schema, name) for name in names]
    for name, column in zip(names, found, strict=True):
        if column is None:
            need_columns(check, (), at, (name,))
    return [column for column in found if column is not None]


def condition_of(
    check: Check,
    schema: pa.Schema,
    columns: list[tuple[str, ...]],
    holds: Callable[[pa.RecordBatch], pa.Array],
    *given: object,
) -> Condition:
    """The condition of a check.

    Args:
        check: The check.
        schema: The columns of the table.
        columns: Those that it looks at.
        holds: Whether each row of a batch fulfils it.
        given: What else of the check decides that.
    """
    from lakehouse.counting.conditions import Condition, definition_of

    whole = tuple(dict.fromkeys(column[0] for column in columns))
    return Condition(definition_of(check.kind, schema, whole, columns, *given), whole, holds)


def _any(conditions: list[Column]) -> Column:
    first, *rest = conditions
    for condition in rest:
        first = first | condition
    return first


def _line(rows: DataFrame) -> list[str | Column]:
    from pyspark.sql import functions as F  # noqa: N812

    evidence = evidence_column(rows)
    return [F.substring(evidence, 1, _LINE_CHARACTERS).alias("line")] if evidence else []
