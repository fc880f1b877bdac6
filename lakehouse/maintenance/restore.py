"""Putting a backup of a checkpoint back, so that nothing is lost and nothing doubled; or saying why that cannot be.

There are three cases. The stream has written nothing since: the checkpoint is put back as it was. The last commit of a
table of files says where its stream stands: the next run brings the older checkpoint up to the table. Anything else:
the table has to go back, too, to the version of the backup. What came after it is read again, under a new id, because
Delta keeps the transactions of the old id.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from deltalake.exceptions import DeltaError

from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.journal_reader import JournalUnsettled
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.outcomes.receipt_log import forget_receipts
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.agreement import object_key
from lakehouse.checkpoints.kept import forget_kept
from lakehouse.checkpoints.position import position_of
from lakehouse.checkpoints.standing import objects_of
from lakehouse.checkpoints.taken_back import last_batch
from lakehouse.errors import ConfigurationError, TerminalError
from lakehouse.lake import KEEPS_LOG, Lake, LakeTable
from lakehouse.maintenance.asked import ask_for_run
from lakehouse.maintenance.backup import Backup, back_up, backup_key, chosen, damage, places
from lakehouse.maintenance.emptying import empty
from lakehouse.maintenance.file_rows import record_folder, unfinished_records
from lakehouse.plain_text import cause_of, counted, sized
from lakehouse.storage.delta_paths import commit_uri

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """What a restore does, or would do.

    Attributes:
        table: The table.
        taken: The backup.
        takes_table_back: Whether the table goes back to an older version, too.
        steps: What is done, a sentence each.
        kept_as: Backup of what was there before; empty when nothing was, or nothing is done.
        done: Whether it was done.
    """

    table: str
    taken: str
    takes_table_back: bool
    steps: tuple[str, ...]
    kept_as: str = ""
    done: bool = False


def restore(
    lake: Lake,
    table: str,
    taken: str | None = None,
    *,
    source: str | None = None,
    readers: Sequence[str] = (),
    with_table: bool = False,
    really: bool = False,
) -> Restored:
    """Puts a backup back; without ``really`` only says what that would do.

    Args:
        lake: Where all of it is.
        table: Whose.
        taken: The backup's name, or its beginning; None for the newest.
        source: The table that it is computed from; None for a table of files.
        readers: Tables that are computed from it.
        with_table: Take the table back, too, where that is not needed.
        really: Do it.

    Raises:
        LeaseHeld: a stream writes the table now.
        ConfigurationError: there is no such backup, or it cannot be restored without a loss; says why, and what to do.
    """
    with checkpoints.writer_of(lake, table):
        backup = chosen(lake, table, taken)
        opened = _require_usable(lake, backup)
        moved = _moved(lake, backup, opened)
        position_is_known = moved and source is None and position_of(lake, table) is not None
        back = with_table or bool(moved and not position_is_known)
        if back:
            _require_way_back(lake, backup, opened, source, moved)
        steps = _steps(lake, backup, opened, moved, back, readers)
        if not really:
            return Restored(table, backup.taken, back, steps)
        kept = back_up(lake, table, held=True).taken if objects_of(lake, table) else ""
        _log.info("%s is restored from its backup of %s", table, backup.taken)
        _put_back(lake, backup, back)
        if back or not moved:
            checkpoints.verify(lake, table)
        ask_for_run(lake, table, "restore")
        return Restored(table, backup.taken, back, steps, kept, done=True)


def no_way_back(lake: Lake, backup: Backup, source: str | None) -> str:
    """Why table and checkpoint could not go back together to a backup now; empty when they could. Changes nothing.

    Whether the backup itself is whole is not asked, and no lease is taken: a stream goes on meanwhile.
    """
    try:
        _require_way_back(lake, backup, _of_same_table(lake, backup), source, "")
    except (TerminalError, JournalUnsettled) as error:
        return error.what
    return ""


def _require_usable(lake: Lake, backup: Backup) -> LakeTable | None:
    """The table; what no restore of this backup can do without is there."""
    if wrong := damage(lake, backup):
        raise _refused(lake, backup, f"the backup is damaged: {wrong}", _another(backup))
    return _of_same_table(lake, backup)


def _of_same_table(lake: Lake, backup: Backup) -> LakeTable | None:
    """The table; it and its journal are those of the backup."""
    place = backup.place or {}
    if place.get("seq"):
        journal = Journal.at(lake.store, place["journal"])
        known = journal.position(place["seq"]) if place["seq"] <= journal.high_water else None
        if known is None or known.segment != place["segment"]:
            what = f"the backup stands at file {place['seq']:,}, which the journal does not have: it was lost since"
            raise _refused(lake, backup, what, f"lakehouse checkpoint repair {backup.table}")
    opened = lake.delta(backup.table)
    now = None if opened is None else str(opened.metadata().id)
    if backup.table_id is not None and now != backup.table_id:
        what = "the table is gone" if now is None else "another table is in its place"
        raise _refused(
            lake, backup, f"{what}, and the backup belongs to it", f"lakehouse checkpoint repair {backup.table}"
        )
    return opened


def _moved(lake: Lake, backup: Backup, opened: LakeTable | None) -> str:
    """What has moved the stream's place since the backup, in words; empty when nothing has."""
    if opened is None:
        return ""
    if backup.delta_version is None:
        return "the table was made"
    commits = lake.commits_since(backup.table, backup.delta_version)
    if len(commits) < opened.version() - backup.delta_version:
        return "more was committed than the log of the table still tells"
    for commit in commits:
        if commit.emptied:
            return f"it was emptied in version {commit.version}"
        if commit.operation == "RESTORE":
            return f"it was taken to another version by RESTORE in version {commit.version}"
        if commit.query_id is not None:
            batches = {batch.batch_id for batch in commits if batch.query_id is not None}
            return f"{counted(len(batches), 'batch')} came to it"
    held = last_batch(opened, backup.query_id) if backup.query_id else None
    return "" if held == backup.written else "its transactions are others"


def _require_way_back(lake: Lake, backup: Backup, opened: LakeTable | None, source: str | None, moved: str) -> None:
    """Makes sure that table and checkpoint can go back together, and that what comes after is there to be read again.

    Raises:
        ConfigurationError: they cannot, or it is not.
    """
    table = backup.table
    anew = f"lakehouse checkpoint repair {table}" if source is None else f"lakehouse checkpoint restart {table}"
    since = f"since the backup {moved}, and " if moved else ""
    if opened is None or backup.delta_version is None:
        raise _refused(lake, backup, f"{since}the backup is from before the table", anew)
    if not backup.at_rest:
        what = f"{since}the backup was taken amid batch {backup.planned}: no version of the table belongs to it"
        raise _refused(lake, backup, what, _another(backup))
    missing = missing_files(lake, table, backup.delta_version)
    if missing:
        raise _refused(lake, backup, f"{since}version {backup.delta_version} of the table is gone: {missing}", anew)
    bucket, folder = record_folder(lake, table)
    records = {info.key for info in lake.store.list(bucket, folder)}
    names = (key.removeprefix(folder)[:20] for key in records.difference(unfinished_records(lake, table, records)))
    if any(name.isdigit() and int(name) > backup.delta_version for name in names):
        what = f"{since}rows were removed on purpose after the backup: with the older version they would come back"
        raise _refused(lake, backup, what, anew)
    if lost := _not_there_to_read(lake, backup, source):
        raise _refused(lake, backup, f"{since}what came after the backup cannot be read again: {lost}", anew)


def missing_files(lake: Lake, table: str, version: int) -> str:
    """Why a version of a table cannot be read; empty when it can."""
    uri = lake.settings.table_uri(table)
    try:
        wanted = set(LakeTable(uri, lake.endpoint, version).file_uris())
    except (DeltaError, OSError) as error:
        lake.store.bucket_exists(lake.settings.bucket)  # which says it when the store is the reason
        return cause_of(error, 400)
    now = lake.delta(table)
    wanted -= set(now.file_uris()) if now is not None else set()
    if not wanted:
        return ""
    folder = uri.split("://", 1)[1] + "/"
    names = {file_uri.partition(folder)[2] for file_uri in wanted}
    prefix = folder.partition("/")[2]
    there = {info.key.removeprefix(prefix) for info in lake.store.list(lake.settings.bucket, prefix)}
    gone = names - there
    return f"{counted(len(gone), 'data file')} of it were removed by a VACUUM" if gone else ""


def _not_there_to_read(lake: Lake, backup: Backup, source: str | None) -> str:
    """What of the source that came after the backup is gone; empty when nothing is."""
    place = backup.place or {}
    if "seq" in place:
        later = list(_files_after(lake, place["journal"], place["seq"]))
        gone = [file for file in later if lake.store.info(*file) is None]
        return f"{counted(len(gone), 'file')} such as {gone[0][1]} are not in the bucket any more" if gone else ""
    if "reservoirVersion" in place and source is not None:
        opened = lake.delta(source)
        if opened is None or str(opened.metadata().id) != place["reservoirId"]:
            return f"{source} is another table now"
        first = place["reservoirVersion"] + bool(place.get("isStartingVersion"))
        if first > opened.version():
            return ""
        if lake.store.info(*split_uri(commit_uri(lake.settings.table_uri(source), first))) is None:
            return f"version {first} is not in the log of {source} any more"
        return ""
    return "nothing says which files its source has read since" if backup.finished is not None else ""


def _files_after(lake: Lake, journal_uri: str, seq: int) -> Sequence[tuple[str, str]]:
    journal = Journal.at(lake.store, journal_uri)
    return list(dict.fromkeys((file.bucket, file.key) for file in journal.files(seq, journal.high_water)))


def _steps(
    lake: Lake, backup: Backup, opened: LakeTable | None, moved: str, back: bool, readers: Sequence[str]
) -> tuple[str, ...]:
    table = backup.table
    steps = []
    if objects_of(lake, table):
        steps.append("keep the checkpoint as it is now in a backup of its own")
    at = "before its first batch" if backup.finished is None else f"at batch {backup.finished}"
    size = f"{counted(len(backup.objects), 'object')}, {sized(backup.size_bytes)}"
    steps.append(f"put the checkpoint of {backup.taken} back: it stands {at} ({size})")
    if back and opened is not None and backup.delta_version is not None:
        steps.append(
            f"take {table} from version {opened.version()} back to version {backup.delta_version}; "
            f"version {opened.version()} keeps its rows of now"
        )
        steps.append(
            "give the checkpoint a new id, for Delta keeps the batches of the old one; nothing is skipped then"
        )
        steps.append("read in the next run what came after the backup")
        if readers:
            steps.append(f"{', '.join(readers)} will ask what becomes of rows that went: LAKEHOUSE_AFTER_REMOVALS")
    elif moved:
        steps.append(f"since the backup {moved}: the next run brings the checkpoint up to what {table} says of itself")
    else:
        steps.append("go on in the next run where the table is: its stream has committed nothing since")
    return tuple(steps)


def _put_back(lake: Lake, backup: Backup, back: bool) -> None:
    """The table first, the id last: a crash in between leaves what every run refuses, or mends, see ``position``."""
    bucket, table, folder = lake.settings.bucket, backup.table, backup_key(lake, backup.table, backup.taken)
    where = places(lake, table)
    if back:
        _take_back(lake, backup)
        forget_kept(lake, table)
    lake.store.delete_prefix(bucket, where["checkpoint/"])
    there = {info.key for prefix in (where["schema/"], where["kept.json"]) for info in lake.store.list(bucket, prefix)}
    for copied in sorted(backup.objects, key=lambda copied: copied.name == "checkpoint/metadata"):
        prefix = next(name for name in where if copied.name.startswith(name))
        key = where[prefix] + copied.name.removeprefix(prefix)
        if key in there or (back and copied.name == "checkpoint/metadata"):
            continue  # versions of a schema are only ever added
        lake.store.copy(bucket, folder + copied.name, key, if_match=copied.e_tag)
    if back:
        place = backup.place or {}
        if "seq" in place:
            forget_receipts(lake.store, *split_uri(place["journal"]), place["stream"], place["seq"])
        if backup.finished is not None:
            mark = json.dumps({"batch": backup.finished}).encode()
            lake.store.write(bucket, object_key(lake, table, checkpoints.REPAIRED), mark)
        lake.store.write(bucket, object_key(lake, table, "metadata"), json.dumps({"id": str(uuid.uuid4())}).encode())


def _take_back(lake: Lake, backup: Backup) -> None:
    versions = {
        lake.settings.table_uri(backup.table): backup.delta_version,
        lake.settings.quarantine_uri(backup.table): backup.quarantine_version,
    }
    for uri, version in versions.items():
        opened = lake.delta_at(uri)
        if opened is None or _is_at(opened, version):
            continue
        if version is None:
            empty(lake, uri, "its table went back to a time before it")
            continue
        try:
            opened.restore(version, post_commithook_properties=KEEPS_LOG)
        except (DeltaError, OSError) as error:
            now = lake.delta_at(uri)
            if now is not None and _is_at(now, version):  # the reply was lost, and the commit not
                continue
            reason = cause_of(error, 400)
            raise TerminalError(
                f"the table cannot be taken back without Spark: {reason}",
                where=uri,
                state="the checkpoint is as it was",
                next_command=f"RESTORE TABLE delta.`{uri}` TO VERSION AS OF {version} in Spark; then the same again",
            ) from None


def _is_at(opened: LakeTable, version: int | None) -> bool:
    """Whether a table is at a version, or was taken back to it just now: by Spark, or by a restore that was cut."""
    [newest] = opened.history(1)
    restored_to = (newest.get("operationParameters") or {}).get("version")
    return opened.version() == version or (newest.get("operation") == "RESTORE" and str(restored_to) == str(version))


def _another(backup: Backup) -> str:
    return f"lakehouse checkpoint backup --list {backup.table}   (restore another with --from)"


def _refused(lake: Lake, backup: Backup, what: str, next_command: str) -> ConfigurationError:
    return ConfigurationError(
        f"the backup of {backup.table} of {backup.taken} cannot be restored: {what}",
        where=f"s3a://{lake.settings.bucket}/{backup_key(lake, backup.table, backup.taken)}",
        state="nothing was changed",
        next_command=next_command,
    )
