"""Which file versions are known: two 64-bit hashes a version, so that a million take 16 MB."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lakehouse.autoloader.files.segments import key_hash, version_hash
from lakehouse.storage.store import ObjectInfo

_MERGE_AT = 20_000


class KnownVersions:
    """(Key hash, version hash) pairs, those of one key hash in the order in which they were added.

    A version is known when both hashes agree: 128 bits. Whether only the key is known, and whether a known version is
    the newest of its key, are hints, because two keys may share 64 bits: then the keys themselves are looked at.

    Args:
        newest_of: Looks keys up: the hash of the newest version of each that is there. It reads all of the journal.
    """

    def __init__(self, newest_of: Callable[[Sequence[str]], dict[str, int]]) -> None:
        self._newest_of = newest_of
        self._looked_up: dict[int, dict[str, int | None]] = {}
        self._keys = np.empty(0, np.uint64)
        self._versions = np.empty(0, np.uint64)
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        self._recent: dict[int, list[int]] = {}

    def __len__(self) -> int:
        recent = sum(len(versions) for versions in self._recent.values())
        return len(self._keys) + sum(len(keys) for keys, _ in self._parts) + recent

    def add(self, keys: np.ndarray, versions: np.ndarray) -> None:
        """Takes in a segment's hashes, in the order of its numbers."""
        for key in self._looked_up.keys() & set(keys.tolist()) if self._looked_up else ():
            del self._looked_up[key]
        if len(keys) >= _MERGE_AT:
            if self._recent:
                self._parts.append(self._drain())  # it is older
            self._parts.append((keys, versions))
            return
        for key, version in zip(keys.tolist(), versions.tolist(), strict=True):
            self._recent.setdefault(key, []).append(version)
        if len(self._recent) >= _MERGE_AT:
            self._parts.append(self._drain())

    def unseen(self, found: Sequence[ObjectInfo]) -> list[tuple[ObjectInfo, bool]]:
        """Those objects whose version is not the newest of their key, each with whether its key is new, too."""
        if not found:
            return []
        keys = np.array([key_hash(info.key) for info in found], np.uint64)
        versions = np.array([version_hash(info.e_tag, info.size_bytes) for info in found], np.uint64)
        known, has_key, newest = self._look_up(keys, versions)
        last = self._resolve({found[at].key: int(keys[at]) for at in np.flatnonzero(has_key & ~newest).tolist()})
        fresh = []
        for at in np.flatnonzero(~newest).tolist():
            held = last.get(found[at].key)
            if not known[at] or held != versions[at]:
                fresh.append((found[at], held is None))
        return fresh

    def _resolve(self, hashes: dict[str, int]) -> dict[str, int | None]:
        """The newest version of each of these keys; looked up once, until there is a newer version."""
        missing = [key for key, hash_ in hashes.items() if key not in self._looked_up.get(hash_, ())]
        held = self._newest_of(missing) if missing else {}
        for key in missing:
            self._looked_up.setdefault(hashes[key], {})[key] = held.get(key)
        return {key: self._looked_up[hash_][key] for key, hash_ in hashes.items()}

    def _look_up(self, keys: np.ndarray, versions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each pair: whether the version is known, whether the key seems known, and this its newest version."""
        self._settle()
        low, high = np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")
        has_key, newest = high > low, np.zeros(len(keys), bool)
        newest[has_key] = self._versions[high[has_key] - 1] == versions[has_key]
        has_version = newest.copy()
        for at in np.flatnonzero(has_key & ~newest).tolist():
            has_version[at] = versions[at] in self._versions[low[at] : high[at]]
        if self._recent:
            for at, (key, version) in enumerate(zip(keys.tolist(), versions.tolist(), strict=True)):
                found = self._recent.get(key)
                if found is not None:
                    has_key[at] = True
                    newest[at] = found[-1] == version
                    has_version[at] |= version in found
        return has_version, has_key, newest

    def _drain(self) -> tuple[np.ndarray, np.ndarray]:
        pairs = [(key, version) for key, versions in self._recent.items() for version in versions]
        self._recent = {}
        drained = np.array(pairs, np.uint64).reshape(-1, 2)
        return drained[:, 0], drained[:, 1]

    def _settle(self) -> None:
        """Sorts what was added since the last look-up in large parts."""
        if not self._parts:
            return
        keys = np.concatenate([self._keys, *(keys for keys, _ in self._parts)])
        versions = np.concatenate([self._versions, *(versions for _, versions in self._parts)])
        self._parts = []
        order = np.argsort(keys, kind="stable")
        self._keys, self._versions = keys[order], versions[order]
