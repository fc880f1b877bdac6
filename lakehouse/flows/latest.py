"""``latest``: of a table that has every version of its rows, each key once, in its latest version."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from lakehouse.autoloader.lineage import ABOUT_THE_ROW, RECORD, SEQUENCE
from lakehouse.flows.following import refused
from lakehouse.flows.judged import EVENT_TIME, Judged
from lakehouse.table import CHECKS, At, Catalogue, Check, Names

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.direct.latest import Merging
    from lakehouse.direct.versions import Believed
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings
    from lakehouse.streams.progress import StreamReport
    from lakehouse.streams.run import Run


_log = logging.getLogger(__name__)


class Latest(Judged):
    """A keyed upsert.

    Attributes:
        key: Columns that name a row. Rows in which any of them is NULL are left out, and counted by a check.
        order: Columns by which versions of a row are compared, the highest wins and NULL is the lowest; after them the
            file's number and the record's in it, where the source has them: without those, ``order`` has to be given.
        columns: Further columns: name to SQL expression over the source's columns and ``event_time``.
        change_data_feed: Whether the table tells what changed, which a rollup of it needs.
        engine: ``spark``, or ``local``: merged without a JVM; None for what ``LAKEHOUSE_ENGINE`` says. What is told in
            Spark's SQL (``columns``, ``refuse``) and is not surely the same without Spark is merged by it on either.
    """

    kind: ClassVar[str] = "latest"

    key: Names = Field(min_length=1)
    order: Names = ()
    columns: dict[str, str] = Field(default_factory=dict)
    change_data_feed: bool = True
    engine: Literal["spark", "local"] | None = None

    def needs_spark(self, settings: Settings) -> bool:
        """Not on the local engine."""
        return (self.engine or settings.engine) == "spark"

    def default_checks(self) -> tuple[Check, ...]:
        """The table is held against its source, and rows without a key are counted."""
        return (CHECKS["matches"](), CHECKS["keyed"]())

    def versions(self, rows: DataFrame, expected: tuple[str, ...]) -> DataFrame:
        """The believed rows of the source, each as often as it was sent; streaming or not.

        Returns:
            The source's columns but those that say how a row came; ``event_time`` where it is declared; ``columns``.
        """
        from pyspark.sql import functions as F  # noqa: N812

        rows = self.valid(rows, expected)
        if self.columns:
            rows = rows.withColumns({name: F.expr(sql) for name, sql in self.columns.items()})
        return rows.drop(*self.left_out(ABOUT_THE_ROW))

    def left_out(self, columns: Iterable[str]) -> frozenset[str]:
        """Columns of the source that say how a row came, and that the table does not have."""
        needed = {column.lower() for column in (*self.key, *self.order)}
        return frozenset(name for name in columns if name in ABOUT_THE_ROW and name not in needed)

    def compared(self, columns: list[str]) -> tuple[str, ...]:
        """By what two versions of a row are compared, the first column first.

        Args:
            columns: Of the source.
        """
        return tuple(dict.fromkeys((*self.order, *(name for name in (SEQUENCE, RECORD) if name in columns))))

    def definition(self) -> dict[str, Any]:
        """What a table cannot change any more: it has rows that were chosen by it, and no batch looks at them again."""
        time = None if self.event_time is None else self.event_time.model_dump(mode="json")
        rows = {"refuse": {reason: " ".join(sql.split()) for reason, sql in self.refuse.items()}, "event_time": time}
        return {"key": list(self.key), "order": list(self.order), "columns": self.columns, **rows}

    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Merges the versions that are new."""
        from lakehouse.flows import following
        from lakehouse.streams.definition import keep_definition
        from lakehouse.streams.run import nothing_to_do
        from lakehouse.streams.trigger import AVAILABLE_NOW

        lake, name = at.lake, at.table.name
        judged = lake.version(self.of)
        if judged is None:
            return nothing_to_do(lake, name)
        order = self._order_of(lake, at)
        following.start_over_after_another(lake, self.of, reader=at.table)
        skip = following.may_leave_out_changes(lake, self.of, reader=at.table)
        definition = self.definition()
        if run.trigger == AVAILABLE_NOW and following.has_read_all(lake, self.of, reader=at.table):
            keep_definition(lake, name, definition)  # what does not fit is told also when nothing is new
            return nothing_to_do(lake, name)
        if not self.needs_spark(lake.settings):
            from lakehouse.direct.latest import LatestStream
            from lakehouse.direct.reasons import NotDirect
            from lakehouse.direct.run import run_following

            leaves_out = following.leaves_out(lake, self.of, reader=at.table, judged=judged if skip else None)
            merging = self._merging(at, order, leaves_out)
            try:
                return run_following(run, lake, name, lambda: LatestStream(lake, name, merging), definition)
            except NotDirect as reason:
                _log.info("%s is merged by Spark: %s", name, reason)
        return self._by_spark(at, run, order, skip, definition)

    def _by_spark(
        self, at: At, run: Run, order: tuple[str, ...], skip: bool, definition: dict[str, Any]
    ) -> StreamReport:
        from lakehouse.engine.conf import TRANSACTION
        from lakehouse.flows import following
        from lakehouse.streams.definition import keep_definition
        from lakehouse.streams.latest import LatestWriter, create_table
        from lakehouse.streams.run import run_stream
        from lakehouse.streams.widening import widen_table

        lake, name = at.lake, at.table.name
        source, target = lake.settings.table_uri(self.of), lake.settings.table_uri(name)
        expected = self.expected(at.catalogue)

        def frame() -> DataFrame:
            keep_definition(lake, name, definition)
            rows = at.spark.read.format("delta").load(source)
            create_table(
                self.versions(rows, expected),
                target,
                change_data_feed=self.change_data_feed,
                anew=following.was_emptied(lake, reader=at.table),
            )
            stream = at.spark.readStream.format("delta").option("skipChangeCommits", str(skip).lower())
            versions = self.versions(stream.load(source), expected)
            widen_table(versions, target)
            return versions

        writer = LatestWriter(target, lake.settings.checkpoint_uri(name), TRANSACTION, self.key, order)
        watched = following.stop_at_changes(lake, self.of, reader=at.table) if skip else lambda progress: {}
        return run_stream(run, lake, name, frame, batch_writer=lambda: writer, after_batch=watched)

    def _merging(self, at: At, order: tuple[str, ...], leaves_out: Callable[[int], bool]) -> Merging:
        """The same for the local engine, whose names are spelled as the source's."""
        from lakehouse.direct.latest import Merging

        opened = at.lake.delta(self.of)
        spelled = {} if opened is None else {field.name.lower(): field.name for field in opened.schema().fields}
        key, order = (tuple(spelled.get(name.lower(), name) for name in names) for names in (self.key, order))
        believed = self.believed(at.catalogue)
        return Merging(self.of, key, order, believed, leaves_out, self.change_data_feed)

    def believed(self, catalogue: Catalogue) -> Believed:
        """The same as ``versions`` for the local engine."""
        return replace(super().believed(catalogue), columns=self.columns)

    def _order_of(self, lake: Lake, at: At) -> tuple[str, ...]:
        """By what versions are compared; makes sure that the source has what is needed."""
        opened = lake.delta(self.of)
        columns = [] if opened is None else [field.name for field in opened.schema().fields]
        made = {*columns, *self.columns, *([EVENT_TIME] if self.event_time else [])}
        known = {name.lower() for name in made}
        missing = [name for name in (*self.key, *self.order) if name.lower() not in known]
        order = self.compared(columns)
        if order and not missing:
            return order
        what, cure = f"{self.of} has no column {', '.join(missing)}", f"name columns that {self.of} has"
        if not missing:
            what = f"nothing tells which of two rows of {self.of} is the later version: it has no lineage"
            cure = "name the columns that tell, the highest wins; order: updated_at"
        raise refused(at, what, cure)
