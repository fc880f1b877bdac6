"""How many rows each file has in a table, and how many of them were removed on purpose."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.autoloader.lineage import SEQUENCE
from lakehouse.autoloader.outcomes.file_states import FileState
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.counting.data_files import DataFiles, OnlySpark
from lakehouse.counting.state import State, read_state, state_folder, write_state
from lakehouse.delta_commit import FORGOTTEN, metadata_of
from lakehouse.errors import TerminalError
from lakehouse.lake import Lake
from lakehouse.storage import ObjectMissing

_NAME, _SEQUENCE, _ROWS = "files", "sequence", "rows"
_THREADS = 16
_UNSAID = ""  # records once did not say of which stream they are


def rows_by_sequence(lake: Lake, table: str) -> dict[int, int]:
    """How many rows each file has in the table, by the file's number in the journal; one column is read."""
    rows = lake.rows(table)
    counts: Counter[int] = Counter()
    if rows is not None:
        for batch in rows.to_batches(columns=[SEQUENCE]):
            counts.update(counted_sequences(batch.column(0)))
    return dict(counts)


def kept_rows_by_sequence(lake: Lake, table: str) -> dict[int, int]:
    """The same counts, of which only new data files are read.

    What was counted is kept beside the tables: see ``lakehouse.counting.state``.
    """
    try:
        files = DataFiles.of(lake, table)
    except OnlySpark:
        return rows_by_sequence(lake, table)
    if files is None:
        return {}
    state = read_state(lake, table, _NAME, files.table_id)
    known = state.files.filter(pc.is_in(state.files["path"], pa.array(list(files.sizes), pa.string())))
    there = set(known["path"].to_pylist())
    fresh = [path for path in files.sizes if path not in there]
    found: dict[str, Counter[int]] = {path: Counter() for path in fresh}
    for path, batch in files.batches(fresh, [SEQUENCE]):
        found[path].update(counted_sequences(batch.column(0)))
    lines = [(path, number, rows) for path, counter in found.items() for number, rows in (counter or {-1: 0}).items()]
    new = pa.table(
        {
            "path": pa.array([line[0] for line in lines], pa.string()),
            _SEQUENCE: pa.array([line[1] for line in lines], pa.int64()),
            _ROWS: pa.array([line[2] for line in lines], pa.int64()),
        }
    )
    whole = pa.concat_tables([known.select(new.column_names), new]) if there else new
    if fresh or whole.num_rows != state.files.num_rows:
        write_state(lake, table, _NAME, files.table_id, State(whole, {}, state.e_tag))
    groups = whole.group_by(_SEQUENCE).aggregate([(_ROWS, "sum")])
    counts = dict(zip(groups[_SEQUENCE].to_pylist(), groups[f"{_ROWS}_sum"].to_pylist(), strict=True))
    return {number: rows for number, rows in counts.items() if rows}


def forget_kept_rows(lake: Lake, table: str) -> None:
    """Has all data files of a table counted again the next time."""
    lake.store.delete(lake.settings.bucket, f"{state_folder(lake, table)}{_NAME}.parquet")


def counted_sequences(sequences: pa.Array) -> dict[int, int]:
    """How often each number of a file is there."""
    values, times = np.unique(sequences.drop_null().to_numpy(zero_copy_only=False), return_counts=True)
    return dict(zip(values.tolist(), times.tolist(), strict=True))


def record_folder(lake: Lake, table: str) -> tuple[str, str]:
    """Bucket and folder of the records of what was removed from a table on purpose."""
    return lake.settings.bucket, f"{lake.settings.user}/_forgotten/{table}/"


def unfinished_records(lake: Lake, table: str, records: Collection[str]) -> list[str]:
    """The records whose commit has not come about. A record is named by the version that its commit makes.

    Another commit may have become that version: a commit that removes rows on purpose says so.
    """
    _, folder = record_folder(lake, table)
    newest = lake.version(table) if records else None
    if newest is None:
        return []
    versions = {key: key.removeprefix(folder).removesuffix(".json") for key in records}
    with ThreadPoolExecutor(_THREADS) as pool:
        mine = {key: int(name) for key, name in versions.items() if name.isdigit()}
        others = pool.map(
            lambda version: version > newest or not removes_on_purpose(lake, table, version), mine.values()
        )
        unfinished = {key for key, is_other in zip(mine, others, strict=True) if is_other}
    accepted = {key: int(name[:20]) for key, name in versions.items() if key not in mine and name[:20].isdigit()}
    return sorted(unfinished | {key for key, version in accepted.items() if version > newest})


def removes_on_purpose(lake: Lake, table: str, version: int) -> bool:
    """Whether a commit says so of itself; True where the log has lost it: what was unfinished then is long gone."""
    key = f"{lake.settings.table_uri(table)}/_delta_log/{version:020d}.json".split("/", 3)[3]
    try:
        actions = map(json.loads, lake.store.read(lake.settings.bucket, key).splitlines())
    except ObjectMissing:
        return True
    infos = [action["commitInfo"] for action in actions if "commitInfo" in action]
    # a table that was taken back to an older version says the same word, of rows that nobody forgot
    return any(FORGOTTEN in metadata_of(info) and info.get("operation") != "RESTORE" for info in infos)


@dataclass(frozen=True)
class RemovedRows:
    """Rows that were removed on purpose, by the file's number and the batch that had loaded it.

    A stream that begins anew loads the files again, in batches of the same numbers: what was removed from the rows of
    the stream before counts for nothing then.
    """

    counts: Counter[tuple[int, int | None]]

    @classmethod
    def of(cls, lake: Lake, table: str, *, readable_only: bool = False) -> RemovedRows:
        """Those of a table and its stream.

        What a killed command noted before its commit, and has not removed, does not count.

        Args:
            lake: Where they are.
            table: The table.
            readable_only: Leave out records that are damaged.

        Raises:
            TerminalError: a record is damaged.
        """
        bucket, folder = record_folder(lake, table)
        counts: Counter[tuple[int, int | None]] = Counter()
        records = {info.key for info in lake.store.list(bucket, folder)}
        finished = sorted(records.difference(unfinished_records(lake, table, records)))
        with ThreadPoolExecutor(_THREADS) as pool:
            contents = dict(zip(finished, pool.map(lambda key: lake.store.read(bucket, key), finished), strict=True))
        stream = _stream_of(lake, table) if contents else None
        for key, text in contents.items():
            entries = _entries(text)
            if entries is None and not readable_only:
                raise TerminalError(
                    f"a record of rows that were removed from {table} on purpose is empty, cut off or damaged",
                    where=f"s3a://{bucket}/{key}",
                    state="the rows are as they were",
                    next_command=f"lakehouse forget {table} --already-removed   (says what it records; --yes does it)",
                )
            for of_stream, sequence, batch, rows in entries or ():
                if stream is None or of_stream in (_UNSAID, stream):
                    counts[sequence, batch] += rows
        return cls(counts)

    @property
    def files(self) -> set[int]:
        """Numbers of the files that had them."""
        return {sequence for sequence, _ in self.counts}

    def rows(self, state: FileState) -> int:
        """How many rows of a file, as it was loaded last."""
        return self.counts[state.sequence, state.batch_id]


def damaged_records(lake: Lake, table: str) -> list[str]:
    """Keys of the records that cannot be read."""
    bucket, folder = record_folder(lake, table)
    return [info.key for info in lake.store.list(bucket, folder) if _entries(lake.store.read(bucket, info.key)) is None]


def _entries(text: bytes) -> list[tuple[str | None, int, int | None, int]] | None:
    """Stream, number of the file, batch and rows of each entry of a record; None where it is damaged."""
    try:
        return [
            (entry.get("stream", _UNSAID), int(entry["sequence"]), entry["batch_id"], int(entry["rows"]))
            for entry in json.loads(text)
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _stream_of(lake: Lake, table: str) -> str | None:
    """The name of the stream into a table; None where nothing says it."""
    try:
        offset = checkpoints.newest_offset(lake, table) or {}
    except ValueError:  # damaged; where it matters, a run says so
        return None
    return offset.get("stream")
