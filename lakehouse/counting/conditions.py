"""Conditions of single rows, and how many rows of each data file fulfil them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from json import JSONDecoder

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.counting.data_files import DataFiles
from lakehouse.counting.state import State, read_state, write_state
from lakehouse.lake import Lake

_NAME, _ROWS, _PATH = "rows", "rows", "path"


def _no_json(text: str) -> None:
    raise ValueError(text)


_object = JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_json).raw_decode


@dataclass(frozen=True)
class Condition:
    """A condition of single rows.

    Attributes:
        definition: The condition in full, by which its kept counts are found.
        columns: The columns of the table that it looks at.
        holds: Whether each row of a batch fulfils it; NULL counts as no. Or a number of each row: these are added up.
    """

    definition: str
    columns: tuple[str, ...]
    holds: Callable[[pa.RecordBatch], pa.Array]

    @property
    def key(self) -> str:
        """A short hash of ``definition``."""
        return sha256(self.definition.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Counts:
    """How many rows each data file has, and how many of them fulfil each condition.

    Attributes:
        rows: By path.
        found: By the key of the condition, then by path.
        read: How many data files were read now; the others were counted before.
    """

    rows: dict[str, int]
    found: dict[str, dict[str, int]]
    read: int

    def totals(self) -> dict[str, int]:
        """Rows altogether, and of each condition; for comparisons."""
        return {_ROWS: sum(self.rows.values())} | {key: sum(counts.values()) for key, counts in self.found.items()}


def definition_of(kind: str, schema: pa.Schema, columns: Iterable[str], *given: object) -> str:
    """A condition in full, as JSON: its kind, its columns with their types, and its values."""
    types = {name: str(schema.field(name).type) for name in columns}
    return json.dumps([kind, types, *given], default=str)


def any_of(masks: Sequence[pa.Array]) -> pa.Array:
    """Whether any mask is true; NULL where none is and some are NULL."""
    first, *rest = masks
    for mask in rest:
        first = pc.or_kleene(first, mask)
    return first


def has_key_among(texts: pa.Array, names: Collection[str]) -> pa.Array:
    """Whether texts are JSON objects with one of ``names`` among their top-level keys; False for other texts."""
    wanted = set(names)
    # a text without the name in plain letters can only have it in an escaped form
    able = pc.match_substring(texts, "\\")
    for name in wanted:
        able = pc.or_(able, pc.match_substring(texts, name))
    found = np.zeros(len(texts), bool)
    for row in np.flatnonzero(pc.fill_null(able, False).to_numpy(zero_copy_only=False)):
        try:
            value, _ = _object(texts[int(row)].as_py().lstrip(" \t\r\n"))
        except (ValueError, RecursionError):
            continue
        found[row] = isinstance(value, dict) and not wanted.isdisjoint(value)
    return pa.array(found)


def count(
    lake: Lake,
    table: str,
    files: DataFiles,
    conditions: Mapping[str, Condition],
    *,
    afresh: bool = False,
    name: str = _NAME,
) -> Counts:
    """Counts rows, in one pass over the files that were not counted yet, and keeps the counts.

    Args:
        lake: Where the table is.
        table: Its name.
        files: Its data files.
        conditions: By any name.
        afresh: Whether to count all files again. The counts are not kept then.
        name: Of the object with the kept counts, which has those of these conditions alone.
    """
    wanted = {condition.key: condition for condition in conditions.values()}
    if afresh:
        return _counted(files, list(files.sizes), wanted)
    state = read_state(lake, table, name, files.table_id)
    known = state.files if wanted.keys() <= set(state.files.column_names) else state.files.slice(0, 0)
    kept = known.filter(pc.is_in(known[_PATH], pa.array(list(files.sizes), pa.string())))
    paths = kept[_PATH].to_pylist()
    there = set(paths)
    fresh = _counted(files, [path for path in files.sizes if path not in there], wanted)
    counts = Counts(
        dict(zip(paths, kept[_ROWS].to_pylist(), strict=True) if paths else ()) | fresh.rows,
        {
            key: (dict(zip(paths, kept[key].to_pylist(), strict=True)) if paths else {}) | fresh.found[key]
            for key in wanted
        },
        fresh.read,
    )
    if fresh.read or len(there) < known.num_rows or set(known.column_names) != {_PATH, _ROWS, *wanted}:
        keep(lake, table, files, counts, state, name=name)
    return counts


def keep(
    lake: Lake, table: str, files: DataFiles, counts: Counts, state: State | None = None, *, name: str = _NAME
) -> None:
    """Keeps counts for the next time."""
    state = state or read_state(lake, table, name, files.table_id)
    paths = list(counts.rows)
    columns = {_PATH: pa.array(paths, pa.string()), _ROWS: pa.array([counts.rows[path] for path in paths], pa.int64())}
    columns |= {key: pa.array([numbers[path] for path in paths], pa.int64()) for key, numbers in counts.found.items()}
    write_state(lake, table, name, files.table_id, State(pa.table(columns), {}, state.e_tag))


def _counted(files: DataFiles, paths: Sequence[str], wanted: Mapping[str, Condition]) -> Counts:
    rows = dict.fromkeys(paths, 0)
    found = {key: dict.fromkeys(paths, 0) for key in wanted}
    columns = sorted({name for condition in wanted.values() for name in condition.columns})
    for path, batch in files.batches(paths, columns):
        rows[path] += batch.num_rows
        for key, condition in wanted.items():
            found[key][path] += pc.sum(condition.holds(batch)).as_py() or 0
    return Counts(rows, found, len(paths))
