"""``ObjectStore`` over ``obstore``: what the cloudFiles source uses inside Spark, where start-up and CPU time count.

It starts in milliseconds and needs a fraction of the SDK's time a request. It does not take every key that S3 takes
(control characters, empty and dotted folder names): for those the SDK is asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import obstore
from obstore import exceptions as oe
from obstore.store import S3Store

from lakehouse.errors import StoreUnavailable
from lakehouse.storage.s3_errors import UNKNOWN, NotS3, error_of, obstore_answers, obstore_text
from lakehouse.storage.store import ObjectInfo, ObjectStore, StoreEndpoint
from lakehouse.storage.waits import RETRIES, client_options

if TYPE_CHECKING:
    from lakehouse.storage.minio_store import MinioStore

UNUSUAL_KEY = re.compile(r"[\x00-\x1f\x7f]|//|^/|^$|(^|/)\.\.?(/|$)")
"""What the fast client does not take, or alters: control characters, empty and dotted folder names. The SDK takes the
control characters, and says what is wrong with the others."""
_ODD_PATH = re.compile(r"invalid path|illegal character|parsing path", re.IGNORECASE)
"""How a listing says that a key in it is such."""
_OF_SPARK = "correct the keys in the environment of Spark's driver and workers, or the rights of that key"


def with_e_tag(found: obstore.GetResult) -> str:
    """The ETag of an answer with an object.

    Raises:
        NotS3: it has none, as every object has.
    """
    if not (e_tag := found.meta["e_tag"]):
        raise NotS3("an answer with status 200 and no ETag, which is not one of an S3 server")
    return e_tag.removeprefix("W/").strip('"')


def s3_bucket(endpoint: StoreEndpoint, bucket: str, *, timeout_seconds: float = 60) -> S3Store:
    """``obstore``'s client for one bucket: bounded waits, a few attempts; safe for threads, and made once a process.

    Args:
        endpoint: The server.
        bucket: Its name.
        timeout_seconds: How long one request may take.
    """
    return _s3_bucket(endpoint, bucket, timeout_seconds, os.getpid())


@lru_cache(maxsize=32)
def _s3_bucket(endpoint: StoreEndpoint, bucket: str, timeout_seconds: float, process: int) -> S3Store:
    """A client is dear to make, and keeps its connections. A client from before a fork is not used after it."""
    keys: dict[str, Any] = {
        "access_key_id": endpoint.access_key.get_secret_value(),
        "secret_access_key": endpoint.secret_key.get_secret_value(),
        **({"session_token": endpoint.session_token.get_secret_value()} if endpoint.session_token else {}),
    }
    if endpoint.renewed is not None:
        keys = {"credential_provider": endpoint.renewed.for_obstore()}
    return S3Store(
        bucket,
        endpoint=endpoint.url,
        region=endpoint.region,
        virtual_hosted_style_request=False,
        client_options=client_options(not endpoint.secure, timeout_seconds),
        retry_config=RETRIES,
        **keys,
    )


class FastStore(ObjectStore):
    """See the module; every call raises ``StoreUnavailable`` or ``AccessDenied`` where that is the reason."""

    def __init__(self, endpoint: StoreEndpoint) -> None:
        self._endpoint = endpoint
        self._buckets: dict[str, S3Store] = {}

    def list(self, bucket: str, prefix: str = "", start_after: str | None = None) -> Iterator[ObjectInfo]:
        """See ``ObjectStore.list``."""
        last = start_after
        if not prefix or prefix.endswith("/"):
            try:
                with _explained(self._endpoint, bucket, prefix):
                    for page in obstore.list(self._bucket(bucket), prefix or None, offset=start_after):
                        for found in page:
                            if "\ufffd" in found["path"]:
                                raise _UnusualKey  # it may stand for what XML cannot spell: the SDK asks otherwise
                            last = found["path"]
                            e_tag = (found["e_tag"] or "").strip('"')
                            yield ObjectInfo(last, found["size"], e_tag, found["last_modified"])
                return
            except _UnusualKey:
                pass  # the whole page is refused: the SDK goes on behind the last key that came
        yield from self._sdk.list(bucket, prefix, start_after=last)

    def folders(self, bucket: str, prefix: str) -> Sequence[str]:
        """See ``ObjectStore.folders``."""
        return self._sdk.folders(bucket, prefix)

    def info(self, bucket: str, key: str) -> ObjectInfo | None:
        """See ``ObjectStore.info``."""
        return self._sdk.info(bucket, key)

    def read(self, bucket: str, key: str) -> bytes:
        """See ``ObjectStore.read``."""
        if UNUSUAL_KEY.search(key):
            return self._sdk.read(bucket, key)
        with _explained(self._endpoint, bucket, key):
            found = obstore.get(self._bucket(bucket), key)
            with_e_tag(found)
            return bytes(found.bytes())

    def write(self, bucket: str, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``ObjectStore.write``; one request whatever the size, or the condition would be lost."""
        if if_absent and if_match is not None:
            raise ValueError("if_absent and if_match exclude each other")
        if UNUSUAL_KEY.search(key):
            return self._sdk.write(bucket, key, data, if_absent=if_absent, if_match=if_match)
        mode: Any = {"e_tag": f'"{if_match}"'} if if_match else "create" if if_absent else "overwrite"
        with _explained(self._endpoint, bucket, key):
            done = obstore.put(self._bucket(bucket), key, data, mode=mode, use_multipart=False)
        return (done["e_tag"] or "").strip('"')

    def copy(self, bucket: str, key: str, to_key: str, *, if_match: str) -> None:
        """See ``ObjectStore.copy``."""
        self._sdk.copy(bucket, key, to_key, if_match=if_match)

    def delete(self, bucket: str, key: str) -> None:
        """See ``ObjectStore.delete``."""
        if UNUSUAL_KEY.search(key):
            self._sdk.delete(bucket, key)
            return
        with _explained(self._endpoint, bucket, key):
            obstore.delete(self._bucket(bucket), key)

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """See ``ObjectStore.delete_prefix``."""
        return self._sdk.delete_prefix(bucket, prefix)

    def bucket_exists(self, bucket: str) -> bool:
        """See ``ObjectStore.bucket_exists``."""
        return self._sdk.bucket_exists(bucket)

    def ensure_bucket(self, bucket: str) -> None:
        """See ``ObjectStore.ensure_bucket``."""
        self._sdk.ensure_bucket(bucket)

    @cached_property
    def _sdk(self) -> MinioStore:
        from lakehouse.storage.minio_store import MinioStore

        return MinioStore(self._endpoint)

    def _bucket(self, bucket: str) -> S3Store:
        if bucket not in self._buckets:
            self._buckets[bucket] = s3_bucket(self._endpoint, bucket)
        return self._buckets[bucket]


class _UnusualKey(Exception):
    """A key that the fast client does not take."""


@contextmanager
def _explained(endpoint: StoreEndpoint, bucket: str, key: str) -> Iterator[None]:
    where = f"{endpoint.url}/{bucket}/{key}"
    try:
        with obstore_answers():
            yield
    except OSError as error:
        raise error_of(error, where, bucket, keys=_OF_SPARK) from None
    except oe.BaseError as error:
        text = obstore_text(error)
        if isinstance(error, oe.InvalidPathError) or _ODD_PATH.search(text):
            raise _UnusualKey from None
        raise StoreUnavailable(
            f"the object store does not answer as it should: {text[:200]}",
            where=where,
            state=UNKNOWN,
            next_command="see whether the object store is well, then run the same again",
        ) from None
