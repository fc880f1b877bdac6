"""What became of every file: the journal, the receipts and the checkpoint read together.

``SELECT * FROM cloud_files_state('<checkpoint or schema location>')`` in SQL, ``lakehouse files`` in a shell.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.replays import replays_of
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.options.paths import key_uri, plain_uri, split_uri
from lakehouse.autoloader.outcomes.archived import read_archived
from lakehouse.autoloader.outcomes.receipt_log import Written, read_receipts, streams_with_receipts, written_in
from lakehouse.autoloader.outcomes.receipts import Receipt, State
from lakehouse.errors import ConfigurationError
from lakehouse.storage.store import ObjectMissing, ObjectStore

POINTER = "_source.json"
_THREADS = 8

STATE_DDL = (
    "path STRING, size BIGINT, create_time TIMESTAMP, discovery_time TIMESTAMP, processed_time TIMESTAMP, "
    "commit_time TIMESTAMP, archive_time TIMESTAMP, archive_mode STRING, move_location STRING, source_id STRING, "
    "flow_name STRING, ingestion_state STRING, sequence BIGINT, e_tag STRING, rows BIGINT, error STRING, "
    "batch_id BIGINT, delta_version BIGINT, bad_records BIGINT"
)


@dataclass(frozen=True)
class FileState:
    """One file version, with Auto Loader's names and, from ``sequence`` on, ours.

    Attributes:
        path: Full path.
        size: Bytes.
        create_time: The store's time of the version.
        discovery_time: When it got its number.
        processed_time: When its batch was planned last.
        commit_time: When its batch was finished; None before.
        archive_time, archive_mode, move_location: What clean-up did with it.
        source_id: The journal.
        flow_name: The stream: its checkpoint's id.
        ingestion_state: See ``receipts.State``; ``PROCESSING`` while its batch runs, None while it waits.
        sequence: Its number in the journal.
        e_tag: Its version.
        rows: Rows it gave; None before.
        error: Why it was not loaded, or what of it was left out.
        batch_id: The micro-batch that read it.
        delta_version: The table's version that holds its rows.
        bad_records: Records kept under ``badRecordsPath``; None before it was read.
    """

    path: str
    size: int
    create_time: datetime
    discovery_time: datetime
    processed_time: datetime | None = None
    commit_time: datetime | None = None
    archive_time: datetime | None = None
    archive_mode: str | None = None
    move_location: str | None = None
    source_id: str | None = None
    flow_name: str | None = None
    ingestion_state: str | None = None
    sequence: int = 0
    e_tag: str = ""
    rows: int | None = None
    error: str | None = None
    batch_id: int | None = None
    delta_version: int | None = None
    bad_records: int | None = None


@dataclass(frozen=True)
class StreamLog:
    """A cloudFiles stream's checkpoint.

    Attributes:
        query_id: Spark's name of it.
        journal: Folder of its journal.
        stream: Its name in the journal.
        ends: For each planned batch the number of its last file, and when it was planned.
        commits: When each finished batch was finished.
    """

    query_id: str
    journal: str
    stream: str
    ends: dict[int, tuple[int, datetime]]
    commits: dict[int, datetime]

    @cached_property
    def batch_of(self) -> dict[int, int]:
        """The batch by its last file's number. Of several the first counts: later batches had no files."""
        found: dict[int, int] = {}
        for batch, (seq, _) in sorted(self.ends.items()):
            found.setdefault(seq, batch)
        return found

    @cached_property
    def committed_seq(self) -> int:
        """Number of the last file of the last finished batch; 0 before."""
        done = [self.ends[batch][0] for batch in self.commits if batch in self.ends]
        return max(done, default=0)


def read_stream_log(store: ObjectStore, bucket: str, prefix: str) -> StreamLog | None:
    """The checkpoint in that folder; None without a cloudFiles stream there that planned a batch."""
    prefix = prefix.rstrip("/") + "/"
    try:
        query_id = json.loads(store.read(bucket, prefix + "metadata"))["id"]
    except ObjectMissing:
        return None
    commits = dict(_numbered(store, bucket, prefix + "commits/"))
    ends: dict[int, tuple[int, datetime]] = {}
    journal = stream = ""
    planned_at = _numbered(store, bucket, prefix + "offsets/")
    with ThreadPoolExecutor(_THREADS) as pool:  # a checkpoint keeps a hundred of them
        read = list(pool.map(lambda entry: store.read(bucket, f"{prefix}offsets/{entry[0]}"), planned_at))
    for (batch, planned), content in zip(planned_at, read, strict=True):
        try:
            offset = json.loads(content.decode().splitlines()[2])
        except (ValueError, IndexError):  # damaged; where it matters, a run says so. Its receipts tell of its files
            continue
        if not isinstance(offset, dict) or "seq" not in offset:
            return None
        ends[batch] = (offset["seq"], planned)
        journal, stream = offset["journal"], offset["stream"]
    return StreamLog(query_id, journal, stream, ends, commits) if ends else None


def file_states(
    store: ObjectStore, location: str, *, versions: dict[int, int] | None = None, log: StreamLog | None = None
) -> Iterator[FileState]:
    """Every file version that the stream at ``location`` knows, in the order of the journal.

    A file that was loaded again is told once, as it was loaded last. When that gave no rows it is told as it was loaded
    before, because those rows are still there, with the reason in ``error``.

    Args:
        store: Where all of it lies.
        location: A checkpoint, or a schema location.
        versions: Delta version by batch, where the caller knows them.
        log: The checkpoint, where the caller has read it.

    Raises:
        ConfigurationError: there is neither.
    """
    bucket, prefix = split_uri(location)
    log = log or read_stream_log(store, bucket, prefix)
    journal_uri = log.journal if log else _pointed_at(store, bucket, prefix)
    place = split_uri(journal_uri)
    journal = Journal.at(store, journal_uri)
    archived = {entry.seq: entry for entry in read_archived(store, *place)}
    receipts: dict[int, Written] = {}
    for stream in [log.stream] if log else streams_with_receipts(store, *place):
        receipts |= by_file(read_receipts(store, *place, stream))
    for state in _states(journal, log, journal.files(0, journal.high_water), receipts, versions or {}):
        gone = archived.get(state.sequence)
        yield (
            replace(state, archive_time=gone.at, archive_mode=gone.mode, move_location=gone.to or None)
            if gone
            else state
        )


def states_of(journal: Journal, log: StreamLog, files: Iterable[FileVersion], receipts: pa.Table) -> list[FileState]:
    """What became of these files, without what clean-up did with them.

    Args:
        journal: Where they are numbered.
        log: The stream's checkpoint.
        files: Their entries.
        receipts: All receipts of the stream, see ``receipts_table``.
    """
    chosen = list(files)
    again = replays_of(journal, log.stream)
    numbers = [file.seq for file in (*chosen, *again)]
    about = receipts.filter(pc.is_in(receipts["seq"], pa.array(numbers, pa.int64())))
    return list(_states(journal, log, chosen, by_file(written_in(about)), {}))


def _states(
    journal: Journal,
    log: StreamLog | None,
    files: Iterable[FileVersion],
    receipts: Mapping[int, Written],
    versions: Mapping[int, int],
) -> Iterator[FileState]:
    again: dict[int, list[FileVersion]] = {}
    for file in replays_of(journal, log.stream if log else ""):
        again.setdefault(file.replaces, []).append(file)
    for file in files:
        if file.replaces and file.stream:
            continue  # a request; what became of it is told with its file
        state = _state(file, receipts.get(file.seq), log, journal.uri, versions)
        for replay in again.get(file.seq, ()):
            repeated = _state(replay, receipts.get(replay.seq), log, journal.uri, versions)
            state = _after_replay(state, repeated)
        yield state


def as_rows(states: Iterator[FileState]) -> Iterator[tuple[Any, ...]]:
    """The columns of ``STATE_DDL``."""
    return map(astuple, states)


def as_table(states: Iterator[FileState]) -> pa.Table:
    """The same as Arrow has them."""
    kinds = {"STRING": pa.string(), "BIGINT": pa.int64(), "TIMESTAMP": pa.timestamp("us", "UTC")}
    schema = pa.schema([(name, kinds[kind]) for name, kind in (column.split() for column in STATE_DDL.split(", "))])
    columns = list(zip(*as_rows(states), strict=True)) or [()] * len(schema)
    return pa.Table.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )


def _after_replay(before: FileState, replay: FileState) -> FileState:
    if replay.commit_time is None or before.ingestion_state == State.REPLACED:
        return before  # it waits; or a newer version came after it
    if replay.ingestion_state == State.INGESTED or before.ingestion_state != State.INGESTED:
        return replace(replay, sequence=before.sequence)
    return replace(before, error=f"NOT_REPLAYED: its rows are those of an earlier load ({replay.error})")


def _state(
    file: FileVersion,
    receipt: Written | None,
    log: StreamLog | None,
    journal_uri: str,
    versions: Mapping[int, int],
) -> FileState:
    base = FileState(
        path=key_uri(file.bucket, file.key),
        size=file.size_bytes,
        create_time=file.last_modified,
        discovery_time=file.discovered,
        source_id=journal_uri.rstrip("/").rsplit("/", 1)[-1],
        sequence=file.seq,
        e_tag=file.e_tag,
        flow_name=log.query_id if log else None,
    )
    if receipt is None:
        # up to its last finished batch a stream has read what it wants: the rest are overwritten or filtered versions
        passed = log is not None and file.seq <= log.committed_seq
        return replace(base, ingestion_state=State.PASSED_OVER.value) if passed else base
    outcome = receipt.receipt
    done = log is None or receipt.end <= log.committed_seq
    # a checkpoint keeps its last hundred batches: before them the receipts alone tell
    batch = log.batch_of.get(receipt.end) if log else None
    batch = outcome.batch_id if batch is None else batch
    planned = log.ends[batch][1] if log and batch in log.ends else receipt.at
    committed = (log.commits.get(batch) if log and batch is not None else None) or receipt.at
    return replace(
        base,
        ingestion_state=outcome.state.value if done else "PROCESSING",
        processed_time=planned,
        commit_time=committed if done else None,
        rows=outcome.rows,
        error=outcome.error or None,
        batch_id=batch,
        delta_version=versions.get(batch) if batch is not None else None,
        bad_records=outcome.bad_records,
    )


def by_file(written: Iterable[Written]) -> dict[int, Written]:
    """One receipt for each file: the parts of a large file are summed, and the newest batch wins."""
    found: dict[int, Written] = {}
    for entry in written:
        seq, before = entry.receipt.seq, found.get(entry.receipt.seq)
        if before and before.end == entry.end and not entry.corrects:
            entry = before if before.corrects else replace(entry, receipt=_sum(before.receipt, entry.receipt))
        found[seq] = entry
    return found


def _sum(first: Receipt, second: Receipt) -> Receipt:
    worse = first if first.state != State.INGESTED else second
    errors = "; ".join(filter(None, dict.fromkeys([first.error, second.error])))
    rows, bad = first.rows + second.rows, first.bad_records + second.bad_records
    return replace(worse, rows=rows, start=0, error=errors, bad_records=bad)


def _pointed_at(store: ObjectStore, bucket: str, prefix: str) -> str:
    try:
        return str(json.loads(store.read(bucket, f"{prefix.rstrip('/')}/{POINTER}"))["journal"])
    except ObjectMissing:
        raise ConfigurationError(
            "there is neither a checkpoint of a cloudFiles stream nor a schema location",
            where=plain_uri(bucket, prefix),
            state="nothing was read or written",
            next_command="name the folder given as checkpointLocation or cloudFiles.schemaLocation",
        ) from None


def _numbered(store: ObjectStore, bucket: str, folder: str) -> list[tuple[int, datetime]]:
    found = [(info.key.removeprefix(folder), info.last_modified) for info in store.list(bucket, folder)]
    return sorted((int(name), written) for name, written in found if name.isdigit())
