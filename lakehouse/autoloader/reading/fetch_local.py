"""Bytes of one version of a local file: refused when the file has changed since it was listed."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.options.paths import key_uri
from lakehouse.autoloader.reading.fetch import Changed, Fetcher, Vanished
from lakehouse.errors import StoreUnavailable
from lakehouse.storage.local_listing import info_of
from lakehouse.storage.local_paths import LOCAL, cloud_of
from lakehouse.storage.local_store import explanation, opened
from lakehouse.storage.store import StoreEndpoint

_CHANGES = 20
_PAUSE_SECONDS = 0.02


class LocalFetcher(Fetcher):
    """A ``Fetcher`` of this machine's files; safe for threads.

    Raises:
        Vanished, Changed: for that file alone.
        AccessDenied: for the whole batch.
        StoreUnavailable: the disk fails, or a file never stays as it is.
    """

    def __init__(self) -> None:
        self._bucket = LOCAL
        self._changes: Counter[str] = Counter()

    def newest(self, span: Span) -> Span:
        """See ``Fetcher.newest``."""
        self._changes[span.key] += 1
        if self._changes[span.key] > _CHANGES:
            raise StoreUnavailable(
                "a file is written to all the time, so no version of it can be read whole",
                where=key_uri(LOCAL, span.key),
                state="the batch was not committed; the next run does it again",
                next_command="write files under a name that begins with . or _, and rename them when they are whole",
            )
        time.sleep(_PAUSE_SECONDS * self._changes[span.key])
        with self._explained(span), opened(Path(f"/{span.key}")) as file:
            found = info_of(span.key, os.fstat(file))
            assert found is not None
            return replace(span, start=0, length=found.size_bytes, size_bytes=found.size_bytes, e_tag=found.e_tag)

    def _get(self, span: Span, start: int, end: int | None) -> bytes:
        end = span.size_bytes if end is None else end
        with self._explained(span), opened(Path(f"/{span.key}")) as file:
            _refuse_other(file, span)
            pieces, at = [], start
            while at < end and (piece := os.pread(file, end - at, at)):
                pieces.append(piece)
                at += len(piece)
            _refuse_other(file, span)
            if at < end:
                raise Changed(key_uri(LOCAL, span.key))
            return b"".join(pieces)

    @contextmanager
    def _explained(self, span: Span) -> Iterator[None]:
        where = key_uri(LOCAL, span.key)
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Vanished(where) from error
        except OSError as error:
            raise explanation(error, where) from None


def fetcher_of(bucket: str, server: Callable[[], StoreEndpoint]) -> Fetcher:
    """The fetcher of a bucket's files; ``server`` is asked for only where they are not local."""
    if cloud_of(bucket):
        from lakehouse.autoloader.reading.fetch_cloud import CloudFetcher  # few have such buckets

        return CloudFetcher(bucket)
    return LocalFetcher() if bucket == LOCAL else Fetcher(server(), bucket)


def _refuse_other(file: int, span: Span) -> None:
    found = info_of(span.key, os.fstat(file))
    if found is None or found.e_tag != span.e_tag:
        raise Changed(key_uri(LOCAL, span.key))
