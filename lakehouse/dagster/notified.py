"""What has landed since a sensor asked last, by the inbox of events: a look costs the same whatever the folder holds.

A folder is listed at its first look, when events were forgotten or could not be read, and once in the interval of its
tables, which losses shorten; between those an event is what makes a run. What a listing finds may be what no event told
of: the run that it asks for lists, too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime

from lakehouse.dagster.arrivals import Fresh, Look, Seen, mark_of, time_of
from lakehouse.dagster.landing import Folder
from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.events.address import InboxAddress
from lakehouse.events.event import Event
from lakehouse.events.inbox import Inbox, Reader
from lakehouse.events.places import opened
from lakehouse.settings import Settings
from lakehouse.storage.store import ObjectInfo

UNKNOWN = -1
"""In place of an event's number: which events a listing makes superfluous is not known, so the next look lists, too."""
LISTED = "found_by_listing"
"""Tag of a run: folders whose events would not tell it of all files that it was asked for."""
_PAGE = 10_000
_MOST = 100_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InboxLook:
    """A look into the inbox.

    Attributes:
        look: What was found; None where the folder is to be listed.
        upto: Number of the last event that was read, or that a listing which begins now makes superfluous; or
            ``UNKNOWN``.
    """

    look: Look | None
    upto: int


def look_by_events(
    settings: Settings, folder: Folder, seen: Seen, now: datetime, *, in_a_hurry: bool = False
) -> InboxLook:
    """Looks for what events tell of a folder; an inbox that cannot be read makes a listing.

    Args:
        settings: Where the inbox is.
        folder: What is looked at.
        seen: What is known.
        now: The moment of this look.
        in_a_hurry: Whether a listing that is due may wait, because no run would start anyway.
    """
    if not folder.by_events:
        return InboxLook(None, UNKNOWN)
    try:
        with opened(InboxAddress.of(settings)) as inbox:
            return _look(inbox, folder, seen, now, in_a_hurry)
    except (ConfigurationError, TransientError) as error:
        _log.warning("%s is listed, because its inbox cannot be read: %s", folder.uri, error.what)
        return InboxLook(None, UNKNOWN)


def readers_in(inbox: Inbox, folder: Folder) -> list[Reader]:
    """Who reads a folder's events from the inbox."""
    return [reader for reader in inbox.readers() if reader.name.rpartition(" ")[0] == folder.uri]


def _look(inbox: Inbox, folder: Folder, seen: Seen, now: datetime, in_a_hurry: bool) -> InboxLook:
    inbox.gather()
    last = inbox.last_number()
    age_seconds = (now - datetime.fromisoformat(seen.listed_at)).total_seconds() if seen.listed_at else -1.0
    due = not 0 <= age_seconds < _interval_seconds(inbox, folder)
    if due or not 0 <= seen.told <= last or seen.told < inbox.forgotten_upto():
        nothing = Look(Fresh(), 0, 0, seen.files, False, seen)
        return InboxLook(nothing, seen.told) if in_a_hurry else InboxLook(None, last)
    newest: dict[str, Event] = {}
    after = seen.told
    while after < last and len(newest) < _MOST:
        page = inbox.read(folder.bucket, folder.root, after, last, _PAGE)
        for entry in sorted(page, key=lambda entry: entry.event.sequencer):
            newest[entry.event.key] = entry.event
        after = page[-1].number if len(page) == _PAGE else last
    takes, fresh, ignored, high, at_high = folder.takes(), Fresh(), 0, seen.high, list(seen.at_high)
    for key in sorted(newest):
        event = newest[key]
        info = ObjectInfo(key, event.size_bytes, event.e_tag, event.modified or event.at)
        if not takes(info):
            ignored += 1
            continue
        fresh.add(info)
        time = time_of(info)
        if time >= high:
            at_high = [*(at_high if time == high else []), mark_of(info)]
            high = time
    found = replace(
        seen,
        high=high,
        at_high=tuple(sorted(set(at_high))),
        known=seen.known + fresh.count,
        last_key=max(seen.last_key, fresh.last_key),
        newest=max(seen.newest, fresh.newest),
        told=after,
    )
    return InboxLook(Look(fresh, 0, ignored, found.files, False, found), after)


def _interval_seconds(inbox: Inbox, folder: Folder) -> float:
    """How long until the folder is listed again: shorter where the newest listing of a reader found losses."""
    longest = folder.listing_interval_seconds()
    newest = max(readers_in(inbox, folder), key=lambda reader: reader.listed_at, default=None)
    return min(newest.interval_seconds or longest, longest) if newest else longest
