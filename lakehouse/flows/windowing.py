"""Rows put into windows of event time: how windows are cut, and what is computed of each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from lakehouse.autoloader.lineage import RECORD, SEQUENCE
from lakehouse.durations import spark_interval
from lakehouse.errors import ConfigurationError
from lakehouse.flows.judged import EVENT_TIME, EventTime, Judged
from lakehouse.spark_sql import named
from lakehouse.table import Duration, Names

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

WINDOW = ("window_start", "window_end")
"""Columns of every table of windows, TIMESTAMP in UTC; the end is excluded."""
PROBLEM = "_problem"
"""Column that says why a row is not counted; a field of the source may be called ``problem``."""
ROW = "_row"
"""Column that says what a row is known by."""

_MOST_OPEN_WINDOWS = 100_000
_COUNTS_ROWS = ("count(*)", "count(1)")
_ROW_COUNT = "row_count"
_SOURCES = {"bronze": "table", "cloudFiles": "files"}
_SOURCES_OF_OLD = {now: before for before, now in _SOURCES.items()}
_COUNT = re.compile(r"\bcount\s*\(\s*\*\s*\)")
_ALL_COLUMNS = re.compile(r"([(,.]|\bdistinct\b)\s*\*")


class Windowing(Judged):
    """Windows of the rows of a table, and ``keys``: tumbling, sliding or session windows.

    Attributes:
        source: ``table``: the stream reads the table ``of``; ``files``: it reads the files of that table itself.
            ``bronze`` and ``cloudFiles`` say the same.
        watermark: How long a window waits for late rows, in event time.
        window: Length of a window; for sessions it is not looked at.
        slide: From the start of a window to the start of the next; None for windows that do not overlap.
        session_gap: Pause that ends a session; excludes ``slide``.
        keys: Columns beside the window.
        aggregates: Name to SQL aggregate. One has to be ``count(*)``; where none is, ``row_count`` is added.
        output_mode: ``append``: a window once, when it is closed; ``update``: after each batch that changed it;
            ``complete``: all windows after each batch.
        duplicates: What a row does whose ``row_key`` came before, within the watermark: ``block`` counts it and leaves
            the complaint to a check, ``drop`` leaves it out.
        row_key: What a row is known by, for ``duplicates``.
        max_files_per_trigger: Data files of the table in a batch.
    """

    event_time: EventTime  # of any time series: without it there is no window
    source: Literal["table", "files"] = "table"
    watermark: Duration = timedelta(minutes=10)
    window: Duration | None = None
    slide: Duration | None = None
    session_gap: Duration | None = None
    keys: Names = ()
    aggregates: dict[str, str] = Field(default_factory=dict, validate_default=True)
    output_mode: Literal["append", "update", "complete"] = "append"
    duplicates: Literal["block", "drop"] = "block"
    row_key: Names = ()
    max_files_per_trigger: int = Field(1000, ge=1)

    @field_validator("source", mode="before")
    @classmethod
    def _other_words(cls, given: Any) -> Any:
        return _SOURCES.get(given, given) if isinstance(given, str) else given

    @field_validator("aggregates")
    @classmethod
    def _with_a_count(cls, given: dict[str, str]) -> dict[str, str]:
        if any(map(_counts_rows, given.values())):
            return given
        if _ROW_COUNT in map(str.lower, given):
            raise ValueError(f"{_ROW_COUNT} is the name of the number of rows: give that aggregate another name")
        return {**given, _ROW_COUNT: "count(*)"}

    @model_validator(mode="after")
    def _lengths_fit(self) -> Windowing:
        window, slide, gap = self.window, self.slide, self.session_gap
        if window is None and gap is None:
            raise ValueError("either window or session_gap has to say how rows are put into windows")
        if any(length is not None and length < timedelta(seconds=1) for length in (window, slide, gap)):
            raise ValueError("window, slide and session_gap must be one second or longer")
        if gap is not None and slide is not None:
            raise ValueError("session_gap and slide exclude each other")
        if gap is not None and self.output_mode == "update":
            raise ValueError("output_mode update: Spark has no session windows in that mode; take append")
        if self.length is None:
            return self
        if slide is not None and slide > self.length:
            raise ValueError("slide is longer than window: rows between two windows would be in none")
        opened = (self.watermark + self.length) / (slide or self.length)
        if opened > _MOST_OPEN_WINDOWS:
            raise ValueError(
                f"watermark keeps {opened:,.0f} windows open at a time for each key, over {_MOST_OPEN_WINDOWS:,}: "
                "take longer windows or a shorter watermark"
            )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Windowing:
        columns = [*WINDOW, EVENT_TIME, *self.keys, *self.aggregates]
        names = [column.lower() for column in columns]
        twice = sorted({column for column in columns if names.count(column.lower()) > 1})
        if twice:
            raise ValueError(f"two columns of the table would have one name: {', '.join(twice)}")
        if self.drops_duplicates and not self.row_key:
            raise ValueError("duplicates: drop needs row_key, the columns that a row is known by")
        return self

    @property
    def length(self) -> timedelta | None:
        """Length of a window; None for sessions."""
        return self.window if self.session_gap is None else None

    @property
    def drops_late_rows(self) -> bool:
        """Whether a window is ever closed; in complete mode all of them are kept, and written anew each time."""
        return self.output_mode != "complete"

    @property
    def drops_duplicates(self) -> bool:
        """Whether a row that comes again within the watermark is left out."""
        return self.duplicates == "drop"

    @property
    def counted_column(self) -> str:
        """The aggregate that is the number of rows."""
        return next(name for name, aggregate in self.aggregates.items() if _counts_rows(aggregate))

    @property
    def names_of_row(self) -> tuple[str, ...]:
        """What names a row of the table."""
        return (*WINDOW, *self.keys)

    def definition(self) -> dict[str, Any]:
        """What a checkpoint cannot change any more: its state has rows of this shape."""
        lengths = {"length": self.length, "slide": self.slide, "session_gap": self.session_gap}
        return {
            # words of the checkpoints that are there
            "source": _SOURCES_OF_OLD[self.source],
            **{name: spark_interval(value) if value else None for name, value in lengths.items()},
            "output_mode": self.output_mode,
            "drop_duplicates": self.drops_duplicates,
            "keys": list(self.keys),
            # a list: the state has them in this order
            "aggregates": [f"{name}: {' '.join(text.split())}" for name, text in self.aggregates.items()],
            "row_key": list(self.row_key) if self.drops_duplicates else [],
        }

    def reads_columns(self, expected: Iterable[str], columns: Iterable[str]) -> frozenset[str] | None:
        """Those of ``columns`` that decide what is counted; None for all, when an expression reads all.

        Args:
            expected: Columns whose value decides whether a row is whole.
            columns: All that the source has.
        """
        text = _COUNT.sub("", "\n".join([*self.aggregates.values(), *self.refuse.values()]).lower())
        if _ALL_COLUMNS.search(text):
            return None
        row_key = self.row_key if self.drops_duplicates else ()
        known = {name.lower() for name in (*expected, *self.judging_columns, *self.keys, *row_key)}
        return frozenset(
            name
            for name in columns
            if name.lower() in known or re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", text)
        )

    def window_column(self) -> Column:
        """The window of ``event_time``: STRUCT of ``start`` and ``end``. A row is in several when windows overlap."""
        from pyspark.sql import functions as F  # noqa: N812

        if self.session_gap is not None:
            return F.session_window(EVENT_TIME, spark_interval(self.session_gap))
        assert self.window is not None
        return F.window(EVENT_TIME, spark_interval(self.window), spark_interval(self.slide or self.window))

    def in_windows(self, rows: DataFrame) -> DataFrame:
        """The aggregates of believed rows by window and keys; of a stream, or of a table at rest.

        Returns:
            ``window_start``, ``window_end``, the keys, the aggregates.
        """
        from pyspark.sql import functions as F  # noqa: N812

        keys = [named(key) for key in self.keys]
        aggregates = [F.expr(text).alias(name) for name, text in self.aggregates.items()]
        grouped = rows.groupBy(self.window_column().alias("_window"), *keys).agg(*aggregates)
        start, end = (F.col(f"_window.{side}").alias(name) for side, name in zip(("start", "end"), WINDOW, strict=True))
        return grouped.select(start, end, *keys, *(named(aggregate) for aggregate in self.aggregates))

    def windowed(self, rows: DataFrame, expected: tuple[str, ...]) -> DataFrame:
        """Windows of a stream of the source's rows.

        In append mode a window is written once, after the watermark (newest event time less ``watermark``) passed its
        end; a row that comes later than that is not counted: ``streams.set_aside`` keeps it.

        Observed under the name ``set_aside.OBSERVED``: ``set_aside``, the rows with a problem, and
        ``earliest_milliseconds``, the smallest event time of the others since 1970.

        Returns:
            As ``in_windows``.

        Raises:
            ConfigurationError: a row without ``row_key`` could not be told from another.
        """
        from pyspark.sql import functions as F  # noqa: N812

        from lakehouse.streams.set_aside import OBSERVED

        judged = self.judge(rows, expected, into=PROBLEM)
        counted = F.when(F.col(PROBLEM).isNull(), F.unix_millis(EVENT_TIME))
        judged = judged.observe(
            OBSERVED, F.count(PROBLEM).alias("set_aside"), F.min(counted).alias("earliest_milliseconds")
        )
        valid = judged.where(F.col(PROBLEM).isNull()).withWatermark(EVENT_TIME, spark_interval(self.watermark))
        if self.drops_duplicates:
            valid = self.with_row(valid).dropDuplicatesWithinWatermark([ROW])
        return self.in_windows(valid)

    def with_row(self, rows: DataFrame) -> DataFrame:
        """Adds ``ROW`` STRING, what a row is known by: its ``row_key``, or its place in its file when it has none.

        Raises:
            ConfigurationError: the table does not keep that place.
        """
        from pyspark.sql import functions as F  # noqa: N812

        if not {SEQUENCE, RECORD} <= set(rows.columns):
            raise ConfigurationError(
                f"duplicates: drop needs the columns {SEQUENCE} and {RECORD} of {self.of}: without them two rows that "
                f"have no {', '.join(self.row_key)} would be taken for one",
                where=self.of,
                state="nothing was read or written",
                next_command=f"take duplicates: block, or give {self.of} its lineage",
            )
        columns = [named(name) for name in self.row_key]
        key = columns[0].cast("string")
        if len(columns) > 1:
            whole = columns[0].isNotNull()
            for column in columns[1:]:
                whole = whole & column.isNotNull()
            key = F.when(whole, F.to_json(F.struct(*columns)))
        return rows.withColumn(ROW, F.coalesce(key, F.concat_ws("/", F.lit(""), SEQUENCE, RECORD)))


def _counts_rows(aggregate: str) -> bool:
    return "".join(aggregate.split()).lower() in _COUNTS_ROWS
