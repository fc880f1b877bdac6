"""Proving that a store refuses conditional writes when it has to. Leases, journals and commits rest on that.

A server or a gateway that does not know ``If-None-Match`` or ``If-Match`` ignores the header and reports success. So
each store is asked once, by writes whose right answer is known.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from lakehouse.errors import AccessDenied, ConfigurationError
from lakehouse.processes import private_folder, write_private
from lakehouse.settings import Settings
from lakehouse.storage.store import ObjectExists, ObjectMissing, ObjectStore

_NO_SUCH_VERSION = "0" * 32
_proved: set[str] = set()


def prove_conditional_writes(store: ObjectStore, settings: Settings, url: str) -> None:
    """Asks the store, by four small writes that are removed again.

    Raises:
        ConfigurationError: it writes where it was told not to, or refuses what it must not.
        AccessDenied: these credentials cannot write.
    """
    bucket, key = settings.bucket, f"{settings.user}/_probe/{secrets.token_hex(8)}"
    first = store.write(bucket, key, b"1", if_absent=True)
    try:
        if not _refuses(store, bucket, key, if_absent=True):
            raise _refused(url, "overwrites an object that must not exist (it ignores If-None-Match)")
        if not _refuses(store, bucket, key, if_match=_NO_SUCH_VERSION):
            raise _refused(url, "overwrites another version than it was told to (it ignores If-Match)")
        if _refuses(store, bucket, key, if_match=first):
            raise _refused(url, "refuses to overwrite the very version that it has (If-Match)")
    finally:
        with suppress(AccessDenied):
            store.delete(bucket, key)


def prove_once(store: ObjectStore, settings: Settings, url: str) -> None:
    """Asks a server of somebody else, once: a good answer is kept in ``LAKEHOUSE_HOME``.

    Credentials that cannot write are let in: they cannot do harm.

    Raises:
        ConfigurationError: see ``prove_conditional_writes``; such an answer is not kept.
    """
    place = f"{url}/{settings.bucket}"
    note = settings.home / "stores" / f"{sha256(place.encode()).hexdigest()[:16]}.json"
    if place in _proved or _says(note, place):
        _proved.add(place)
        return
    try:
        prove_conditional_writes(store, settings, url)
    except AccessDenied:
        return
    _proved.add(place)
    with suppress(ConfigurationError, OSError):  # a home that cannot be written to: the next process asks again
        private_folder(note.parent)
        write_private(note, json.dumps({"store": place, "conditional_writes": True}))


def _says(note: Path, place: str) -> bool:
    try:
        return bool(json.loads(note.read_text()) == {"store": place, "conditional_writes": True})
    except (OSError, ValueError):
        return False


def _refuses(
    store: ObjectStore, bucket: str, key: str, *, if_absent: bool = False, if_match: str | None = None
) -> bool:
    try:
        store.write(bucket, key, b"2", if_absent=if_absent, if_match=if_match)
    except (ObjectExists, ObjectMissing):
        return True
    return False


def _refused(url: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"this object store {what}: two writers could hold one lease, number two files alike and write over each "
        "other's commits, unnoticed",
        where=url,
        state="nothing was written but a probe, which was removed",
        next_command="use MinIO, SeaweedFS or another store with conditional writes, without a gateway that drops them",
    )
