"""A store for all places: the bucket of a path decides whether it is on the object store or on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from lakehouse.storage.local_paths import LOCAL, cloud_of
from lakehouse.storage.local_store import LocalStore
from lakehouse.storage.store import ObjectInfo, ObjectStore


class PlacedStore(ObjectStore):
    """Local paths on this machine's disks, all else on the object store.

    Args:
        remote: Makes the client of the object store when it is first needed: local paths need no keys.
        others: The same for buckets that need another client.
    """

    def __init__(
        self, remote: Callable[[], ObjectStore], others: Mapping[str, Callable[[], ObjectStore]] | None = None
    ) -> None:
        self._make_remote, self._local, self._make_other = remote, LocalStore(), others or {}
        self._others: dict[str, ObjectStore] = {}

    @cached_property
    def _remote(self) -> ObjectStore:
        return self._make_remote()

    @cached_property
    def _cloud(self) -> ObjectStore:
        from lakehouse.storage.cloud_store import CloudStore  # few have such buckets

        return CloudStore()

    def _of(self, bucket: str) -> ObjectStore:
        if bucket in self._make_other:
            if bucket not in self._others:
                self._others[bucket] = self._make_other[bucket]()
            return self._others[bucket]
        if cloud_of(bucket):
            return self._cloud
        return self._local if bucket == LOCAL else self._remote

    def list(self, bucket: str, prefix: str = "", start_after: str | None = None) -> Iterator[ObjectInfo]:
        """See ``ObjectStore.list``."""
        return self._of(bucket).list(bucket, prefix, start_after=start_after)

    def folders(self, bucket: str, prefix: str) -> Sequence[str]:
        """See ``ObjectStore.folders``."""
        return self._of(bucket).folders(bucket, prefix)

    def info(self, bucket: str, key: str) -> ObjectInfo | None:
        """See ``ObjectStore.info``."""
        return self._of(bucket).info(bucket, key)

    def read(self, bucket: str, key: str) -> bytes:
        """See ``ObjectStore.read``."""
        return self._of(bucket).read(bucket, key)

    def write(self, bucket: str, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``ObjectStore.write``."""
        return self._of(bucket).write(bucket, key, data, if_absent=if_absent, if_match=if_match)

    def copy(self, bucket: str, key: str, to_key: str, *, if_match: str) -> None:
        """See ``ObjectStore.copy``."""
        self._of(bucket).copy(bucket, key, to_key, if_match=if_match)

    def delete(self, bucket: str, key: str) -> None:
        """See ``ObjectStore.delete``."""
        self._of(bucket).delete(bucket, key)

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """See ``ObjectStore.delete_prefix``."""
        return self._of(bucket).delete_prefix(bucket, prefix)

    def bucket_exists(self, bucket: str) -> bool:
        """See ``ObjectStore.bucket_exists``."""
        return self._of(bucket).bucket_exists(bucket)

    def ensure_bucket(self, bucket: str) -> None:
        """See ``ObjectStore.ensure_bucket``."""
        self._of(bucket).ensure_bucket(bucket)
