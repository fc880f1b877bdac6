"""Finding the file that kills whoever reads it: candidates are read in processes of their own, and halved.

A broken file can make a parser crash, not only fail. The task that reads it then dies with the process, at every
attempt, and with it the stream. So a task that finds that an earlier attempt never ended sends probes ahead: a probe
reads the same files, throws their rows away, and may die.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence

from pyspark.sql.types import StructType

from lakehouse.autoloader.options import CloudFilesOptions
from lakehouse.autoloader.plan import Span

KILLS_ITS_READER = "KILLS_ITS_READER: the process that read it died, each time, so it is left out"
_OUT_OF_MEMORY = 9


class Probe:
    """Reads spans in another process; called, it says whether that process survived."""

    def __init__(self, options: CloudFilesOptions, schema: StructType) -> None:
        self._options, self._schema = options, schema

    def __call__(self, spans: Sequence[Span]) -> bool:
        """False when the process was killed or ran out of memory; an error of the reading itself is no death."""
        job = pickle.dumps((self._options, self._schema, list(spans)))
        done = subprocess.run([sys.executable, "-m", __name__], input=job, capture_output=True, check=False)
        return done.returncode >= 0 and done.returncode != _OUT_OF_MEMORY


def find_deadly(spans: Sequence[Span], survives: Callable[[Sequence[Span]], bool]) -> list[Span]:
    """Those spans that nobody survives reading, each alone and twice: a process can die of something else once."""
    if not spans or survives(spans):
        return []
    if len(spans) == 1:
        return [] if survives(spans) else list(spans)
    middle = len(spans) // 2
    return find_deadly(spans[:middle], survives) + find_deadly(spans[middle:], survives)


def _read_and_forget() -> None:
    from lakehouse.autoloader.stream import Stream

    options, schema, spans = pickle.load(sys.stdin.buffer)
    try:
        for _ in Stream(options, None).rows(spans, schema, []):
            pass
    except MemoryError:
        sys.exit(_OUT_OF_MEMORY)


if __name__ == "__main__":
    _read_and_forget()
