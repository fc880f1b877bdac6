"""``windows``: rows of a table counted and added up in windows of event time, under a watermark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from lakehouse.errors import ConfigurationError
from lakehouse.flows.files import Files
from lakehouse.flows.schema_versions import schema_of
from lakehouse.flows.windowing import Windowing
from lakehouse.spark_sql import quoted
from lakehouse.table import CHECKS, At, Check

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from lakehouse.streams.progress import StreamReport
    from lakehouse.streams.run import Run
    from lakehouse.streams.set_aside import SetAside
    from lakehouse.streams.windows import WindowsWriter


class Windows(Windowing):
    """Aggregates by window and ``keys``, see ``Windowing``; what is not counted is kept in quarantine."""

    kind: ClassVar[str] = "windows"

    def default_checks(self) -> tuple[Check, ...]:
        """What proves that no row was lost or counted twice."""
        return (CHECKS["accounts_for_rows"](),)

    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Adds up what is new, and keeps what is not counted.

        Raises:
            ConfigurationError: the checkpoint was begun with another definition, or the source has no files.
            RowsRemoved: rows were removed from the source, and nobody said what becomes of those computed from them.
        """
        from lakehouse.flows.following import has_read_all
        from lakehouse.streams.definition import keep_definition
        from lakehouse.streams.run import nothing_to_do, run_stream
        from lakehouse.streams.trigger import AVAILABLE_NOW

        lake, table = at.lake, at.table.name
        files = self._files(at)
        if files is None and lake.version(self.of) is None:
            return nothing_to_do(lake, table)
        if files is not None and lake.version(table) is None and not files.has_input(at.of(self.of)):
            return nothing_to_do(lake, table)
        expected = self.expected(at.catalogue)
        skip = self._may_leave_out_changes(at)
        kept = self.set_aside(at)
        nothing_new = files is None and run.trigger == AVAILABLE_NOW and has_read_all(lake, self.of, reader=at.table)
        if nothing_new and not kept.is_behind():
            keep_definition(lake, table, self.definition())  # what does not fit is told also when nothing is new
            return nothing_to_do(lake, table)

        watched = self._stop_at_changes(at) if skip else lambda progress: {}

        def frame() -> DataFrame:
            keep_definition(lake, table, self.definition())
            kept.catch_up()
            rows = self._table(at, skip_changes=skip) if files is None else files.stream(at, table)
            windows = self.windowed(rows, expected)
            if self.output_mode == "update":
                _create(at.spark, lake.settings.table_uri(table), windows.schema)
            return windows

        return run_stream(
            run,
            lake,
            table,
            frame,
            output_mode=self.output_mode,
            batch_writer=lambda: self._writer(at) if self.output_mode == "update" else None,
            schema_version=lambda: None if files is None else schema_of(lake, table).newest,
            after_batch=lambda progress: {**kept.after_batch(progress), **watched(progress)},
        )

    def set_aside(self, at: At) -> SetAside:
        """Where the rows are kept that the table does not count."""
        from lakehouse.streams.set_aside import SetAside, rows_of_data_files, rows_of_journal_numbers

        find = rows_of_data_files if self.source == "table" else rows_of_journal_numbers
        rows = find(lambda: at.spark, at.lake, self.of)
        return SetAside(at.lake, at.table.name, self, self.expected(at.catalogue), rows)

    def _files(self, at: At) -> Files | None:
        """The files that are read themselves; None when the table is read."""
        flow = at.catalogue[self.of].flow
        if self.source == "table":
            return None
        if isinstance(flow, Files) and flow.source == "cloudFiles" and flow.lineage:
            return flow
        raise ConfigurationError(
            f"{at.table.name} is to read the files of {self.of}, which are not read by cloudFiles with lineage",
            where=at.catalogue.where,
            state="nothing was read or written",
            next_command="source: table   (in the declaration: the table is read)",
        )

    def _may_leave_out_changes(self, at: At) -> bool:
        from lakehouse.flows.following import may_leave_out_changes

        return may_leave_out_changes(at.lake, self.of, reader=at.table, reads=self._reads(at))

    def _stop_at_changes(self, at: At) -> Callable[[dict[str, Any]], dict[str, Any]]:
        from lakehouse.flows.following import stop_at_changes

        return stop_at_changes(at.lake, self.of, reader=at.table, reads=self._reads(at))

    def _reads(self, at: At) -> frozenset[str] | None:
        opened = at.lake.delta(self.of)
        columns = [field.name for field in opened.schema().fields] if opened else []
        return self.reads_columns(self.expected(at.catalogue), columns)

    def _table(self, at: At, *, skip_changes: bool) -> DataFrame:
        reader = at.spark.readStream.format("delta").option("skipChangeCommits", str(skip_changes).lower())
        reader = reader.option("maxFilesPerTrigger", self.max_files_per_trigger)
        return reader.load(at.lake.settings.table_uri(self.of))

    def _writer(self, at: At) -> WindowsWriter:
        from lakehouse.engine.conf import TRANSACTION
        from lakehouse.streams.windows import WindowsWriter

        settings, table = at.lake.settings, at.table.name
        names = tuple(map(quoted, self.names_of_row))
        return WindowsWriter(settings.table_uri(table), settings.checkpoint_uri(table), names, TRANSACTION)


def _create(spark: SparkSession, table_uri: str, schema: StructType) -> None:
    """Makes the table, empty, because a MERGE needs a table. A table that exists is left alone."""
    from pyspark.sql.types import StructField, StructType

    columns = StructType([StructField(field.name, field.dataType) for field in schema.fields])
    spark.createDataFrame([], columns).write.format("delta").mode("ignore").save(table_uri)
