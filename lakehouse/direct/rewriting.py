"""Removing rows from a table: the data files that have some are written again without them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.direct.data_files import DataFiles
from lakehouse.direct.partitions import Partition, folder_of, spelled
from lakehouse.direct.reasons import NotDirect
from lakehouse.lake import LakeTable, adds_of


@dataclass(frozen=True)
class Removed:
    """A data file that is removed.

    Attributes:
        path: Below the table's folder.
        size_bytes: Its size.
        partition: Values of the partition columns, as Delta's log spells them.
        rows: How many it has.
        gone_rows: How many of them are not written again.
    """

    path: str
    size_bytes: int
    partition: dict[str, str | None]
    rows: int
    gone_rows: int


def rewrite_without(opened: LakeTable, numbers: Collection[int], files: DataFiles) -> list[Removed]:
    """Writes the data files that have rows of some source files again, without those rows.

    Args:
        opened: The table, at the version that is rewritten.
        numbers: Of source files in the journal, as in ``_source_sequence``.
        files: Gets the rows that stay.

    Returns:
        The data files that are removed; their other rows are in ``files``.

    Raises:
        NotDirect: a data file cannot be read as the table's columns say.
    """
    wanted = pa.array(sorted(numbers), pa.int64())

    def gone(path: str, parquet: pq.ParquetFile) -> pa.ChunkedArray:
        return pc.is_in(parquet.read(columns=[SEQUENCE], use_threads=False)[SEQUENCE], wanted)

    return [removed for at in _candidates(opened, wanted) for removed in _rewritten(opened, at, gone, files)]


def rewrite_without_rows(opened: LakeTable, gone: Mapping[str, pa.ChunkedArray], files: DataFiles) -> list[Removed]:
    """The same for rows that are named one by one.

    Args:
        opened: The table, at the version that is rewritten.
        gone: BOOLEAN for each row of a data file, in its order: whether it goes; by the file's path.
        files: Gets the rows that stay.
    """
    affected = (at for at in _candidates(opened) if at[0] in gone)
    return [removed for at in affected for removed in _rewritten(opened, at, lambda path, parquet: gone[path], files)]


_Candidate = tuple[str, int, dict[str, str | None]]


def _rewritten(
    opened: LakeTable,
    candidate: _Candidate,
    gone_of: Callable[[str, pq.ParquetFile], pa.ChunkedArray],
    files: DataFiles,
) -> Iterator[Removed]:
    path, size, partition = candidate
    with opened.data_files.open_input_file(path) as source:
        parquet = pq.ParquetFile(source)
        gone = gone_of(path, parquet)
        gone_rows = pc.sum(gone).as_py() or 0
        if not gone_rows:
            return
        schema, at = pa.schema(opened.schema().to_arrow()), 0
        for group in range(parquet.num_row_groups if gone_rows < len(gone) else 0):
            # first the types: a DELETE of deltalake leaves texts as views, which Arrow cannot filter
            table = _like(parquet.read_row_group(group, use_threads=False), schema)
            files.keep(table.filter(pc.invert(gone.slice(at, table.num_rows))), _at(partition))
            at += table.num_rows
    yield Removed(path, size, partition, len(gone), gone_rows)


def _candidates(opened: LakeTable, wanted: pa.Array | None = None) -> Iterator[_Candidate]:
    """The data files that may have rows of the wanted source files; None stands for all files."""
    columns, adds = opened.metadata().partition_columns, adds_of(opened)
    bounds = [f"{kind}.{SEQUENCE}" for kind in ("min", "max") if f"{kind}.{SEQUENCE}" in adds.column_names]
    folders = [spelled(adds[f"partition.{name}"]) for name in columns]
    low, high = (None, None) if wanted is None else (wanted[0].as_py(), wanted[-1].as_py())
    for at, add in enumerate(adds.select(["path", "size_bytes", *bounds]).to_pylist()):
        least, most = add.get(f"min.{SEQUENCE}"), add.get(f"max.{SEQUENCE}")
        if None not in (least, most, low) and (most < low or least > high):
            continue
        yield unquote(add["path"]), add["size_bytes"], {name: of[at] for name, of in zip(columns, folders, strict=True)}


def _like(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows in the table's own types; another writer may have used others."""
    try:
        return table.cast(pa.schema([schema.field(name) for name in table.schema.names]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError) as error:
        raise NotDirect(f"rows of another type have to be written again: {error}") from None


def _at(partition: dict[str, str | None]) -> Partition:
    return Partition(partition, folder_of(partition))
