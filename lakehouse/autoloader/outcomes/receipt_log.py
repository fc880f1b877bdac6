"""All receipts of a stream: tasks' own objects, and those of finished batches, folded many into one.

Without folds a check would read an object for each task that ever ran. A fold has the receipts of consecutive batches,
each under its object's name; it is written before those objects go. An object beside the fold is of a batch that was
done again since, and counts. An empty object hides nothing: its attempt has not ended, or has failed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse.autoloader.outcomes.receipts import CORRECTIONS, Receipt, State, decoded, folder_of
from lakehouse.storage.store import ObjectExists, ObjectInfo, ObjectMissing, ObjectStore

FOLDED_BATCHES = 64
"""How many finished batches are folded at once: fewer batches than that are read object by object."""
_FOLD_BYTES = 4 << 20
"""A fold of that size is left as it is, and the next fold begins."""
_LEFT_SECONDS = 3600.0
"""An empty object of that age is of an attempt that is over, when another attempt has written since."""
_THREADS = 8
_SCHEMA = pa.schema(
    [
        ("end", pa.int64()),
        ("name", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("seq", pa.int64()),
        ("start", pa.int64()),
        ("rows", pa.int64()),
        ("state", pa.string()),
        ("error", pa.string()),
        ("batch_id", pa.int64()),
        ("bad_records", pa.int64()),
    ]
)

Objects = dict[str, tuple[datetime, tuple[Receipt, ...]]]
"""The receipts of a batch: for each object's name when it was written, and its receipts."""


@dataclass(frozen=True)
class Written:
    """A receipt, the number of the last file of its batch, when it was written, and whether it corrects others."""

    receipt: Receipt
    end: int
    at: datetime
    corrects: bool = False


def streams_with_receipts(store: ObjectStore, bucket: str, journal_prefix: str) -> list[str]:
    """All streams that have receipts."""
    prefix = journal_prefix.rstrip("/")
    return sorted(
        {stream for name in ("receipts", "folded_receipts") for stream in store.folders(bucket, f"{prefix}/{name}/")}
    )


def read_receipts(
    store: ObjectStore, bucket: str, journal_prefix: str, stream: str, *, first_end: int = 0
) -> Iterator[Written]:
    """All receipts of a stream in the order of its batches, from the batch that ends with file ``first_end`` on."""
    for end, objects in _Log(store, bucket, journal_prefix, stream).batches(first_end):
        for name, (at, receipts) in _of_last_plan(objects).items():
            for receipt in receipts:
                yield Written(receipt, end, at, name == CORRECTIONS)


def receipts_table(store: ObjectStore, bucket: str, journal_prefix: str, stream: str) -> pa.Table | None:
    """The same as a table; ``name`` is the object's. None where a batch was done again after it was folded."""
    log = _Log(store, bucket, journal_prefix, stream)
    own = log.own(0)
    folds = log.folds()
    folded = {end: own.pop(end) for end in list(own) if folds and end <= folds[-1].last}
    if any(receipts for _, objects in log.contents(folded) for _, receipts in objects.values()):
        return None
    tables, upto = [_SCHEMA.empty_table()], 0
    try:
        for fold in folds:
            table = log.read(fold)
            tables.append(table.filter(pc.greater(table["end"], upto)))
            upto = fold.last
    except ObjectMissing:  # it was folded into another object meanwhile
        return None
    tables.append(_to_table((end, _of_last_plan(objects)) for end, objects in log.contents(own)))
    return pa.concat_tables(tables)


def written_in(receipts: pa.Table) -> Iterator[Written]:
    """Rows of ``receipts_table`` as ``read_receipts`` gives them."""
    for end, objects in _from_table(receipts):
        for name, (at, found) in objects.items():
            for receipt in found:
                yield Written(receipt, end, at, name == CORRECTIONS)


def fold_receipts(store: ObjectStore, bucket: str, journal_prefix: str, stream: str, committed: int) -> int:
    """Folds the receipts of finished batches when there are enough of them; may be killed anywhere, and done again.

    Args:
        store: Where they are.
        bucket: Its bucket.
        journal_prefix: The journal's folder.
        stream: The stream.
        committed: Number of the last file that is in the sink.

    Returns:
        How many batches were folded.
    """
    log = _Log(store, bucket, journal_prefix, stream)
    finished = {end: infos for end, infos in log.own(0).items() if end <= committed}
    if len(finished) < FOLDED_BATCHES:
        return 0
    folds = log.folds()
    covered = folds[-1].last if folds else 0
    fresh = {end: infos for end, infos in finished.items() if end > covered}
    with suppress(ObjectMissing):  # another process folds, too
        newest = max(info.last_modified for infos in finished.values() for info in infos)  # the store's own clock
        log.remove_folded({end: infos for end, infos in finished.items() if end <= covered}, newest)
        if len(fresh) >= FOLDED_BATCHES:
            log.fold(fresh, folds[-1] if folds and folds[-1].size_bytes < _FOLD_BYTES else None, newest)
            return len(fresh)
    return 0


def forget_receipts(store: ObjectStore, bucket: str, journal_prefix: str, stream: str, after_end: int) -> None:
    """Removes the receipts of a stream's batches that end behind a file: they come again, perhaps cut otherwise."""
    log = _Log(store, bucket, journal_prefix, stream)
    for fold in log.folds():
        if fold.last > after_end:
            log.cut(fold, after_end)
    log.delete(info.key for end, infos in log.own(after_end + 1).items() if end > after_end for info in infos)


@dataclass(frozen=True)
class _Fold:
    """The batches whose last files are from ``first`` to ``last``."""

    key: str
    first: int
    last: int
    size_bytes: int


class _Log:
    def __init__(self, store: ObjectStore, bucket: str, journal_prefix: str, stream: str) -> None:
        self._store, self._bucket = store, bucket
        self._own = folder_of(journal_prefix, stream)
        self._folds = f"{journal_prefix.rstrip('/')}/folded_receipts/{stream}/"

    def own(self, first_end: int) -> dict[int, list[ObjectInfo]]:
        """Tasks' own objects by batch, in the order of batches."""
        after = f"{self._own}{first_end:020d}" if first_end else None
        listed = self._store.list(self._bucket, self._own, start_after=after)
        return {end: list(infos) for end, infos in groupby(listed, key=self._end)}

    def folds(self) -> list[_Fold]:
        """Folds in the order of batches, without those whose batches another fold has."""
        found = []
        for info in self._store.list(self._bucket, self._folds):
            first, _, last = info.key.removeprefix(self._folds).removesuffix(".parquet").partition("-")
            found.append(_Fold(info.key, int(first), int(last), info.size_bytes))
        chosen: list[_Fold] = []
        for fold in sorted(found, key=lambda fold: (fold.first, -fold.last)):
            if not chosen or fold.last > chosen[-1].last:
                chosen.append(fold)
        return chosen

    def batches(self, first_end: int) -> Iterator[tuple[int, Objects]]:
        """Each batch from that batch on, with its objects by name."""
        own = self.own(first_end)  # before the folds: what goes from here meanwhile is there
        folded = self._folded(first_end)
        waiting = next(folded, None)
        for end, objects in self.contents(own):
            while waiting is not None and waiting[0] < end:
                yield waiting
                waiting = next(folded, None)
            if waiting is not None and waiting[0] == end:
                news = {name: entry for name, entry in objects.items() if entry[1] or name not in waiting[1]}
                objects = dict(sorted({**waiting[1], **news}.items()))
                waiting = next(folded, None)
            yield end, objects
        while waiting is not None:
            yield waiting
            waiting = next(folded, None)

    def fold(self, batches: Mapping[int, list[ObjectInfo]], before: _Fold | None, now: datetime) -> None:
        """Writes a fold of these batches, and of the fold before them; then what is in it goes.

        An empty object stays for a while: its attempt may still be running.

        Raises:
            ObjectMissing: another process folds them: a later plan may count of what was listed.
        """
        silent = set()

        def read_one(info: ObjectInfo) -> tuple[Receipt, ...]:
            receipts = tuple(decoded(self._store.read(self._bucket, info.key)))
            if not receipts and (now - info.last_modified).total_seconds() < _LEFT_SECONDS:
                silent.add(info.key)
            return receipts

        table = _to_table((end, _of_last_plan(objects)) for end, objects in self.contents(batches, read_one))
        first, last = min(batches), max(batches)
        if before is not None:
            first = before.first
            table = pa.concat_tables([self.read(before), table])
        self._write(table, first, last)
        if before is not None:
            self._store.delete(self._bucket, before.key)
        self.delete(info.key for infos in batches.values() for info in infos if info.key not in silent)

    def cut(self, fold: _Fold, after_end: int) -> None:
        """Keeps of a fold only the batches up to that file."""
        table = self.read(fold)
        kept = table.filter(pc.less_equal(table["end"], after_end))
        if kept.num_rows:
            self._write(kept, fold.first, pc.max(kept["end"]).as_py())
        self._store.delete(self._bucket, fold.key)

    def _write(self, table: pa.Table, first: int, last: int) -> None:
        written = io.BytesIO()
        pq.write_table(table, written, compression="zstd")
        with suppress(ObjectExists):  # another process has written the same fold
            key = f"{self._folds}{first:020d}-{last:020d}.parquet"
            self._store.write(self._bucket, key, written.getvalue(), if_absent=True)

    def remove_folded(self, batches: Mapping[int, list[ObjectInfo]], now: datetime) -> None:
        """Removes objects that a fold has: its writer was killed before that, or the objects were written again."""
        for end, objects in self._folded(min(batches)) if batches else ():
            beside = []
            for info in batches.get(end, ()):
                if objects.get(_stem(info), (None,))[0] == info.last_modified:
                    self._store.delete(self._bucket, info.key)
                else:
                    beside.append(info)
            if all((now - info.last_modified).total_seconds() >= _LEFT_SECONDS for info in beside) and all(
                self._content(info) in ((), objects.get(_stem(info), (None, ()))[1]) for info in beside
            ):
                self.delete(info.key for info in beside)

    def delete(self, keys: Iterable[str]) -> None:
        """Removes objects."""
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda key: self._store.delete(self._bucket, key), keys))

    def _folded(self, first_end: int) -> Iterator[tuple[int, Objects]]:
        after = first_end - 1
        while True:
            try:
                for fold in self.folds():
                    if fold.last > after:
                        for end, objects in _from_table(self.read(fold)):
                            if end > after:
                                yield end, objects
                                after = end
                return
            except ObjectMissing:  # it was folded into another object meanwhile
                continue

    def read(self, fold: _Fold) -> pa.Table:
        return pq.read_table(pa.BufferReader(self._store.read(self._bucket, fold.key)), schema=_SCHEMA)

    def contents(
        self, own: Mapping[int, list[ObjectInfo]], read_one: Callable[[ObjectInfo], tuple[Receipt, ...]] | None = None
    ) -> Iterator[tuple[int, Objects]]:
        ends = sorted(own)
        with ThreadPoolExecutor(_THREADS) as pool:
            for at in range(0, len(ends), FOLDED_BATCHES):
                block = ends[at : at + FOLDED_BATCHES]
                infos = [info for end in block for info in own[end]]
                read = dict(zip((info.key for info in infos), pool.map(read_one or self._content, infos), strict=True))
                for end in block:
                    yield end, {_stem(info): (info.last_modified, read[info.key]) for info in own[end]}

    def _content(self, info: ObjectInfo) -> tuple[Receipt, ...]:
        try:
            return tuple(decoded(self._store.read(self._bucket, info.key)))
        except ObjectMissing:  # it was folded meanwhile; or left out, because a later plan of its batch counts
            end = self._end(info)
            found, objects = next(self._folded(end), (0, {}))
            if found != end:
                raise
            return objects[_stem(info)][1] if _stem(info) in objects else ()

    def _end(self, info: ObjectInfo) -> int:
        return int(info.key.removeprefix(self._own).split("/")[0])


def _to_table(batches: Iterable[tuple[int, Objects]]) -> pa.Table:
    rows = [
        {"end": end, "name": name, "at": at, **asdict(receipt)}
        for end, objects in batches
        for name, (at, receipts) in objects.items()
        for receipt in receipts
    ]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _from_table(table: pa.Table) -> Iterator[tuple[int, Objects]]:
    columns = table.to_pydict()
    places, receipts = zip(columns["end"], columns["name"], columns["at"], strict=True), _receipts(columns)
    lines = zip(places, receipts, strict=True)
    for end, of_batch in groupby(lines, key=lambda line: line[0][0]):
        named = groupby(of_batch, key=lambda line: line[0])
        yield end, {place[1]: (place[2], tuple(receipt for _, receipt in of_name)) for place, of_name in named}


def _receipts(columns: Mapping[str, list[object]]) -> Iterator[Receipt]:
    names = ("seq", "start", "rows", "state", "error", "batch_id", "bad_records")
    for seq, start, rows, state, error, batch_id, bad_records in zip(*(columns[name] for name in names), strict=True):
        yield Receipt(seq, start, rows, State(state), error, batch_id, bad_records)


def _of_last_plan(objects: Objects) -> Objects:
    """Without the objects of plans that a later plan replaced. Objects of no task stay.

    A plan with an empty object is passed over where another plan has none: the batch of that plan can be in the table.
    """
    plans = {name: _plan(name) for name in objects}
    of_tasks = {plan for plan in plans.values() if plan is not None}
    if len(of_tasks) < 2:
        return objects
    whole = of_tasks - {plans[name] for name, entry in objects.items() if not entry[1]}
    last = plans[max((objects[name][0], name) for name, plan in plans.items() if plan in (whole or of_tasks))[1]]
    return {name: entry for name, entry in objects.items() if plans[name] in (None, last)}


def _plan(name: str) -> str | None:
    """The plan of a task's receipts, empty where they are older than plans; None of what is no task's."""
    plan, _, part = name.rpartition(".")
    return plan if part.isdigit() else None


def _stem(info: ObjectInfo) -> str:
    return info.key.rsplit("/", 1)[-1].removesuffix(".jsonl")
