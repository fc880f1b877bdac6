"""How many rows each file has in a table, and how many of them were removed on purpose."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import numpy as np

from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.autoloader.outcomes.file_states import FileState
from lakehouse.lake import Lake


def rows_by_sequence(lake: Lake, table: str) -> dict[int, int]:
    """How many rows each file has in the table, by the file's number in the journal; one column is read."""
    rows = lake.rows(table)
    counts: Counter[int] = Counter()
    if rows is not None:
        for batch in rows.to_batches(columns=[SEQUENCE]):
            values, times = np.unique(batch.column(0).drop_null().to_numpy(zero_copy_only=False), return_counts=True)
            counts.update(dict(zip(values.tolist(), times.tolist(), strict=True)))
    return dict(counts)


def record_folder(lake: Lake, table: str) -> tuple[str, str]:
    """Bucket and folder of the records of what was removed from a table on purpose."""
    return lake.settings.bucket, f"{lake.settings.user}/_forgotten/{table}/"


def forgotten_rows(lake: Lake, table: str) -> Callable[[FileState], int]:
    """How many rows of a file, as it was loaded last, were removed on purpose."""
    bucket, folder = record_folder(lake, table)
    counts: Counter[tuple[int, int | None]] = Counter()
    for info in lake.store.list(bucket, folder):
        for one in json.loads(lake.store.read(bucket, info.key)):
            counts[one["sequence"], one["batch_id"]] += one["rows"]
    return lambda state: counts[state.sequence, state.batch_id]
