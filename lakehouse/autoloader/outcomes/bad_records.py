"""Bad records on their way to the table at ``badRecordsPath``: staged by the tasks, in objects beside their receipts.

A task writes them before it counts as done, and a task that is done again writes the same keys again. They wait there
until their batch is known to be in the sink.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse.autoloader.files.plan import Span
from lakehouse.storage.store import ObjectStore

STAGED = pa.schema(
    {"file_path": pa.string(), "record": pa.int64(), "raw": pa.string(), "reason": pa.string(), "sequence": pa.int64()}
)
"""The columns of the table, but for the time."""

_RAW_BYTES = 1 << 20
_OBJECT_BYTES = 8 << 20
_ROWS = 20_000


class StagedRecords:
    """The bad records of one task; memory holds the records of one object.

    Args:
        store: Where they are kept.
        bucket: Its bucket.
        batch: The batch's folder.
        plan: Name of the cut of the batch into parts.
        part: The task's name in it, the same at every attempt.
    """

    def __init__(self, store: ObjectStore, bucket: str, batch: str, plan: str, part: str) -> None:
        self._store, self._bucket, self._batch = store, bucket, batch
        self._plan = f"{batch}{plan}/"
        self._folder = f"{self._plan}{part}/"
        self._tables: list[pa.Table] = []
        self._bytes = 0
        self._written: set[str] = set()

    def add(self, paths: Sequence[str], spans: Sequence[Span], owners: np.ndarray, bad: pa.Table) -> Counter[int]:
        """Takes records, each of the span that ``owners`` says; texts longer than 1 MiB are cut.

        Returns:
            For spans that have such texts, how many.
        """
        cut: Counter[int] = Counter()
        files, numbers = pa.array(paths, pa.string()), np.array([span.seq for span in spans])
        begin = np.array([span.start for span in spans])
        for at in range(0, len(bad), _ROWS):
            chunk, whose = bad.slice(at, _ROWS), owners[at : at + _ROWS]
            texts, reasons = chunk["raw"].to_pylist(), chunk["reason"].to_pylist()
            for row in np.flatnonzero(pc.greater(pc.binary_length(chunk["raw"]), _RAW_BYTES).to_numpy()).tolist():
                raw = texts[row].encode()
                texts[row] = raw[:_RAW_BYTES].decode(errors="ignore")
                reasons[row] += f" (of its {len(raw):,} bytes the first {_RAW_BYTES:,} are kept)"
                cut[int(whose[row])] += 1
            # as ``_metadata.record_index``, which counts from the span's first byte
            records = chunk["record"].to_numpy() + begin[whose]
            columns = [files.take(pa.array(whose)), records, texts, reasons, numbers[whose]]
            self._tables.append(pa.table([pa.array(column) for column in columns], schema=STAGED))
            self._bytes += self._tables[-1].nbytes
            if self._bytes >= _OBJECT_BYTES:
                self._write()
        return cut

    def finish(self) -> None:
        """Makes all of them durable, and removes what earlier attempts wrote beyond them.

        A batch that is read again, cut into other parts, was not committed before: what it staged then counts no more.
        """
        if self._tables:
            self._write()
        for info in self._store.list(self._bucket, self._batch):
            own, same_plan = info.key.startswith(self._folder), info.key.startswith(self._plan)
            if (own and info.key not in self._written) or not same_plan:
                self._store.delete(self._bucket, info.key)

    def _write(self) -> None:
        key = f"{self._folder}{len(self._written):05d}.parquet"
        out = io.BytesIO()
        pq.write_table(pa.concat_tables(self._tables), out, compression="zstd")
        self._store.write(self._bucket, key, out.getvalue())
        self._written.add(key)
        self._tables, self._bytes = [], 0


@dataclass(frozen=True)
class FinishedBatch:
    """The bad records of a batch that is in the sink.

    Attributes:
        store: Where they are staged, as ``bucket`` and ``folder`` say.
        end: Number of the batch's last file.
        keys: The objects that hold them.
    """

    store: ObjectStore
    bucket: str
    folder: str
    end: int
    keys: Sequence[str]

    def tables(self) -> Iterator[pa.Table]:
        """The records, an object at a time."""
        for key in self.keys:
            # without Arrow's threads: a thread that frees its rows while the interpreter ends takes the process down
            opened = pq.ParquetFile(io.BytesIO(self.store.read(self.bucket, key)))
            yield opened.read(use_threads=False).cast(STAGED)

    def remove(self) -> None:
        """Removes them."""
        self.store.delete_prefix(self.bucket, self.folder)


def finished_batches(store: ObjectStore, bucket: str, folder: str, committed: int) -> list[FinishedBatch]:
    """The batches up to file ``committed`` with staged records, in order."""
    found: dict[int, list[str]] = defaultdict(list)
    for info in store.list(bucket, folder):
        end = int(info.key.removeprefix(folder).split("/")[0])
        if end > committed:
            break
        found[end].append(info.key)
    return [FinishedBatch(store, bucket, f"{folder}{end:020d}/", end, keys) for end, keys in found.items()]


def staged_folder(journal_prefix: str, stream: str, query: str) -> str:
    """Where the tasks of a stream stage their bad records; ``query`` tells streams with the same options apart."""
    return f"{journal_prefix.rstrip('/')}/bad_records/{stream}/{query or 'unnamed'}/"


def plan_name(parts: Sequence[Sequence[Span]]) -> str:
    """A name for the cut of a batch into parts."""
    cuts = [[(span.seq, span.start, span.length) for span in spans] for spans in parts]
    return hashlib.sha256(repr(cuts).encode()).hexdigest()[:8]
