"""The process of a probe: reads what the probe is about, and throws it away; see ``reading.probe``."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable

from pyspark.sql.types import StructType

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.reading.fetch_local import fetcher_of
from lakehouse.autoloader.reading.probe import OUT_OF_MEMORY, InferenceProbe, Probe
from lakehouse.autoloader.schema.versions import infer_version
from lakehouse.autoloader.stream import Stream
from lakehouse.storage.environment import endpoint_from_environment


def _read(options: CloudFilesOptions, schema: StructType, spans: list[Span]) -> None:
    for _ in Stream(options, None).rows(spans, schema, []):
        pass


def _infer(options: CloudFilesOptions, root: str, bucket: str, files: list[FileVersion]) -> None:
    infer_version(options, root, fetcher_of(bucket, endpoint_from_environment), files)


_BODIES: dict[str, Callable[..., None]] = {Probe.__name__: _read, InferenceProbe.__name__: _infer}

if __name__ == "__main__":
    name, arguments = pickle.load(sys.stdin.buffer)
    try:
        _BODIES[name](*arguments)
    except MemoryError:
        sys.exit(OUT_OF_MEMORY)
