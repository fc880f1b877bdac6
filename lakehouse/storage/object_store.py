"""Objects in buckets: the few calls the lakehouse needs, and their implementation with the ``minio`` SDK."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, S3Error, ServerError
from minio.sse import Sse
from pydantic import SecretStr

from lakehouse.errors import AccessDenied, StoreUnavailable, TerminalError


class BucketMissing(TerminalError):
    """There is no such bucket."""


class ObjectMissing(TerminalError):
    """There is no such object."""


class ObjectExists(TerminalError):
    """A write that asked for an absent (or an unchanged) object found another."""


@dataclass(frozen=True)
class StoreEndpoint:
    """How to reach an S3 server."""

    url: str
    access_key: SecretStr
    secret_key: SecretStr
    region: str

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    @property
    def secure(self) -> bool:
        """Whether the server speaks TLS."""
        return self.url.startswith("https://")

    def deltalake_options(self) -> dict[str, str]:
        """``storage_options`` for the ``deltalake`` library."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key.get_secret_value(),
            "AWS_SECRET_ACCESS_KEY": self.secret_key.get_secret_value(),
            "AWS_REGION": self.region,
            "AWS_ALLOW_HTTP": str(not self.secure).lower(),
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
        }


@dataclass(frozen=True)
class ObjectInfo:
    """One object of a listing; ``last_modified`` is aware, UTC."""

    key: str
    size_bytes: int
    e_tag: str
    last_modified: datetime


class ObjectStore(Protocol):
    """What the lakehouse needs of an S3 server. Keys are exact: any legal spelling comes back as it was written.

    Every call raises ``StoreUnavailable``, ``AccessDenied`` or ``BucketMissing`` where that is the reason.
    """

    def list(self, bucket: str, prefix: str = "", start_after: str | None = None) -> Iterator[ObjectInfo]:
        """All objects under ``prefix`` in key order, fetched page by page (1,000 keys each)."""
        ...

    def folders(self, bucket: str, prefix: str) -> Sequence[str]:
        """Names of the folders directly below ``prefix`` (which ends with a slash)."""
        ...

    def read(self, bucket: str, key: str) -> bytes:
        """The whole object; ``ObjectMissing`` when there is none."""
        ...

    def write(self, bucket: str, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Writes the object and returns its ETag.

        With ``if_absent`` (or ``if_match``, an ETag) the server itself refuses when an object (or another version)
        is there: ``ObjectExists``. Of two such writers one wins.
        """
        ...

    def delete(self, bucket: str, key: str) -> None:
        """Removes the object; none is fine."""
        ...

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """Removes all objects under ``prefix``, returns how many."""
        ...

    def bucket_exists(self, bucket: str) -> bool:
        """Whether the bucket is there."""
        ...

    def ensure_bucket(self, bucket: str) -> None:
        """Makes the bucket when it is missing."""
        ...


class _Condition(Sse):
    """A conditional header. The SDK takes extra headers of a PUT only in this shape."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def headers(self) -> dict[str, str]:
        return self._headers

    def tls_required(self) -> bool:
        return False


class MinioStore:
    """``ObjectStore`` over the ``minio`` SDK; works with every S3 server that honours conditional writes."""

    def __init__(self, endpoint: StoreEndpoint) -> None:
        self._endpoint = endpoint
        self._client = Minio(
            endpoint.host,
            access_key=endpoint.access_key.get_secret_value(),
            secret_key=endpoint.secret_key.get_secret_value(),
            secure=endpoint.secure,
            region=endpoint.region,
            # the SDK's own limits let an unreachable server block for many minutes
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=5, read=60),
                maxsize=16,
                retries=urllib3.Retry(
                    total=4, connect=2, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504], raise_on_status=False
                ),
            ),
        )

    def list(self, bucket: str, prefix: str = "", start_after: str | None = None) -> Iterator[ObjectInfo]:
        """See ``ObjectStore.list``."""
        with self._explained(bucket, prefix):
            for found in self._client.list_objects(bucket, prefix, recursive=True, start_after=start_after):
                modified = found.last_modified or datetime.fromtimestamp(0, UTC)
                yield ObjectInfo(found.object_name or "", found.size or 0, (found.etag or "").strip('"'), modified)

    def folders(self, bucket: str, prefix: str) -> Sequence[str]:
        """See ``ObjectStore.folders``."""
        with self._explained(bucket, prefix):
            names = [found.object_name or "" for found in self._client.list_objects(bucket, prefix) if found.is_dir]
        return [name.removeprefix(prefix).rstrip("/") for name in names if name != prefix]

    def read(self, bucket: str, key: str) -> bytes:
        """See ``ObjectStore.read``."""
        with self._explained(bucket, key):
            response = self._client.get_object(bucket, key)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    def write(self, bucket: str, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``ObjectStore.write``."""
        headers = {"If-None-Match": "*"} if if_absent else {"If-Match": f'"{if_match}"'} if if_match else {}
        with self._explained(bucket, key):
            done = self._client.put_object(
                bucket, key, io.BytesIO(data), len(data), sse=_Condition(headers) if headers else None
            )
        return (done.etag or "").strip('"')

    def delete(self, bucket: str, key: str) -> None:
        """See ``ObjectStore.delete``."""
        with self._explained(bucket, key):
            self._client.remove_object(bucket, key)

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """See ``ObjectStore.delete_prefix``."""
        keys = [info.key for info in self.list(bucket, prefix)]
        with self._explained(bucket, prefix):
            errors = list(self._client.remove_objects(bucket, [DeleteObject(key) for key in keys]))
        return len(keys) - len(errors)

    def bucket_exists(self, bucket: str) -> bool:
        """See ``ObjectStore.bucket_exists``."""
        with self._explained(bucket, ""):
            return bool(self._client.bucket_exists(bucket))

    def ensure_bucket(self, bucket: str) -> None:
        """See ``ObjectStore.ensure_bucket``."""
        with self._explained(bucket, ""):
            if not self._client.bucket_exists(bucket):
                try:
                    self._client.make_bucket(bucket)
                except S3Error as error:
                    if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                        raise

    @contextmanager
    def _explained(self, bucket: str, key: str) -> Iterator[None]:
        where = f"{self._endpoint.url}/{bucket}/{key}"
        try:
            yield
        except S3Error as error:
            raise _translated(error, where, bucket) from None
        except (ServerError, InvalidResponseError, urllib3.exceptions.HTTPError) as error:
            raise StoreUnavailable(
                f"the object store does not answer ({type(error).__name__})",
                where=where,
                state="nothing was changed by this call",
                next_command="start it (lakehouse up starts the embedded one), or correct LAKEHOUSE_S3_ENDPOINT",
            ) from None


def _translated(error: S3Error, where: str, bucket: str) -> Exception:
    unchanged = "nothing was changed by this call"
    match error.code:
        case "PreconditionFailed" | "ConditionalRequestConflict":
            return ObjectExists("another version of the object is there", where=where, state=unchanged)
        case "NoSuchKey":
            return ObjectMissing("there is no such object", where=where, state=unchanged)
        case "NoSuchBucket":
            return BucketMissing(
                f"there is no bucket {bucket}",
                where=where,
                state=unchanged,
                next_command="create it, or name another: LAKEHOUSE_BUCKET (tables), LAKEHOUSE_LANDING_BUCKET (files)",
            )
        case "AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "Forbidden" | "AllAccessDisabled":
            return AccessDenied(
                f"the object store refuses these credentials ({error.code})",
                where=where,
                state=unchanged,
                next_command="correct LAKEHOUSE_S3_ACCESS_KEY and LAKEHOUSE_S3_SECRET_KEY, or the rights of that key",
            )
        case "SlowDown" | "InternalError" | "ServiceUnavailable" | "XMinioServerNotInitialized" | "RequestTimeout":
            return StoreUnavailable(
                f"the object store is not able to serve now ({error.code})",
                where=where,
                state=unchanged,
                next_command="run the same again in a while",
            )
    return TerminalError(f"the object store refused: {error.code}: {error.message}", where=where, state=unchanged)
