"""Which rows of a table are believed: what ``latest`` and ``windows`` have in common."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from lakehouse.autoloader.lineage import PROCESSING_TIME, is_invalid
from lakehouse.durations import spark_interval
from lakehouse.flows.files import Files
from lakehouse.table import Catalogue, Declared, Duration, Flow
from lakehouse.table_names import TableName

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lakehouse.direct.versions import Believed

EVENT_TIME = "event_time"
PROBLEM = "problem"
_PROBLEM = "_problem_of_the_row"


class EventTime(Declared):
    """When what a row tells of happened.

    Attributes:
        column: A TIMESTAMP, a DATE, or text in ``format``.
        format: Spark's pattern of the text; None for a column that is a time already, or text that casts to a time.
        zone: Time zone of text that names none.
        earliest: First day that is believed.
        future_limit: How far a time may be ahead of the moment when its row was read: one wrong clock must not close
            every window.
    """

    column: str
    format: str | None = None
    zone: str = "UTC"
    earliest: date = date(1970, 1, 1)
    future_limit: Duration = timedelta(days=1)

    @model_validator(mode="before")
    @classmethod
    def _a_column_alone(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    def value(self) -> Column:
        """The time, TIMESTAMP in UTC; NULL where the column has none that can be read."""
        from pyspark.sql import functions as F  # noqa: N812

        column = F.col(self.column)
        read = column.try_cast("timestamp") if self.format is None else F.try_to_timestamp(column, F.lit(self.format))
        return read if self.zone == "UTC" else F.to_utc_timestamp(read, self.zone)


class Judged(Flow):
    """A flow that leaves out rows which cannot be believed.

    Attributes:
        of: The table that is read.
        event_time: Adds the column ``event_time`` TIMESTAMP (UTC); a row without a time that is believed is left out.
        refuse: Reason to SQL condition: a row for which it is true is left out for that reason.
    """

    of: TableName
    event_time: EventTime | None = None
    refuse: dict[str, str] = Field(default_factory=dict)

    @property
    def reads(self) -> tuple[str, ...]:
        """The table that is read."""
        return (self.of,)

    def expected(self, catalogue: Catalogue) -> tuple[str, ...]:
        """Columns whose value decides whether a row is whole: those that the source's declaration names."""
        flow = catalogue[self.of].flow
        return flow.expected if isinstance(flow, Files) else ()

    def believed(self, catalogue: Catalogue) -> Believed:
        """The same as ``judge`` says, for rows that are read without Spark."""
        from lakehouse.direct.versions import Believed, When

        time, when = self.event_time, None
        if time is not None:
            when = When(time.column, time.format, time.zone, time.earliest, time.future_limit)
        return Believed(self.expected(catalogue), when, self.refuse)

    def judge(self, rows: DataFrame, expected: tuple[str, ...], *, into: str = PROBLEM) -> DataFrame:
        """Adds ``event_time`` and, as ``into``, ``problem`` STRING: why a row is left out; NULL when it is not.

        ``invalid_row``: its line is broken, or a value is not of its column's type. ``no_event_time``: it is missing
        or cannot be read. ``event_time_too_early``, ``event_time_in_the_future``: it can, and is not believed. Then the
        reasons of ``refuse``, in their order.

        A function of the row alone, with the moment when it was read: a row is judged the same however often.
        """
        from pyspark.sql import functions as F  # noqa: N812

        problem = F.when(is_invalid(rows, expected), "invalid_row")
        if self.event_time is not None:
            rows = rows.withColumn(EVENT_TIME, self.event_time.value())
            time = F.col(EVENT_TIME)
            read_at = F.col(PROCESSING_TIME) if PROCESSING_TIME in rows.columns else F.current_timestamp()
            limit = F.expr(f"INTERVAL {spark_interval(self.event_time.future_limit)}")
            problem = (
                problem.when(time.isNull(), "no_event_time")
                .when(time < F.lit(self.event_time.earliest).cast("timestamp"), "event_time_too_early")
                .when(time > read_at + limit, "event_time_in_the_future")
            )
        for reason, condition in self.refuse.items():
            problem = problem.when(F.expr(condition), reason)
        return rows.withColumn(into, problem)

    def valid(self, rows: DataFrame, expected: tuple[str, ...]) -> DataFrame:
        """The rows that are believed, with ``event_time``."""
        # under another name: a field of the source may be called like that, and comes along
        return self.judge(rows, expected, into=_PROBLEM).where(f"{_PROBLEM} IS NULL").drop(_PROBLEM)

    @property
    def judging_columns(self) -> frozenset[str]:
        """Columns of the source that ``event_time`` reads."""
        return frozenset({self.event_time.column} if self.event_time else ())
