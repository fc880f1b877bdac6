"""A lake and its store for the doctor: nothing can be written, and nothing is read twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from lakehouse.lake import Lake, LakeTable, open_table
from lakehouse.storage import ObjectInfo, ObjectStore


class WouldWrite(Exception):
    """A call wanted to change the store. By this the doctor can call the checks of a run without their repairs."""


class WatchingStore(ObjectStore):
    """Another store, read only. It remembers what it read, and what it listed below ``remembered``.

    Args:
        store: The store.
        bucket: The lake's bucket.
        remembered: Folder in it; ends with a slash.
    """

    def __init__(self, store: ObjectStore, bucket: str, remembered: str) -> None:
        self._store, self._bucket, self._remembered = store, bucket, remembered
        self._listed: dict[str, list[ObjectInfo]] = {}
        self._read: dict[str, bytes] = {}
        self._count = threading.Lock()
        self.requests = 0

    def list(self, bucket: str, prefix: str = "", start_after: str | None = None) -> Iterator[ObjectInfo]:
        """See ``ObjectStore.list``; a listing of a folder answers for all below it."""
        if bucket != self._bucket or not prefix.startswith(self._remembered):
            self._asked()
            return self._store.list(bucket, prefix, start_after)
        known = self._known(prefix)
        if known is None and start_after is not None:
            self._asked()
            return self._store.list(bucket, prefix, start_after)
        if known is None:
            self._asked()
            known = self._listed[prefix] = [*self._store.list(bucket, prefix)]
        after = start_after or ""
        return iter([info for info in known if info.key.startswith(prefix) and info.key > after])

    def _known(self, prefix: str) -> Sequence[ObjectInfo] | None:
        above = prefix
        while above:
            if above in self._listed:
                return self._listed[above]
            above = above.rstrip("/").rpartition("/")[0]
            above += "/" if above else ""
        return None

    def folders(self, bucket: str, prefix: str) -> Sequence[str]:
        """See ``ObjectStore.folders``."""
        self._asked()
        return self._store.folders(bucket, prefix)

    def info(self, bucket: str, key: str) -> ObjectInfo | None:
        """See ``ObjectStore.info``."""
        self._asked()
        return self._store.info(bucket, key)

    def read(self, bucket: str, key: str) -> bytes:
        """See ``ObjectStore.read``."""
        place = f"{bucket}/{key}"
        if place not in self._read:
            self._asked()
            self._read[place] = self._store.read(bucket, key)
        return self._read[place]

    def bucket_exists(self, bucket: str) -> bool:
        """See ``ObjectStore.bucket_exists``."""
        self._asked()
        return self._store.bucket_exists(bucket)

    def write(
        self, bucket: str, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> NoReturn:
        """Refused."""
        raise WouldWrite(key)

    def copy(self, bucket: str, key: str, to_key: str, *, if_match: str) -> NoReturn:
        """Refused."""
        raise WouldWrite(to_key)

    def delete(self, bucket: str, key: str) -> NoReturn:
        """Refused."""
        raise WouldWrite(key)

    def delete_prefix(self, bucket: str, prefix: str) -> NoReturn:
        """Refused."""
        raise WouldWrite(prefix)

    def ensure_bucket(self, bucket: str) -> NoReturn:
        """Refused."""
        raise WouldWrite(bucket)

    def _asked(self) -> None:
        with self._count:
            self.requests += 1


@dataclass(frozen=True)
class WatchedLake(Lake):
    """A lake whose tables are opened once."""

    opened: dict[str, LakeTable | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, lake: Lake, store: WatchingStore) -> WatchedLake:
        """The same lake, watched."""
        return cls(lake.settings, lake.endpoint, store)

    def delta_at(self, uri: str) -> LakeTable | None:
        """See ``Lake.delta_at``."""
        if uri not in self.opened:
            self.opened[uri] = open_table(uri, self.endpoint)  # the whole log is read: its damage is looked for
        return self.opened[uri]
