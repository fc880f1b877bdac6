"""``format("cloudFiles")``: the Python Data Source that Spark talks to.

Spark starts a new Python process for most of the calls below, so this module imports almost nothing: what a call needs
is imported by the call.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pyspark import TaskContext
from pyspark.sql.datasource import DataSource, DataSourceReader, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadLimit, ReadMaxFiles, SupportsTriggerAvailableNow
from pyspark.sql.types import StringType, StructType

from lakehouse.arrow_alone import keep_pandas_out
from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.lineage import METADATA
from lakehouse.autoloader.options.locations import parsed_in_driver, with_locations
from lakehouse.autoloader.options.parse import HEADER, INFERRED, LOOKED, CloudFilesOptions
from lakehouse.errors import ConfigurationError

if TYPE_CHECKING:
    from lakehouse.autoloader.stream import Offset, Stream, Task
    from lakehouse.storage.store import StoreEndpoint

_BATCH_ID = "streaming.sql.batchId"


class CloudFiles(DataSource):
    """Incremental loading of files from an object store, exactly once, with Auto Loader's options.

    Attributes:
        journal_root: Where the journals of sources without ``cloudFiles.journalLocation`` are.
    """

    journal_root: ClassVar[str | None] = None

    @classmethod
    def name(cls) -> str:
        """The format's name."""
        return "cloudFiles"

    def schema(self) -> StructType:
        """The columns of a stream without an explicit schema: from the schema location, or inferred into it.

        Raises:
            ConfigurationError: there is no schema location, or no file to infer from.
        """
        return schema_of(self._settings(), self.journal_root)

    def _settings(self) -> CloudFilesOptions:
        return with_locations(parsed_in_driver(dict(self.options)), self.journal_root)

    @property
    def looked_upto(self) -> int | None:
        """See ``LOOKED``."""
        found = self.options.get(LOOKED)
        return None if found is None else int(found)

    def reader(self, schema: StructType) -> DataSourceReader:
        """Refuses: there is no batch read, as on Databricks."""
        raise ConfigurationError(
            "cloudFiles is a streaming source: spark.read cannot use it",
            where="spark.read.format('cloudFiles')",
            state="nothing was read",
            next_command="use spark.readStream with .trigger(availableNow=True): it loads what is there, and stops",
        )

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802
        """The stream; options that are without effect are warned of.

        Raises:
            ConfigurationError: the options do not go together with the schema.
        """
        keep_pandas_out()  # Spark asks in a process for this stream alone
        options = settled(self._settings(), schema)
        for note in options.notes:
            warnings.warn(note, stacklevel=2)
        return CloudFilesStream(options, schema, self.journal_root, self.looked_upto)


def schema_of(
    options: CloudFilesOptions, journal_root: str | None, endpoint: StoreEndpoint | None = None
) -> StructType:
    """See ``CloudFiles.schema``; ``endpoint`` as of a ``context.Source``."""
    from lakehouse.autoloader.context import Source

    schema = Source(options, journal_root, endpoint=endpoint).inferred_schema()
    if options.schema_evolution_mode != "inline" or "singlevariantcolumn" in options.reader:
        return schema
    from lakehouse.autoloader.stream import Stream

    return Stream(settled(options, schema), journal_root, endpoint=endpoint).look_ahead(schema)


def settled(options: CloudFilesOptions, schema: StructType) -> CloudFilesOptions:
    """The options, with defaults that depend on whether the schema was inferred or given."""
    metadata = (schema[METADATA].metadata or {}) if METADATA in schema.names else {}
    inferred = INFERRED in metadata
    options = replace(options, schema_evolution_mode=_mode(options, inferred))
    if not inferred:
        options = _without_lost_rescue(options, schema)
    if not FORMATS[options.format].has_header:
        return options
    reader = dict(options.reader)
    if inferred:
        # inferred columns are the files' own: they go by their names, as on Databricks
        reader.pop("enforceschema", None)
        reader.setdefault("header", str(metadata.get(HEADER, False)).lower())
    elif _rescued(options) not in schema.names and options.rescued_data_column is None:
        reader.setdefault("enforceschema", "true")
    return replace(options, reader=reader)


def _without_lost_rescue(options: CloudFilesOptions, schema: StructType) -> CloudFilesOptions:
    """The options, with a note where nothing is rescued because the given schema has no column for it.

    A source cannot add the column. Databricks adds it only where an option names it. Here a stream with such an option
    ends at the first value that needs the column, see ``reading.unrescued``.

    Raises:
        ConfigurationError: a column for it is named, and the schema has it with another type.
    """
    if options.rescued_data_column is None and options.schema_evolution_mode != "rescue":
        return options
    name = _rescued(options)
    has = schema[name].dataType if name in schema.names else None
    if isinstance(has, StringType) or not FORMATS[options.format].has_fields:
        return options
    if has is None:
        lack = f"the given schema has no column {name} STRING"
        note = f"cloudFiles.schemaEvolutionMode=rescue is without effect: {lack}."
        if options.rescued_data_column:
            note = (
                f"rescuedDataColumn: {lack}, and a source cannot add it. The stream ends with an error at the first "
                "value that does not fit, and nothing is lost: add the column to .schema(...)."
            )
        return replace(options, notes=(*options.notes, note))
    raise ConfigurationError(
        f"what does not fit would be lost: it goes to the column {name}, and the schema of .schema(...) has it as "
        f"{has.simpleString().upper()}",
        where="cloudFiles options",
        state="nothing was read or written",
        next_command=f"give `{name}` the type STRING; or leave rescuedDataColumn and the mode rescue out",
    )


def _rescued(options: CloudFilesOptions) -> str:
    from lakehouse.autoloader.lineage import RESCUED_DATA

    return options.rescued_data_column or RESCUED_DATA


def _mode(options: CloudFilesOptions, inferred: bool) -> str:
    """The evolution mode; its default is ``addNewColumns`` for an inferred schema, ``none`` for a given schema.

    Where columns of the format do not grow, what is new is rescued.

    Raises:
        ConfigurationError: the mode needs an inferred schema.
    """
    usual = "addNewColumns" if FORMATS[options.format].grows else "rescue"
    mode = options.schema_evolution_mode or (usual if inferred else "none")
    if inferred or mode in ("rescue", "failOnNewColumns", "none"):
        return mode
    raise ConfigurationError(
        f"cloudFiles.schemaEvolutionMode={mode} cannot change a schema that was given with .schema(...)",
        where="cloudFiles options",
        state="nothing was read or written",
        next_command="leave .schema(...) out, and give types with cloudFiles.schemaHints; "
        "or use rescue, failOnNewColumns, none",
    )


def register_cloud_files(spark: Any, journal_root: str | None = None) -> None:
    """Makes ``format("cloudFiles")`` known to a session of any Spark 4.2, in place of what ``pyspark_cloudfiles`` did.

    With Spark Connect a stream of the session that asks this source for ``input_file_name()`` is refused, a given
    schema gets the column that ``rescuedDataColumn`` names, and options of streams without effect are warned of.

    Args:
        spark: The session.
        journal_root: Folder on the object store for the journals; without one each stream needs
            ``cloudFiles.journalLocation`` or ``cloudFiles.schemaLocation``.
    """
    if hasattr(spark, "_client"):  # Spark Connect
        from lakehouse.autoloader.file_names import watch_file_names
        from lakehouse.autoloader.given_schemas import complete_schemas
        from lakehouse.autoloader.option_notes import watch_options

        watch_file_names(spark)
        complete_schemas(spark)
        watch_options(spark)
    # a class made here travels by value: it carries the folder to Spark's processes
    spark.dataSource.register(type("CloudFiles", (CloudFiles,), {"journal_root": journal_root}))


@dataclass
class Part(InputPartition):
    """A task's work."""

    task: Task


class CloudFilesStream(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Spark's view of a ``stream.Stream``: in the driver it discovers and plans, in the workers it reads."""

    def __init__(
        self, options: CloudFilesOptions, schema: StructType, journal_root: str | None, looked_upto: int | None = None
    ) -> None:
        self._options, self._schema, self._journal_root = options, schema, journal_root
        self._looked_upto = looked_upto

    @cached_property
    def _stream(self) -> Stream:
        from lakehouse.autoloader.stream import Stream

        return Stream(self._options, self._journal_root)

    def initialOffset(self) -> Offset:  # noqa: N802
        """See ``Stream.beginning``."""
        return self._stream.beginning()

    def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802
        """``maxFilesPerTrigger``; ``maxBytesPerTrigger`` is looked at beside it."""
        return ReadMaxFiles(self._options.max_files_per_trigger)

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802
        """See ``Stream.fix_target``."""
        self._stream.fix_target(self._looked_upto)

    def latestOffset(self, start: Offset, limit: ReadLimit) -> Offset:  # noqa: N802
        """See ``Stream.next_end``; ``Trigger.Once`` asks for everything, whatever the options say."""
        if isinstance(limit, ReadAllAvailable):
            return self._stream.next_end(start, max_files=None, max_bytes=None)
        options = self._options
        return self._stream.next_end(
            start, max_files=options.max_files_per_trigger, max_bytes=options.max_bytes_per_trigger
        )

    def reportLatestOffset(self) -> Offset | None:  # noqa: N802
        """See ``Stream.known_end``; shown as ``latestOffset`` in the progress."""
        return self._stream.known_end()

    def partitions(self, start: Offset, end: Offset) -> list[InputPartition]:
        """See ``Stream.parts``."""
        return [Part(task) for task in self._stream.parts(start, end)]

    def read(self, partition: Part) -> Iterator[Any]:  # type: ignore[override]
        """See ``Stream.read``."""
        return self._stream.read(partition.task, self._schema, running_batch)

    def commit(self, end: Offset) -> None:
        """Nothing: what is committed is what Delta and the checkpoint say."""

    def stop(self) -> None:
        """Nothing is held open."""

    def __getstate__(self) -> dict[str, Any]:
        """A worker gets the options and the schema; it opens what it needs itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_stream"}


def running_batch() -> int | None:
    """The micro-batch of the running task; within ``foreachBatch`` Spark does not say it."""
    context = TaskContext.get()
    batch = context.getLocalProperty(_BATCH_ID) if context else None
    return int(batch) if batch else None
