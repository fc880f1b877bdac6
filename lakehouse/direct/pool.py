"""The workers of the local engine: small batches are read in this process, larger ones by processes beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

from lakehouse.direct.part import Part, Written, write_parts
from lakehouse.direct.worker import Worker, WorkerDied
from lakehouse.errors import StreamFailed
from lakehouse.storage.store import StoreEndpoint

_SMALL_BYTES = 16 << 20
"""A smaller batch is read sooner than processes have started."""


class Pool:
    """Reads the parts of batches.

    A file may kill the process that reads it. Its part is read again then, and the receipts say which file it was. A
    small batch is read in this process: there such a file ends the command, and the next run finds it.

    Args:
        endpoint: The store.
        processes: At most so many; None for one a core.
        always: Whether a small batch is read by a process of its own, too: for a caller that must survive such a file.
    """

    def __init__(self, endpoint: StoreEndpoint, processes: int | None = None, *, always: bool = False) -> None:
        self._endpoint, self._always = endpoint, always
        self._most = processes or os.cpu_count() or 1
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        self._workers: list[Worker] = []

    def write(self, parts: Sequence[Part]) -> list[Written]:
        """Reads all parts of a batch and writes their rows.

        Raises:
            StreamFailed: a process died, twice at the same part.
            LakehouseError: a part failed.
        """
        small = sum(map(_size_bytes, parts)) <= _SMALL_BYTES
        if small and not self._workers and not self._always:
            return [write_parts(parts, self._endpoint)] if parts else []
        while len(self._workers) < min(self._most, len(parts)):
            self._start()
        with ThreadPoolExecutor(self._most) as threads:
            return list(threads.map(self._write, sorted(parts, key=_size_bytes, reverse=True)))

    def close(self) -> None:
        """Ends the processes, also in the middle of a part."""
        for worker in self._workers:
            worker.close()
        self._workers = []

    def _start(self) -> None:
        self._workers.append(Worker(self._endpoint))
        self._idle.put(self._workers[-1])

    def _write(self, part: Part) -> Written:
        try:
            return self._once(part)
        except WorkerDied:
            pass
        try:
            return self._once(part)
        except WorkerDied as error:
            raise StreamFailed(
                f"the process that read a part of the batch died, twice ({error})",
                where=part.target.table_uri,
                state="the batch is not committed; batches before it are",
                next_command="see whether the machine lacks memory, then run the same again",
            ) from None

    def _once(self, part: Part) -> Written:
        worker = self._idle.get()
        try:
            return worker.write(part)
        except WorkerDied:
            worker.close()
            worker = Worker(self._endpoint)
            self._workers.append(worker)
            raise
        finally:
            self._idle.put(worker)


def _size_bytes(part: Part) -> int:
    return sum(span.length for span in part.task.spans)


@contextmanager
def opened_pool(endpoint: StoreEndpoint, *, always: bool = False) -> Iterator[Pool]:
    """A pool that is closed at the end."""
    pool = Pool(endpoint, always=always)
    try:
        yield pool
    finally:
        pool.close()
