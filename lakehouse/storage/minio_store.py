"""Objects in buckets: the few calls the lakehouse needs, and their implementation with the ``minio`` SDK."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3
from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error
from minio.helpers import MIN_PART_SIZE
from minio.sse import Sse
from urllib3 import BaseHTTPResponse

from lakehouse.errors import ConfigurationError, TerminalError
from lakehouse.storage.s3_errors import NO_BUCKET, PRECONDITION_CODES, explained
from lakehouse.storage.store import ObjectInfo, ObjectMissing, StoreEndpoint


class _Condition(Sse):
    """A conditional header. The SDK takes extra headers of a PUT only in this shape."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def headers(self) -> dict[str, str]:
        return self._headers

    def tls_required(self) -> bool:
        return False


def sdk_keys(endpoint: StoreEndpoint) -> dict[str, Any]:
    """The keys as the SDK takes them."""
    if endpoint.renewed is not None:
        return {"credentials": endpoint.renewed.for_minio()}
    return {
        "access_key": endpoint.access_key.get_secret_value(),
        "secret_key": endpoint.secret_key.get_secret_value(),
        "session_token": endpoint.session_token.get_secret_value() if endpoint.session_token else None,
    }


class MinioStore:
    """``ObjectStore`` over the ``minio`` SDK; works with every S3 server that honours conditional writes.

    Args:
        endpoint: The server.
        read_timeout_seconds: How long one request may be silent.
        attempts: How often one request is tried while the server is busy or resets connections.

    Raises:
        ConfigurationError: the address is none that S3 clients understand.
    """

    def __init__(self, endpoint: StoreEndpoint, *, read_timeout_seconds: float = 60, attempts: int = 5) -> None:
        self._endpoint = endpoint
        retries = urllib3.Retry(
            total=attempts - 1,
            connect=min(2, attempts - 1),
            backoff_factor=0.2,
            status_forcelist=[500, 502, 503, 504],
            raise_on_status=False,
        )
        # the SDK's own limits let an unreachable server block for many minutes
        timeout = urllib3.Timeout(connect=5, read=read_timeout_seconds)
        try:
            self._client = Minio(
                endpoint.host,
                **sdk_keys(endpoint),
                secure=endpoint.secure,
                region=endpoint.region,
                http_client=urllib3.PoolManager(timeout=timeout, maxsize=16, retries=retries),
            )
        except ValueError as error:
            raise ConfigurationError(
                f"not an address of an S3 server: {error}",
                where=endpoint.url,
                state="nothing was asked of any server",
                next_command="correct LAKEHOUSE_S3_ENDPOINT",
            ) from None

    @property
    def client(self) -> Minio:
        """The SDK's own client, for what only some stores have."""
        return self._client

    def list(self, bucket: str, prefix: str = "", start_after: str | None = None) -> Iterator[ObjectInfo]:
        """See ``ObjectStore.list``."""
        with explained(self._where(bucket, prefix), bucket):
            for found in self._client.list_objects(bucket, prefix, recursive=True, start_after=start_after):
                modified = found.last_modified or datetime.fromtimestamp(0, UTC)
                yield ObjectInfo(found.object_name or "", found.size or 0, (found.etag or "").strip('"'), modified)

    def folders(self, bucket: str, prefix: str) -> Sequence[str]:
        """See ``ObjectStore.folders``."""
        with explained(self._where(bucket, prefix), bucket):
            names = [found.object_name or "" for found in self._client.list_objects(bucket, prefix) if found.is_dir]
        return [name.removeprefix(prefix).rstrip("/") for name in names if name != prefix]

    def info(self, bucket: str, key: str) -> ObjectInfo | None:
        """See ``ObjectStore.info``."""
        try:
            with explained(self._where(bucket, key), bucket):
                headers = self._headers(bucket, key)
        except ObjectMissing:
            return None
        size, e_tag = int(headers["Content-Length"]), headers["ETag"].strip('"')
        return ObjectInfo(key, size, e_tag, parsedate_to_datetime(headers["Last-Modified"]))

    def read(self, bucket: str, key: str) -> bytes:
        """See ``ObjectStore.read``."""
        with explained(self._where(bucket, key), bucket):
            response = self._client.get_object(bucket, key)
            try:
                _refuse_pages(response)
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    def write(self, bucket: str, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``ObjectStore.write``."""
        if if_absent and if_match is not None:
            raise ValueError("if_absent and if_match exclude each other")
        where = self._where(bucket, key)
        if key.startswith("/"):  # MinIO and SeaweedFS would store it without the slash and say nothing
            raise TerminalError("a key must not begin with a slash", where=where, state="nothing was written")
        condition = {"If-None-Match": "*"} if if_absent else {}
        if if_match is not None:
            condition = {"If-Match": f'"{if_match}"'}
        write_id = uuid.uuid4().hex
        with explained(where, bucket, writes=True):
            try:
                done = self._client.put_object(
                    bucket,
                    key,
                    io.BytesIO(data),
                    len(data),
                    # one request whatever the size: the SDK drops the condition when it completes several parts
                    part_size=max(len(data), MIN_PART_SIZE),
                    sse=_Condition(condition) if condition else None,
                    metadata={"write-id": write_id} if condition else None,
                )
            except S3Error as error:
                e_tag = self._e_tag_of(bucket, key, write_id) if error.code in PRECONDITION_CODES else None
                if e_tag is None:
                    raise
                return e_tag
        return (done.etag or "").strip('"')

    def copy(self, bucket: str, key: str, to_key: str, *, if_match: str) -> None:
        """See ``ObjectStore.copy``."""
        with explained(self._where(bucket, key), bucket, writes=True):
            self._client.copy_object(bucket, to_key, CopySource(bucket, key, match_etag=f'"{if_match}"'))

    def delete(self, bucket: str, key: str) -> None:
        """See ``ObjectStore.delete``."""
        with explained(self._where(bucket, key), bucket, writes=True):
            self._client.remove_object(bucket, key)

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """See ``ObjectStore.delete_prefix``."""
        asked = 0

        def found() -> Iterator[DeleteObject]:
            nonlocal asked
            for info in self.list(bucket, prefix):
                asked += 1
                yield DeleteObject(info.key)

        where = self._where(bucket, prefix)
        with explained(where, bucket, writes=True):
            errors = list(self._client.remove_objects(bucket, found()))
        if errors:
            raise TerminalError(
                f"{len(errors):,} of {asked:,} objects could not be removed: {errors[0].code}: {errors[0].message}",
                where=where,
                state="the others are gone",
                next_command="allow s3:DeleteObject to these credentials, then run the same again",
            )
        return asked

    def bucket_exists(self, bucket: str) -> bool:
        """See ``ObjectStore.bucket_exists``."""
        with explained(self._where(bucket), bucket):
            with suppress(S3Error):
                if self._client.bucket_exists(bucket):
                    return True
            # what a HEAD refuses has no body that says by whom: a listing tells
            try:
                next(iter(self._client.list_objects(bucket)), None)
            except S3Error as error:
                if error.code == NO_BUCKET:
                    return False
                if error.code != "AccessDenied":
                    raise
                # keys that are right, for a part of the bucket or for none: what they ask for there tells
            return True

    def ensure_bucket(self, bucket: str) -> None:
        """See ``ObjectStore.ensure_bucket``."""
        with explained(self._where(bucket), bucket, writes=True):
            if not self._client.bucket_exists(bucket):
                try:
                    self._client.make_bucket(bucket)
                except S3Error as error:
                    if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                        raise

    def _where(self, bucket: str, key: str = "") -> str:
        return f"{self._endpoint.url}/{bucket}/{key}"

    def _e_tag_of(self, bucket: str, key: str, write_id: str) -> str | None:
        """The ETag of the object if it is what this very write made.

        A reply can be lost after the server did the work; the next try of the same write is then refused by its own
        success.
        """
        with suppress(S3Error):
            found = self._headers(bucket, key)
            if found.get("x-amz-meta-write-id") == write_id:
                return found["ETag"].strip('"')
        return None

    def _headers(self, bucket: str, key: str) -> Mapping[str, str]:
        try:
            found = self._client.stat_object(bucket, key).metadata or {}
            if found.get("ETag"):
                return found
        except MinioException:
            pass
        # what a HEAD refuses has no body that says by whom: the same GET tells
        response = self._client.get_object(bucket, key)
        response.close()
        _refuse_pages(response)
        return response.headers


def _refuse_pages(response: BaseHTTPResponse) -> None:
    """Raises the SDK's error for an answer that is no object: all of an S3 server's have an ETag."""
    if not response.headers.get("ETag"):
        raise InvalidResponseError(response.status, response.headers.get("Content-Type"), None)
