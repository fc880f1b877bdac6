"""Finding the file that kills its reader: candidates are read in processes of their own, and halved.

A broken file can make a parser crash, not only fail. The task that reads it then dies with the process, at every
attempt, and with it the stream. So a task, or an inference, that finds that an earlier attempt never ended sends
probes ahead: a probe reads the same files, throws their rows away, and may die.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pyspark.sql.types import StructType

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.storage.environment import environment_of
from lakehouse.storage.store import ObjectExists, ObjectStore, StoreEndpoint

T = TypeVar("T")

KILLS_ITS_READER = "KILLS_ITS_READER: the process that read it died, each time, so it is left out"
OUT_OF_MEMORY = 9
_PROCESS = "lakehouse.autoloader.probe_process"  # by its name: it imports what imports this module


class Probe:
    """Reads spans in another process, which gets its keys as environment; a call returns whether it survived."""

    def __init__(self, options: CloudFilesOptions, schema: StructType, endpoint: StoreEndpoint | None) -> None:
        self._options, self._schema, self._endpoint = options, schema, endpoint

    def __call__(self, spans: Sequence[Span]) -> bool:
        """False when the process was killed or ran out of memory. After an error of the reading it is true."""
        return _survives(self, (self._options, self._schema, list(spans)), self._endpoint)


class InferenceProbe:
    """Infers a schema from files in another process; a call returns whether that process survived."""

    def __init__(self, options: CloudFilesOptions, root: str, bucket: str, endpoint: StoreEndpoint | None) -> None:
        self._options, self._root, self._bucket, self._endpoint = options, root, bucket, endpoint

    def __call__(self, files: Sequence[FileVersion]) -> bool:
        """See ``Probe``."""
        return _survives(self, (self._options, self._root, self._bucket, list(files)), self._endpoint)


def find_deadly(candidates: Sequence[T], survives: Callable[[Sequence[T]], bool]) -> list[T]:
    """The candidates that kill their reader. Each is read alone and twice: a process can die once of something else."""
    if not candidates or survives(candidates):
        return []
    if len(candidates) == 1:
        return [] if survives(candidates) else list(candidates)
    middle = len(candidates) // 2
    return find_deadly(candidates[:middle], survives) + find_deadly(candidates[middle:], survives)


@contextmanager
def attempt(store: ObjectStore, bucket: str, key: str) -> Iterator[bool]:
    """Notes that the body runs; yields whether an earlier attempt died: then files have to be probed first."""
    try:
        store.write(bucket, key, b"", if_absent=True)
        died = False
    except ObjectExists:
        died = True
    try:
        yield died
    finally:  # an error ends the body, too; only a death leaves the note
        store.delete(bucket, key)


def _survives(probe: object, arguments: tuple[object, ...], endpoint: StoreEndpoint | None) -> bool:
    job = pickle.dumps((type(probe).__name__, arguments))
    environment = {**os.environ, **(environment_of(endpoint) if endpoint else {})}
    command = [sys.executable, "-m", _PROCESS]
    done = subprocess.run(command, input=job, capture_output=True, check=False, env=environment)
    return done.returncode >= 0 and done.returncode != OUT_OF_MEMORY
