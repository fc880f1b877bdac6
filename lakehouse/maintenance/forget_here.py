"""Removing rows on purpose without Spark, where a condition surely means the same to Arrow."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import CommitFailedError, DeltaError
from sqlglot import exp

from lakehouse.arrow_sql.parsing import parsed
from lakehouse.arrow_sql.scalars import Scalars
from lakehouse.autoloader.lineage import FILE, RECORD, SEQUENCE
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.counting import SAMPLE_ROWS
from lakehouse.counting.copies import Key
from lakehouse.counting.data_files import DataFiles, OnlySpark
from lakehouse.counting.hashes import Hashes, comparable, hashes_of
from lakehouse.counting.keys import count_keys
from lakehouse.counting.values import column_of
from lakehouse.direct.commit import TableAt, commit_removal, remove_unnamed
from lakehouse.direct.data_files import DataFiles as NewFiles
from lakehouse.direct.rewriting import rewrite_without_rows
from lakehouse.errors import TransientError
from lakehouse.lake import Lake
from lakehouse.maintenance.file_rows import counted_sequences, removes_on_purpose
from lakehouse.maintenance.forget import (
    NO_ROW,
    Forgotten,
    Then,
    begin_forgetting,
    no_forgetting,
    noted,
    only_spark_removes,
    removed_rows,
    require_places,
)
from lakehouse.plain_text import cause_of

_MOST_COPIES = 1_000_000
"""Rows whose key occurs more than once; they are held in memory, about 200 bytes each."""


def forget_here(
    lake: Lake,
    table: str,
    where: str | None,
    *,
    unique: Sequence[str] = (),
    then: Then = "ask",
    really: bool = False,
) -> Forgotten:
    """Removes the rows that a condition names, or all but the newest copy of each key: see ``forget.forget``.

    Columns of the condition or of the key are read, of all data files or, where the condition says ``column = 'text'``,
    of those that may have the text. Files that have such rows are written again without them.

    Raises:
        OnlySpark: the condition could mean something else in Spark, or only Spark reads the table.
        NotDirect: only Spark writes it.
        LeaseHeld: a stream writes the table now.
        ConfigurationError: there is no such table, or no row that fits; or files wait to be loaded again.
        TransientError: somebody else wrote the table meanwhile; nothing was changed.
    """
    with checkpoints.writer_of(lake, table):
        waiting = begin_forgetting(lake, table, really=really)
        files = DataFiles.of(lake, table)
        if files is None:
            raise no_forgetting(f"there is no table {table}", "lakehouse tables lists them")
        if why := only_spark_removes(files.opened):
            raise OnlySpark(why)
        gone, numbers = _matching(files, where) if where is not None else _surplus(lake, table, files, unique)
        rows = sum(pc.sum(mask).as_py() or 0 for mask in gone.values())
        if not rows:
            raise no_forgetting(NO_ROW, "look at the rows first, then name them")
        found = Forgotten(table, rows, dict(numbers), waiting=waiting)
        if not really:
            return found
        return _removed(lake, found, files, gone, then)


def count_rows_here(lake: Lake, uri: str, table: str, where: str) -> int:
    """How many rows of the table at ``uri`` a condition names; 0 without a table.

    Raises:
        OnlySpark: the condition could mean something else in Spark, or only Spark reads the table.
    """
    files = DataFiles.at(lake, uri, table)
    masks = _matching(files, where)[0].values() if files is not None and files.sizes else ()
    return sum(pc.sum(mask).as_py() or 0 for mask in masks)


def _matching(files: DataFiles, where: str) -> tuple[dict[str, pa.ChunkedArray], Counter[int]]:
    """The rows that fit, by data file, and how many they are by the number of their source file."""
    node = parsed(where)
    condition = Scalars(files.schema).of(node)
    if not pa.types.is_boolean(condition.type):
        raise OnlySpark(f"{where} is no condition")
    numbered = SEQUENCE in files.schema.names
    columns = sorted({*condition.columns, *([SEQUENCE] if numbered else [])}) or files.schema.names[:1]
    masks, numbers = defaultdict[str, list[pa.Array]](list), Counter[int]()
    for path, batch in files.batches(_candidates(files, node), columns):
        mask = pc.fill_null(condition.value(batch), False)
        masks[path].append(mask)
        if numbered:
            numbers.update(counted_sequences(batch.column(SEQUENCE).filter(mask)))
    whole = {path: pa.chunked_array(parts, pa.bool_()) for path, parts in masks.items()}
    return {path: mask for path, mask in whole.items() if pc.any(mask).as_py()}, numbers


def _candidates(files: DataFiles, node: exp.Expression) -> list[str]:
    """Data files that may have such rows: where a part of the condition is ``column = 'text'``, by their bounds."""
    for part in node.flatten() if isinstance(node, exp.And) else (node,):
        if isinstance(part, exp.EQ) and isinstance(part.this, exp.Column) and isinstance(part.expression, exp.Literal):
            [name] = [name for name in files.schema.names if name.lower() == part.this.name.lower()] or [""]
            plain = name and not part.this.table and pa.types.is_string(files.schema.field(name).type)
            if plain and part.expression.is_string:
                return files.that_may_have(name, pa.array([part.expression.this], pa.string()))
    return list(files.sizes)


def _surplus(
    lake: Lake, table: str, files: DataFiles, unique: Sequence[str]
) -> tuple[dict[str, pa.ChunkedArray], Counter[int]]:
    """Rows whose key stands in the table in a newer row, too."""
    require_places(table, unique, files.schema.names)
    columns = [column for name in unique if (column := column_of(files.schema, name))]
    if len(columns) < len(unique):
        raise OnlySpark(f"{table} has no column {', '.join(unique)}")  # whose error says it better
    key = Key(tuple(columns), FILE if FILE in files.schema.names else None)
    copies = count_keys(lake, table, files, key, SAMPLE_ROWS).copies  # by the index that the check ``unique`` keeps
    if copies.rows > _MOST_COPIES:
        raise OnlySpark(f"{copies.rows:,} rows have a key that occurs more than once")
    rows = Counter[str]()
    found = [
        _with_places(path, batch, key, copies.hashes, rows)
        for path, batch in (files.batches(files.sizes, [*key.read, SEQUENCE, RECORD]) if copies.keys else ())
    ]
    masks = dict[str, npt.NDArray[np.bool_]]()
    numbers = Counter[int]()
    for place, newest in _of_one_key(found, len(columns)):
        if place[:2] < newest[:2]:
            sequence, _, path, row = place
            masks.setdefault(path, np.zeros(rows[path], bool))[row] = True
            numbers[sequence] += 1
    return {path: pa.chunked_array([mask]) for path, mask in masks.items()}, numbers


_Place = tuple[int, int, str, int]
"""Where a row is from, its file's number and its own there; and where it is: the data file, and its number in that."""


def _with_places(path: str, batch: pa.RecordBatch, key: Key, doubled: Hashes, rows: Counter[str]) -> pa.Table:
    """The rows of a batch whose key has one of the hashes; ``rows`` counts those of each file that were seen before."""
    values = key.values(batch)
    hashes, there = hashes_of(values)
    hit = np.flatnonzero(there & np.isin(hashes, doubled))
    columns = {f"key{number}": comparable(column).take(hit) for number, column in enumerate(values)}
    columns |= {name: pc.fill_null(batch.column(name), -1).take(hit) for name in (SEQUENCE, RECORD)}
    columns |= {"path": pa.array([path] * len(hit), pa.string()), "row": pa.array(hit + rows[path], pa.int64())}
    rows[path] += batch.num_rows
    return pa.table(columns)


def _of_one_key(found: Sequence[pa.Table], columns: int) -> Iterator[tuple[_Place, _Place]]:
    """Each row's place, with that of the newest row of its key."""
    if not found:
        return
    names = [SEQUENCE, RECORD, "path", "row"]
    groups = pa.concat_tables(found).group_by([f"key{number}" for number in range(columns)])
    lists = groups.aggregate([(name, "list") for name in names]).select([f"{name}_list" for name in names])
    for row in zip(*(column.to_pylist() for column in lists.columns), strict=True):
        places: list[_Place] = list(zip(*row, strict=True))
        newest = max(places)
        yield from ((place, newest) for place in places)


def _removed(lake: Lake, found: Forgotten, files: DataFiles, gone: dict[str, pa.ChunkedArray], then: Then) -> Forgotten:
    opened, place = files.opened, TableAt(found.table, files.uri, lake.endpoint)
    kept = NewFiles(lake.endpoint, files.uri, tuple(opened.metadata().partition_columns))
    removed = rewrite_without_rows(opened, gone, kept)
    written = kept.finish()
    made = files.version + 1
    done = Forgotten(found.table, found.rows, found.files, made, done=True)
    try:
        record = removed_rows(lake, found.table, found.files)
        commit_removal(opened, written, removed, noted(lake, found.table, made, record, then))
    except (DeltaError, OSError) as error:
        # where nobody took the version, the commit may still come: then it needs what was written for it
        if (lake.version(found.table) or 0) >= made:
            if removes_on_purpose(lake, found.table, made):
                return done
            remove_unnamed(place, written)
        faster = "somebody else wrote it meanwhile" if isinstance(error, CommitFailedError) else "it was not taken"
        raise TransientError(
            f"rows of {found.table} are not removed: {faster}: {cause_of(error)}",
            where=files.uri,
            state="nothing was changed",
            next_command="run the same again",
        ) from None
    return done
