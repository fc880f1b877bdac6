"""Sorted hashes of keys as objects beside the lake's tables: about three bytes a key, since differences are small."""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.counting.hashes import BITS, Hashes
from lakehouse.counting.state import state_folder
from lakehouse.lake import Lake

NONE: Hashes = np.zeros(0, np.uint64)


@dataclass(frozen=True)
class Segments:
    """The folder of a table's hashes.

    Attributes:
        lake: Where it is.
        folder: Its key in the lake's bucket; ends with a slash.
    """

    lake: Lake
    folder: str

    @classmethod
    def of(cls, lake: Lake, table: str, name: str) -> Segments:
        """Those of the state under that name."""
        return cls(lake, f"{state_folder(lake, table)}{name}/")

    def write(self, sorted_: Hashes) -> str:
        """Keeps sorted hashes; returns the name of the object.

        Raises:
            AccessDenied: nothing may be written here.
        """
        sink, name = io.BytesIO(), f"{uuid.uuid4().hex}.parquet"
        column = pa.table({"key": pa.array(sorted_.view(np.int64))})
        encoding = {"key": "DELTA_BINARY_PACKED"}
        pq.write_table(column, sink, compression="none", use_dictionary=False, column_encoding=encoding)
        self.lake.store.write(self.lake.settings.bucket, self.folder + name, sink.getvalue())
        return name

    def read(self, name: str) -> Hashes:
        """The hashes of an object.

        Raises:
            ObjectMissing: it is gone.
            pa.ArrowException, OSError: it is no such object.
        """
        data = self.lake.store.read(self.lake.settings.bucket, self.folder + name)
        found: Hashes = pq.read_table(pa.BufferReader(data))["key"].to_numpy().view(np.uint64)
        return found

    def remove(self, names: set[str]) -> None:
        """Removes objects."""
        for name in names:
            self.lake.store.delete(self.lake.settings.bucket, self.folder + name)

    def names(self) -> set[str]:
        """Names of the objects that are there."""
        found = self.lake.store.list(self.lake.settings.bucket, self.folder)
        return {info.key.removeprefix(self.folder) for info in found}


def times_in(sorted_: Hashes, wanted: Hashes) -> np.ndarray:
    """How often each of ``wanted`` occurs in sorted hashes."""
    return np.searchsorted(sorted_, wanted, "right") - np.searchsorted(sorted_, wanted, "left")


def without(sorted_: Hashes, gone: Hashes) -> Hashes:
    """The multiset difference of sorted hashes: each is removed as often as it occurs in ``gone``."""
    if not len(gone) or not len(sorted_):
        return sorted_
    # the n-th of equal hashes is removed where ``gone`` has at least n of them
    nth = np.arange(len(sorted_)) - np.searchsorted(sorted_, sorted_, "left")
    return sorted_[nth >= times_in(gone, sorted_)]


def doubled_in(sorted_: Hashes) -> Hashes:
    """The hashes that occur more than once among sorted hashes, each once."""
    return np.unique(sorted_[1:][sorted_[1:] == sorted_[:-1]])


def part_of(sorted_: Hashes, number: int, bits: int) -> Hashes:
    """The sorted hashes that begin with the ``bits`` bits of ``number``."""
    first, end = number << (BITS - bits), (number + 1) << (BITS - bits)
    return sorted_[np.searchsorted(sorted_, np.uint64(first)) : np.searchsorted(sorted_, np.uint64(end))]
