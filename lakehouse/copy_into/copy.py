"""``COPY INTO``: files into a table, each once, in one commit a call; for what comes by the hour or the day.

A file is known by its path in the table's own list (``copied``), so options may differ from call to call. A call loads
all that it names, or nothing.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from heapq import nlargest
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import StringType, StructField, StructType

from lakehouse.autoloader.batch import versions_of
from lakehouse.autoloader.files.backlog import FileFilter
from lakehouse.autoloader.files.discovery import listed_files
from lakehouse.autoloader.formats.registry import FORMATS
from lakehouse.autoloader.lineage import RESCUED_DATA
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import glob_regex, key_uri, split_uri
from lakehouse.autoloader.outcomes.receipts import Receipt
from lakehouse.autoloader.reading.fetch_local import fetcher_of
from lakehouse.autoloader.schema.evolve import changes
from lakehouse.autoloader.schema.versions import SchemaLocation, SchemaVersion, infer_version
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.copy_into.call import Copy, CopyReport, Validation, refused
from lakehouse.copy_into.ledger import Attempt, CopiedFiles
from lakehouse.copy_into.local import write_here
from lakehouse.copy_into.reader import CopyFiles, CopyStream
from lakehouse.declaration import read_catalogue
from lakehouse.engine import explain
from lakehouse.errors import CopyFailed, LakehouseError
from lakehouse.lake import Lake
from lakehouse.python_values import listed_rows
from lakehouse.storage import ObjectInfo
from lakehouse.streams.failures import first_lines, library_error
from lakehouse.streams.queries import UNKNOWN_FIELD

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PREVIEW_ROWS = 50
_ERRORS = 100


def copy_into(spark: SparkSession | None, lake: Lake, copy: Copy) -> CopyReport:
    """Loads the files that the table has not, in one commit.

    Exactly once: see ``copied``. A call that was killed has loaded all or nothing, and the next call knows which.

    Args:
        spark: The session; None loads them in this process, without a JVM.
        lake: Where the table is.
        copy: The call.

    Raises:
        ConfigurationError: the copy contradicts itself, or a stream writes the table.
        CopyFailed: a file, a record, a value or a column does not fit; nothing was loaded.
        LeaseHeld: another process writes to the table now.
        EngineUnavailable: the engine died; the message says why.
    """
    started = time.monotonic()
    copy = replace(copy, table=lake.settings.table_name(copy.table))
    copy.check()
    with checkpoints.writer_of(lake, copy.table) as lease, _explained(lake, copy):
        _refuse_streamed(lake, copy.table)
        copied, grown = CopiedFiles(lake, copy.table), None
        while True:
            copied.settle()
            chosen, known, missing = _choose(lake, copy, copied)
            if not chosen:
                return CopyReport(copy.table, (), known, missing, None, time.monotonic() - started)
            number = copied.settled() + 1
            attempt = copied.begin(number, copy.source.bucket, chosen)
            target = _Target.of(lake, copy, chosen, grown)
            schemas = SchemaLocation(lake.store, *split_uri(attempt.uri))
            schemas.write(target.version)
            lease.check()
            try:
                _write(spark, lake, copy, target, attempt)
            except Exception as error:
                if copied.committed() >= number:
                    continue  # by an earlier call: it was killed, but Spark went on
                grown = schemas.latest() if UNKNOWN_FIELD in str(error) else None
                if grown is None or grown.version == target.version.version:
                    raise
                continue
            winner, files = copied.settle()
            if winner == attempt:
                version = lake.version(copy.table)
                return CopyReport(copy.table, tuple(files), known, missing, version, time.monotonic() - started)


def validate_copy(lake: Lake, copy: Copy, rows: int | None = None) -> Validation:
    """Parses the files that the call would load, writes nothing, and needs no Spark.

    Args:
        lake: Where the table is.
        copy: The call.
        rows: Stop after so many; None reads all.

    Raises:
        ConfigurationError: the copy contradicts itself.
    """
    copy = replace(copy, table=lake.settings.table_name(copy.table))
    copy.check()
    _refuse_streamed(lake, copy.table)
    chosen, _, _ = _choose(lake, copy, CopiedFiles(lake, copy.table))
    if not chosen:
        return Validation(copy.table, 0, 0, {}, {}, (), ())
    target = _Target.of(lake, copy, chosen, None)
    found, refused = _look(lake, copy, target, chosen, rows), []
    while found.grown is not None:  # with the new columns it is seen what else is wrong
        refused += [] if target.may_grow else [found.new_columns]
        target = replace(target, version=replace(target.version, data=found.grown))
        found = _look(lake, copy, target, chosen, rows)
    new = [(name, type_) for name, old, type_ in changes(target.known, target.columns) if old is None]
    return Validation(
        table=copy.table,
        files=found.files,
        rows=found.rows,
        columns={column.name: column.dataType.simpleString() for column in target.columns.fields},
        new_columns={name: type_.simpleString() for name, type_ in new if type_},
        errors=tuple([*refused, *found.errors][:_ERRORS]),
        preview=tuple(found.preview),
    )


@dataclass(frozen=True)
class _Target:
    """The table as it is, and as it will be.

    Attributes:
        known: Its columns; none when it is not there.
        version: The columns that files and paths fill.
        rescued: Its column for what does not fit; None without one.
        may_grow: Whether new columns are added.
    """

    known: StructType
    version: SchemaVersion
    rescued: str | None
    may_grow: bool

    @property
    def columns(self) -> StructType:
        version = self.version
        added = [StructField(self.rescued, StringType())] if self.rescued else []
        return StructType([*version.data.fields, *version.partitions.fields, *added])

    @classmethod
    def of(cls, lake: Lake, copy: Copy, chosen: list[ObjectInfo], grown: SchemaVersion | None) -> _Target:
        """The table's own columns; those of the files when there is no table.

        Raises:
            CopyFailed: the files have no columns.
        """
        options = CloudFilesOptions.parse(copy.source_options)
        opened = lake.delta(copy.table)
        if opened is None:
            version = grown or _infer(lake, copy, options, chosen)
            return cls(StructType(), replace(version, version=0), options.rescued_data_column, True)
        named = StructType.fromJson(json.loads(opened.schema().to_json()))
        known = StructType([StructField(column.name, column.dataType) for column in named.fields])
        rescued = options.rescued_data_column or RESCUED_DATA
        data = StructType([column for column in known.fields if column.name != rescued])
        version = grown or SchemaVersion(0, data, StructType())
        rescued_too = rescued if rescued in known.names else None
        return cls(known, replace(version, version=0), rescued_too, copy.merge_schema)


@dataclass
class _Look:
    """What was seen without writing; with ``grown`` only that the files have ``new_columns``."""

    files: int = 0
    rows: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)
    preview: list[dict[str, Any]] = field(default_factory=list)
    grown: StructType | None = None
    new_columns: tuple[str, str] = ("", "")


def _look(lake: Lake, copy: Copy, target: _Target, chosen: list[ObjectInfo], limit: int | None) -> _Look:
    options = replace(CloudFilesOptions.parse(copy.source_options), schema_evolution_mode="failOnNewColumns")
    stream = CopyStream(options, None, endpoint=lake.endpoint)
    files = versions_of(copy.source.bucket, chosen)
    seen = _Look()
    # file by file where a few rows are enough; files of one group are fetched ahead
    for group in [[file] for file in files] if limit is not None else [files]:
        receipts: list[Receipt] = []
        spans = sorted((span for part in stream.cut(group) for span in part), key=lambda span: (span.seq, span.start))
        try:
            for batch, misfits in stream.examined(spans, target.columns, receipts):
                seen.errors += misfits[: _ERRORS - len(seen.errors)]
                some_rows = batch.slice(0, min(limit or PREVIEW_ROWS, PREVIEW_ROWS) - len(seen.preview))
                seen.preview += listed_rows(some_rows)
        except LakehouseError as error:
            if stream.learner is not None and stream.learner.introduced:
                seen.grown, seen.new_columns = stream.learner.grown, (error.where, error.what)
            else:
                seen.errors.append((error.where, error.what))
        keys = {file.seq: key_uri(copy.source.bucket, file.key) for file in group}
        seen.errors += [(keys[receipt.seq], receipt.error) for receipt in stream.unread(receipts)]
        seen.files += len(group)
        seen.rows += sum(receipt.rows for receipt in receipts)
        if limit is not None and seen.rows >= limit:
            break
    return seen


def _write(spark: SparkSession | None, lake: Lake, copy: Copy, target: _Target, attempt: Attempt) -> None:
    mode = "addNewColumns" if target.may_grow else "failOnNewColumns"
    if not FORMATS[copy.format.lower()].grows:  # what is new does not fit then, as what has another type
        mode = "rescue"
    own = {"journalLocation": attempt.uri, "schemaLocation": attempt.uri, "schemaEvolutionMode": mode}
    options = {**copy.source_options, **{f"cloudFiles.{name}": value for name, value in own.items()}}
    if spark is None:
        write_here(lake, copy.table, target.columns, CloudFilesOptions.parse(options), attempt)
        return
    spark.dataSource.register(CopyFiles)
    reader = spark.read.format(CopyFiles.name()).schema(target.columns)
    for name, value in options.items():
        reader = reader.option(name, value) if name != "path" else reader
    writer = reader.load(copy.path).write.format("delta").mode("append")
    for name, value in attempt.delta_options().items():
        writer = writer.option(name, value)
    writer.option("mergeSchema", str(target.may_grow).lower()).save(lake.settings.table_uri(copy.table))


def _choose(lake: Lake, copy: Copy, copied: CopiedFiles) -> tuple[list[ObjectInfo], int, tuple[str, ...]]:
    """What is to be loaded, how many named files the table has already, and which names are not there."""
    source = copy.source
    if copy.files:
        looked = {name: lake.store.info(source.bucket, source.root + name) for name in copy.files}
        listed: Iterator[ObjectInfo] | list[ObjectInfo] = [info for info in looked.values() if info]
        missing = tuple(name for name, info in looked.items() if info is None)
    else:
        listed, missing = listed_files(lake.store, source), ()
    filter_ = FileFilter(source, CloudFilesOptions.parse(copy.source_options))
    glob = re.compile(glob_regex(copy.pattern or "*"), re.DOTALL) if copy.pattern is not None else None
    found = [
        info
        for info in listed
        if info.size_bytes and filter_.takes(info) and (glob is None or glob.fullmatch(source.below(info.key)))
    ]
    chosen = found if copy.force else copied.not_loaded(source.bucket, found)
    return chosen, len(found) - len(chosen), missing


def _infer(lake: Lake, copy: Copy, options: CloudFilesOptions, chosen: list[ObjectInfo]) -> SchemaVersion:
    newest = nlargest(
        options.sample_files, versions_of(copy.source.bucket, chosen), key=lambda file: file.last_modified
    )
    version = infer_version(options, copy.source.root, fetcher_of(copy.source.bucket, lambda: lake.endpoint), newest)
    if not version.data.fields:
        raise CopyFailed(
            f"no column is found in the newest {len(newest):,} files",
            where=copy.path,
            state="nothing was loaded",
            next_command="correct the files, or make the table first: CREATE TABLE",
        )
    return version


def _is_declared(lake: Lake, table: str) -> bool:
    return lake.settings.declaration.exists() and table in read_catalogue(lake.settings)


def _refuse_streamed(lake: Lake, table: str) -> None:
    """Raises where a stream writes the table: the two know nothing of each other's files."""
    by = "the stream that is declared for it" if _is_declared(lake, table) else ""
    if not by and checkpoints.read_checkpoint(lake, table) is not None:
        by = "the stream with the checkpoint " + lake.settings.checkpoint_uri(table)
    if not by and not CopiedFiles(lake, table).committed():
        by = "a stream" if any(commit.query_id for commit in lake.commits_since(table, None)) else ""
    if by:
        raise refused(f"{table} is written by {by}: a copy would load its files twice", "copy into another table")


@contextmanager
def _explained(lake: Lake, copy: Copy) -> Iterator[None]:
    """Turns what Spark raises into an error that tells what to do."""
    try:
        yield
    except (LakehouseError, KeyboardInterrupt):
        raise
    except Exception as error:
        ours = library_error(str(error))
        if ours is not None:
            what = ours.what.removesuffix(" (CopyFailed)")
            raise CopyFailed(what, where=ours.where, state=ours.state, next_command=ours.next_command) from None
        reason = explain(lake.settings, error) if lake.settings.spark_remote is None else None
        if reason is not None:
            raise reason from error
        raise CopyFailed(
            f"the copy into {copy.table} ended with an error: {first_lines(str(error))}",
            where=lake.settings.table_uri(copy.table),
            state="it is in the table whole or not at all; the same again loads no file twice",
            next_command="correct the cause, and run the same again",
        ) from error
