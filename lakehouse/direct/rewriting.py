"""Removing rows from a table: the data files that have some are written again without them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
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
    schema = pa.schema(opened.schema().to_arrow())
    wanted = pa.array(sorted(numbers), pa.int64())
    removed = []
    for path, size, partition in _candidates(opened, wanted):
        with opened.data_files.open_input_file(path) as source:
            parquet = pq.ParquetFile(source)
            gone = pc.is_in(parquet.read(columns=[SEQUENCE], use_threads=False)[SEQUENCE], wanted)
            gone_rows = pc.sum(gone).as_py() or 0
            if not gone_rows:
                continue
            removed.append(Removed(path, size, partition, len(gone), gone_rows))
            for group in range(parquet.num_row_groups):
                # first the types: a DELETE of deltalake leaves texts as views, which Arrow cannot filter
                table = _like(parquet.read_row_group(group, use_threads=False), schema)
                files.keep(table.filter(pc.invert(pc.is_in(table[SEQUENCE], wanted))), _at(partition))
    return removed


def _candidates(opened: LakeTable, wanted: pa.Array) -> Iterator[tuple[str, int, dict[str, str | None]]]:
    columns, adds = opened.metadata().partition_columns, adds_of(opened)
    bounds = [f"{kind}.{SEQUENCE}" for kind in ("min", "max") if f"{kind}.{SEQUENCE}" in adds.column_names]
    folders = [spelled(adds[f"partition.{name}"]) for name in columns]
    low, high = wanted[0].as_py(), wanted[-1].as_py()
    for at, add in enumerate(adds.select(["path", "size_bytes", *bounds]).to_pylist()):
        least, most = add.get(f"min.{SEQUENCE}"), add.get(f"max.{SEQUENCE}")
        if least is not None and most is not None and (most < low or least > high):
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
