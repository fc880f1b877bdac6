"""Which file versions are known: two 64-bit hashes a version, so that a million take 16 MB and a look-up is exact."""

from __future__ import annotations

import numpy as np

_MERGE_AT = 20_000


class KnownVersions:
    """A set of (key hash, version hash) pairs.

    A version is known when both hashes agree: 128 bits. Whether only the key is known is a hint, because two keys may
    share 64 bits: the journal then looks at the keys themselves.
    """

    def __init__(self) -> None:
        self._keys = np.empty(0, np.uint64)
        self._versions = np.empty(0, np.uint64)
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        self._recent: dict[int, set[int]] = {}

    def __len__(self) -> int:
        recent = sum(len(versions) for versions in self._recent.values())
        return len(self._keys) + sum(len(keys) for keys, _ in self._parts) + recent

    def add(self, keys: np.ndarray, versions: np.ndarray) -> None:
        """Takes in a segment's hashes."""
        if len(keys) >= _MERGE_AT:
            self._parts.append((keys, versions))
            return
        for key, version in zip(keys.tolist(), versions.tolist(), strict=True):
            self._recent.setdefault(key, set()).add(version)
        if len(self._recent) >= _MERGE_AT:
            self._parts.append(self._drain())

    def look_up(self, keys: np.ndarray, versions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each pair: whether the version is known, and whether the key seems to be."""
        self._settle()
        low, high = np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")
        has_key, has_version = high > low, np.zeros(len(keys), bool)
        for at in np.flatnonzero(has_key).tolist():
            has_version[at] = versions[at] in self._versions[low[at] : high[at]]
        if self._recent:
            for at, (key, version) in enumerate(zip(keys.tolist(), versions.tolist(), strict=True)):
                found = self._recent.get(key)
                if found is not None:
                    has_key[at] = True
                    has_version[at] |= version in found
        return has_version, has_key

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
