"""``rollup``: aggregates of a table by groups, right after every run whatever came late or was sent again."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from lakehouse.autoloader.lineage import LINEAGE
from lakehouse.flows.following import refused
from lakehouse.table import CHECKS, At, Check, Flow
from lakehouse.table_names import TableName

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.settings import Settings
    from lakehouse.streams.progress import StreamReport
    from lakehouse.streams.run import Run

_log = logging.getLogger(__name__)
_ALL_COLUMNS = re.compile(r"(?<!count)[(,]\s*\*", re.IGNORECASE)


class Rollup(Flow):
    """Incremental aggregates: groups whose rows changed are computed anew from all their rows.

    What the expressions give must depend on the rows alone, not on their order or on the time: ``first`` and
    ``collect_list`` give another answer each time.

    Attributes:
        of: The table that is read; it must have a change data feed, as every ``latest`` table has.
        group: Name to SQL expression over the columns of ``of``; the first is the one by which parts of the table are
            replaced. It gives a DATE, a TIMESTAMP, a STRING, a BOOLEAN or a whole number.
        aggregates: Name to SQL aggregate.
        engine: ``spark``, or ``local``: computed without a JVM; None for what ``LAKEHOUSE_ENGINE`` says. An expression
            that is not surely the same without Spark is computed by Spark on either.
    """

    kind: ClassVar[str] = "rollup"

    of: TableName
    group: dict[str, str] = Field(min_length=1)
    aggregates: dict[str, str] = Field(min_length=1)
    engine: Literal["spark", "local"] | None = None

    def needs_spark(self, settings: Settings) -> bool:
        """Not on the local engine."""
        return (self.engine or settings.engine) == "spark"

    @model_validator(mode="after")
    def _each_name_once(self) -> Rollup:
        names = [name.lower() for name in (*self.group, *self.aggregates)]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ValueError(f"two columns of the table are called {', '.join(double)}")
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """The table that is read."""
        return (self.of,)

    @property
    def part(self) -> tuple[str, str]:
        """The column by which parts of the table are replaced, and its expression over the source."""
        return next(iter(self.group.items()))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Columns of the source that say where a row is from, and that no expression reads.

        A row that came again from another file is no other row, unless a group tells of that file.
        """
        expressions = " ".join([*self.group.values(), *self.aggregates.values()]).lower()
        if _ALL_COLUMNS.search(expressions):
            return ()
        return tuple(name for name in LINEAGE if name not in expressions)

    def default_checks(self) -> tuple[Check, ...]:
        """The table is held against its source."""
        return (CHECKS["matches"](),)

    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Computes the groups anew whose rows changed."""
        from lakehouse.flows import following
        from lakehouse.streams.definition import keep_definition
        from lakehouse.streams.run import nothing_to_do
        from lakehouse.streams.trigger import AVAILABLE_NOW

        lake, name = at.lake, at.table.name
        source = lake.settings.table_uri(self.of)
        opened = lake.delta(self.of)
        if opened is None:
            return nothing_to_do(lake, name)
        if opened.metadata().configuration.get("delta.enableChangeDataFeed") != "true":
            raise refused(
                at,
                f"{self.of} does not tell what changes in it: it has no change data feed",
                f"in Spark: ALTER TABLE delta.`{source}` SET TBLPROPERTIES (delta.enableChangeDataFeed = true)"
                "; then: lakehouse ingest",
            )
        following.start_over_after_another(lake, self.of, reader=at.table)
        definition: dict[str, Any] = {"replaced by": self.part[0], "group": self.group, "aggregates": self.aggregates}
        if run.trigger == AVAILABLE_NOW and following.has_read_all(lake, self.of, reader=at.table):
            keep_definition(lake, name, definition)  # what does not fit is told also when nothing is new
            return nothing_to_do(lake, name)

        if not self.needs_spark(lake.settings):
            from lakehouse.direct.reasons import NotDirect
            from lakehouse.direct.rollup import Rolling, RollupStream
            from lakehouse.direct.run import run_following

            rolling = Rolling(self.of, self.group, self.aggregates)
            try:
                return run_following(run, lake, name, lambda: RollupStream(lake, name, rolling), definition)
            except NotDirect as reason:
                _log.info("%s is computed by Spark: %s", name, reason)
        return self._by_spark(at, run, definition)

    def _by_spark(self, at: At, run: Run, definition: dict[str, Any]) -> StreamReport:
        from lakehouse.flows import following
        from lakehouse.streams.definition import keep_definition
        from lakehouse.streams.latest import create_table
        from lakehouse.streams.rollup import RollupWriter, changes_of, rolled_up
        from lakehouse.streams.run import run_stream
        from lakehouse.streams.widening import widen_table

        lake, name = at.lake, at.table.name
        source, target = lake.settings.table_uri(self.of), lake.settings.table_uri(name)

        def frame() -> DataFrame:
            keep_definition(lake, name, definition)
            groups = rolled_up(at.spark.read.format("delta").load(source), self.group, self.aggregates)
            self._can_be_replaced(at, groups)
            create_table(groups, target, anew=following.was_emptied(lake, reader=at.table))
            widen_table(groups, target)
            return changes_of(at.spark, source)

        checkpoint = lake.settings.checkpoint_uri(name)
        writer = RollupWriter(source, target, checkpoint, self.group, self.aggregates, self.left_out)
        return run_stream(run, lake, name, frame, batch_writer=lambda: writer)

    def _can_be_replaced(self, at: At, groups: DataFrame) -> None:
        from lakehouse.streams.rollup import PART_TYPES

        column, expression = self.part
        type_ = groups.schema[column].dataType.simpleString()
        if type_ not in PART_TYPES:
            raise refused(
                at,
                f"{column} is {type_}: parts of a table cannot be replaced by it",
                f"let the first of group be of another type ({', '.join(PART_TYPES)}): CAST({expression} AS STRING)",
            )
