"""Checks of single rows: ``not_null``, ``accepted_values``, ``range``, and the base of all of them.

All row checks of a table are counted in a single pass over it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from lakehouse.autoloader.lineage import FILE, RECORD, evidence_column
from lakehouse.checks.cures import correct_and_replay, recompute
from lakehouse.errors import ConfigurationError
from lakehouse.table import SAMPLE_ROWS, At, Check, Finding, Names

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def rows_of(at: At) -> DataFrame:
    """The table, whole."""
    return at.once("rows", lambda: at.spark.read.format("delta").load(at.lake.settings.table_uri(at.table.name)))


class RowCheck(Check):
    """A condition that rows must not fulfil.

    Attributes:
        noun: Begins the names of its numbers: ``null_rows``, ``null_share``.
        max_share: Share of all rows that may fulfil it.
    """

    noun: ClassVar[str] = "wrong"

    max_share: float = Field(0, ge=0, le=1)

    @abstractmethod
    def wrong(self, rows: DataFrame, at: At) -> Column | None:
        """Whether a row is offending, NULL counts as no; None when the table has nothing to look at."""

    def shown(self, rows: DataFrame) -> list[str | Column]:
        """What a sample shows of a row beside its file and record."""
        return list(rows.columns)

    def cure(self, at: At, sample: tuple[dict[str, Any], ...]) -> str:
        """What mends it."""
        if at.table.flow.reads:
            return f"correct its source ({', '.join(at.table.flow.reads)}); then: {recompute(at.table)}"
        return correct_and_replay(at.table, [str(row[FILE]) for row in sample if row.get(FILE)] or ["*"])

    def examine(self, at: At) -> Finding | None:
        """Counts the offending rows."""
        rows = rows_of(at)
        wrong = self.wrong(rows, at)
        if wrong is None:
            return None
        counts = at.once("row counts", lambda: _count(at, rows))
        found, examined = counts[self.called], counts["examined_rows"]
        passed = found <= self.max_share * examined
        sample: tuple[dict[str, Any], ...] = ()
        if not passed:  # samples are worth another pass only when there is something to show
            place = [name for name in (FILE, RECORD) if name in rows.columns]
            what = [shown for shown in self.shown(rows) if not (isinstance(shown, str) and shown in place)]
            offending = rows.where(wrong).select(*place, *what).limit(SAMPLE_ROWS)
            sample = tuple(row.asDict() for row in offending.collect())
        numbers = {
            f"{self.noun}_rows": found,
            "examined_rows": examined,
            f"{self.noun}_share": round(found / max(examined, 1), 6),
            "allowed_share": self.max_share,
        }
        return self.finding(at, passed, numbers, sample, "" if passed else self.cure(at, sample))


def _count(at: At, rows: DataFrame) -> dict[str, int]:
    from pyspark.sql import functions as F  # noqa: N812

    counts = [F.count(F.lit(1)).alias("examined_rows")]
    for check in at.table.checks:
        wrong = check.wrong(rows, at) if isinstance(check, RowCheck) and check.on_failure != "off" else None
        if wrong is not None:
            counts.append(F.count(F.when(wrong, 1)).alias(check.called))
    [totals] = rows.agg(*counts).collect()
    return {name: int(value) for name, value in totals.asDict().items()}


def need_columns(check: Check, rows: DataFrame, at: At, names: Names) -> None:
    """Makes sure that a table has the columns that a check names.

    Raises:
        ConfigurationError: it lacks one.
    """
    missing = [name for name in names if name.split(".")[0] not in rows.columns]
    if missing:
        raise ConfigurationError(
            f"{at.table.name} has no column {', '.join(missing)}, which its check {check.called} names",
            where=f"{at.catalogue.where}:{at.table.line}",
            state="the table is as it was; this check did not run",
            next_command=f"correct the check; the table has {', '.join(rows.columns)}",
        )


class NotNull(RowCheck):
    """``not_null: [id, name]``: none of the columns is NULL."""

    kind: ClassVar[str] = "not_null"
    main: ClassVar[str] = "columns"
    about: ClassVar[str] = "None of the columns is NULL; shows the rows in which any is."
    noun: ClassVar[str] = "null"

    columns: Names = Field(min_length=1)

    def wrong(self, rows: DataFrame, at: At) -> Column:
        """Whether any of them is NULL."""
        need_columns(self, rows, at, self.columns)
        conditions = [rows[name].isNull() for name in self.columns]
        return _any(conditions)


class AcceptedValues(RowCheck):
    """``accepted_values: {column: country, values: [DE, FR]}``: no other value; NULL is none."""

    kind: ClassVar[str] = "accepted_values"
    about: ClassVar[str] = "The column has only the values that are listed; NULL is no value."
    noun: ClassVar[str] = "unaccepted"

    column: str
    values: tuple[str | int | float | bool, ...] = Field(min_length=1)

    def wrong(self, rows: DataFrame, at: At) -> Column:
        """Whether it has another."""
        need_columns(self, rows, at, (self.column,))
        return ~rows[self.column].isin(list(self.values))


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
        """Whether it is outside."""
        need_columns(self, rows, at, (self.column,))
        value = rows[self.column]
        conditions = []
        if self.min is not None:
            conditions.append(value < self.min)
        if self.max is not None:
            conditions.append(value > self.max)
        return _any(conditions)


def _any(conditions: list[Column]) -> Column:
    first, *rest = conditions
    for condition in rest:
        first = first | condition
    return first


class NoInvalidRows(RowCheck):
    """``no_invalid_rows``: rows whose line is broken, or which have a value of another type, within ``max_share``."""

    kind: ClassVar[str] = "no_invalid_rows"
    about: ClassVar[str] = "Rows that are no whole record: kept, counted, left out of what comes after."
    blocks: ClassVar[bool] = False
    noun: ClassVar[str] = "corrupt"

    def wrong(self, rows: DataFrame, at: At) -> Column | None:
        """Whether it is no whole record."""
        from lakehouse.autoloader.lineage import is_invalid

        if evidence_column(rows) is None:
            return None
        return is_invalid(rows, getattr(at.table.flow, "expected", ()))

    def shown(self, rows: DataFrame) -> list[str | Column]:
        """The beginning of what did not fit."""
        return _line(rows)


class RescueRate(RowCheck):
    """``rescue_rate: {max_share: 0.01}``: rows with a value that did not fit its column, within ``max_share``."""

    kind: ClassVar[str] = "rescue_rate"
    main: ClassVar[str] = "max_share"
    about: ClassVar[str] = "Rows with a value that did not fit its column: within the share that is allowed."
    blocks: ClassVar[bool] = False
    noun: ClassVar[str] = "rescued"

    max_share: float = Field(0.01, ge=0, le=1)

    def wrong(self, rows: DataFrame, at: At) -> Column | None:
        """Whether anything of it was rescued."""
        from lakehouse.autoloader.lineage import RESCUED_DATA

        return rows[RESCUED_DATA].isNotNull() if RESCUED_DATA in rows.columns else None

    def shown(self, rows: DataFrame) -> list[str | Column]:
        """The beginning of what was rescued."""
        return _line(rows)

    def cure(self, at: At, sample: tuple[dict[str, Any], ...]) -> str:
        """New columns are approved, values of a wrong type corrected at their source."""
        approve = f"new columns among them: lakehouse schema approve --table {at.table.name}; values of a wrong type: "
        return approve + super().cure(at, sample)


def _line(rows: DataFrame) -> list[str | Column]:
    from pyspark.sql import functions as F  # noqa: N812

    evidence = evidence_column(rows)
    return [F.substring(evidence, 1, 200).alias("line")] if evidence else []
