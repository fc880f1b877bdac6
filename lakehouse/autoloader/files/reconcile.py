"""A reconcile that writes nothing: a whole listing of a folder held against its journals and the inbox of events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from lakehouse.autoloader.files.discovery import listed_files
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.notified import GRACE
from lakehouse.autoloader.options.paths import SourcePath
from lakehouse.events.inbox import Inbox
from lakehouse.storage.store import ObjectInfo, ObjectStore

_PAGE = 1_000


@dataclass(frozen=True)
class Reconciled:
    """What a listing found, of files that are older than a minute.

    Attributes:
        listed: How many there are.
        in_no_journal: Those that one of the journals does not have in their newest version.
        not_told_of: Those of them that no event in the inbox tells of.
    """

    listed: int
    in_no_journal: int
    not_told_of: int


def reconcile(
    store: ObjectStore,
    path: SourcePath,
    journals: Sequence[Journal],
    inbox: Inbox,
    takes: Callable[[ObjectInfo], bool],
    now: datetime,
) -> Reconciled:
    """Lists a folder and compares, page by page.

    Args:
        store: Where the files are.
        path: Of the folder.
        journals: Those of the tables that read it.
        inbox: What events told.
        takes: Which objects are input.
        now: The moment of this look.

    Raises:
        ConfigurationError, TransientError: the inbox cannot be read.
        StoreUnavailable, AccessDenied, BucketMissing: the folder cannot be listed.
    """
    inbox.gather()
    limit, listed, missing, silent = now - GRACE, 0, 0, 0
    found = listed_files(store, path)
    while page := list(islice(found, _PAGE)):
        old = [info for info in page if info.last_modified <= limit and takes(info)]
        listed += len(old)
        keys = {info.key for journal in journals for info, _ in journal.unseen(old)}
        missing += len(keys)
        silent += len(keys - inbox.has(path.bucket, keys))
    return Reconciled(listed, missing, silent)
