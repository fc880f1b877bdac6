"""Bytes of one file version: one request a file, refused by the server when the version is no longer the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import obstore
import stamina
from obstore import exceptions as oe

from lakehouse.autoloader.formats.encoding import BEGINNING_BYTES
from lakehouse.autoloader.location import key_uri
from lakehouse.autoloader.plan import Span
from lakehouse.autoloader.segments import FileVersion
from lakehouse.errors import AccessDenied, StoreUnavailable
from lakehouse.storage.contract import BucketMissing, StoreEndpoint
from lakehouse.storage.fast_store import UNUSUAL_KEY, s3_bucket

_ATTEMPTS = 6
_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 1 << 16

_Answer = TypeVar("_Answer")


DENIED_CODES = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden", "AllAccessDisabled")


class Vanished(Exception):
    """The object is gone."""


class Changed(Exception):
    """Another version of the object is there."""


class _Short(Exception):
    """Fewer bytes came than the server had announced."""


class Fetcher:
    """Reads objects of one bucket; safe for threads.

    Every call is tried again, with growing pauses, on 5xx, resets, timeouts and bodies that end early.

    Raises:
        Vanished, Changed: for that file alone.
        AccessDenied, BucketMissing, StoreUnavailable: for the whole batch, which is done again by the next run.
    """

    def __init__(self, endpoint: StoreEndpoint, bucket: str) -> None:
        self._endpoint, self._bucket = endpoint, bucket
        self._fast = s3_bucket(endpoint, bucket)
        self._sdk: Any = None

    def is_there(self, one: FileVersion) -> bool:
        """Whether that version is the object's current one."""
        try:
            return (obstore.head(self._fast, one.key)["e_tag"] or "").strip('"') == one.e_tag
        except (oe.BaseError, FileNotFoundError):
            return False  # whatever it is, the reading itself says it better

    def whole(self, span: Span, *, any_version: bool = False) -> bytes:
        """All bytes of the file."""
        return self._get(span, 0, None, any_version)

    def beginning(self, span: Span) -> bytes:
        """The file's first bytes, which tell what it is."""
        return self._get(span, 0, min(BEGINNING_BYTES, span.size_bytes), False)

    def newest(self, span: Span) -> Span:
        """The version that is there now, in place of the span's."""

        def ask() -> Span:
            if UNUSUAL_KEY.search(span.key):
                with _by_its_codes(span):
                    said = self._client().stat_object(self._bucket, span.key)
                size, e_tag = said.size or 0, said.etag or ""
            else:
                found = obstore.head(self._fast, span.key)
                size, e_tag = found["size"], found["e_tag"] or ""
            return replace(span, start=0, length=size, size_bytes=size, e_tag=e_tag.strip('"'))

        return self._tried(span, ask)

    def lines(self, span: Span, max_line_bytes: int) -> tuple[bytes, int, int | None]:
        """The lines that begin within the span: whole lines, wherever the range cuts them.

        Returns:
            The lines, where in the file they begin, and where a line begins that is longer than ``max_line_bytes``
            (None without one): that line is left out.
        """
        if span.whole:
            return self.whole(span), 0, None
        end = span.start + span.length
        first = max(span.start - 1, 0)  # a line begins at ``start`` when the byte before it is a line feed
        data = self._get(span, first, min(end + _TAIL_BYTES, span.size_bytes), False)
        low = data.find(b"\n") + 1 if span.start else 0
        if span.start and (low == 0 or first + low >= end):
            return b"", end, None  # one long line covers the span: it belongs to where it began
        parts, size = [data], len(data)
        found = data.find(b"\n", end - first - 1)  # the last line may end with the last byte of the range
        last_line = data.rfind(b"\n", 0, end - first - 1) + 1
        while found < 0 and first + size < span.size_bytes:
            if size - last_line > max_line_bytes:
                return data[low:last_line], first + low, first + last_line
            more = self._get(span, first + size, min(first + size + _CHUNK_BYTES, span.size_bytes), False)
            cut = more.find(b"\n")
            found = size + cut if cut >= 0 else -1
            parts.append(more)
            size += len(more)
        joined = b"".join(parts) if len(parts) > 1 else data
        return joined[low : found + 1 if found >= 0 else size], first + low, None

    def stream(self, span: Span) -> Iterator[bytes]:
        """The file in pieces, for what does not fit into memory."""
        for start in range(0, span.size_bytes, 8 * _CHUNK_BYTES):
            yield self._get(span, start, min(start + 8 * _CHUNK_BYTES, span.size_bytes), False)

    def _get(self, span: Span, start: int, end: int | None, any_version: bool) -> bytes:
        def ask() -> bytes:
            data = (self._by_sdk if UNUSUAL_KEY.search(span.key) else self._by_fast)(span, start, end, any_version)
            expected = (span.size_bytes if end is None else end) - start
            if len(data) != expected and not any_version:
                raise _Short(f"{len(data):,} of {expected:,} bytes")
            return data

        return self._tried(span, ask)

    def _tried(self, span: Span, ask: Callable[[], _Answer]) -> _Answer:
        where = key_uri(self._bucket, span.key)
        try:
            for attempt in stamina.retry_context(on=_may_pass, attempts=_ATTEMPTS, timeout=120, wait_initial=0.1):
                with attempt:
                    return ask()
        except (FileNotFoundError, oe.NotFoundError) as error:
            if "<Code>NoSuchBucket</Code>" in str(error):
                raise BucketMissing(
                    f"there is no bucket {self._bucket} on {self._endpoint.host}",
                    where=where,
                    state="the batch was not committed; the next run does it again",
                    next_command="give Spark's workers the same endpoint as its driver, or restore the bucket",
                ) from error
            raise Vanished(where) from error
        except oe.PreconditionError as error:
            raise Changed(where) from error
        except (oe.PermissionDeniedError, oe.UnauthenticatedError, PermissionError) as error:
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
                next_command="see whether the object store is well, then run the same again",
            ) from error
        raise AssertionError("unreachable")

    def _by_fast(self, span: Span, start: int, end: int | None, any_version: bool) -> bytes:
        options: dict[str, Any] = {} if any_version else {"if_match": f'"{span.e_tag}"'}
        if end is not None:
            if end <= start:
                return b""
            options["range"] = (start, end)
        return bytes(obstore.get(self._fast, span.key, options=options).bytes())  # type: ignore[arg-type]

    def _client(self) -> Any:
        import urllib3
        from minio import Minio

        if self._sdk is None:
            one = self._endpoint
            self._sdk = Minio(
                one.host,
                one.access_key.get_secret_value(),
                one.secret_key.get_secret_value(),
                session_token=one.session_token.get_secret_value() if one.session_token else None,
                secure=one.secure,
                region=one.region,
                # tried again above, as all else is
                http_client=urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=60), maxsize=8, retries=False),
            )
        return self._sdk

    def _by_sdk(self, span: Span, start: int, end: int | None, any_version: bool) -> bytes:
        response = None
        try:
            with _by_its_codes(span):
                response = self._client().get_object(
                    self._bucket,
                    span.key,
                    offset=start,
                    length=0 if end is None else end - start,
                    request_headers={} if any_version else {"If-Match": f'"{span.e_tag}"'},
                )
                return bytes(response.read())
        finally:
            if response is not None:
                response.close()
                response.release_conn()


@contextmanager
def _by_its_codes(span: Span) -> Iterator[None]:
    """The SDK's errors as those of the fast client."""
    import urllib3
    from minio.error import InvalidResponseError, S3Error, ServerError

    from lakehouse.storage.faults import PRECONDITION_CODES

    try:
        yield
    except S3Error as error:
        if error.code in PRECONDITION_CODES:
            raise oe.PreconditionError(span.key) from None
        if error.code in ("NoSuchKey", "NoSuchBucket"):
            raise FileNotFoundError(f"<Code>{error.code}</Code>") from None
        if error.code in DENIED_CODES:
            raise PermissionError(error.code) from None
        raise OSError(error.code) from None
    except InvalidResponseError as error:  # not in XML: it came from something between here and the store
        refused = "Response code: 403" in str(error)
        raise (PermissionError if refused else OSError)("the answer is not one of an S3 server") from None
    except (ServerError, urllib3.exceptions.HTTPError) as error:
        raise OSError(type(error).__name__) from None


def _may_pass(error: Exception) -> bool:
    """Whether the same request may be answered otherwise in a moment."""
    for_good = isinstance(error, (FileNotFoundError, PermissionError))
    return isinstance(error, (oe.GenericError, _Short, OSError)) and not for_good


def _short_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
