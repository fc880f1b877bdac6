"""What a table has rescued: columns that wait for approval, and moving values out of ``_rescued_data`` into columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import StructType

from lakehouse.autoloader.formats.rows import NOTES, Rows
from lakehouse.autoloader.lineage import METADATA, RESCUED_DATA
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.schema.evolve import FORBIDDEN, Learner, changes, evolved
from lakehouse.autoloader.schema.hints import Hint, dotted, parse_hints, types_of, with_hints
from lakehouse.autoloader.schema.promote import PROMOTED, Promoter
from lakehouse.autoloader.schema.versions import SchemaLocation, SchemaVersion
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.errors import ConfigurationError
from lakehouse.lake import Lake
from lakehouse.maintenance.asked import ask_for_run
from lakehouse.spark_sql import literal

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_FILE, _RECORD = "_source_file", "_source_record"


@dataclass(frozen=True)
class WaitingColumn:
    """A column that files have and the schema lacks.

    Attributes:
        name: Dotted; ``[]`` and ``{}`` stand for elements.
        type: What its values would make it.
        rows: Rows of the table that hold a value of it in their rescued data.
        file: Where it was met first.
        record: Number of the record in that file.
    """

    name: str
    type: str
    rows: int
    file: str
    record: int


@dataclass(frozen=True)
class Promotion:
    """What a promotion does.

    Attributes:
        rows: For each column the rows that get its value from their rescued data.
        done: Whether it was done.
        delta_version: The commit that did it.
        rows_before: Rows of the table before.
        rows_after: And after: the same.
    """

    rows: dict[str, int]
    done: bool
    delta_version: int | None
    rows_before: int
    rows_after: int


@dataclass(frozen=True)
class RescuedData:
    """The rescued data of a table that a ``cloudFiles`` stream writes.

    Attributes:
        lake: Where the table is.
        table: ``layer.name``; each row names its file and record in ``_source_file`` and ``_source_record``.
        options: The stream's.
    """

    lake: Lake
    table: str
    options: CloudFilesOptions

    @property
    def schemas(self) -> SchemaLocation:
        """The versions of the stream's schema."""
        return SchemaLocation(self.lake.store, *split_uri(self.options.schema_location or ""))

    def waiting(self) -> list[WaitingColumn]:
        """The columns that files have and the schema lacks, by their dotted names."""
        version = self._version()
        learner = self._learner(version)
        rows: Counter[str] = Counter()
        for texts, files, records in self._rescued():
            documents = [{k: v for k, v in json.loads(text).items() if k not in NOTES} for text in texts.to_pylist()]
            rows.update(name for document in documents for name in set(_names(document)))
            lines = [json.dumps(document).encode() for document in documents]

            def sample(hits: list[int], lines: list[bytes] = lines) -> BytesIO:
                return BytesIO(b"\n".join(lines[row] for row in hits))

            places = list(zip(files.to_pylist(), records.to_pylist(), strict=True))
            new = {name for document in documents for name in document} - set(version.data.names)
            table = pa.table({RESCUED_DATA: texts})
            learner.look(Rows(table, np.arange(len(texts)), frozenset(new)), places.__getitem__, sample)
        return [
            WaitingColumn(name, new.simpleString() if new else "", rows[name], *learner.introduced[name])
            for name, _, new in changes(version.data, learner.grown)
        ]

    def approve(
        self, columns: Sequence[str], waiting: Sequence[WaitingColumn], *, really: bool = False
    ) -> SchemaVersion:
        """Makes columns part of the schema; the next start of the stream has them. Without ``really`` only checks them.

        Args:
            columns: Each the name of a waiting column, or a name and a type as in ``cloudFiles.schemaHints``.
            waiting: See ``waiting()``.
            really: Do it.

        Returns:
            The newest version then.

        Raises:
            ConfigurationError: a name does not wait, or the schema has it.
        """
        version = self._version()
        by_name = {column.name: column for column in waiting}
        data = version.data
        for text in columns:
            hint = self._hint(text, by_name)
            if any(FORBIDDEN.search(part) for part in hint[0]):
                raise _refused(f"a table without column mapping can have no column {text}", sorted(by_name))
            grown = with_hints(data, [hint])
            different = list(changes(data, grown))
            if not different or any(old is not None for _, old, _ in different):
                raise _refused(f"{text} is a column of the schema already", sorted(by_name))
            data = grown
        places = {column.name: (column.file, column.record) for column in waiting}
        if not really:
            return version
        version = self.schemas.grow(data, places, reason="approved")
        ask_for_run(self.lake, self.table, "approved columns")
        return version

    def promote(self, spark: SparkSession, *, really: bool = False) -> Promotion:
        """Moves rescued values into the columns that can take them now; without ``really`` only counts them.

        One commit, which keeps every row. A value that is in a column already is never overwritten, and what still fits
        no column stays rescued. Doing it again changes nothing.

        Raises:
            LeaseHeld: the stream writes the table now.
        """
        from pyspark.sql import functions as F  # noqa: N812

        uri = self.lake.settings.table_uri(self.table)
        with checkpoints.writer_of(self.lake, self.table):
            before = self._rows()
            table = spark.read.format("delta").load(uri)
            promoter = self._promoter(table.schema)
            rescued = table.where(F.col(RESCUED_DATA).isNotNull())
            changed = rescued.mapInArrow(promoter, promoter.returns)
            counts = changed.select(F.explode(PROMOTED).alias("name")).groupBy("name").count().collect()
            rows = {row["name"]: int(row["count"]) for row in sorted(counts, key=lambda row: str(row["name"]))}
            if not (really and rows):
                return Promotion(rows, False, None, before, before)
            names = ", ".join(map(literal, rows))
            chosen = f"arrays_overlap(json_object_keys({RESCUED_DATA}), array({names}))"
            # the condition says which rows are written anew; they may not meet it any more
            spark.conf.set("spark.databricks.delta.replaceWhere.constraintCheck.enabled", "false")
            # over Connect strings come back with an explicit collation, which the table would have from then on
            columns = [F.col(name).cast(type_) for name, type_ in types_of(promoter.schema).items()]
            frame = rescued.where(chosen).mapInArrow(promoter, promoter.returns).select(*columns)
            (
                frame.write.format("delta")
                .mode("overwrite")
                .option("replaceWhere", chosen)
                .option("mergeSchema", "true")
                .option("userMetadata", json.dumps({"promoted": list(rows)}))
                .save(uri)
            )
            return Promotion(rows, True, self.lake.version(self.table), before, self._rows())

    def _promoter(self, table: StructType) -> Promoter:
        version = self._version()
        schema = evolved(table, version.data)
        own = set(version.data.names)
        columns = StructType([field for field in schema.fields if field.name in own])
        return Promoter(schema, columns, RESCUED_DATA, self.options.format, dict(self.options.reader))

    def _learner(self, version: SchemaVersion) -> Learner:
        as_json = replace(self.options, format="json", reader={}, schema_evolution_mode="addNewColumns")
        others = frozenset({*version.partitions.names, METADATA, RESCUED_DATA})
        return Learner(as_json, version.data, others, RESCUED_DATA)

    def _hint(self, text: str, waiting: dict[str, WaitingColumn]) -> Hint:
        if text in waiting:
            column = waiting[text]
            return parse_hints(f"{dotted(column.name)} {column.type}")[0]
        if " " not in text.strip():
            raise _refused(f"no column {text} waits in the rescued data of {self.table}", sorted(waiting))
        [hint] = parse_hints(text)
        return hint

    def _version(self) -> SchemaVersion:
        version = self.schemas.latest()
        if version is None:
            raise ConfigurationError(
                f"the stream into {self.table} has no schema yet",
                where=self.options.schema_location or self.table,
                state="nothing was changed",
                next_command="load files first: lakehouse ingest",
            )
        return version

    def _rescued(self) -> Iterator[tuple[pa.Array, pa.Array, pa.Array]]:
        rows = self.lake.rows(self.table)
        if rows is None:
            return
        columns = [RESCUED_DATA, _FILE, _RECORD]
        for batch in rows.to_batches(columns=columns, filter=~pc.field(RESCUED_DATA).is_null()):
            if batch.num_rows:
                yield tuple(batch.column(name) for name in columns)

    def _rows(self) -> int:
        table = self.lake.describe(self.table)
        return table.rows if table else 0


def _names(value: Any, name: str = "") -> Iterator[str]:
    """Dotted names of all that a document holds, as ``evolve.changes`` writes them."""
    if name and value is not None:
        yield name
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _names(part, f"{name}.{key}" if name else key)
    if isinstance(value, list):
        for part in value:
            yield from _names(part, f"{name}[]")


def _refused(what: str, waiting: list[str]) -> ConfigurationError:
    return ConfigurationError(
        what,
        where="lakehouse schema approve",
        state="nothing was changed",
        next_command="name one of: " + ", ".join(waiting) if waiting else "nothing waits; new files may bring columns",
    )
