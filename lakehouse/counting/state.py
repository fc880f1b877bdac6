"""Kept counts of a table: objects beside the lake's tables, each valid for one table id.

A state is a Parquet file with a row for each data file; its metadata has what belongs to all of them. When it is
removed, all rows are counted again.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.errors import AccessDenied
from lakehouse.lake import Lake
from lakehouse.storage.store import ObjectExists, ObjectMissing

_FORMAT = 1
_MANIFEST = b"lakehouse"


@dataclass(frozen=True)
class State:
    """A state as it was read, or is to be written.

    Attributes:
        files: A row for each data file; ``path`` is one of the columns.
        manifest: What belongs to all data files.
        e_tag: Of the object that was read; None for a new object.
    """

    files: pa.Table
    manifest: dict[str, Any]
    e_tag: str | None = None


def state_folder(lake: Lake, table: str) -> str:
    """The folder of a table's kept counts, in the lake's bucket; ends with a slash."""
    return f"{lake.settings.user}/_checks/{table}/"


def read_state(lake: Lake, table: str, name: str, table_id: str) -> State:
    """The state with that name; with an empty manifest where there is none of this table that can be read."""
    bucket, key = lake.settings.bucket, f"{state_folder(lake, table)}{name}.parquet"
    info = lake.store.info(bucket, key)
    nothing = State(pa.table({"path": pa.array([], pa.string())}), {}, info.e_tag if info else None)
    if info is None:
        return nothing
    try:
        files = pq.read_table(pa.BufferReader(lake.store.read(bucket, key)))
        manifest = json.loads((files.schema.metadata or {})[_MANIFEST])
        known = manifest["format"] == _FORMAT and manifest["table_id"] == table_id and "path" in files.column_names
    except (ObjectMissing, pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return nothing
    return State(files, manifest, info.e_tag) if known else nothing


def write_state(lake: Lake, table: str, name: str, table_id: str, state: State) -> bool:
    """Replaces the object that was read; False when another process was first, or these keys may not write."""
    manifest = state.manifest | {"format": _FORMAT, "table_id": table_id}
    sink = io.BytesIO()
    described = state.files.replace_schema_metadata({_MANIFEST: json.dumps(manifest)})
    pq.write_table(described, sink, compression="zstd")
    key = f"{state_folder(lake, table)}{name}.parquet"
    absent = state.e_tag is None
    try:
        lake.store.write(lake.settings.bucket, key, sink.getvalue(), if_absent=absent, if_match=state.e_tag)
    except (ObjectExists, ObjectMissing, AccessDenied):
        return False
    return True
