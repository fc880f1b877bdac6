"""A table in detail, from its log alone: its state, its folders, and how well its rows are ordered for readers."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from deltalake.exceptions import DeltaError

from lakehouse.lake import Lake, LakeTable, adds_of
from lakehouse.maintenance.optimize import TARGET_BYTES
from lakehouse.maintenance.positions import StreamPlace, place_of
from lakehouse.plain_text import cause_of, counted
from lakehouse.python_values import listed
from lakehouse.storage.store import ObjectMissing

FOLDER_BYTES = 1_000_000_000
"""What a folder of a partitioned table should hold at least."""
_FEW_FILES, _MANY = 4, 0.5
_THREADS = 16
_UPKEEP = ("OPTIMIZE", "VACUUM", "SET TBLPROPERTIES", "ADD COLUMN", "UPGRADE PROTOCOL")


@dataclass(frozen=True)
class TableState:
    """A table as it is now.

    Attributes:
        name: ``layer.name``.
        uri: Where it is.
        version: The newest version.
        rows: Rows in it.
        files: Data files of it.
        size_bytes: Their size.
        columns: Column name to Delta type.
        last_write: When rows came or went last; None where the newest commits only kept the table in order.
        last_batch: The newest batch that its stream has finished; None for a table without a stream.
        planned_batch: The newest that was planned: a larger number is a batch under way, or a batch that a crash left.
        problem: Why the table cannot be read; then its numbers are None.
    """

    name: str
    uri: str
    version: int | None = None
    rows: int | None = None
    files: int | None = None
    size_bytes: int | None = None
    columns: dict[str, str] = field(default_factory=dict)
    last_write: datetime | None = None
    last_batch: int | None = None
    planned_batch: int | None = None
    problem: str = ""


def states(lake: Lake, names: Sequence[str]) -> list[TableState]:
    """Several tables at once."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return [table for table in pool.map(lambda name: state(lake, name), names) if table is not None]


def state(lake: Lake, table: str) -> TableState | None:
    """A table's newest version and its stream; None when there is no table."""
    try:
        opened = lake.delta(table)
    except (DeltaError, OSError) as error:
        return TableState(table, lake.settings.table_uri(table), problem=cause_of(error))
    if opened is None:
        return None
    place = _place(lake, table, opened)
    info = lake.info_of(table, opened)
    return TableState(
        **vars(info), last_write=_last_write(opened), last_batch=place.finished, planned_batch=place.planned
    )


def _place(lake: Lake, table: str, opened: LakeTable) -> StreamPlace:
    """Where its stream stands. Hundreds of batches are not listed where the table's own number tells all."""
    bucket, base = lake.settings.bucket, f"{lake.settings.user}/_checkpoints/{table}/"
    try:
        batch = opened.transaction_version(str(json.loads(lake.store.read(bucket, f"{base}metadata"))["id"]))
    except (ObjectMissing, ValueError, KeyError, TypeError):
        batch = None

    def there(name: str) -> bool:
        try:
            return bool(lake.store.read(bucket, base + name))  # a few lines; of what is missing a HEAD tells too little
        except ObjectMissing:
            return False

    if batch is not None and there(f"commits/{batch}") and not there(f"offsets/{batch + 1}"):
        return StreamPlace(table, batch, batch)
    return place_of(lake, table, sources=False)


def _last_write(opened: LakeTable) -> datetime | None:
    for looked_at in (1, 10):  # a look costs a request, and mostly the newest entry is enough
        for entry in opened.history(looked_at):
            if not str(entry.get("operation") or "").startswith(_UPKEEP) and entry.get("timestamp"):
                return datetime.fromtimestamp(int(entry["timestamp"]) / 1000, UTC)
    return None


@dataclass(frozen=True)
class Layout:
    """How the rows of a table lie in its files.

    Attributes:
        partitions: Columns that make its folders.
        folders: How many folders there are; 1 without such columns.
        smallest_bytes, median_bytes, largest_bytes: Of its data files.
        small_files: Data files below ``target_bytes``.
        target_bytes: How large a data file should be.
        overlap: For each column with statistics, the share of files in whose range a value of it lies, on average.
        advice: Whether other folders or another order would help.
    """

    partitions: tuple[str, ...]
    folders: int
    smallest_bytes: int
    median_bytes: int
    largest_bytes: int
    small_files: int
    target_bytes: int
    overlap: dict[str, float] = field(default_factory=dict)
    advice: tuple[str, ...] = ()


def layout(opened: LakeTable, target_bytes: int = TARGET_BYTES) -> Layout:
    """From the statistics in the log alone."""
    adds = adds_of(opened)
    sizes = np.array(adds["size_bytes"].to_pylist() or [0])
    partitions = tuple(opened.metadata().partition_columns)
    keys = [listed(adds[f"partition.{name}"]) for name in partitions]
    folders = len(set(zip(*keys, strict=True))) if keys else 1
    ranges = {}
    for column in (schema_field.name for schema_field in opened.schema().fields):
        low, high = f"min.{column}", f"max.{column}"
        if low in adds.column_names and high in adds.column_names and column not in partitions:
            try:
                bounds = zip(adds[low].to_pylist(), adds[high].to_pylist(), strict=True)
            except OverflowError:  # Python has the years 1 to 9999 alone
                continue
            pairs = [pair for pair in bounds if None not in pair]
            if pairs and len(pairs) == adds.num_rows:
                ranges[column] = pairs
    overlap = {column: _overlap(pairs) for column, pairs in ranges.items()}
    total = int(sizes.sum())
    advice = (_of_folders(partitions, folders, total, ranges), _of_order(adds.num_rows, total, target_bytes, overlap))
    return Layout(
        partitions,
        folders,
        int(sizes.min()),
        int(np.median(sizes)),
        int(sizes.max()),
        int((sizes < target_bytes).sum()),
        target_bytes,
        overlap,
        advice,
    )


def _overlap(pairs: Sequence[tuple[Any, Any]]) -> float:
    """How large a share of the files a reader of one value opens, on average over the files' smallest values."""
    lows, highs = sorted(low for low, _ in pairs), sorted(high for _, high in pairs)
    opened = sum(bisect_right(lows, low) - bisect_left(highs, low) for low, _ in pairs)
    return opened / len(pairs) ** 2


def _of_folders(partitions: tuple[str, ...], folders: int, total: int, ranges: dict[str, list[tuple[Any, Any]]]) -> str:
    if partitions:
        average = total // max(folders, 1)
        sentence = f"partitioned by {', '.join(partitions)}: {folders:,} folders of {average / 1e6:,.1f} MB on average"
        few = folders > 1 and average < FOLDER_BYTES
        return sentence + ("; below 1 GB a folder costs readers more files than it saves them" if few else "")
    if total < FOLDER_BYTES:
        return f"no partitioning: {total / 1e6:,.1f} MB in all, and a folder should hold 1 GB"
    found = {column: days for column, pairs in ranges.items() if (days := _days(pairs))}
    able = {column: days for column, days in found.items() if total / days >= FOLDER_BYTES and days > 1}
    if able:
        column, days = max(able.items(), key=lambda item: item[1])
        gigabytes = total / days / 1e9
        estimate = f"{days:,} folders of {gigabytes:,.1f} GB"
        return f"partitioning by the day of {column} would help who reads by it: {estimate}"
    if found:
        column, days = min(found.items(), key=lambda item: item[1])
        return f"no partitioning: {column} would make {days:,} folders of {total / days / 1e6:,.0f} MB, below 1 GB"
    return "no partitioning: no column of dates has statistics in every file"


def _days(pairs: Sequence[tuple[Any, Any]]) -> int:
    """How many days a column of dates or times spans; 0 for another."""
    low, high = min(start for start, _ in pairs), max(end for _, end in pairs)
    return (high - low).days + 1 if isinstance(low, date) else 0


def _of_order(files: int, total: int, target_bytes: int, overlap: dict[str, float]) -> str:
    wanted = -(-total // target_bytes)
    if wanted < _FEW_FILES:
        return (
            f"no z-order: joined, all rows fit into {counted(max(wanted, 1), 'file')} of {target_bytes / 1e6:,.0f} MB"
            + (f"; now they are in {files:,}" if files > wanted + 1 else "")
        )
    own = {column: share for column, share in overlap.items() if not column.startswith("_")}
    spread = sorted((column for column, share in own.items() if share > _MANY), key=lambda column: -own[column])
    if not spread:
        return "no z-order: by every column with statistics, a reader of one value passes over most files already"
    columns = ", ".join(f"{column} ({own[column]:.0%} of the files)" for column in spread[:3])
    return f"a z-order would help who looks for single values of {columns}: today so many files may hold one"
