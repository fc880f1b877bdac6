"""The valid rows of the source of a ``latest`` table, without Spark: as ``Judged.valid`` and ``Latest.versions``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.autoloader.formats.times import Parse, timestamp_parser
from lakehouse.autoloader.lineage import ABOUT_THE_ROW, PROCESSING_TIME, evidence_among
from lakehouse.counting.data_files import OnlySpark
from lakehouse.direct.part import invalid_rows
from lakehouse.errors import ConfigurationError

if TYPE_CHECKING:
    from lakehouse.arrow_sql.scalars import Scalar

EVENT_TIME = "event_time"
_TIME = pa.timestamp("us", "UTC")
_PATTERNS = {
    "yyyy-MM-dd HH:mm:ss": "%Y-%m-%d %H:%M:%S",
    "yyyy-MM-dd'T'HH:mm:ss": "%Y-%m-%dT%H:%M:%S",
    "yyyy-MM-dd": "%Y-%m-%d",
}
"""Spark's patterns and the same for Arrow, which parses some five times faster than our own parser."""


@dataclass(frozen=True)
class When:
    """How the event time of a row is made, by the declaration.

    Attributes:
        column: A TIMESTAMP, a DATE, or text in ``format``.
        format: Spark's pattern of the text.
        zone: Time zone of text that names none.
        earliest: First day that is valid.
        future_limit: How far an event time may be after the time at which its row was read.
    """

    column: str
    format: str | None
    zone: str
    earliest: date
    future_limit: timedelta


@dataclass(frozen=True)
class Believed:
    """Which rows of a source are valid, and what is added to them, by the declaration.

    Attributes:
        expected: Columns in which a value of another type makes the row invalid.
        when: How ``event_time`` is made; None where it is not.
        refuse: Reason to SQL condition: a row for which it is true is left out.
        columns: Further columns: name to SQL expression.
    """

    expected: tuple[str, ...] = ()
    when: When | None = None
    refuse: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Versions:
    """Makes rows of the table from rows of the source.

    Attributes:
        schema: The source's columns.
        believed: Which of its rows are valid, and what is added to them.
        needed: Lineage columns of the source that the table keeps: those of its key and its order.
    """

    schema: pa.Schema
    believed: Believed
    needed: frozenset[str] = frozenset()

    @cached_property
    def result(self) -> pa.Schema:
        """The columns of the table.

        Raises:
            OnlySpark: an expression, or the event time, may have another value here than in Spark.
        """
        kept = [column for column in self.schema if column.name not in ABOUT_THE_ROW or column.name in self.needed]
        times = [pa.field(EVENT_TIME, _TIME)] if self.believed.when and self._when_column else []
        assert isinstance(self._refused, list)  # raises OnlySpark for a condition before a batch is planned
        return pa.schema([*kept, *times, *(pa.field(name, scalar.type) for name, scalar in self._made.items())])

    @cached_property
    def read(self) -> list[str]:
        """The columns of the source that are read."""
        evidence, names = evidence_among(self.schema.names), set(self.result.names)
        made = [*self._made.values(), *self._refused]
        needed = {*frozenset[str]().union(*(scalar.columns for scalar in made)), *([evidence] if evidence else [])}
        needed |= {self._when_column, PROCESSING_TIME} if self.believed.when else set()
        return [name for name in self.schema.names if name in names or name in needed]

    def of(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The valid rows, with the columns of the table.

        Args:
            rows: With the columns of ``read``.

        Raises:
            OnlySpark: only Spark can compute an expression for these rows.
        """
        wrong = invalid_rows(rows, self.believed.expected)
        if self.believed.when is not None:
            times = self._times(rows)
            rows = rows.append_column(EVENT_TIME, times)
            earliest = pa.scalar(datetime.combine(self.believed.when.earliest, datetime.min.time(), UTC), _TIME)
            known = PROCESSING_TIME in self.schema.names
            read_at = rows.column(PROCESSING_TIME) if known else pa.scalar(datetime.now(UTC), _TIME)
            latest = pc.add(read_at, pa.scalar(self.believed.when.future_limit, pa.duration("us")))
            for problem in (times.is_null(), pc.less(times, earliest), pc.greater(times, latest)):
                wrong = pc.or_(wrong, pc.fill_null(problem, False))
        for condition in self._refused:
            wrong = pc.or_(wrong, pc.fill_null(condition.value(rows), False))
        good = rows.filter(pc.invert(wrong))
        made = {name: scalar.value(good) for name, scalar in self._made.items()}
        arrays = [made[column.name] if column.name in made else good.column(column.name) for column in self.result]
        return pa.RecordBatch.from_arrays(arrays, schema=self.result)

    def _scalars(self, expressions: Iterable[str]) -> list[Scalar]:
        """Expressions over the source's columns and ``event_time``."""
        texts = list(expressions)
        known = {name.lower() for name in self.schema.names}
        new = [*self.believed.columns, *([EVENT_TIME] if self.believed.when else [])]
        double = [name for name in new if name.lower() in known]
        if double:
            raise OnlySpark(f"{double[0]} takes the place of a column of the source")
        if not texts:
            return []
        from lakehouse.arrow_sql.parsing import parsed  # sqlglot: only for tables that have expressions
        from lakehouse.arrow_sql.scalars import Scalars

        times = [pa.field(EVENT_TIME, _TIME)] if self.believed.when else []
        scalars = Scalars(pa.schema([*self.schema, *times]))
        return [scalars.of(parsed(text)) for text in texts]

    @cached_property
    def _made(self) -> dict[str, Scalar]:
        names = list(self.believed.columns)
        return dict(zip(names, self._scalars(self.believed.columns.values()), strict=True))

    @cached_property
    def _refused(self) -> list[Scalar]:
        found = self._scalars(self.believed.refuse.values())
        if not all(pa.types.is_boolean(scalar.type) for scalar in found):
            raise OnlySpark("a condition of refuse is no condition")
        return found

    @cached_property
    def _when_column(self) -> str:
        assert self.believed.when is not None
        named = [name for name in self.schema.names if name.lower() == self.believed.when.column.lower()]
        if len(named) != 1:
            raise OnlySpark(f"the source has no column {self.believed.when.column}")
        type_ = self.schema.field(named[0]).type
        in_format = pa.types.is_string(type_) and self._parse is not None
        if self.believed.when.zone != "UTC" or not (in_format or type_ in (_TIME, pa.date32())):
            raise OnlySpark(f"{named[0]} is made a time by Spark")
        return named[0]

    def _times(self, rows: pa.RecordBatch) -> pa.Array:
        values = rows.column(self._when_column)
        if not pa.types.is_string(values.type):
            return values.cast(_TIME)
        times = self._plain_times(values)
        todo = pc.and_(values.is_valid(), times.is_null())
        if not pc.any(todo).as_py():
            return times
        parsed = pa.array(map(self._parsed, values.filter(todo).to_pylist()), pa.int64()).cast(_TIME)
        return pc.replace_with_mask(times, todo, parsed)

    def _plain_times(self, values: pa.Array) -> pa.Array:
        """Times of texts that Arrow reads as Spark does: those that Arrow formats to the same text. NULL for others."""
        assert self.believed.when is not None
        pattern = _PATTERNS.get(self.believed.when.format or "")
        if pattern is None:
            return pa.nulls(len(values), _TIME)
        read = pc.strptime(values, format=pattern, unit="s", error_is_null=True)
        same = pc.fill_null(pc.equal(pc.strftime(read, format=pattern), values), False)
        return pc.if_else(same, read, pa.scalar(None, read.type)).cast(pa.timestamp("us")).cast(_TIME)

    def _parsed(self, text: str | None) -> int | None:
        return None if text is None or self._parse is None else self._parse(text)

    @cached_property
    def _parse(self) -> Parse | None:
        """Parses the text of a time; None without a format: then Spark accepts more texts than this parser."""
        assert self.believed.when is not None
        if self.believed.when.format is None:
            return None
        try:
            return timestamp_parser(self.believed.when.format, self.believed.when.zone)
        except ConfigurationError as error:
            raise OnlySpark(str(error)) from error
