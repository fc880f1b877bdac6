"""Finding what is new: a listing, held against the journal."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.options.paths import SourcePath, plain_uri
from lakehouse.storage.store import ObjectInfo, ObjectMissing, ObjectStore

_log = logging.getLogger(__name__)
_PAGE = 1_000
_APPEND = 50_000
FAST_FROM_FILES = 20_000
"""Below this many known files a full listing costs next to nothing, and nothing is taken on trust."""


OnNew = Callable[[Sequence[ObjectInfo]], None]


def _unheard(found: Sequence[ObjectInfo]) -> None:
    """The default of ``on_new``: does nothing."""


@dataclass(frozen=True)
class Discovery:
    """The result of one look at the source.

    Attributes:
        listed: Objects that were listed.
        found: New file versions, now in the journal.
        ignored: Objects that are no input: folder markers, empty objects and the journal's own.
        full: Whether everything was listed, or only what comes after the last key.
    """

    listed: int
    found: int
    ignored: int
    full: bool


def discover(
    store: ObjectStore,
    source: SourcePath,
    journal: Journal,
    state_key: tuple[str, str],
    *,
    now: Callable[[], datetime],
    audit_interval_seconds: float,
    whole: bool = False,
    on_new: OnNew = _unheard,
) -> Discovery:
    """Brings the journal up to date with the bucket, page by page.

    All keys under the source's root are journalled, whatever glob or filter a stream has: several streams may share the
    journal. The journal's own objects are not journalled, or each look would find the segment of the last look.

    Where more than ``FAST_FROM_FILES`` files are known and the last full listing found that new keys came only after
    all older keys, only what follows the last key is listed. A full listing at least every ``audit_interval_seconds``
    finds what arrived behind it, and ends the fast way when something did.

    Args:
        store: Where the files are.
        source: What to list.
        journal: What is known.
        state_key: Bucket and key of the small object that remembers the last full listing.
        now: The clock. Jumps backwards make a full listing, nothing worse.
        audit_interval_seconds: How long new files may stay unseen behind the last key.
        whole: Everything is listed. The result says nothing of the order of keys: events found files meanwhile.
        on_new: Told of the objects that the journal did not know, before it numbers them.

    Raises:
        ConfigurationError: the journal is of another bucket.
    """
    journal.refresh()
    journal.require_bucket(source.bucket)
    known, last_key = journal.high_water, journal.max_key
    since = known
    large = known >= FAST_FROM_FILES
    audit = _last_audit(store, state_key) if large and not whole else None
    elapsed = (now() - audit.at).total_seconds() if audit else -1.0
    # the greatest key may be another folder's that shares the journal
    fast = audit is not None and audit.root == source.root and audit.ordered and 0 <= elapsed < audit_interval_seconds
    tally = _Tally()
    state = state_key[1].rsplit("/", 1)[0] + "/" if state_key[0] == source.bucket else None
    for objects in _chunks(_files(store, source, last_key if fast else None, tally, state), _APPEND):
        fresh: list[ObjectInfo] = []
        for page in _chunks(iter(objects), _PAGE):
            fresh += [info for info, _ in journal.unseen(page)]
        on_new(fresh)
        tally.behind += sum(info.key <= last_key for info in fresh)
        before = journal.high_water
        count = journal.append(source.bucket, fresh, since)
        if journal.high_water == since + count and before == since:
            since = journal.high_water  # no other process wrote
        tally.found += count
    if tally.found:
        journal.merge()
    if not fast and journal.high_water >= FAST_FROM_FILES:
        ordered = bool(known) and tally.behind == 0 and not whole
        _write_audit(store, state_key, _Audit(now(), ordered, source.root))
    how = "behind the last key" if fast else "whole"
    _log.debug("%s listed %s: %s", plain_uri(source.bucket, source.root), how, tally)
    return Discovery(tally.listed, tally.found, tally.ignored, not fast)


@dataclass
class _Tally:
    listed: int = 0
    found: int = 0
    ignored: int = 0
    behind: int = 0


@dataclass(frozen=True)
class _Audit:
    at: datetime
    ordered: bool
    root: str


def listed_files(store: ObjectStore, source: SourcePath, start_after: str | None = None) -> Iterator[ObjectInfo]:
    """All objects that may be files of the source; where there is no folder of that name, the file of that name."""
    nothing = start_after is None
    for info in store.list(source.bucket, source.root, start_after=start_after):
        nothing = False
        yield info
    if nothing and source.file and (file := store.info(source.bucket, source.file)):
        yield file


def _files(
    store: ObjectStore, source: SourcePath, start_after: str | None, tally: _Tally, state: str | None
) -> Iterator[ObjectInfo]:
    for info in listed_files(store, source, start_after):
        tally.listed += 1
        # an empty object is a folder's marker, or a file that its sender is about to write: it is looked at again
        if info.size_bytes == 0 or info.key.endswith("/") or (state and info.key.startswith(state)):
            tally.ignored += 1
        else:
            yield info


def _chunks(items: Iterator[ObjectInfo], size: int) -> Iterable[list[ObjectInfo]]:
    while chunk := list(islice(items, size)):
        yield chunk


def _last_audit(store: ObjectStore, state_key: tuple[str, str]) -> _Audit | None:
    try:
        state = json.loads(store.read(*state_key))
        return _Audit(datetime.fromisoformat(state["at"]), bool(state["ordered"]), state.get("root", ""))
    except (ObjectMissing, ValueError, KeyError, TypeError, AttributeError):  # a full listing costs time, and no more
        return None


def _write_audit(store: ObjectStore, state_key: tuple[str, str], audit: _Audit) -> None:
    state = {"at": audit.at.isoformat(), "ordered": audit.ordered, "root": audit.root}
    store.write(*state_key, json.dumps(state).encode())
