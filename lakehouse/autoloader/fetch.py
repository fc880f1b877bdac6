"""Bytes of one file version: one request a file, refused by the server when the version is no longer the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import obstore
import stamina
from obstore import exceptions as oe

from lakehouse.autoloader.location import key_uri
from lakehouse.autoloader.plan import Span
from lakehouse.autoloader.segments import FileVersion
from lakehouse.errors import AccessDenied, StoreUnavailable
from lakehouse.storage.contract import StoreEndpoint
from lakehouse.storage.fast_store import s3_bucket

_ATTEMPTS = 6
_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 1 << 16

# the fast client takes no control characters and no empty or dotted folder names; the SDK takes all but the last
_UNUSUAL = re.compile(r"[\x00-\x1f\x7f]|//|^/|(^|/)\.\.?(/|$)")


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
        AccessDenied, StoreUnavailable: for the whole batch, which is done again by the next run.
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

    def lines(self, span: Span, max_line_bytes: int) -> tuple[bytes, int | None]:
        """The lines that begin within the span: whole lines, wherever the range cuts them.

        Returns:
            The lines, and where in the file a line begins that is longer than ``max_line_bytes`` (None without one):
            that line is left out.
        """
        if span.whole:
            return self.whole(span), None
        end = span.start + span.length
        first = max(span.start - 1, 0)  # a line begins at ``start`` when the byte before it is a line feed
        data = self._get(span, first, min(end + _TAIL_BYTES, span.size_bytes), False)
        low = data.find(b"\n") + 1 if span.start else 0
        if span.start and (low == 0 or first + low >= end):
            return b"", None  # one long line covers the span: it belongs to where it began
        parts, size = [data], len(data)
        found = data.find(b"\n", end - first - 1)  # the last line may end with the last byte of the range
        last_line = data.rfind(b"\n", 0, end - first - 1) + 1
        while found < 0 and first + size < span.size_bytes:
            if size - last_line > max_line_bytes:
                return data[low:last_line], first + last_line
            more = self._get(span, first + size, min(first + size + _CHUNK_BYTES, span.size_bytes), False)
            cut = more.find(b"\n")
            found = size + cut if cut >= 0 else -1
            parts.append(more)
            size += len(more)
        joined = b"".join(parts) if len(parts) > 1 else data
        return joined[low : found + 1 if found >= 0 else size], None

    def stream(self, span: Span) -> Iterator[bytes]:
        """The file in pieces, for what does not fit into memory."""
        for start in range(0, span.size_bytes, 8 * _CHUNK_BYTES):
            yield self._get(span, start, min(start + 8 * _CHUNK_BYTES, span.size_bytes), False)

    def _get(self, span: Span, start: int, end: int | None, any_version: bool) -> bytes:
        where = key_uri(self._bucket, span.key)
        try:
            for attempt in stamina.retry_context(
                on=(oe.GenericError, _Short, OSError), attempts=_ATTEMPTS, timeout=120, wait_initial=0.1
            ):
                with attempt:
                    data = (self._by_sdk if _UNUSUAL.search(span.key) else self._by_fast)(span, start, end, any_version)
                    expected = (span.size_bytes if end is None else end) - start
                    if len(data) != expected and not any_version:
                        raise _Short(f"{len(data):,} of {expected:,} bytes")
                    return data
        except (FileNotFoundError, oe.NotFoundError) as error:
            raise Vanished(where) from error
        except oe.PreconditionError as error:
            raise Changed(where) from error
        except (oe.PermissionDeniedError, oe.UnauthenticatedError) as error:
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

    def _by_sdk(self, span: Span, start: int, end: int | None, any_version: bool) -> bytes:
        from minio import Minio
        from minio.error import S3Error

        from lakehouse.storage.faults import PRECONDITION_CODES

        if self._sdk is None:
            one = self._endpoint
            self._sdk = Minio(
                one.host,
                one.access_key.get_secret_value(),
                one.secret_key.get_secret_value(),
                session_token=one.session_token.get_secret_value() if one.session_token else None,
                secure=one.secure,
                region=one.region,
            )
        try:
            response = self._sdk.get_object(
                self._bucket,
                span.key,
                offset=start,
                length=0 if end is None else end - start,
                request_headers={} if any_version else {"If-Match": f'"{span.e_tag}"'},
            )
        except S3Error as error:
            if error.code in PRECONDITION_CODES:
                raise oe.PreconditionError(span.key) from None
            if error.code == "NoSuchKey":
                raise FileNotFoundError(span.key) from None
            if error.code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
                raise oe.PermissionDeniedError(error.code) from None
            raise OSError(error.code) from None
        try:
            return bytes(response.read())
        finally:
            response.close()
            response.release_conn()


def _short_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}"
