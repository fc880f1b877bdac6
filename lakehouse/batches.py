"""``ops.batches``: a table with a row for each committed batch, for SQL and BI.

A run writes its rows in a single commit. What cannot be written makes no run fail.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, write_deltalake
from deltalake.exceptions import DeltaError

from lakehouse.declaration import read_catalogue
from lakehouse.delta_commit import metadata_of
from lakehouse.errors import LakehouseError
from lakehouse.lake import Lake, adds_of, open_table
from lakehouse.settings import Settings
from lakehouse.storage.delta_paths import deltalake_uri
from lakehouse.streams.progress import BatchProgress, OnBatch

TABLE = "ops.batches"
"""No table of the declaration can be named so: ``ops`` is no layer."""
_MOST_KEPT, _JOINED_FILES, _TRIES, _COMMITS_READ = 10_000, 100, 3, 50
_WRITE = "write"
_FAULTS = (DeltaError, LakehouseError, OSError, ValueError)
_log = logging.getLogger(__name__)

_TIME = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        pa.field("day", pa.date32(), nullable=False),
        pa.field("table", pa.string(), nullable=False),
        pa.field("batch_id", pa.int64(), nullable=False),
        pa.field("started_at", _TIME),
        pa.field("ended_at", _TIME),
        pa.field("duration_seconds", pa.float64()),
        pa.field("input_rows", pa.int64()),
        pa.field("input_rows_per_second", pa.float64()),
        pa.field("processed_rows_per_second", pa.float64()),
        *(
            pa.field(name, pa.int64())
            for name in (
                *("files", "rescued_rows", "corrupt_rows", "late_rows", "set_aside_rows"),
                *("state_rows", "backlog_files", "backlog_bytes"),
            )
        ),
        pa.field("watermark", _TIME),
        pa.field("phases_milliseconds", pa.map_(pa.string(), pa.int64())),
        pa.field("latency_p50_seconds", pa.float64()),
        pa.field("latency_p95_seconds", pa.float64()),
        pa.field("engine", pa.string()),
        pa.field("run_id", pa.string()),
    ]
)
"""Counts are NULL where they are not measured."""


class Recorder:
    """Collects the batches of a run, and appends them in one commit.

    Where ``LAKEHOUSE_KEEP_BATCHES`` is not set it does nothing.

    Args:
        lake: Where the table is.
        run_id: What ran; without it a new id.
        now: The time.
    """

    def __init__(
        self, lake: Lake, run_id: str = "", *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._lake, self._now, self._run_id = lake, now, run_id or uuid.uuid4().hex
        self._rows: list[dict[str, Any]] = []
        self._began: dict[str, datetime] = {}
        self._lock = threading.Lock()

    @property
    def on(self) -> bool:
        """Whether batches are kept."""
        return self._lake.settings.keep_batches is not None

    def noting(self, on_batch: OnBatch) -> OnBatch:
        """Wraps a listener so that each batch is noted, too."""

        def listen(batch: BatchProgress) -> None:
            self.note(batch)
            on_batch(batch)

        return listen if self.on else on_batch

    def note(self, batch: BatchProgress) -> None:
        """Notes a batch that has just been committed; of very many that cannot be written the newest are kept."""
        ended = self._now()
        started = ended - timedelta(seconds=batch.duration_seconds)
        with self._lock:
            before = self._began.get(batch.table)
            self._began[batch.table] = started
            engine = _engine(self._lake.settings, batch.table)
            self._rows.append(_row(batch, started, ended, before) | {"engine": engine, "run_id": self._run_id})
            del self._rows[:-_MOST_KEPT]

    def flush(self) -> None:
        """Appends what was noted; what cannot be written is kept for the next time, and fails nothing."""
        with self._lock:
            rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            _append(self._lake, rows)
        except _FAULTS as error:
            _log.warning("%s was not written: %s: %s", TABLE, type(error).__name__, str(error).splitlines()[:1])
            with self._lock:
                self._rows = [*rows, *self._rows][-_MOST_KEPT:]
            return
        try:
            _tidy(self._lake, self._now())
        except _FAULTS as error:
            _log.warning("%s was not tidied: %s: %s", TABLE, type(error).__name__, str(error).splitlines()[:1])

    @contextmanager
    def flushing(self, every_seconds: float | None = None) -> Iterator[None]:
        """Writes when the body has ended, and now and then while it runs."""
        end = threading.Event()

        def run() -> None:
            while not end.wait(every_seconds):
                self.flush()

        thread = threading.Thread(target=run, name="batches", daemon=True)
        if every_seconds is not None and self.on:
            thread.start()
        try:
            yield
        finally:
            end.set()
            if thread.is_alive():
                thread.join()
            self.flush()


def _engine(settings: Settings, table: str) -> str | None:
    try:
        catalogue = read_catalogue(settings)
    except LakehouseError:  # somebody changes the declaration while a service runs
        return None
    return "spark" if table not in catalogue or catalogue[table].flow.needs_spark(settings) else "local"


def _row(batch: BatchProgress, started: datetime, ended: datetime, before: datetime | None) -> dict[str, Any]:
    own = {name: getattr(batch, name, None) for name in SCHEMA.names}
    since = (started - before).total_seconds() if before else 0.0
    p50, p95 = np.percentile(batch.latencies_seconds, [50, 95]).tolist() if batch.latencies_seconds else (None, None)
    return own | {
        "day": ended.date(),
        "started_at": started,
        "ended_at": ended,
        "input_rows_per_second": batch.input_rows / since if since > 0 else None,
        "processed_rows_per_second": batch.input_rows / batch.duration_seconds if batch.duration_seconds else None,
        "watermark": datetime.fromisoformat(batch.watermark) if batch.watermark else None,
        "phases_milliseconds": list(batch.phases_milliseconds.items()),
        "latency_p50_seconds": p50,
        "latency_p95_seconds": p95,
    }


def _append(lake: Lake, rows: list[dict[str, Any]]) -> None:
    """Appends the rows, each with the write by which they were tried: whoever tries again looks for that write."""
    uri, options = lake.settings.table_uri(TABLE), lake.endpoint.deltalake_options()
    if any(_WRITE in row for row in rows):
        done = _writes(lake)
        rows = [row for row in rows if row.get(_WRITE) not in done]
    if not rows:
        return
    metadata = {_WRITE: uuid.uuid4().hex}
    for row in rows:
        row.update(metadata)
    data = pa.Table.from_pylist(rows, schema=SCHEMA)
    for attempt in range(_TRIES):
        try:
            write_deltalake(
                deltalake_uri(uri),
                data,
                partition_by=["day"],
                mode="append",
                storage_options=options,
                commit_properties=CommitProperties(custom_metadata={"userMetadata": json.dumps(metadata)}),
            )
        except (DeltaError, OSError):  # two runs may make the table at the same moment
            if metadata[_WRITE] in _writes(lake):  # the reply was lost, and the commit not
                return
            if attempt + 1 == _TRIES:
                raise
        else:
            return


def _writes(lake: Lake) -> set[str | None]:
    """The newest writes that are in the table."""
    opened = open_table(lake.settings.table_uri(TABLE), lake.endpoint)
    return set() if opened is None else {metadata_of(entry).get(_WRITE) for entry in opened.history(_COMMITS_READ)}


def _tidy(lake: Lake, now: datetime) -> None:
    """Removes old days, and joins small files when they are many: no other maintenance knows the table."""
    opened, keep = open_table(lake.settings.table_uri(TABLE), lake.endpoint), lake.settings.keep_batches
    if opened is None or keep is None:
        return
    adds = adds_of(opened)
    oldest = (now - keep).date()
    if any(day < oldest for day in adds["partition.day"].to_pylist()):
        opened.delete(f"day < '{oldest.isoformat()}'")
    if adds.num_rows >= _JOINED_FILES:
        opened.optimize.compact()
        opened.vacuum(retention_hours=7 * 24, dry_run=False)
