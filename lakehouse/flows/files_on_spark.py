"""``files`` on the engine ``spark``: the query of a table, and whether it is needed at all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lakehouse.autoloader.options.parse import LOOKED, WIDENING, CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath, plain_uri, source_id
from lakehouse.errors import ConfigurationError
from lakehouse.flows.schema_versions import schema_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse.flows.files import Files
    from lakehouse.lake import Lake
    from lakehouse.streams.progress import StreamReport
    from lakehouse.streams.run import Run
    from lakehouse.table import At

_log = logging.getLogger(__name__)


def run_files(at: At, run: Run, flow: Files, options: CloudFilesOptions) -> StreamReport:
    """Runs the ``cloudFiles`` stream of a table; where rows may have to go, with the writer that takes them out.

    The folder is looked at first. Where nothing waits no query is started, and no engine.
    """
    from lakehouse.direct.on_spark import DirectSink, written_files
    from lakehouse.direct.reasons import NotDirect, why_not
    from lakehouse.direct.stream import target_of
    from lakehouse.direct.waiting_files import Looked, look_for_files
    from lakehouse.maintenance.replay import pending_replays
    from lakehouse.streams.file_logs import CloudFilesLog
    from lakehouse.streams.replacing import ReplacingWriter
    from lakehouse.streams.run import BatchWriter, Sink, run_stream
    from lakehouse.streams.widening import widen_table

    lake, table = at.lake, at.table.name
    require_same_folder(lake, table, flow)
    uri, checkpoint = lake.settings.table_uri(table), lake.settings.checkpoint_uri(table)

    looked: Looked | None = None
    overwrites = options.allow_overwrites == "replace"
    writer: BatchWriter | Sink | None = None

    def has_read_all() -> bool:
        nonlocal looked
        if lake.settings.spark_remote is None:  # an engine elsewhere may have folders and keys of its own
            looked = look_for_files(lake, table, options)
        return looked is not None and not looked.waiting

    def frame() -> DataFrame:
        nonlocal writer
        writer = None
        known = {} if looked is None else {LOOKED: str(looked.upto)}
        if flow.replaces and (overwrites or pending_replays(lake, table)):
            writer = ReplacingWriter(uri, checkpoint, overwrites, options.profile, flow.partition_by)
        elif flow.sink == "direct":
            try:
                if reason := why_not(options):
                    raise NotDirect(reason)
                target = target_of(lake, table, flow.loading(options))
                writer = DirectSink(table, uri, checkpoint, target.rows.json(), flow.partition_by)
                given = {**flow.reader_options(lake.settings, table), **known}
                return written_files(at.spark, given, target, writer)
            except NotDirect as reason:
                _log.info("Spark's own sink writes %s: %s", table, reason)
        rows = flow.stream(at, table, known)
        if options.schema_evolution_mode == WIDENING and lake.version(table) is not None:
            widen_table(rows, uri)
        return rows

    return run_stream(
        run,
        lake,
        table,
        frame,
        expected=flow.expected,
        batch_writer=lambda: writer,
        schema_version=lambda: schema_of(lake, table).newest if options.schema_location else None,
        has_read_all=has_read_all,
        file_log=CloudFilesLog(lake, options),
        partition_by=flow.partition_by,
    )


def require_same_folder(lake: Lake, table: str, flow: Files) -> None:
    """Makes sure that a table goes on in the folder that its checkpoint knows.

    Raises:
        ConfigurationError: the declaration names another folder.
    """
    from lakehouse.autoloader.files.journal import Journal
    from lakehouse.checkpoints import agreement as checkpoints

    offset = checkpoints.newest_offset(lake, table) or {}
    known, path = str(offset.get("journal", "")).rstrip("/"), SourcePath.parse(flow.path)
    name = known.rsplit("/", 1)[-1]
    if not known or name == source_id(path) or "cloudfiles.journallocation" in {key.lower() for key in flow.options}:
        return
    journal = Journal.at(lake.store, known)
    first = next(iter(journal.files(0, 1)), None)
    steps = first.key.split("/")[:-1] if first else []
    roots = ["", *("/".join(steps[: end + 1]) + "/" for end in range(len(steps)))]
    before = next(
        (uri for root in roots if first and source_id(SourcePath.parse(uri := plain_uri(first.bucket, root))) == name),
        None,
    )
    if before is None:  # it was given a place of its own
        return
    raise ConfigurationError(
        f"the folder of {table} changed from {before} to {plain_uri(path.bucket, path.root)}",
        where=lake.settings.checkpoint_uri(table),
        state="nothing was read or written; the table has the files of the first",
        next_command=f"declare a table of its own for the new folder, and give {table} its path back",
    )
