"""Which versions are known, and which of them is the newest of its key."""

from datetime import UTC, datetime

import numpy as np
import pytest

from lakehouse.autoloader.files import known
from lakehouse.autoloader.files.known import KnownVersions
from lakehouse.autoloader.files.segments import key_hash, version_hash
from lakehouse.storage.store import ObjectInfo


def version(key, content):
    return ObjectInfo(key, 1, content, datetime(2026, 1, 1, tzinfo=UTC))


class Held:
    """A journal's entries, and how often all of them were looked through."""

    def __init__(self):
        self.entries, self.looks = [], 0
        self.known = KnownVersions(self.newest_of)

    def newest_of(self, keys):
        self.looks += 1
        return {key: version_hash(content, 1) for key, content in self.entries if key in keys}

    def add(self, *entries):
        self.entries += entries
        keys, versions = (np.array(numbers, np.uint64) for numbers in zip(*map(hashes, entries), strict=True))
        self.known.add(keys, versions)

    def unseen(self, *entries):
        return [(info.key, first) for info, first in self.known.unseen([version(*entry) for entry in entries])]


def hashes(entry):
    return known.key_hash(entry[0]), version_hash(entry[1], 1)


@pytest.mark.parametrize("large", [1, 2, 100], ids=["parts", "some parts", "one by one"])
def test_only_the_newest_version_of_a_key_is_not_new(monkeypatch, large):
    monkeypatch.setattr(known, "_MERGE_AT", large)
    held = Held()
    held.add(("a", "1"))
    held.add(("b", "1"), ("c", "1"))
    held.add(("a", "2"))
    held.add(("b", "2"), ("a", "1"), ("b", "3"))
    assert held.unseen(("a", "1"), ("b", "3"), ("c", "1")) == []
    assert held.unseen(("a", "2"), ("b", "1"), ("b", "2"), ("c", "2"), ("d", "1")) == [
        ("a", False),
        ("b", False),
        ("b", False),
        ("c", False),
        ("d", True),
    ]
    held.add(("a", "2"))
    assert held.unseen(("a", "2")) == []
    assert held.unseen(("a", "1")) == [("a", False)]


def test_keys_of_one_version_are_never_looked_through():
    held = Held()
    held.add(*((str(number), "1") for number in range(100)))
    assert held.unseen(*((str(number), "1") for number in range(200))) == [(str(key), True) for key in range(100, 200)]
    assert held.looks == 0


def test_keys_with_the_same_hash_are_told_apart_and_looked_through_once(monkeypatch):
    monkeypatch.setattr(known, "key_hash", lambda key: key_hash(key[0]))
    held = Held()
    held.add(("a-one", "1"))
    held.add(("a-two", "2"))
    for _ in range(3):
        assert held.unseen(("a-one", "1"), ("a-two", "2")) == []
    assert held.looks == 1
    assert held.unseen(("a-three", "1")) == [("a-three", True)]
    held.add(("a-one", "3"))
    assert held.unseen(("a-one", "1"), ("a-two", "2"), ("a-one", "3")) == [("a-one", False)]
    held.add(("a-one", "1"))
    assert held.unseen(("a-one", "1"), ("a-two", "2")) == []
