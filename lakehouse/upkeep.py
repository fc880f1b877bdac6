"""Keeping the lake's tables in order, without Spark.

The declaration says what may be done to each table, and ``lakehouse.maintenance`` does it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from deltalake.exceptions import DeltaError

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.replays import replays_of
from lakehouse.declaration import catalogue_or_none, read_catalogue
from lakehouse.delta_commit import metadata_of
from lakehouse.errors import ConfigurationError, LeaseHeld, TerminalError, TransientError
from lakehouse.flows.files import Files
from lakehouse.lake import Lake
from lakehouse.maintenance.cleanup import Chosen, Cleanup, cleanup
from lakehouse.maintenance.optimize import Optimized, Thresholds, optimize
from lakehouse.maintenance.orphans import Orphan, orphans, remove
from lakehouse.maintenance.positions import place_of, readers
from lakehouse.maintenance.vacuum import DEFAULT_HOURS, Vacuum, vacuum
from lakehouse.plain_text import cause_of
from lakehouse.table import Catalogue
from lakehouse.table_names import require_name

if TYPE_CHECKING:
    from lakehouse.maintenance.retention import Expired
    from lakehouse.maintenance.versions import TakenBack

_USUAL = Thresholds()
_COMMITS_READ = 8
_OVERWRITES = "cloudfiles.allowoverwrites"


def optimize_tables(
    lake: Lake,
    names: Sequence[str] = (),
    thresholds: Thresholds = _USUAL,
    *,
    really: bool = False,
    on_table: Callable[[str], None] = lambda table: None,
) -> list[Optimized]:
    """Joins the small files of tables where that pays, one table after the other; see ``maintenance.optimize``.

    Args:
        lake: Where they are.
        names: Which; default all that are there.
        thresholds: When it pays, and how.
        really: Do it.
        on_table: Told of each table before it is looked at.

    Raises:
        ConfigurationError: there is no such table, or no such column.
        TransientError: a table was written meanwhile; those before it are done.
    """
    catalogue, found = catalogue_or_none(lake.settings), []
    for name in existing(lake, names):
        on_table(name)
        rewritten = really and _is_rewritten(lake, catalogue, name)
        done = optimize(lake, name, thresholds, rewritten=rewritten, really=really)
        found += [done] if done else []
    return found


def vacuum_tables(
    lake: Lake,
    names: Sequence[str] = (),
    *,
    retention_hours: float = DEFAULT_HOURS,
    really: bool = False,
    on_table: Callable[[str], None] = lambda table: None,
) -> list[Vacuum]:
    """Removes the files of tables that nobody can need any more; see ``maintenance.vacuum``.

    Args:
        lake: Where they are.
        names: Which; default all that are there.
        retention_hours: For how long what is gone from a table stays.
        really: Do it.
        on_table: Told of each table before it is looked at.

    Raises:
        ConfigurationError: there is no such table; or the retention is short, and a reader has not read all.
    """
    chosen, needs = existing(lake, names), _needs(lake)
    if really and retention_hours < DEFAULT_HOURS:  # before anything goes
        for name in chosen:
            vacuum(lake, name, needs(name), retention_hours=retention_hours, strict=True)
    found = []
    for name in chosen:
        on_table(name)
        try:
            done = vacuum(lake, name, needs(name), retention_hours=retention_hours, really=really)
        except ConfigurationError:
            raise
        except (TerminalError, DeltaError, OSError) as error:  # the other tables are none the worse for it
            why = error.what if isinstance(error, TerminalError) else cause_of(error)
            done = Vacuum(name, retention_hours, 0, 0, refused=why)
        found += [done] if done else []
    return found


def remove_old_rows(
    lake: Lake,
    names: Sequence[str] = (),
    *,
    really: bool = False,
    now: datetime | None = None,
    on_table: Callable[[str], None] = lambda table: None,
) -> list[Expired]:
    """Removes the rows of tables that are older than their ``retention``; see ``maintenance.retention``.

    Args:
        lake: Where they are.
        names: Which; default all that have a retention and are there.
        really: Do it.
        now: The time that ages are counted to.
        on_table: Told of each table before it is looked at.

    Raises:
        ConfigurationError: a table that was named has no retention, or its column has no times.
    """
    from lakehouse.maintenance.retention import Expired, expire  # PySpark's types, which `lakehouse tables` needs not

    catalogue, found = read_catalogue(lake.settings), []
    for name in names or [table.name for table in catalogue if table.retention]:
        retention = catalogue[name].retention
        if retention is None:
            raise ConfigurationError(
                f"nothing says how long {name} keeps its rows",
                where=catalogue.where,
                state="nothing was changed",
                next_command="declare it: retention: {column: ordered_at, keep: 90 days}",
            )
        on_table(name)
        before = _before(now or datetime.now(UTC), retention.keep)
        rewritten = really and _is_rewritten(lake, catalogue, name)
        try:
            done = expire(
                *(lake, name, retention.column, before), then=retention.then, rewritten=rewritten, really=really
            )
        except TransientError as error:  # the other tables are none the worse for it
            held, moment = isinstance(error, LeaseHeld), before.isoformat(timespec="seconds")
            done = Expired(name, retention.column, moment, refused=error.what, put_off=held)
        found += [done] if done else []
    return found


def _before(now: datetime, age: timedelta) -> datetime:
    try:
        return now - age
    except OverflowError:  # nothing is so old
        return datetime.min.replace(tzinfo=UTC)


def _needs(lake: Lake) -> Callable[[str], dict[str, int]]:
    """A function that gives the readers of a table, each with the version that it needs."""
    catalogue, of_streams = catalogue_or_none(lake.settings), readers(lake)

    def needs(name: str) -> dict[str, int]:
        try:
            opened = lake.delta(name)
        except (DeltaError, OSError):  # whoever removes files will say it
            return {}
        known = {} if opened is None else of_streams.get(str(opened.metadata().id), {})
        return known | _whole_reads(lake, catalogue, name)

    return needs


def restore(lake: Lake, table: str, version: int, *, then: str = "follow", really: bool = False) -> TakenBack:
    """Takes a table of files back to an older version, with its stream; see ``maintenance.versions``.

    Raises:
        LeaseHeld: a stream writes the table now.
        CheckpointMismatch: the table and its checkpoint do not belong together.
        ConfigurationError: it cannot be done so that every file is in the table exactly once afterwards.
    """
    from lakehouse.maintenance.versions import not_taken_back, take_back

    catalogue = read_catalogue(lake.settings)
    flow = catalogue[table].flow
    if then not in ("follow", "keep"):
        raise not_taken_back(f"--then {then} is no choice", "give one of follow, keep")
    if not isinstance(flow, Files):
        raise not_taken_back(f"{table} is computed from other tables", f"lakehouse checkpoint restart {table}")
    if not flow.replaces:
        raise not_taken_back(f"rows of {table} do not say which file they are from", "RESTORE TABLE, in Spark")
    readers_ = [reader.name for reader in catalogue.readers(table)]
    options = flow.cloud_files(lake.settings, table)
    return take_back(lake, table, version, options, readers=readers_, then=then, really=really)  # type: ignore[arg-type]


def find_orphans(lake: Lake) -> list[Orphan]:
    """What was kept for tables that are neither declared nor there; see ``maintenance.orphans``."""
    catalogue, journals = catalogue_or_none(lake.settings), set()
    for table in catalogue:
        if isinstance(table.flow, Files):
            options = {
                name.lower(): value for name, value in table.flow.reader_options(lake.settings, table.name).items()
            }
            journals.add(options.get("cloudfiles.journallocation", ""))
    return orphans(lake, catalogue.names, journals)


def remove_orphans(lake: Lake, names: Sequence[str]) -> list[Orphan]:
    """Removes orphans by their names.

    Raises:
        ConfigurationError: no orphan has such a name, or somebody writes by it.
    """
    return remove(lake, find_orphans(lake), names)


def clean_up(lake: Lake, *, tables: bool, checkpoints: bool, landing: bool, really: bool = False) -> Cleanup:
    """Removes what the user has in the lake, or says what it is; see ``maintenance.cleanup``.

    Raises:
        LeaseHeld: somebody writes a table now.
        ConfigurationError: a declared folder is the whole landing bucket.
    """
    catalogue = catalogue_or_none(lake.settings)
    paths = tuple(table.flow.path for table in catalogue if isinstance(table.flow, Files)) if landing else ()
    return cleanup(lake, Chosen(tables, checkpoints, paths, found=landing), catalogue.names, really=really)


def existing(lake: Lake, names: Sequence[str]) -> list[str]:
    """The tables of these names; all that are there when none is named.

    Raises:
        ConfigurationError: a table is not there.
    """
    for name in names:
        require_name(name)
    there = lake.table_names()
    if missing := [name for name in names if name not in there]:
        raise ConfigurationError(
            f"there is no table {', '.join(missing)}",
            where=lake.settings.lake_uri,
            state="nothing was changed",
            next_command=f"name some of: {', '.join(there)}" if there else "lakehouse ingest   (makes them)",
        )
    return list(dict.fromkeys(names)) or there


def _is_rewritten(lake: Lake, catalogue: Catalogue, name: str) -> bool:
    """Whether batches of a table do more than add files in a conditional commit, which is no conflict with anything.

    Those of Spark's own sink are none: on S3 it may write over the commit of somebody else.
    """
    flow = catalogue[name].flow if name in catalogue else None
    if not isinstance(flow, Files) or not _adds_directly(lake, flow, name):
        return True
    overwrites = next((value for key, value in flow.options.items() if key.lower() == _OVERWRITES), "false")
    if overwrites.lower() != "false":
        return True
    offset = place_of(lake, name).offset
    if "seq" not in offset:
        return False
    return bool(replays_of(Journal.at(lake.store, offset["journal"]), offset["stream"], offset["seq"]))


def _adds_directly(lake: Lake, flow: Files, name: str) -> bool:
    from pyspark.sql.types import StructType  # a tenth of a second that a dry run does not spend

    from lakehouse.direct.reasons import NotDirect, require_direct, why_not

    opened = lake.delta(name)
    if opened is None or "spark" in (flow.source, flow.sink):
        return False
    try:
        if flow.needs_spark(lake.settings) and why_not(flow.cloud_files(lake.settings, name)):
            return False
        require_direct(opened, StructType.fromJson(json.loads(opened.schema().to_json())), flow.partition_by)
    except (NotDirect, ConfigurationError):
        return False
    return True


def _whole_reads(lake: Lake, catalogue: Catalogue, name: str) -> dict[str, int]:
    """Tables that are computed as a whole from this table, each with the version that it was computed from last."""
    found = {}
    for reader in catalogue.readers(name):
        opened = lake.delta(reader.name) if getattr(reader.flow, "mode", "") == "recompute" else None
        for entry in opened.history(_COMMITS_READ) if opened is not None else ():
            sources = _sources_of(entry)
            if name in sources:
                found[reader.name] = int(sources[name]["version"])
                break
    return found


def _sources_of(entry: dict[str, Any]) -> dict[str, Any]:
    sources = metadata_of(entry).get("sources")
    return sources if isinstance(sources, dict) else {}
