"""``files``: objects in a bucket become a table, each file exactly once."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from lakehouse.autoloader.lineage import CORRUPT_RECORD, LINEAGE, METADATA, with_metadata
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath, glob_regex, resolved, source_id
from lakehouse.errors import ConfigurationError
from lakehouse.events.address import InboxAddress
from lakehouse.table import CHECKS, At, Catalogue, Check, Flow, Names, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    from lakehouse.direct.stream import Loading
    from lakehouse.settings import Settings
    from lakehouse.storage import ObjectInfo
    from lakehouse.streams.progress import StreamReport
    from lakehouse.streams.run import Run


def _as_ddl(given: Any) -> Any:
    """``{id: BIGINT, city: STRING}`` as ``id BIGINT, city STRING``."""
    return ", ".join(f"{name} {type_}" for name, type_ in given.items()) if isinstance(given, dict) else given


def _as_texts(given: Any) -> Any:
    """Options are text for Spark: ``true`` in YAML is ``"true"``."""
    if not isinstance(given, dict):
        return given
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}


Columns = Annotated[str, BeforeValidator(_as_ddl, json_schema_input_type=str | dict[str, str])]
Options = Annotated[
    dict[str, str], BeforeValidator(_as_texts, json_schema_input_type=dict[str, str | int | float | bool])
]


_log = logging.getLogger(__name__)

EVENTS = ("cloudfiles.usenotifications", "cloudfiles.usemanagedfileevents")
"""Options that let events tell of new files, in lower case."""


class Files(Flow):
    """Objects under a path, read by ``cloudFiles`` (or, to compare, by Spark's own file source).

    Attributes:
        path: ``s3a://bucket/folder/``, or ``file:///folder/`` of this machine; may have wildcards.
        format: json, csv, xml, parquet, avro, orc, text, binaryFile or excel.
        glob: Names of the files that are input, ``pathGlobFilter``; None for all.
        source: ``cloudFiles``, or ``spark`` for Spark's own source.
        columns: The schema of the files; None to infer it.
        hints: Types of some columns of an inferred schema, ``cloudFiles.schemaHints``.
        options: Any option of ``cloudFiles`` or of the format's reader, as Auto Loader spells it.
        lineage: Whether each row names its file and record, in ``_source_file``, ``_source_sequence``,
            ``_source_record`` and ``_processing_time``. Replays and most checks need them.
        metadata: Further columns: name to field of ``_metadata``, or to ``processing_time``.
        partition_by: Columns by which the table's folders are made.
        engine: ``spark``, or ``local``: processes of this machine that write the table themselves, without a JVM; None
            for what ``LAKEHOUSE_ENGINE`` says.
        sink: What commits a batch on the engine ``spark``: ``direct``, its tasks write the data files and one
            conditional commit names them, or ``spark``, Spark's own sink. Tables that only Spark can write get that.
    """

    kind: ClassVar[str] = "files"

    path: str
    format: str = "json"
    glob: str | None = None
    source: Literal["cloudFiles", "spark"] = "cloudFiles"
    columns: Columns | None = Field(None, alias="schema")
    hints: Columns | None = None
    options: Options = Field(default_factory=dict)
    lineage: bool = True
    metadata: dict[str, str] = Field(default_factory=dict)
    partition_by: Names = ()
    engine: Literal["spark", "local"] | None = None
    sink: Literal["direct", "spark"] = "direct"

    @model_validator(mode="after")
    def _one_engine(self) -> Files:
        if self.engine == "local" and self.sink == "spark":
            raise ValueError("sink: spark needs engine: spark; leave one of the two out")
        return self

    @property
    def expected(self) -> tuple[str, ...]:
        """Columns that the declaration names: a value of another type makes its row invalid."""
        from lakehouse.autoloader.schema.hints import parse_hints

        named = self.columns or self.hints
        return tuple(path[0] for path, _ in parse_hints(named)) if named else ()

    def needs_spark(self, settings: Settings) -> bool:
        """Not on the local engine."""
        return "spark" in (self.source, self.sink, self.engine or settings.engine)

    @property
    def replaces(self) -> bool:
        """Whether rows of a file can be taken out again, so that the file can be loaded anew."""
        return self.lineage and self.source == "cloudFiles"

    @property
    def refills(self) -> bool:
        """A table whose rows outlive their files is never emptied."""
        return not self.replaces

    @property
    def added_columns(self) -> dict[str, str]:
        """Columns beside those of the files: name to field of ``_metadata``, or to ``processing_time``."""
        return {**(LINEAGE if self.lineage else {}), **self.metadata}

    @property
    def by_events(self) -> bool:
        """Whether new files come from the inbox of events."""
        values = [value.strip().lower() for name, value in self.options.items() if name.lower() in EVENTS]
        return self.source == "cloudFiles" and "true" in values

    def listed_on_start(self) -> Files:
        """The same, with a listing at the first look of a run."""
        others = {name: value for name, value in self.options.items() if name.lower() != "cloudfiles.listonstart"}
        return self.model_copy(update={"options": {**others, "cloudFiles.listOnStart": "true"}})

    def default_checks(self) -> tuple[Check, ...]:
        """What proves that nothing was lost or loaded twice, where rows say where they are from."""
        names = ("no_file_loaded_twice", "every_file_loaded", "no_quarantined_files") if self.replaces else ()
        return tuple(CHECKS[name]() for name in names)

    def reader_options(self, settings: Settings, table: str) -> dict[str, str]:
        """What the stream into ``table`` asks of its source; ``path`` is the argument of ``load``."""
        own: dict[str, str] = {"path": self.path}
        if self.source == "cloudFiles":
            own["path"] = resolved(self.path)
            own["cloudFiles.format"] = self.format
            own["cloudFiles.journalLocation"] = f"{settings.journal_root}/{source_id(SourcePath.parse(self.path))}"
            if self.columns is None:
                own["cloudFiles.schemaLocation"] = settings.schema_uri(table)
            if self.by_events:
                own["cloudFiles.eventsInbox"] = InboxAddress.of(settings).public
        if self.hints is not None:
            own["cloudFiles.schemaHints"] = self.hints
        if self.glob is not None:
            own["pathGlobFilter"] = self.glob
        return {**own, **self.options}

    def cloud_files(self, settings: Settings, table: str) -> CloudFilesOptions:
        """The same, checked.

        Raises:
            ConfigurationError: an option is unknown, or contradicts another.
        """
        return CloudFilesOptions.parse(self.reader_options(settings, table))

    def stream(self, at: At, table: str, more: Mapping[str, str] | None = None) -> DataFrame:
        """The files as a stream into ``table``, with the columns that the declaration adds.

        A table that is computed from the files themselves has journal, options and columns of this flow, and a schema
        of its own. The source gets ``more`` beside the options.
        """
        options = {**self.reader_options(at.lake.settings, table), **(more or {})}
        spark_source = self.source == "spark"
        reader = at.spark.readStream.format(self.format if spark_source else "cloudFiles")
        given = self._given()
        if self.columns is not None and given is not None:
            kept = f", {CORRUPT_RECORD} STRING" if spark_source and self.format in ("json", "csv") else ""
            reader = reader.schema(self.columns + kept if spark_source else given)
        if spark_source:
            # the source forgets files that are older than its newest by this much: never, where nothing may be lost
            options = {"maxFileAge": "36500d", "columnNameOfCorruptRecord": CORRUPT_RECORD, **options}
        for name, value in options.items():
            reader = reader.option(name, value) if name != "path" else reader
        return with_metadata(reader.load(options["path"]), self.added_columns)

    def landed(self, at: At) -> tuple[list[ObjectInfo], list[ObjectInfo]]:
        """The objects under the path that are input, and those that are not: another name, a folder, no bytes."""
        path = SourcePath.parse(self.path)
        found: tuple[list[ObjectInfo], list[ObjectInfo]] = ([], [])
        for info in at.lake.store.list(path.bucket, path.root):
            found[0 if self.is_input(info) else 1].append(info)
        return found

    def has_input(self, at: At) -> bool:
        """Whether anything has landed; the listing ends at the first file that is input."""
        return self.ignored_alone(at) is None

    def ignored_alone(self, at: At) -> int | None:
        """How many objects lie under the path when none of them is input; None when there is input."""
        path, ignored = SourcePath.parse(self.path), 0
        for info in at.lake.store.list(path.bucket, path.root):
            if self.is_input(info):
                return None
            ignored += 1
        return ignored

    def is_input(self, info: ObjectInfo) -> bool:
        """Whether an object of the bucket is read: path and glob name it, and it is not empty."""
        path, name = self._names  # parsed once: a listing asks this of every object
        named = name is None or name.fullmatch(info.key.rsplit("/", 1)[-1])
        return bool(info.size_bytes > 0 and named and path.covers(info.key))

    @cached_property
    def _names(self) -> tuple[SourcePath, re.Pattern[str] | None]:
        glob = self.glob or self.options.get("pathGlobFilter")
        return SourcePath.parse(self.path), re.compile(glob_regex(glob)) if glob is not None else None

    def bring_up_to_date(self, at: At, run: Run) -> StreamReport:
        """Loads the files that are new."""
        from lakehouse.streams.run import nothing_to_do

        if run.listing and self.by_events:
            return self.listed_on_start().bring_up_to_date(at, replace(run, listing=False))
        lake, table = at.lake, at.table.name
        if self.source == "spark":
            return self._by_spark(at, run)
        ignored = self.ignored_alone(at) if lake.version(table) is None else None
        if ignored is not None:  # nothing to infer a schema from
            return nothing_to_do(lake, table, ignored_files=ignored)
        options = self.cloud_files(lake.settings, table)
        for note in options.notes:
            _log.warning("%s: %s", table, note)
        if self.needs_spark(lake.settings):
            from lakehouse.flows.files_on_spark import run_files

            return run_files(at, run, self, options)
        return self._by_processes(at, run, options)

    def _given(self) -> StructType | None:
        """The given columns with the rescued column asked for, and ``_metadata``: a source adds none by itself."""
        from lakehouse.autoloader.reading.columns import METADATA_TYPE
        from lakehouse.autoloader.schema.hints import columns_of
        from lakehouse.autoloader.schema.rescued import with_rescued

        if self.columns is None:
            return None
        given = {"cloudFiles.format": self.format, **self.options}
        return with_rescued(columns_of(self.columns), given).add(METADATA, METADATA_TYPE)

    def loading(self, options: CloudFilesOptions) -> Loading:
        """What is loaded without Spark's sink."""
        from lakehouse.direct.stream import Loading

        return Loading(options, self._given(), self.added_columns, self.partition_by, self.expected)

    def _by_processes(self, at: At, run: Run, options: CloudFilesOptions) -> StreamReport:
        """By the local engine; from the batch on that it cannot write, by Spark."""
        from lakehouse.direct.reasons import NotDirect
        from lakehouse.direct.run import run_direct
        from lakehouse.flows.files_on_spark import run_files

        loading = self.loading(options)
        try:
            return run_direct(run, at.lake, at.table.name, loading)
        except NotDirect as reason:
            _log.info("%s is loaded by Spark: %s", at.table.name, reason)
            return run_files(at, run, self, options)

    def _by_spark(self, at: At, run: Run) -> StreamReport:
        from lakehouse.checkpoints import agreement as checkpoints
        from lakehouse.streams.file_logs import SparkFileLog
        from lakehouse.streams.run import nothing_to_do, run_stream

        lake, table = at.lake, at.table.name
        there, ignored = self.landed(at)
        if not there:
            return nothing_to_do(lake, table, ignored_files=len(ignored))
        known = sum(len(files) for files in checkpoints.source_files(lake, table).values())
        return run_stream(
            run,
            lake,
            table,
            lambda: self.stream(at, table),
            expected=self.expected,
            file_log=SparkFileLog(lake, table, pending=len(there) - known),
            ignored_files=len(ignored),
            partition_by=self.partition_by,
        )


def require_replacing(table: Table, catalogue: Catalogue, where: str) -> Files:
    """The flow of a table whose files can be loaded again.

    Raises:
        ConfigurationError: its stream only adds rows, or reads no files.
    """
    flow = table.flow
    if isinstance(flow, Files) and flow.replaces:
        return flow
    able = [entry.name for entry in catalogue if isinstance(entry.flow, Files) and entry.flow.replaces]
    raise ConfigurationError(
        f"{table.name} only ever gets rows added: a file that is loaded again would be in it twice",
        where=where,
        state="nothing was read or written",
        next_command="name one of: " + ", ".join(able) if able else "declare a table of files with lineage",
    )
