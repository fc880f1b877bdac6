"""Whether the files that were found are the files that were loaded: journal, receipts and table held together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from lakehouse.autoloader.location import split_uri
from lakehouse.autoloader.receipts import State
from lakehouse.autoloader.state import FileState, file_states, read_stream_log
from lakehouse.lake import Lake
from lakehouse.quality import SAMPLE_ROWS, Finding, replay_command
from lakehouse.streams.bronze import SEQUENCE


def files_account_for_rows(lake: Lake, table: str) -> list[Finding]:
    """Three findings about a table that a ``cloudFiles`` stream writes; none before its first batch.

    ``no_file_loaded_twice``: no file has more rows in the table than the task that read it handed on, and no version
    of a file has rows under two numbers.

    ``every_file_loaded``: each file up to the last finished batch was read, and its rows are in the table.

    ``no_quarantined_files``: files that could not be read, with the reason. They stay where they are.

    Raises:
        TerminalError: the journal or the checkpoint cannot be read.
    """
    location = lake.settings.checkpoint_uri(table)
    log = read_stream_log(lake.store, *split_uri(location))
    if log is None:
        return []
    found = rows_by_sequence(lake, table)
    states = [one for one in file_states(lake.store, location, log=log) if one.ingestion_state is not None]
    done = [one for one in states if one.commit_time is not None]
    gone = forgotten_rows(lake, table)
    return [_twice(table, states, found), _loaded(table, done, found, gone), _quarantined(table, done)]


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


def _twice(table: str, states: Iterable[FileState], found: dict[int, int]) -> Finding:
    first: dict[tuple[str, str], int] = {}
    wrong = []
    examined = 0
    for one in states:
        rows = found.get(one.sequence, 0)
        examined += 1
        before = first.setdefault((one.path, one.e_tag), one.sequence) if rows else one.sequence
        if rows > (one.rows or 0) or before != one.sequence:
            wrong.append({"file": one.path, "rows_read": one.rows, "rows_in_table": rows, "also_loaded_as": before})
    return Finding(
        check="no_file_loaded_twice",
        table=table,
        passed=not wrong,
        numbers={"files": examined, "files_loaded_twice": len(wrong)},
        sample=tuple(wrong[:SAMPLE_ROWS]),
        next_command="" if not wrong else _replay(table, wrong),
    )


def _loaded(table: str, done: Iterable[FileState], found: dict[int, int], gone: Callable[[FileState], int]) -> Finding:
    files = rows_read = bad_records = quarantined = missing = forgotten = 0
    wrong = []
    for one in done:
        files += 1
        rows_read += one.rows or 0
        bad_records += one.bad_records or 0
        quarantined += one.ingestion_state == State.QUARANTINED
        rows = found.get(one.sequence, 0)
        removed = gone(one)
        forgotten += removed
        if rows < (one.rows or 0) - removed:
            missing += (one.rows or 0) - removed - rows
            wrong.append({"file": one.path, "rows_read": one.rows, "rows_in_table": rows, "batch_id": one.batch_id})
    return Finding(
        check="every_file_loaded",
        table=table,
        passed=not wrong,
        numbers={
            "files": files,
            "files_quarantined": quarantined,
            "rows_read": rows_read,
            "bad_records": bad_records,
            "rows_in_table": sum(found.values()),
            "rows_forgotten": forgotten,
            "rows_missing": missing,
        },
        sample=tuple(wrong[:SAMPLE_ROWS]),
        next_command=""
        if not wrong
        else f"{_replay(table, wrong)}; or, if they were removed on purpose: "
        f"lakehouse forget {table} --already-removed --yes && lakehouse ingest",
    )


def _quarantined(table: str, done: Iterable[FileState]) -> Finding:
    bad = [one for one in done if one.error]
    return Finding(
        check="no_quarantined_files",
        table=table,
        passed=not bad,
        numbers={"quarantined_files": len(bad)},
        sample=tuple({"file": one.path, "state": one.ingestion_state, "error": one.error} for one in bad[:SAMPLE_ROWS]),
        next_command=""
        if not bad
        else f"correct the file under its name; then: {replay_command(table, [one.path for one in bad])}",
    )


def _replay(table: str, wrong: Iterable[Mapping[str, object]]) -> str:
    return replay_command(table, [str(one["file"]) for one in wrong])
