"""Keys that occur in a table more than once. Values are compared, since different keys may have the same hash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.counting.data_files import DataFiles
from lakehouse.counting.hashes import Hashes, hashes_of, plain
from lakehouse.counting.segments import NONE
from lakehouse.counting.values import Column, values_of

_ROWS_AT_ONCE = 500_000
COPIES, FILES = "copies", "source_files"


@dataclass(frozen=True)
class Key:
    """What identifies a row.

    Attributes:
        columns: The columns of the table.
        file: The column that says where a row is from; None where there is none.
    """

    columns: tuple[Column, ...]
    file: str | None

    @property
    def read(self) -> list[str]:
        """The top-level columns that are read for the key."""
        return list(dict.fromkeys(column[0] for column in self.columns))

    def values(self, rows: pa.RecordBatch) -> list[pa.Array]:
        """The keys of some rows, an array for each column of the key."""
        return [values_of(rows, column) for column in self.columns]


@dataclass(frozen=True)
class Copies:
    """Keys that occur in a table more than once.

    Attributes:
        keys: How many such keys there are.
        rows: How many rows have them.
        worst: Those with most copies: the columns of the key, ``copies`` and ``source_files``.
        hashes: The hashes of the keys, sorted.
    """

    keys: int
    rows: int
    worst: pa.Table
    hashes: Hashes


def copies_of(files: DataFiles, key: Key, candidates: Hashes, rows: int, most: int) -> Copies:
    """Looks at all rows whose key has one of the hashes.

    Args:
        files: The table's data files.
        key: Its key.
        candidates: Hashes, sorted, each once.
        rows: About how many rows have them. Where they do not fit into memory, they are read in parts.
        most: How many of the worst keys are wanted.
    """
    parts = max(1, -(-rows // _ROWS_AT_ONCE)) if len(candidates) else 0
    worst: list[pa.Table] = []
    keys = copies = 0
    hashes = [NONE]
    for found in _in_parts(files, key, candidates, parts):
        names = [name for name in found.column_names if name not in (COPIES, FILES)]
        groups = found.group_by(names).aggregate([(COPIES, "sum"), (FILES, "distinct")])
        groups = groups.rename_columns([*names, COPIES, FILES])
        groups = groups.filter(pc.greater(groups[COPIES], 1))
        keys += groups.num_rows
        copies += pc.sum(groups[COPIES]).as_py() or 0
        worst.append(_worst(groups, most))
        hashes.append(hashes_of([groups[name].combine_chunks() for name in names])[0])
    whole = _worst(pa.concat_tables(worst), most) if worst else pa.table({})
    return Copies(keys, copies, whole, np.sort(np.concatenate(hashes)))


def _worst(groups: pa.Table, most: int) -> pa.Table:
    names = [name for name in groups.column_names if name not in (COPIES, FILES)]
    order = [(COPIES, "descending"), *((name, "ascending") for name in names)]
    return groups.take(pc.sort_indices(groups, sort_keys=order)[:most])


def _in_parts(files: DataFiles, key: Key, candidates: Hashes, parts: int) -> Iterator[pa.Table]:
    with ExitStack() as open_:
        held: list[pa.Table] = []
        sinks = [open_.enter_context(TemporaryFile()) for _ in range(parts)] if parts > 1 else []
        writers: list[pa.RecordBatchStreamWriter] = []
        columns = list(dict.fromkeys([*key.read, *([key.file] if key.file else [])]))
        for _, batch in files.batches(files.sizes, columns) if parts else ():
            values = key.values(batch)
            hashes, there = hashes_of(values)
            place = np.minimum(np.searchsorted(candidates, hashes), len(candidates) - 1)
            hit = there & (candidates[place] == hashes)
            if not hit.any():
                continue
            found = _keys(values, batch.column(key.file) if key.file else None, hit)
            if not sinks:
                held.append(found)
                continue
            if not writers:
                writers = [open_.enter_context(pa.ipc.new_stream(sink, found.schema)) for sink in sinks]
            hashes, _ = hashes_of([found[name].combine_chunks() for name in found.column_names[: len(values)]])
            numbers = np.searchsorted(candidates, hashes) * parts // len(candidates)
            for number in np.unique(numbers):
                writers[number].write_table(found.filter(pa.array(numbers == number)))
        if held:
            yield pa.concat_tables(held)
        for writer, sink in zip(writers, sinks, strict=False):
            writer.close()
            sink.seek(0)
            yield pa.ipc.open_stream(sink).read_all()


def _keys(values: Sequence[pa.Array], file: pa.Array | None, hit: npt.NDArray[np.bool_]) -> pa.Table:
    """The keys of rows in ``hit``, each once for each source file, with the number of their copies."""
    named = {f"key{number}": plain(column) for number, column in enumerate(values)}
    where = file if file is not None else pa.array(["unknown"] * len(hit), pa.string())
    hits = pa.table({**named, FILES: where}).filter(pa.array(hit))
    return hits.group_by(hits.column_names).aggregate([([], "count_all")]).rename_columns([*hits.column_names, COPIES])
