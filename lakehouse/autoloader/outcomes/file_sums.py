"""Sums over the files of which journal, receipts and table say the same; the other files are listed singly.

So behind a million files a check builds a record for a few of them. Whatever is out of the ordinary is told singly: a
file that was not loaded whole, that was loaded again, that has other rows in the table than were read of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.outcomes.file_states import FileState, StreamLog, states_of
from lakehouse.autoloader.outcomes.receipt_log import receipts_table
from lakehouse.autoloader.outcomes.receipts import CORRECTIONS, State
from lakehouse.storage.store import ObjectStore

_MOST_SINGLY = 2_000
"""Above this number of files it is faster to list all files of the stream."""

_ODD = np.uint64(0x9E3779B97F4A7C15)
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FileSums:
    """What a stream has made of its files.

    Attributes:
        files: Files that a finished batch has read or passed over, of which all say the same.
        read: Those of them that were read.
        rows: Rows that those have, read and in the table.
        bad_records: Their records that gave no row.
        others: Every other file that a batch has begun to read.
    """

    files: int
    read: int
    rows: int
    bad_records: int
    others: tuple[FileState, ...]


def file_sums(
    store: ObjectStore, log: StreamLog, rows: Mapping[int, int], singly: Collection[int] = ()
) -> FileSums | None:
    """The files of a stream, held against the rows of its table; None when too many have to be listed singly.

    Args:
        store: Where journal and receipts are.
        log: The stream's checkpoint.
        rows: Rows in the table by the file's number.
        singly: Numbers of files that are listed singly in any case.
    """
    bucket, prefix = split_uri(log.journal)
    receipts = receipts_table(store, bucket, prefix, log.stream)
    journal = Journal.at(store, log.journal)
    size = journal.high_water + 1
    if receipts is None or any(not 0 < number < size for number in (*rows, *singly)):
        return None
    in_table = _at(size, np.fromiter(rows.keys(), np.int64, len(rows)), np.fromiter(rows.values(), np.int64, len(rows)))
    read = _Receipts(receipts, size)
    entry, odd = np.zeros(size, bool), read.odd
    odd[list(singly)] = True
    versions: list[tuple[Numbers, npt.NDArray[np.uint64]]] = []
    for table in journal.tables(0, journal.high_water, ["replaces", "stream", "key_hash", "version_hash"]):
        numbers, replaces = _numbers(table["seq"]), _numbers(table["replaces"])
        requests = replaces != 0
        of_streams = np.asarray(pc.not_equal(table["stream"], "").to_numpy(zero_copy_only=False), bool)
        entry[numbers] = ~(requests & of_streams)
        odd[numbers[requests]] = odd[replaces[requests]] = True
        key, version = (table[name].to_numpy().astype(np.uint64) for name in ("key_hash", "version_hash"))
        loaded = in_table[numbers] != 0
        versions.append((numbers[loaded], key[loaded] * _ODD ^ version[loaded]))
    odd[_double(versions)] = True
    number = np.arange(size)
    done = read.any & (read.end <= log.committed_seq)
    passed = ~read.any & (number <= log.committed_seq)
    odd |= (in_table != read.rows) | (read.any & ~done)
    plain = entry & ~odd & (done | passed)
    others = np.flatnonzero(entry & odd)
    if len(others) > _MOST_SINGLY:
        return None
    return FileSums(
        int(plain.sum()),
        int((plain & done).sum()),
        int(read.rows[plain].sum()),
        int(read.bad[plain].sum()),
        tuple(state for state in _states(journal, log, others, receipts) if state.ingestion_state is not None),
    )


class _Receipts:
    """Of each file by its number, what the receipts say: see ``FileState``."""

    def __init__(self, receipts: pa.Table, size: int) -> None:
        plain = pc.and_(pc.equal(receipts["state"], State.INGESTED.value), pc.equal(receipts["error"], ""))
        plain = pc.and_(plain, pc.not_equal(receipts["name"], CORRECTIONS)).cast(pa.int64())
        known = receipts.append_column("plain", plain).filter(pc.less(receipts["seq"], size))
        sums = [("end", "min"), ("end", "max"), ("rows", "sum"), ("bad_records", "sum"), ("plain", "min")]
        by_file = known.group_by("seq").aggregate(sums)
        numbers = _numbers(by_file["seq"])
        self.any = np.zeros(size, bool)
        self.any[numbers] = True
        self.end = _at(size, numbers, _numbers(by_file["end_max"]))
        self.rows = _at(size, numbers, _numbers(by_file["rows_sum"]))
        self.bad = _at(size, numbers, _numbers(by_file["bad_records_sum"]))
        self.odd = np.zeros(size, bool)
        self.odd[numbers] = (_numbers(by_file["plain_min"]) == 0) | (
            _numbers(by_file["end_min"]) != _numbers(by_file["end_max"])
        )


def _states(journal: Journal, log: StreamLog, numbers: Numbers, receipts: pa.Table) -> list[FileState]:
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    files = [file for run in runs if len(run) for file in journal.files(int(run[0]) - 1, int(run[-1]))]
    return states_of(journal, log, files, receipts)


def _double(versions: Sequence[tuple[Numbers, npt.NDArray[np.uint64]]]) -> Numbers:
    """Numbers under which a file version has rows that it has under another number, too."""
    if not versions:
        return np.empty(0, np.int64)
    numbers, hashes = (np.concatenate(arrays) for arrays in zip(*versions, strict=True))
    order = np.argsort(hashes, kind="stable")
    same = hashes[order][1:] == hashes[order][:-1]
    return np.asarray(np.concatenate([numbers[order][1:][same], numbers[order][:-1][same]]), np.int64)


def _at(size: int, numbers: Numbers, values: Numbers) -> Numbers:
    found = np.zeros(size, np.int64)
    found[numbers] = values
    return found


def _numbers(column: pa.ChunkedArray) -> Numbers:
    return np.asarray(column.to_numpy(), np.int64)
