"""A backup of a stream's place: its checkpoint, its schema's versions, and the versions of its tables.

It is at ``_backups/<table>/<UTC time>/`` in the lake, and complete when its manifest is there. The journal is not
copied: it only grows, several streams read by it, and the manifest says the place in it. Receipts and the place in
``_journal/.../streams/`` are written anew by the batches that come again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.agreement import object_key
from lakehouse.checkpoints.kept import kept_key
from lakehouse.checkpoints.taken_back import last_batch
from lakehouse.errors import ConfigurationError, TransientError
from lakehouse.lake import Lake
from lakehouse.storage import ObjectExists, ObjectInfo, ObjectMissing

MANIFEST = "manifest.json"
_REMOVING = "removing"
_log = logging.getLogger(__name__)
_TRIES, _PAUSE_SECONDS, _THREADS = 4, 0.5, 8


@dataclass(frozen=True)
class Copied:
    """An object of a backup.

    Attributes:
        name: Below the backup's folder.
        size_bytes: Its size.
        e_tag: Of the copy.
    """

    name: str
    size_bytes: int
    e_tag: str


@dataclass(frozen=True)
class Backup:
    """A complete backup.

    Attributes:
        table: Whose.
        taken: Its name: when it was taken, UTC.
        query_id: The checkpoint's own id.
        planned: Newest batch that was planned.
        finished: Newest batch that was finished.
        written: Newest batch that the table had.
        place: Where the source stood after the newest planned batch.
        table_id: Delta's id of the table; None when there was none.
        delta_version: Its version.
        quarantine_version: Version of the table of rows that it does not count; None without one.
        objects: What was copied.
    """

    table: str
    taken: str
    query_id: str | None
    planned: int | None
    finished: int | None
    written: int | None
    place: dict[str, Any] | None
    table_id: str | None
    delta_version: int | None
    quarantine_version: int | None
    objects: tuple[Copied, ...]

    @property
    def at_rest(self) -> bool:
        """Whether no batch was under way, or was left by a crash."""
        return self.planned == self.finished == self.written

    @property
    def size_bytes(self) -> int:
        """Of what was copied."""
        return sum(copied.size_bytes for copied in self.objects)

    def sizes(self) -> dict[str, int]:
        """Bytes by part of the checkpoint; the schema is a part of its own."""
        found: dict[str, int] = {}
        for copied in self.objects:
            part = copied.name.removeprefix("checkpoint/").split("/")[0]
            found[part] = found.get(part, 0) + copied.size_bytes
        return found

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        listed = {name: value for name, value in asdict(self).items() if name != "objects"}
        return {**listed, "at_rest": self.at_rest, "objects": len(self.objects), "size_bytes": self.size_bytes}


@dataclass(frozen=True)
class _Look:
    """All that a backup copies, as it is at a moment."""

    objects: tuple[tuple[str, ObjectInfo], ...]
    delta: tuple[str, int] | None
    quarantine_version: int | None


def back_up(lake: Lake, table: str, *, held: bool = False) -> Backup:
    """Copies what the stream into ``table`` needs to go on; nothing is read by Spark, and no run is kept waiting.

    It shows one moment: all is looked at again after the copy, and copied again when anything moved. When that
    happens each time, the table's lease is taken.

    Args:
        lake: Where all of it is.
        table: Whose.
        held: Whether the caller has the lease.

    Raises:
        ConfigurationError: the table has no checkpoint.
        LeaseHeld: a stream moves it all the time.
        TransientError: something moved it that holds no lease.
    """
    for attempt in range(_TRIES):
        last = attempt == _TRIES - 1
        with checkpoints.writer_of(lake, table) if last and not held else nullcontext():
            before = _look(lake, table)
            if not any(name.startswith("checkpoint/") for name, _ in before.objects):
                raise _nothing(lake, table)
            if not last and not held and not _at_rest(lake, table):
                time.sleep(_PAUSE_SECONDS)  # a batch is under way
                continue
            taken = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"[:-3] + "Z"
            folder = backup_key(lake, table, taken)
            try:
                _copy(lake, before.objects, folder)
            except (ObjectMissing, ObjectExists):
                lake.store.delete_prefix(lake.settings.bucket, folder)
                continue
            made = _described(lake, table, taken, before)
            if _look(lake, table) != before:
                lake.store.delete_prefix(lake.settings.bucket, folder)
                continue
            manifest = json.dumps(asdict(made)).encode()
            lake.store.write(lake.settings.bucket, folder + MANIFEST, manifest, if_absent=True)
            return made
    raise TransientError(
        f"the checkpoint of {table} was written while it was copied, {_TRIES} times, and by nobody who holds its lease",
        where=lake.settings.checkpoint_uri(table),
        state="no backup was made",
        next_command="find out who else writes there, then run the same again",
    )


def backups(lake: Lake, table: str) -> list[Backup]:
    """The complete backups of a table, oldest first."""
    bucket, found = lake.settings.bucket, []
    for taken in sorted(lake.store.folders(bucket, backup_key(lake, table, ""))):
        key = backup_key(lake, table, taken) + MANIFEST
        try:
            manifest = json.loads(lake.store.read(bucket, key))
            found.append(Backup(**{**manifest, "objects": tuple(Copied(**entry) for entry in manifest["objects"])}))
        except ObjectMissing:
            continue
        except (ValueError, TypeError, KeyError):  # the other backups are none the worse for it
            _log.warning(
                "a backup of %s cannot be read, and does not count: s3a://%s/%s is damaged", table, bucket, key
            )
    return found


def chosen(lake: Lake, table: str, taken: str | None) -> Backup:
    """The backup whose name is, or begins with, the given text; the newest without a text.

    Raises:
        ConfigurationError: there is no such backup, or more than one.
    """
    known = backups(lake, table)
    found = known[-1:] if taken is None else [backup for backup in known if backup.taken.startswith(taken)]
    if len(found) == 1:
        return found[0]
    what = f"{table} has no backup" if not known else f"{len(found)} backups of {table} begin with {taken}"
    named = ", ".join(backup.taken for backup in known[-5:])
    raise ConfigurationError(
        what,
        where=f"s3a://{lake.settings.bucket}/{backup_key(lake, table, '')}",
        state="nothing was changed",
        next_command=f"name one of: {named}" if known else f"lakehouse checkpoint backup {table}",
    )


def prune(lake: Lake, table: str, keep: int) -> list[Backup]:
    """Removes the oldest complete backups of a table but so many; returns those that it removed.

    A backup that is being written stays. What an interrupted removal left is removed.
    """
    bucket = lake.settings.bucket
    doomed = backups(lake, table)[:-keep]
    for backup in doomed:
        _remove(lake, backup_key(lake, table, backup.taken))
    for taken in lake.store.folders(bucket, backup_key(lake, table, "")):
        folder = backup_key(lake, table, taken)
        if lake.store.info(bucket, folder + _REMOVING) is not None:
            _remove(lake, folder)
    return doomed


def backup_key(lake: Lake, table: str, taken: str) -> str:
    """The folder of a backup in the lake's bucket, with a slash at the end; of all of a table where none is named."""
    return f"{lake.settings.user}/_backups/{table}/" + (f"{taken}/" if taken else "")


def damage(lake: Lake, backup: Backup) -> str:
    """The first object of a backup that is missing or changed, in words; empty when the backup is whole."""
    folder = backup_key(lake, backup.table, backup.taken)
    there = {info.key.removeprefix(folder): info for info in lake.store.list(lake.settings.bucket, folder)}
    for copied in backup.objects:
        now = there.get(copied.name)
        if now is None:
            return f"{copied.name} is missing"
        if (now.size_bytes, now.e_tag) != (copied.size_bytes, copied.e_tag):
            return f"{copied.name} is not what was copied"
    return ""


def places(lake: Lake, table: str) -> dict[str, str]:
    """Prefixes of keys in the lake's bucket that are a stream's, by their name in a backup."""
    schema = split_uri(lake.settings.schema_uri(table))[1]
    return {
        "checkpoint/": object_key(lake, table, ""),
        "schema/": f"{schema.rstrip('/')}/",
        "kept.json": kept_key(lake, table),
    }


def _look(lake: Lake, table: str) -> _Look:
    found, opened = [], lake.delta(table)
    for name, prefix in places(lake, table).items():
        for info in lake.store.list(lake.settings.bucket, prefix):
            found.append((name + info.key.removeprefix(prefix), info))
    delta = None if opened is None else (str(opened.metadata().id), opened.version())
    return _Look(tuple(found), delta, lake.version_at(lake.settings.quarantine_uri(table)))


def _at_rest(lake: Lake, table: str) -> bool:
    state = checkpoints.read_checkpoint(lake, table)
    return state is not None and state.last_commit == state.last_offset


def _copy(lake: Lake, objects: Sequence[tuple[str, ObjectInfo]], folder: str) -> None:
    def copy(pair: tuple[str, ObjectInfo]) -> None:
        name, info = pair
        lake.store.copy(lake.settings.bucket, info.key, folder + name, if_match=info.e_tag)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(copy, objects))


def _described(lake: Lake, table: str, taken: str, found: _Look) -> Backup:
    bucket, folder = lake.settings.bucket, backup_key(lake, table, taken)
    state, opened = checkpoints.read_checkpoint(lake, table), lake.delta(table)
    query = state.query_id if state else None
    return Backup(
        table,
        taken,
        query,
        state.last_offset if state else None,
        state.last_commit if state else None,
        last_batch(opened, query) if opened is not None and query is not None else None,
        checkpoints.newest_offset(lake, table),
        found.delta[0] if found.delta else None,
        found.delta[1] if found.delta else None,
        found.quarantine_version,
        tuple(
            Copied(info.key.removeprefix(folder), info.size_bytes, info.e_tag)
            for info in lake.store.list(bucket, folder)
        ),
    )


def _remove(lake: Lake, folder: str) -> None:
    """The manifest first, so that what is half removed does not count; the mark last, so that it is found again."""
    bucket = lake.settings.bucket
    lake.store.write(bucket, folder + _REMOVING, b"")
    lake.store.delete(bucket, folder + MANIFEST)
    for info in list(lake.store.list(bucket, folder)):
        if info.key != folder + _REMOVING:
            lake.store.delete(bucket, info.key)
    lake.store.delete(bucket, folder + _REMOVING)


def _nothing(lake: Lake, table: str) -> ConfigurationError:
    return ConfigurationError(
        f"{table} has no checkpoint: there is nothing to copy",
        where=lake.settings.checkpoint_uri(table),
        state="no backup was made",
        next_command=f"lakehouse ingest {table}",
    )
