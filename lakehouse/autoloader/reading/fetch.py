"""Bytes of one file version: one request a file, refused by the server when the version is no longer the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import obstore
import stamina
from obstore import exceptions as oe

from lakehouse.autoloader.files.plan import Span
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.formats.encoding import BEGINNING_BYTES
from lakehouse.autoloader.options.paths import key_uri
from lakehouse.errors import AccessDenied, StoreUnavailable
from lakehouse.plain_text import cause_of
from lakehouse.storage.fast_store import UNUSUAL_KEY, s3_bucket, with_e_tag
from lakehouse.storage.s3_errors import NoBucket, NotS3, obstore_answers, sdk_answers
from lakehouse.storage.store import BucketMissing, StoreEndpoint

_ATTEMPTS = 6
_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 1 << 16

_Answer = TypeVar("_Answer")


class Vanished(Exception):
    """The object is gone."""


class Changed(Exception):
    """Another version of the object is there."""


class _Short(Exception):
    """Fewer bytes came than the server had announced."""


class _Other(Exception):
    """Another version came, or the server says that there is another."""


class Fetcher:
    """Reads objects of one bucket; safe for threads.

    Every call is tried again, with growing pauses, on 5xx, resets, timeouts, bodies that end early and answers of
    something that is no S3 server. No HEAD is sent: its answer has no body, so it cannot be told from a proxy's.

    Args:
        endpoint: The server.
        bucket: Where the objects are.
        timeout_seconds: How long one request may take.

    Raises:
        Vanished, Changed: for that file alone; the store itself said so.
        AccessDenied, BucketMissing, StoreUnavailable: for the whole batch, which is done again by the next run.
    """

    def __init__(self, endpoint: StoreEndpoint, bucket: str, *, timeout_seconds: float = 60) -> None:
        self._endpoint, self._bucket, self._timeout_seconds = endpoint, bucket, timeout_seconds
        self._fast = s3_bucket(endpoint, bucket, timeout_seconds=timeout_seconds)
        self._sdk: Any = None

    def is_there(self, file: FileVersion) -> bool:
        """Whether that version is the object's current one."""
        try:
            self.beginning(
                Span(file.seq, file.key, file.e_tag, file.size_bytes, file.last_modified, 0, file.size_bytes)
            )
        except (Vanished, Changed):
            return False
        return True

    def whole(self, span: Span) -> bytes:
        """All bytes of the file."""
        return self._get(span, 0, None)

    def beginning(self, span: Span) -> bytes:
        """The file's first bytes, which tell what it is."""
        return self._get(span, 0, min(BEGINNING_BYTES, span.size_bytes))

    def newest(self, span: Span) -> Span:
        """The span with the version that is there now, as a listing has it."""

        def ask() -> Span:
            with sdk_answers():
                found = next(iter(self._client().list_objects(self._bucket, span.key, recursive=True)), None)
            if found is None or found.object_name != span.key:
                raise FileNotFoundError(span.key)
            size = found.size or 0
            return replace(span, start=0, length=size, size_bytes=size, e_tag=(found.etag or "").strip('"'))

        return self._tried(span, ask)

    def lines(self, span: Span, max_line_bytes: int) -> tuple[bytes, int, int | None]:
        """The lines that begin within the span: whole lines, wherever the range cuts them.

        Returns:
            The lines, where in the file they begin, and where a line begins that is longer than ``max_line_bytes``
            and left out (None where no line is).
        """
        if span.whole:
            return self.whole(span), 0, None
        end = span.start + span.length
        first = max(span.start - 1, 0)  # a line begins at ``start`` when the byte before it is a line feed
        data = self._get(span, first, min(end + _TAIL_BYTES, span.size_bytes))
        low = data.find(b"\n") + 1 if span.start else 0
        if span.start and (low == 0 or first + low >= end):
            return b"", end, None  # a single line covers the span: it belongs to the span where it began
        parts, size = [data], len(data)
        found = data.find(b"\n", end - first - 1)  # the last line may end with the last byte of the range
        last_line = data.rfind(b"\n", 0, end - first - 1) + 1
        while found < 0 and first + size < span.size_bytes:
            if size - last_line > max_line_bytes:
                return data[low:last_line], first + low, first + last_line
            more = self._get(span, first + size, min(first + size + _CHUNK_BYTES, span.size_bytes))
            cut = more.find(b"\n")
            found = size + cut if cut >= 0 else -1
            parts.append(more)
            size += len(more)
        joined = b"".join(parts) if len(parts) > 1 else data
        return joined[low : found + 1 if found >= 0 else size], first + low, None

    def stream(self, span: Span) -> Iterator[bytes]:
        """The file in pieces, for what does not fit into memory."""
        for start in range(0, span.size_bytes, 8 * _CHUNK_BYTES):
            yield self._get(span, start, min(start + 8 * _CHUNK_BYTES, span.size_bytes))

    def _get(self, span: Span, start: int, end: int | None) -> bytes:
        def ask() -> bytes:
            data = (self._by_sdk if UNUSUAL_KEY.search(span.key) else self._by_fast)(span, start, end)
            expected = (span.size_bytes if end is None else end) - start
            if len(data) != expected:
                raise _Short(f"{len(data):,} of {expected:,} bytes")
            return data

        def ask_for_this_version() -> bytes:
            try:
                return ask()
            except (_Other, FileExistsError) as error:
                if self.newest(span).e_tag != span.e_tag:
                    raise Changed(key_uri(self._bucket, span.key)) from error
                # its own listing contradicts the answer, which may be that of something between here and the store
                raise NotS3("another version came than the one that its listing has") from error

        return self._tried(span, ask_for_this_version)

    def _tried(self, span: Span, ask: Callable[[], _Answer]) -> _Answer:
        where = key_uri(self._bucket, span.key)
        try:
            for attempt in stamina.retry_context(on=_may_pass, attempts=_ATTEMPTS, timeout=120, wait_initial=0.1):
                with attempt:
                    return ask()
        except NoBucket as error:
            raise BucketMissing(
                f"there is no bucket {self._bucket} on {self._endpoint.host}",
                where=where,
                state="the batch was not committed; the next run does it again",
                next_command="give Spark's workers the same endpoint as its driver, or restore the bucket",
            ) from error
        except FileNotFoundError as error:
            raise Vanished(where) from error
        except PermissionError as error:
            raise AccessDenied(
                "the object store refuses to hand out a file",
                where=where,
                state="the batch was not committed; the next run does it again",
                next_command="correct the keys of Spark's workers, or the rights of that key (s3:GetObject)",
            ) from error
        except (oe.BaseError, _Short, OSError) as error:
            raise StoreUnavailable(
                f"the object store did not hand out a file in {_ATTEMPTS} attempts ({_short_text(error)})",
                where=where,
                state="the batch was not committed; the next run does it again",
                next_command="see whether the object store is well and is what answers there, then run the same again",
            ) from error
        raise AssertionError("unreachable")

    def _by_fast(self, span: Span, start: int, end: int | None) -> bytes:
        options = options_of(span, start, end)
        if options is None:
            return b""
        with obstore_answers():
            found = obstore.get(self._fast, span.key, options=options)  # type: ignore[arg-type]
            if with_e_tag(found) != span.e_tag:
                raise _Other
            return bytes(found.bytes())

    def _client(self) -> Any:
        import urllib3
        from minio import Minio

        from lakehouse.storage.minio_store import sdk_keys

        if self._sdk is None:
            server = self._endpoint
            self._sdk = Minio(
                server.host,
                **sdk_keys(server),
                secure=server.secure,
                region=server.region,
                # tried again above, as all else is
                http_client=urllib3.PoolManager(
                    timeout=urllib3.Timeout(connect=5, read=self._timeout_seconds), maxsize=8, retries=False
                ),
            )
        return self._sdk

    def _by_sdk(self, span: Span, start: int, end: int | None) -> bytes:
        response = None
        try:
            with sdk_answers():
                response = self._client().get_object(
                    self._bucket,
                    span.key,
                    offset=start,
                    length=0 if end is None else end - start,
                    request_headers={"If-Match": f'"{span.e_tag}"'},
                )
                if not (e_tag := response.headers.get("ETag", "")):
                    raise NotS3("an answer with status 200 and no ETag, which is not one of an S3 server")
                if e_tag.removeprefix("W/").strip('"') != span.e_tag:
                    raise _Other
                return bytes(response.read())
        finally:
            if response is not None:
                response.close()
                response.release_conn()


def options_of(span: Span, start: int, end: int | None) -> dict[str, Any] | None:
    """The request to ``obstore`` for bytes of that version, to the file's end or to ``end``; None for no bytes."""
    options: dict[str, Any] = {"if_match": f'"{span.e_tag}"'}
    if end is not None:
        if end <= start:
            return None
        options["range"] = (start, end)
    return options


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    for_good = isinstance(error, (FileNotFoundError, PermissionError))
    return isinstance(error, (oe.GenericError, _Short, OSError)) and not for_good


def _short_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {cause_of(error, 160) if str(error) else ''}"
