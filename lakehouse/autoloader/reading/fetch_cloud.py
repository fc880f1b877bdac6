"""Bytes of one version of a file in a bucket of another cloud."""

from __future__ import annotations

from dataclasses import replace

import obstore

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.reading.fetch import Fetcher, options_of
from lakehouse.storage.cloud_store import cloud_answers, cloud_bucket, info_of


class CloudFetcher(Fetcher):
    """A ``Fetcher`` of such a bucket; safe for threads. A version that is no longer the same is refused."""

    def __init__(self, bucket: str) -> None:
        self._bucket, self._fast = bucket, cloud_bucket(bucket)

    def newest(self, span: Span) -> Span:
        """See ``Fetcher.newest``."""

        def ask() -> Span:
            with cloud_answers():
                found = info_of(obstore.head(self._fast, span.key))
            return replace(span, start=0, length=found.size_bytes, size_bytes=found.size_bytes, e_tag=found.e_tag)

        return self._tried(span, ask)

    def _by_fast(self, span: Span, start: int, end: int | None) -> bytes:
        options = options_of(span, start, end)
        if options is None:
            return b""
        with cloud_answers():
            found = obstore.get(self._fast, span.key, options=options)  # type: ignore[arg-type]
            if info_of(found.meta).e_tag != span.e_tag:  # what answers has not looked at the condition
                raise FileExistsError(span.key)
            return bytes(found.bytes())

    _by_sdk = _by_fast
