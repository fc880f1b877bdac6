"""What has landed since a sensor asked last: by a listing behind the greatest key, or of the whole folder.

Nothing is written: all that is known is in the sensor's cursor. Only the first look at a folder also asks what its
tables have loaded: files that ``lakehouse ingest`` or another instance took are no news. Where keys grow, a tick lists
what follows the greatest key that is known, whatever the folder holds. A listing of the whole folder finds what arrived
behind it: a file with an older key by its time, a file whose time is old, too (restored, mirrored), by the number of
files. A small folder is listed as a whole at every tick, any other once in the given interval. A large folder whose
last new files did not have the greatest keys is listed more often, the less so the larger it is. Where older files come
between two such listings, and as many others go, the older files are left to the schedule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from lakehouse.autoloader.files.discovery import FAST_FROM_FILES
from lakehouse.storage.store import ObjectInfo, ObjectStore

LISTED_FILES_PER_SECOND = 2_000
"""How many files of a large folder whose keys do not grow are listed for each second since it was listed last: two
requests a second, whatever the folder holds."""
_PAGE = 1_000
_TIMES = 10_000

Loaded = Callable[[Sequence[ObjectInfo]], Collection[str]]
"""Tells the keys of those objects that every table of the folder has loaded."""


def _nothing(page: Sequence[ObjectInfo]) -> Collection[str]:
    return ()


@dataclass(frozen=True)
class Seen:
    """What is remembered of a folder: what a run was asked for.

    Attributes:
        high: Newest time at the last listing of everything.
        at_high: The marks of the files of that time, which tell files of the same moment apart.
        known: How many files there were.
        last_key: The greatest key of them.
        listed_at: When that was; empty for never.
        grows: Whether new files had greater keys than all older ones.
        ahead: Files found since then behind ``last_key``.
        ahead_key: The greatest key of them.
        newest: The newest time of all.
        told: Number of the last event of the inbox that was read; below 0 where that is not known.
    """

    high: str = ""
    at_high: tuple[str, ...] = ()
    known: int = 0
    last_key: str = ""
    listed_at: str = ""
    grows: bool = False
    ahead: int = 0
    ahead_key: str = ""
    newest: str = ""
    told: int = 0
    v: int = 2

    @classmethod
    def read(cls, entry: Any) -> Seen:
        """What cannot be read (typed by hand, of another release) counts as nothing: that costs one first look."""
        try:
            seen = cls(**{**entry, "at_high": tuple(entry["at_high"])})
            return seen if seen.v == cls.v and seen._has_its_types() else cls()
        except (ValueError, KeyError, TypeError):
            return cls()

    def write(self) -> dict[str, Any]:
        """For the cursor."""
        return asdict(self)

    @property
    def files(self) -> int:
        """How many files are known."""
        return self.known + self.ahead

    @property
    def greatest_key(self) -> str:
        """Nothing that follows it is known."""
        return max(self.last_key, self.ahead_key)

    def _has_its_types(self) -> bool:
        if self.listed_at:
            datetime.fromisoformat(self.listed_at)
        return all(isinstance(value, type(getattr(Seen(), name))) for name, value in vars(self).items())


@dataclass
class Fresh:
    """The files that are known to be new, summed up; ``written`` has the times of the first of them."""

    count: int = 0
    size_bytes: int = 0
    oldest: datetime | None = None
    last_key: str = ""
    newest: str = ""
    written: list[datetime] = field(default_factory=list, repr=False)
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256, repr=False)

    def add(self, info: ObjectInfo) -> None:
        """Takes in a file; files come in the order of their keys."""
        self.count += 1
        self.size_bytes += info.size_bytes
        self.oldest = min(self.oldest or info.last_modified, info.last_modified)
        if len(self.written) < _TIMES:
            self.written.append(info.last_modified)
        self.last_key, self.newest = info.key, max(self.newest, time_of(info))
        self._digest.update(f"{mark_of(info)}\n".encode())

    def digest(self) -> str:
        """Names the set of files."""
        return self._digest.hexdigest()


@dataclass(frozen=True)
class Look:
    """What a look at a folder found.

    Attributes:
        fresh: New files.
        unnamed: How many more are new, which cannot be told from the others: their time is old. The checkpoint sorts
            them out.
        ignored: Objects that are no input.
        files: Files that are known now.
        whole: Whether everything was listed.
        after: What the cursor is to be, once a run is asked for or there is nothing to ask for.
    """

    fresh: Fresh
    unnamed: int
    ignored: int
    files: int
    whole: bool
    after: Seen

    @property
    def new(self) -> int:
        """How many files are new."""
        return self.fresh.count + self.unnamed

    @property
    def listed(self) -> bool:
        """Whether a listing found them, and not events."""
        return self.whole or self.after.told < 0


def look(
    store: ObjectStore,
    bucket: str,
    root: str,
    takes: Callable[[ObjectInfo], bool],
    seen: Seen,
    *,
    now: datetime,
    interval_seconds: float,
    in_a_hurry: bool = False,
    loaded: Loaded = _nothing,
) -> Look:
    """Looks for what is new since ``seen``.

    Args:
        store: Where the folder is.
        bucket: Its bucket.
        root: The folder, with a slash at its end; empty for the whole bucket.
        takes: Which objects are input.
        seen: What is known.
        now: The moment of this look. A clock that was set back costs a listing of everything, nothing worse.
        interval_seconds: How long a file may stay unseen behind the greatest key; 0 where all is to be listed now.
        in_a_hurry: Whether a listing of everything that is due may wait, because no run would start anyway.
        loaded: What has been loaded, for the first look at the folder.

    Raises:
        StoreUnavailable, AccessDenied, BucketMissing: the folder cannot be listed.
    """
    if seen.listed_at and seen.files >= FAST_FROM_FILES:
        age_seconds = (now - datetime.fromisoformat(seen.listed_at)).total_seconds()
        often_seconds = interval_seconds if seen.grows else seen.files / LISTED_FILES_PER_SECOND
        if in_a_hurry or 0 <= age_seconds < min(often_seconds, interval_seconds):
            return _behind_the_last_key(store, bucket, root, takes, seen)
    return _everything(store.list(bucket, root), takes, seen, now, _nothing if seen.listed_at else loaded)


def mark_of(info: ObjectInfo) -> str:
    """A version of a file in a few characters."""
    return hashlib.sha256(f"{info.key}\n{info.e_tag}".encode()).hexdigest()[:16]


def time_of(info: ObjectInfo) -> str:
    """The store's time of a version; texts sort as the times do."""
    return info.last_modified.astimezone(UTC).isoformat(timespec="microseconds")


def _behind_the_last_key(
    store: ObjectStore, bucket: str, root: str, takes: Callable[[ObjectInfo], bool], seen: Seen
) -> Look:
    fresh, ignored = Fresh(), 0
    for info in store.list(bucket, root, start_after=seen.greatest_key):
        if takes(info):
            fresh.add(info)
        else:
            ignored += 1
    after = replace(
        seen,
        ahead=seen.ahead + fresh.count,
        ahead_key=max(seen.ahead_key, fresh.last_key),
        newest=max(seen.newest, fresh.newest),
    )
    return Look(fresh, 0, ignored, after.files, False, after)


def _everything(
    listed: Iterator[ObjectInfo], takes: Callable[[ObjectInfo], bool], seen: Seen, now: datetime, loaded: Loaded
) -> Look:
    fresh, ignored, behind = Fresh(), 0, 0
    known = ahead = total = 0  # files that were there before, as far as that can be told
    at_high_before = set(seen.at_high)
    high, at_high, last_key = "", [], ""
    while page := list(islice(listed, _PAGE)):
        taken = [info for info in page if takes(info)]
        ignored += len(page) - len(taken)
        total += len(taken)
        given = loaded(taken)
        for info in taken:
            time, last_key = time_of(info), info.key
            if time > high:
                high, at_high = time, [info]
            elif time == high:
                at_high.append(info)
            if info.key in given:
                continue
            if info.key > seen.greatest_key:
                fresh.add(info)
            elif info.key > seen.last_key and time <= seen.newest:
                ahead += 1
            elif (
                info.key > seen.last_key
                or time > seen.high
                or (time == seen.high and mark_of(info) not in at_high_before)
            ):
                fresh.add(info)
                behind += 1
            else:
                known += 1
    unnamed = max(known - seen.known, 0) + max(ahead - seen.ahead, 0)
    behind += unnamed
    arrived = fresh.count + unnamed + seen.ahead
    if not seen.listed_at:
        grows = bool(at_high) and at_high[-1].key == last_key
    else:
        grows = behind == 0 if arrived else seen.grows
    marks = tuple(sorted(map(mark_of, at_high)))
    after = Seen(high, marks, total, last_key, now.isoformat(timespec="seconds"), grows, newest=high)
    return Look(fresh, unnamed, ignored, total, True, after)
