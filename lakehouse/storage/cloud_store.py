"""``ObjectStore`` over buckets of other clouds, which are only read: Google's (``gs://``) and Azure's (``abfss://``).

Keys are no options here either. ``obstore`` takes them from the environment: of Google a service account
(``GOOGLE_SERVICE_ACCOUNT``), the application's default credentials or the machine's; of Azure
``AZURE_STORAGE_ACCOUNT_KEY``, a service principal, a workload or managed identity.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NoReturn

import obstore
from obstore import exceptions as oe
from obstore.store import AzureStore, GCSStore

from lakehouse.errors import AccessDenied, ConfigurationError, StoreUnavailable, TerminalError
from lakehouse.storage.local_paths import cloud_of
from lakehouse.storage.s3_errors import UNCHANGED, obstore_text
from lakehouse.storage.store import ObjectInfo, ObjectMissing, ObjectStore
from lakehouse.storage.waits import RETRIES, client_options

_KEYS = "set keys for it where Spark's driver and its workers are started, or correct the rights of those keys"


def cloud_bucket(bucket: str) -> Any:
    """``obstore``'s client for a bucket of another cloud, made once a process.

    Raises:
        ConfigurationError: the environment does not say how to reach it.
    """
    try:
        return _cloud_bucket(bucket, os.getpid())
    except (oe.BaseError, ValueError) as error:
        raise ConfigurationError(
            f"there is no way to a bucket of another cloud: {obstore_text(error)}"[:400],
            where=bucket,
            state=UNCHANGED,
            next_command=_KEYS,
        ) from None


@lru_cache(maxsize=32)
def _cloud_bucket(bucket: str, process: int) -> Any:
    # http is taken only where somebody wrote such an address: that of a stand-in for the cloud
    client = client_options(allow_http=True)
    scheme, name = bucket.split(":", 1)
    if scheme == "gs":
        return GCSStore(name, client_options=client, retry_config=RETRIES)
    container, _, host = name.partition("@")
    account = host.partition(".")[0]
    return AzureStore(container, account_name=account, client_options=client, retry_config=RETRIES)


def info_of(found: Any) -> ObjectInfo:
    """What a listing has of an object."""
    return ObjectInfo(found["path"], found["size"], (found["e_tag"] or "").strip('"'), found["last_modified"])


@contextmanager
def cloud_answers() -> Iterator[None]:
    """Turns ``obstore``'s exceptions into those of Python that ``Fetcher`` knows.

    Raises:
        FileNotFoundError, FileExistsError, PermissionError: the store says so.
        oe.BaseError: anything else.
    """
    try:
        yield
    except oe.NotFoundError as error:
        raise FileNotFoundError(obstore_text(error)) from None
    except (oe.PreconditionError, oe.NotModifiedError) as error:
        raise FileExistsError(obstore_text(error)) from None
    except (oe.PermissionDeniedError, oe.UnauthenticatedError) as error:
        raise PermissionError(obstore_text(error)) from None


class CloudStore(ObjectStore):
    """See the module. What would write is refused."""

    def list(self, bucket: str, prefix: str = "", start_after: str | None = None) -> Iterator[ObjectInfo]:
        """See ``ObjectStore.list``."""
        folder = prefix[: prefix.rfind("/") + 1]  # what is asked for by its beginning is looked for in its folder
        with _explained(bucket, prefix):
            for page in obstore.list(cloud_bucket(bucket), folder or None, offset=start_after):
                for entry in page:
                    if entry["path"].startswith(prefix) and entry["path"] > (start_after or ""):
                        yield info_of(entry)

    def folders(self, bucket: str, prefix: str) -> Sequence[str]:
        """See ``ObjectStore.folders``."""
        with _explained(bucket, prefix):
            found = obstore.list_with_delimiter(cloud_bucket(bucket), prefix or None)
        return [folder.rstrip("/").rsplit("/", 1)[-1] for folder in found["common_prefixes"]]

    def info(self, bucket: str, key: str) -> ObjectInfo | None:
        """See ``ObjectStore.info``."""
        try:
            with _explained(bucket, key):
                return info_of(obstore.head(cloud_bucket(bucket), key))
        except ObjectMissing:
            return None

    def read(self, bucket: str, key: str) -> bytes:
        """See ``ObjectStore.read``."""
        with _explained(bucket, key):
            return bytes(obstore.get(cloud_bucket(bucket), key).bytes())

    def write(self, bucket: str, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Refused."""
        _refuse(bucket, key)

    def copy(self, bucket: str, key: str, to_key: str, *, if_match: str) -> None:
        """Refused."""
        _refuse(bucket, to_key)

    def delete(self, bucket: str, key: str) -> None:
        """Refused."""
        _refuse(bucket, key)

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """Refused."""
        _refuse(bucket, prefix)

    def bucket_exists(self, bucket: str) -> bool:
        """Whether it can be listed."""
        with _explained(bucket, ""):
            next(iter(obstore.list(cloud_bucket(bucket), chunk_size=1)), None)
        return True

    def ensure_bucket(self, bucket: str) -> None:
        """Refused."""
        _refuse(bucket, "")


def _refuse(bucket: str, key: str) -> NoReturn:
    raise TerminalError(
        f"buckets of {cloud_of(bucket)}: are only read",
        where=_where(bucket, key),
        state="nothing was written",
        next_command="give a place on the object store or on this machine",
    )


def _where(bucket: str, key: str) -> str:
    return f"{bucket.replace(':', '://', 1)}/{key}"


@contextmanager
def _explained(bucket: str, key: str) -> Iterator[None]:
    where = _where(bucket, key)
    try:
        with cloud_answers():
            yield
    except FileNotFoundError:
        raise ObjectMissing("there is no such object", where=where, state=UNCHANGED) from None
    except PermissionError as error:
        what = f"the store refuses these keys: {str(error)[:200]}"
        raise AccessDenied(what, where=where, state=UNCHANGED, next_command=_KEYS) from None
    except (oe.BaseError, OSError) as error:
        raise StoreUnavailable(
            f"the store does not answer as it should: {obstore_text(error)[:200]}",
            where=where,
            state=UNCHANGED,
            next_command="see whether it is well and its keys are right, then run the same again",
        ) from None
