"""Fewer, larger data files of the same rows: ``deltalake`` writes them again in one commit that changes no data.

Streams that read the table pass over such a commit, and go on with the files of the versions that they have not read:
those stay until a vacuum, which knows who reads. Appends beside it are no conflict. Where batches write files again,
by MERGE or in place of others, the table's lease is held meanwhile.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError, DeltaError

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.delta_commit import metadata_of
from lakehouse.errors import ConfigurationError, LeaseHeld, TerminalError, TransientError
from lakehouse.lake import KEEPS_LOG, Lake, LakeTable, adds_of
from lakehouse.maintenance.positions import alone
from lakehouse.plain_text import cause_of
from lakehouse.python_values import listed
from lakehouse.storage.delta_paths import commit_uri

TARGET_BYTES = 128_000_000
LEAST_FEWER = 8
_Z_ORDER, _RUN = "zOrder", "optimize"
_WRITABLE = {"appendOnly", "invariants", "timestampNtz", "changeDataFeed"}
"""Features with which a data file can be written again without a word about its rows."""


@dataclass(frozen=True)
class Optimized:
    """What became of a table's files, or would.

    Attributes:
        table: The table.
        files_before: Data files of the newest version.
        bytes_before: Their size.
        small_files: Those below the size that is wanted.
        files_after: Data files then; before it was done, at most about so many.
        bytes_after: Their size; before it was done, the same as now.
        why_not: Why it does not pay, or cannot be done; empty when it does.
        version: The commit; None before.
        done: Whether it was done.
    """

    table: str
    files_before: int
    bytes_before: int
    small_files: int
    files_after: int
    bytes_after: int
    why_not: str = ""
    version: int | None = None
    done: bool = False


@dataclass(frozen=True)
class Thresholds:
    """When it pays.

    Attributes:
        target_bytes: How large a data file shall be.
        least_fewer: How many files fewer the table must have then.
        z_order: Columns by whose values rows are put together; none to only join files.
    """

    target_bytes: int = TARGET_BYTES
    least_fewer: int = LEAST_FEWER
    z_order: tuple[str, ...] = ()


def optimize(
    lake: Lake, table: str, thresholds: Thresholds = Thresholds(), *, rewritten: bool = True, really: bool = False
) -> Optimized | None:
    """Joins the small files of a table where that pays; None when there is no table.

    Args:
        lake: Where the table is.
        table: Its name.
        thresholds: When it pays, and how.
        rewritten: Whether batches do more than add files in a conditional commit: then no stream may write meanwhile.
        really: Do it.

    Raises:
        ConfigurationError: there is no such column.
        TransientError: somebody else wrote the same files meanwhile; nothing was changed.
    """
    try:
        opened = lake.delta(table)
    except (DeltaError, OSError) as error:
        return Optimized(table, 0, 0, 0, 0, 0, f"it cannot be read: {cause_of(error)}")
    if opened is None:
        return None
    found = _look(opened, table, thresholds)
    if found.why_not or not really:
        return found
    try:
        with (alone if rewritten else checkpoints.rewriter_of)(lake, table):
            opened.update_incremental()
            return _do(lake, opened, found, thresholds)
    except LeaseHeld as error:
        return Optimized(**{**vars(found), "files_after": found.files_before, "why_not": error.what})


def _look(opened: LakeTable, table: str, thresholds: Thresholds) -> Optimized:
    adds = adds_of(opened)
    partitions = opened.metadata().partition_columns
    keys = [listed(adds[f"partition.{name}"]) for name in partitions]
    sizes: dict[tuple[object, ...], list[int]] = {}
    for number, size in enumerate(adds["size_bytes"].to_pylist()):
        sizes.setdefault(tuple(key[number] for key in keys), []).append(size)
    target, z_order = thresholds.target_bytes, thresholds.z_order
    small = {key: [size for size in file_sizes if size < target] for key, file_sizes in sizes.items()}
    rewritten = {key: file_sizes for key, file_sizes in (sizes if z_order else small).items() if len(file_sizes) > 1}
    before, total = adds.num_rows, sum(map(sum, sizes.values()))
    after = before - sum(len(file_sizes) - -(-sum(file_sizes) // target) for file_sizes in rewritten.values())
    why_not = only_spark(opened)
    if z_order and not why_not:
        why_not = _no_z_order(opened, z_order, partitions, total, target)
    elif not why_not and before - after < thresholds.least_fewer:
        why_not = f"{before - after:,} files fewer; it pays from {thresholds.least_fewer:,} on"
    return Optimized(table, before, total, sum(map(len, small.values())), before if why_not else after, total, why_not)


def only_spark(opened: LakeTable) -> str:
    """Why ``deltalake`` may not write files of a table again; empty when it may."""
    protocol, configuration = opened.protocol(), opened.metadata().configuration
    others = {*(protocol.reader_features or ()), *(protocol.writer_features or ())} - _WRITABLE
    if configuration.get("delta.columnMapping.mode", "none") != "none":
        others.add("columnMapping")
    return f"only Spark writes files of a table with {', '.join(sorted(others))}" if others else ""


def _no_z_order(
    opened: LakeTable, z_order: Sequence[str], partitions: Sequence[str], total_bytes: int, target_bytes: int
) -> str:
    known = [field.name for field in opened.schema().fields if field.name not in partitions]
    if missing := [name for name in z_order if name not in known]:
        raise ConfigurationError(
            f"there is no column {', '.join(missing)} to order by",
            where=opened.table_uri,
            state="nothing was changed",
            next_command=f"name some of: {', '.join(known)}",
        )
    if total_bytes <= target_bytes:
        return f"all rows fit into a file of {target_bytes / 1e6:,.0f} MB: no order lets a reader pass over files"
    for entry in opened.history():
        if metadata_of(entry).get(_Z_ORDER) == list(z_order):
            return f"nothing has come since version {entry['version']}, which is in this order"
        if entry.get("operation") not in ("OPTIMIZE", "VACUUM START", "VACUUM END"):
            return ""
    return ""


def _do(lake: Lake, opened: LakeTable, found: Optimized, thresholds: Thresholds) -> Optimized:
    before = opened.version()
    rows = dict(zip(*_rows_of(opened), strict=True))
    run = uuid.uuid4().hex
    about = {_RUN: run, **({_Z_ORDER: list(thresholds.z_order)} if thresholds.z_order else {})}
    options: dict[str, Any] = {
        "target_size": thresholds.target_bytes,
        "commit_properties": CommitProperties(custom_metadata={"userMetadata": json.dumps(about)}),
        "post_commithook_properties": KEEPS_LOG,
    }
    try:
        if thresholds.z_order:
            opened.optimize.z_order(thresholds.z_order, **options)
        else:
            opened.optimize.compact(**options)
    except (DeltaError, OSError) as error:
        if not _is_there(opened, before, run):
            return _not_done(opened, found, error)
    made = opened.version()
    if made > before:
        _require_same_rows(lake, found.table, before, made, rows)
    adds = adds_of(opened)
    now = {"files_after": adds.num_rows, "bytes_after": sum(adds["size_bytes"].to_pylist())}
    return Optimized(**{**vars(found), **now, "version": made, "done": True})


def _is_there(opened: LakeTable, before: int, run: str) -> bool:
    """Whether the commit is in the table: its reply may be lost, and it not."""
    opened.update_incremental()
    since = opened.version() - before
    return since > 0 and any(metadata_of(entry).get(_RUN) == run for entry in opened.history(since))


def _not_done(opened: LakeTable, found: Optimized, error: Exception) -> Optimized:
    reason = cause_of(error)
    if isinstance(error, CommitFailedError):
        raise TransientError(
            f"{found.table} was written meanwhile: {reason}",
            where=opened.table_uri,
            state="nothing was changed",
            next_command=f"lakehouse maintain optimize {found.table} --yes",
        ) from None
    return Optimized(**{**vars(found), "files_after": found.files_before, "why_not": reason})


def _rows_of(opened: LakeTable) -> tuple[list[str], list[int | None]]:
    adds = adds_of(opened)
    return adds["path"].to_pylist(), adds["num_records"].to_pylist()


def _require_same_rows(lake: Lake, table: str, before: int, newest: int, rows: dict[str, int | None]) -> None:
    """Holds the rows of the files that went against those that came, by the commits' own words."""
    uri = lake.settings.table_uri(table)
    commits = [split_uri(commit_uri(uri, version)) for version in range(before + 1, newest + 1)]
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda commit: lake.store.read(*commit), commits))
    for version, text in enumerate(texts, before + 1):
        actions = [json.loads(line) for line in text.splitlines() if line.strip()]
        if not any((action.get("commitInfo") or {}).get("operation") == "OPTIMIZE" for action in actions):
            continue
        came = [
            json.loads(action["add"].get("stats") or "{}").get("numRecords") for action in actions if "add" in action
        ]
        went = [rows.get(action["remove"]["path"]) for action in actions if "remove" in action]
        if None in came or None in went:
            continue
        if sum(n or 0 for n in came) != sum(n or 0 for n in went):
            raise TerminalError(
                f"the files of {table} have other rows after they were joined than before",
                where=uri,
                state=f"version {version - 1} has the rows as they were",
                next_command=f"in Spark: RESTORE TABLE {table} TO VERSION AS OF {version - 1}",
            )
