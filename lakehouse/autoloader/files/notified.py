"""Finding what is new by events: what an inbox tells of a folder, held against the journal.

An event is a hint. What it says of a file is taken as it is only while it is fresh and of a key that the journal does
not have; of all else the store is asked. A listing of everything, which comes at the latest after an interval, finds
what no event told of, and says how much that was.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lakehouse.autoloader.files.discovery import discover
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.journal_reader import TRIES
from lakehouse.autoloader.options.paths import SourcePath
from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.events.address import VARIABLE, InboxAddress
from lakehouse.events.event import Event
from lakehouse.events.inbox import Inbox, Reader
from lakehouse.events.places import opened
from lakehouse.storage.store import ObjectInfo, ObjectStore

FRESH = timedelta(minutes=10)
"""How long an event is trusted about a new file: as long as the result of a listing may wait for its batch."""
GRACE = timedelta(minutes=1)
"""An event that comes later than that counts as lost."""
SHORTEST_INTERVAL_SECONDS = 900.0
_PATIENCE_SECONDS = 1.0

_PAGE = 5_000
_ASKED = 1_000
_THREADS = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folder:
    """A folder and the journal of its files.

    Attributes:
        store: Where the files are.
        path: What is read.
        journal: What is known.
        audit: Bucket and key of what ``discover`` remembers.
    """

    store: ObjectStore
    path: SourcePath
    journal: Journal
    audit: tuple[str, str]

    @property
    def reader(self) -> str:
        """Its name among the readers of an inbox: several streams may share a journal, and folders too."""
        identity = f"{self.journal.uri}\n{self.path.bucket}\n{self.path.file or self.path.root}"
        return f"s3a://{self.path.bucket}/{self.path.root} {hashlib.sha256(identity.encode()).hexdigest()[:12]}"

    @property
    def prefix(self) -> str:
        """What all its keys begin with."""
        return self.path.file if self.path.file else self.path.root


@dataclass(frozen=True)
class NotifiedDiscovery:
    """The result of one look into the inbox.

    Attributes:
        events: Events that were read.
        found: New file versions that they brought into the journal.
        asked: Objects of which the store was asked.
        listed: Why everything was listed; empty when it was not.
        lost: Files which that listing found, and no event had told of.
    """

    events: int
    found: int
    asked: int
    listed: str = ""
    lost: int = 0


@contextmanager
def opened_inbox(place: str | None) -> Iterator[Inbox]:
    """The inbox that the options name, or this process's environment.

    Raises:
        ConfigurationError: no inbox is named, there is none at its place, or it is damaged.
        TransientError: it cannot be used now.
    """
    try:
        address = InboxAddress.of_option(place or os.environ.get(VARIABLE) or ".")
    except ValueError as error:
        raise ConfigurationError(
            f"nothing says with a whole address where the inbox of file events is: {error}",
            where="cloudFiles options",
            state="nothing was read or written",
            next_command=f"set {VARIABLE} where the driver runs, or give cloudFiles.eventsInbox: "
            "lakehouse events status shows the place",
        ) from None
    with opened(address) as inbox:
        yield inbox


def discover_notified(
    folder: Folder,
    inbox: Inbox,
    *,
    now: Callable[[], datetime],
    interval_seconds: float,
    listing: bool = False,
    refreshed: bool = False,
) -> NotifiedDiscovery:
    """Brings the journal up to date with the inbox; and with the bucket, when a listing is due.

    Args:
        folder: What is looked for.
        inbox: What events told.
        now: The clock.
        interval_seconds: Longest time between two listings.
        listing: Everything is listed now.
        refreshed: The journal was opened or refreshed just now.

    Raises:
        ConfigurationError: the journal is of another bucket.
        TransientError: others wrote to the journal every time.
    """
    journal = folder.journal
    if not refreshed:
        journal.refresh()
        journal.require_bucket(folder.path.bucket)
    inbox.gather(_PATIENCE_SECONDS)
    reader, upto = inbox.reader(folder.reader), inbox.last_number()
    unknown = _not_comparable(reader, journal, inbox)
    why = unknown or ("asked for" if listing else _due(reader, now(), interval_seconds))
    look = _Look(folder, inbox, now)
    if reader is not None and not look.read(reader.upto, upto):
        why = why or "more events than the store can be asked of one by one"
    if not why:
        if reader is not None and (look.events or upto > reader.upto):
            at = journal.position(journal.high_water)
            inbox.advance(folder.reader, upto, at.seq, at.segment, look.found)
        return NotifiedDiscovery(look.events, look.found, look.asked)
    lost, told = look.list_all(measured=not unknown)
    at = journal.position(journal.high_water)
    known = reader or Reader(folder.reader, 0, 0, "", now())
    told += look.found
    notified = known.told + told
    done = replace(known, upto=upto, seq=at.seq, segment=at.segment, listed_at=now(), told=0)
    done = replace(done, told_in_all=known.told_in_all + told, lost_in_all=known.lost_in_all + lost)
    done = replace(done, told_before=notified, lost_before=lost, interval_seconds=_next(known, lost, interval_seconds))
    inbox.listed(done)
    _log.info("%s listed whole (%s): %d files that no event told of", folder.reader, why, lost)
    return NotifiedDiscovery(look.events, look.found, look.asked, why, lost)


class _Look:
    """One look at a folder through an inbox."""

    def __init__(self, folder: Folder, inbox: Inbox, now: Callable[[], datetime]) -> None:
        self._folder, self._inbox, self._now = folder, inbox, now
        self.events = self.found = self.asked = 0
        self._most = _ASKED + folder.journal.high_water // _ASKED

    def read(self, after: int, upto: int) -> bool:
        """Takes in the events; False when it gave up because too many had to be asked of."""
        path = self._folder.path
        while after < upto:
            page = self._inbox.read(path.bucket, self._folder.prefix, after, upto, _PAGE)
            self.events += len(page)
            if not self._take(
                {entry.event.key: entry.event for entry in sorted(page, key=lambda entry: entry.event.sequencer)}
            ):
                return False
            after = page[-1].number if len(page) == _PAGE else upto
        if self.found:
            self._folder.journal.merge()
        return True

    def list_all(self, *, measured: bool) -> tuple[int, int]:
        """Lists everything; returns how many new files no event had told of in time, and how many an event tells of.

        Both are 0 where that cannot be known.
        """
        folder, lost, told = self._folder, 0, 0
        limit, bucket = self._now() - GRACE, folder.path.bucket

        def count(found: Sequence[ObjectInfo]) -> None:
            nonlocal lost, told
            if measured and found:
                there = self._inbox.has(bucket, [info.key for info in found])
                told += len(there)
                lost += sum(info.last_modified <= limit and info.key not in there for info in found)

        discover(
            *(folder.store, folder.path, folder.journal, folder.audit),
            now=self._now,
            audit_interval_seconds=0.0,
            whole=True,
            on_new=count,
        )
        return lost, told

    def _take(self, newest: dict[str, Event]) -> bool:
        journal, bucket = self._folder.journal, self._folder.path.bucket
        path = self._folder.path
        below = {key: event for key, event in newest.items() if key == path.file or key.startswith(path.root)}
        notified = {key: event for key, event in below.items() if event.size_bytes and not key.endswith("/")}
        since = journal.high_water
        sure: list[ObjectInfo] = []
        doubtful: list[Event] = []
        for info, first in journal.unseen([_info(event) for event in notified.values()]):
            if first and self._is_fresh(notified[info.key]):
                sure.append(info)
            else:
                doubtful.append(notified[info.key])
        for _ in range(TRIES):
            self.asked += len(doubtful)
            if self.asked > self._most:
                return False
            found = [*sure, *self._current(doubtful)]
            added = journal.append(bucket, found, since)
            self.found += added
            if added == len(found):
                return True
            # what others numbered meanwhile was left out: of that the store is asked, as of now
            left = journal.unseen(found)
            if not left:
                return True
            since, sure, doubtful = journal.high_water, [], [notified[info.key] for info, _ in left]
        raise TransientError(
            "could not number new files: others wrote to the journal every time",
            where=journal.uri,
            state="nothing was lost: their events are read again",
            next_command="run the same again",
        )

    def _is_fresh(self, event: Event) -> bool:
        return event.modified is not None and abs(self._now() - event.modified) < FRESH

    def _current(self, events: Iterable[Event]) -> list[ObjectInfo]:
        """What the store has of these keys now, as a listing has it."""
        events = list(events)
        if not events:
            return []
        with ThreadPoolExecutor(min(_THREADS, len(events))) as pool:
            return [info for info in pool.map(self._ask, events) if info is not None and info.size_bytes]

    def _ask(self, event: Event) -> ObjectInfo | None:
        store, bucket = self._folder.store, self._folder.path.bucket
        if event.modified is not None:
            there = store.info(bucket, event.key)
            if there is None:
                return None
            announced = (event.e_tag, event.size_bytes, event.modified.replace(microsecond=0))
            if (there.e_tag, there.size_bytes, there.last_modified.replace(microsecond=0)) == announced:
                return _info(event)
        # the answer for one object has seconds, a listing has the milliseconds that a row's lineage shows
        listed = next(iter(store.list(bucket, event.key)), None)
        return listed if listed is not None and listed.key == event.key else None


def _info(event: Event) -> ObjectInfo:
    return ObjectInfo(event.key, event.size_bytes, event.e_tag, event.modified or event.at)


def _not_comparable(reader: Reader | None, journal: Journal, inbox: Inbox) -> str:
    """Why lost events cannot be counted since the last listing; empty where they can."""
    if reader is None:
        return "the first look"
    if reader.upto < inbox.forgotten_upto():
        return "events were forgotten before they were read"
    if reader.seq > journal.high_water or journal.position(reader.seq).segment != reader.segment:
        return "the journal is another one"
    return ""


def _due(reader: Reader | None, now: datetime, interval_seconds: float) -> str:
    if reader is None:
        return ""
    elapsed = (now - reader.listed_at).total_seconds()
    seconds = min(reader.interval_seconds or interval_seconds, interval_seconds)
    return "" if 0 <= elapsed < seconds else "the interval is over"


def _next(reader: Reader, lost: int, interval_seconds: float) -> float:
    """The next interval: a quarter after losses, else the double, within 15 minutes and what the options say."""
    last = min(reader.interval_seconds or interval_seconds, interval_seconds)
    wanted = last / 4 if lost else last * 2
    return min(max(wanted, SHORTEST_INTERVAL_SECONDS), interval_seconds)
