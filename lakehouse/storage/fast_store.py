"""``ObjectStore`` over ``obstore``, which starts in milliseconds and needs a fraction of the SDK's time a request.

It does not take every key that S3 takes (control characters, empty and dotted folder names): for those, and for what it
has no call for, the SDK is asked.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import obstore
from obstore import exceptions as oe
from obstore.store import S3Store

from lakehouse.errors import AccessDenied, StoreUnavailable
from lakehouse.storage.s3_errors import UNKNOWN, NotS3, error_of, obstore_answers, obstore_text
from lakehouse.storage.store import (
    UNCHANGED,
    BucketMissing,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    ObjectStore,
    StoreEndpoint,
)
from lakehouse.storage.waits import RETRIES, client_options, interruptible

if TYPE_CHECKING:
    from lakehouse.storage.minio_store import MinioStore

UNUSUAL_KEY = re.compile(r"[\x00-\x1f\x7f]|//|^/|/$|^$|(^|/)\.\.?(/|$)")
"""What the fast client does not take, or alters: control characters, a slash at the end, empty and dotted folder names.
The SDK takes the first two, and says what is wrong with the others."""
_ODD_PATH = re.compile(r"invalid path|illegal character|parsing path", re.IGNORECASE)
"""How a listing says that a key in it is such."""
OF_SPARK = "correct the keys in the environment of Spark's driver and workers, or the rights of that key"
_WRITE_ID = "write-id"
_FEW = 3
"""So many objects of no bytes in a page are asked for one by one; the SDK is dear to load."""
_LARGE_BYTES = 16 << 20
"""``obstore`` limits the time of a request, the SDK that of a silence: a larger object may be minutes on its way."""


def with_e_tag(found: obstore.GetResult) -> str:
    """The ETag of an answer with an object.

    Raises:
        NotS3: it has none, as every object has.
    """
    return _info(found.meta).e_tag


def _info(found: obstore.ObjectMeta) -> ObjectInfo:
    if not (e_tag := found["e_tag"]):
        raise NotS3("an answer with status 200 and no ETag, which is not one of an S3 server")
    return ObjectInfo(found["path"], found["size"], e_tag.removeprefix("W/").strip('"'), found["last_modified"])


def s3_bucket(endpoint: StoreEndpoint, bucket: str, *, timeout_seconds: float = 60, retried: bool = True) -> S3Store:
    """``obstore``'s client for one bucket: bounded waits, a few attempts; safe for threads, and made once a process.

    Args:
        endpoint: The server.
        bucket: Its name.
        timeout_seconds: How long one request may take.
        retried: Whether a request that failed is tried again.
    """
    return _s3_bucket(endpoint, bucket, timeout_seconds, retried, os.getpid())


@lru_cache(maxsize=32)
def _s3_bucket(endpoint: StoreEndpoint, bucket: str, timeout_seconds: float, retried: bool, process: int) -> S3Store:
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
        retry_config=RETRIES if retried else {**RETRIES, "max_retries": 0},
        **keys,
    )


def _listed(found: obstore.ObjectMeta) -> ObjectInfo:
    return ObjectInfo(found["path"], found["size"], (found["e_tag"] or "").strip('"'), found["last_modified"])


def _content(found: obstore.GetResult) -> bytes | None:
    """What an object has; None for a large one."""
    with_e_tag(found)
    return bytes(found.bytes()) if found.meta["size"] <= _LARGE_BYTES else None


class FastStore(ObjectStore):
    """See the module; every call raises ``StoreUnavailable`` or ``AccessDenied`` where that is the reason.

    Args:
        endpoint: The server.
        timeout_seconds: How long one request may take.
        retried: Whether a request that failed is tried again.
        keys: What to do where the keys are refused.

    Raises:
        ConfigurationError: the address is none that S3 clients understand.
    """

    def __init__(
        self, endpoint: StoreEndpoint, *, timeout_seconds: float = 60, retried: bool = True, keys: str = OF_SPARK
    ) -> None:
        self._endpoint, self._timeout_seconds, self._retried, self._keys = endpoint, timeout_seconds, retried, keys

    def list(self, bucket: str, prefix: str = "", start_after: str | None = None) -> Iterator[ObjectInfo]:
        """See ``ObjectStore.list``."""
        last = start_after
        if not prefix or prefix.endswith("/"):
            try:
                with self._explained(bucket, prefix):
                    pages = obstore.list(self._bucket(bucket), prefix or None, offset=start_after, chunk_size=1000)
                    while (page := interruptible(lambda: next(iter(pages), None))) is not None:
                        if any("\ufffd" in found["path"] for found in page):
                            raise _UnusualKey  # it may stand for what XML cannot spell: the SDK asks otherwise
                        few = sum(found["size"] == 0 for found in page) <= _FEW
                        end = page[-1]["path"] + "/"
                        for found in map(_listed, page) if few else self._exactly(bucket, prefix, last, end):
                            info = self._with_slash(bucket, prefix, found, last) if few else found
                            if last is None or info.key > last:
                                last = info.key
                                yield info
                return
            except _UnusualKey:
                pass  # the whole page is refused: the SDK goes on behind the last key that came
        yield from self._sdk.list(bucket, prefix, start_after=last)

    def _exactly(self, bucket: str, prefix: str, after: str | None, end: str) -> Iterator[ObjectInfo]:
        """A part of a listing by the SDK: ``obstore`` leaves out the slash at the end of a key, as markers have it."""
        for info in self._sdk.list(bucket, prefix, start_after=after):
            if info.key > end:
                return
            yield info

    def _with_slash(self, bucket: str, prefix: str, info: ObjectInfo, last: str | None) -> ObjectInfo:
        """The same, by its own key: an object of no bytes may be the marker of a folder, ``a/`` and not ``a``.

        Keys come in their order and have the prefix: one that lacks it, or is not behind the ``last``, is a marker.
        """
        plain = info.key.startswith(prefix) and (last is None or info.key > last)
        if info.size_bytes or (plain and self.info(bucket, info.key) is not None):
            return info
        return replace(info, key=info.key + "/")

    def folders(self, bucket: str, prefix: str) -> Sequence[str]:
        """See ``ObjectStore.folders``."""
        try:
            with self._explained(bucket, prefix):
                store = self._bucket(bucket)
                found = interruptible(lambda: obstore.list_with_delimiter(store, prefix or None)["common_prefixes"])
            names = sorted(path.removeprefix(prefix).rstrip("/") for path in found)
        except _UnusualKey:
            names = ["\ufffd"]
        return self._sdk.folders(bucket, prefix) if any("\ufffd" in name for name in names) else names

    def info(self, bucket: str, key: str) -> ObjectInfo | None:
        """See ``ObjectStore.info``."""
        if UNUSUAL_KEY.search(key):
            return self._sdk.info(bucket, key)
        store = self._bucket(bucket)
        with suppress(oe.BaseError, OSError):
            return interruptible(lambda: _info(obstore.head(store, key)))
        try:  # what a HEAD refuses has no body that says by whom: the same GET tells
            with self._explained(bucket, key):
                return interruptible(lambda: _info(obstore.get(store, key).meta))
        except ObjectMissing:
            return None

    def read(self, bucket: str, key: str) -> bytes:
        """See ``ObjectStore.read``."""
        if UNUSUAL_KEY.search(key):
            return self._sdk.read(bucket, key)
        with self._explained(bucket, key):
            store = self._bucket(bucket)
            content = interruptible(lambda: _content(obstore.get(store, key)))
        return self._sdk.read(bucket, key) if content is None else content

    def write(self, bucket: str, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``ObjectStore.write``; one request whatever the size, or the condition would be lost."""
        if if_absent and if_match is not None:
            raise ValueError("if_absent and if_match exclude each other")
        if UNUSUAL_KEY.search(key) or len(data) > _LARGE_BYTES:
            return self._sdk.write(bucket, key, data, if_absent=if_absent, if_match=if_match)
        mode: Any = "create" if if_absent else "overwrite" if if_match is None else {"e_tag": f'"{if_match}"'}
        write_id = "" if mode == "overwrite" else uuid.uuid4().hex
        marked: Any = {_WRITE_ID: write_id} if write_id else None
        try:
            with self._explained(bucket, key, writes=True):
                store = self._bucket(bucket)
                done = interruptible(
                    lambda: obstore.put(store, key, data, mode=mode, attributes=marked, use_multipart=False)
                )
        except ObjectExists:
            # a reply can be lost after the server did the work: the next try is then refused by its own success
            e_tag = self._e_tag_of(bucket, key, write_id)
            if e_tag is None:
                raise
            return e_tag
        return (done["e_tag"] or "").strip('"')

    def _e_tag_of(self, bucket: str, key: str, write_id: str) -> str | None:
        """The ETag of the object if it is what this very write made."""
        with suppress(oe.BaseError, OSError):
            found = obstore.get(self._bucket(bucket), key, options={"head": True})
            if found.attributes.get(_WRITE_ID) == write_id:
                return with_e_tag(found)
        return None

    def copy(self, bucket: str, key: str, to_key: str, *, if_match: str) -> None:
        """See ``ObjectStore.copy``."""
        self._sdk.copy(bucket, key, to_key, if_match=if_match)

    def delete(self, bucket: str, key: str) -> None:
        """See ``ObjectStore.delete``."""
        self._sdk.delete(bucket, key)  # obstore asks for many at once, which not every server takes

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """See ``ObjectStore.delete_prefix``."""
        return self._sdk.delete_prefix(bucket, prefix)

    def bucket_exists(self, bucket: str) -> bool:
        """See ``ObjectStore.bucket_exists``."""
        try:
            with self._explained(bucket, ""):
                store = self._bucket(bucket)
                interruptible(lambda: next(iter(obstore.list(store, "_", chunk_size=1)), None))
        except BucketMissing:
            return False
        except AccessDenied:  # keys that are wrong, or right for a part of the bucket: the SDK tells them apart
            return self._sdk.bucket_exists(bucket)
        return True

    def ensure_bucket(self, bucket: str) -> None:
        """See ``ObjectStore.ensure_bucket``."""
        try:
            if self.bucket_exists(bucket):
                return
        except AccessDenied:
            pass
        self._sdk.ensure_bucket(bucket)

    @cached_property
    def _sdk(self) -> MinioStore:
        from lakehouse.storage.minio_store import MinioStore

        return MinioStore(self._endpoint)

    def _bucket(self, bucket: str) -> S3Store:
        return s3_bucket(self._endpoint, bucket, timeout_seconds=self._timeout_seconds, retried=self._retried)

    @contextmanager
    def _explained(self, bucket: str, key: str, *, writes: bool = False) -> Iterator[None]:
        where, state = f"{self._endpoint.url}/{bucket}/{key}", UNKNOWN if writes else UNCHANGED
        try:
            with obstore_answers():
                yield
        except OSError as error:
            raise error_of(error, where, bucket, state=state, keys=self._keys) from None
        except oe.BaseError as error:
            text = obstore_text(error)
            if isinstance(error, oe.InvalidPathError) or _ODD_PATH.search(text):
                raise _UnusualKey from None
            raise StoreUnavailable(
                f"the object store does not answer as it should: {text[:200]}",
                where=where,
                state=state,
                next_command="see whether the object store is well, then run the same again",
            ) from None


class _UnusualKey(Exception):
    """A key that the fast client does not take."""
