"""Repairing a stream whose checkpoint and table do not belong together any more.

Each row of a ``cloudFiles`` table has the number and the path of its file. So the checkpoint can be written anew behind
the last of those files, and a lost journal can be restored under the same numbers.
"""

from __future__ import annotations

import json
import logging
import uuid
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from lakehouse.autoloader.files.journal import Journal, utc_now
from lakehouse.autoloader.files.journal_reader import JournalUnsettled
from lakehouse.autoloader.files.positions import forget_position
from lakehouse.autoloader.files.replays import replays_of
from lakehouse.autoloader.files.segments import FileVersion, SegmentUnreadable
from lakehouse.autoloader.lineage import FILE, SEQUENCE
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import split_uri, uri_key
from lakehouse.autoloader.outcomes.receipt_log import read_receipts, streams_with_receipts
from lakehouse.autoloader.outcomes.receipts import Receipt, State, TaskReceipts
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints.kept import forget_kept, keep_again, unreadable_kept
from lakehouse.checkpoints.spark_log import FINISHED, offset_lines, planned_offset
from lakehouse.checkpoints.standing import disagreement
from lakehouse.errors import ConfigurationError
from lakehouse.lake import Lake
from lakehouse.maintenance.asked import ask_for_run
from lakehouse.maintenance.emptying import empty, look_at, require_emptiable
from lakehouse.maintenance.file_rows import rows_by_sequence
from lakehouse.maintenance.fork import begin_at
from lakehouse.plain_text import counted
from lakehouse.storage import ObjectInfo

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repair:
    """What a repair does, or would do.

    Attributes:
        table: The table.
        reason: Why it is needed; empty when checkpoint and table agree.
        steps: What is done, a sentence each.
        done: Whether it was done.
    """

    table: str
    reason: str
    steps: tuple[str, ...]
    done: bool = False


def repair(
    lake: Lake, table: str, options: CloudFilesOptions | None, *, computed: bool = False, really: bool = False
) -> Repair:
    """Brings the checkpoint of ``table`` in line with its rows; without ``really`` only says how.

    Args:
        lake: Where both are.
        table: The table.
        options: Of the ``cloudFiles`` stream that writes it; None for other tables.
        computed: Whether a run fills the table again from its source: it is emptied then.
        really: Do it.

    Raises:
        LeaseHeld: a stream writes the table now; or another stream on the same journal, which has to be restored.
        ConfigurationError: nothing here can write the rows of this table again, or the journal cannot be restored.
    """
    with ExitStack() as held:
        held.enter_context(checkpoints.writer_of(lake, table))
        stream = _Stream(lake, table, options) if options else None
        for other_table in stream.others() if stream else ():
            held.enter_context(checkpoints.writer_of(lake, other_table))
        reason = disagreement(lake, table) or (stream.mismatch() if stream else "")
        if not reason and (damage := unreadable_kept(lake, table)):
            if really:
                keep_again(lake, table)
            return Repair(table, damage, (f"write it anew: {table} keeps what it has, as before",), really)
        if not reason:
            return Repair(table, "", ("nothing: checkpoint, journal and table agree",))
        if stream is None and not computed:
            raise ConfigurationError(
                f"{reason}; and nothing here can write the rows of {table} again",
                where=lake.settings.table_uri(table),
                state="nothing was changed",
                next_command="restore its checkpoint from a copy; or let its stream begin anew, with a new checkpoint "
                "and a new table",
            )
        if stream is None:
            steps = start_over_steps(lake, table)
            if really:
                _log.info("%s starts over: %s", table, reason)
                start_over(lake, table, "its checkpoint did not belong to it")
                ask_for_run(lake, table, "repair")
            return Repair(table, reason, steps, really)
        if really:
            _log.info("%s is repaired: %s", table, reason)
            stream.mend()
            ask_for_run(lake, table, "repair")
        return Repair(table, reason, stream.steps(), really)


def start_over(lake: Lake, table: str, why: str) -> None:
    """Removes a table's checkpoint, then empties its quarantine and the table itself.

    The rows stay in an older version of each, see ``emptying``. A crash in between is noticed by the next run: a table
    that holds rows of a stream and has no checkpoint is refused, and repaired by doing this again.

    Raises:
        TerminalError: only Spark can empty one of the two; nothing was changed.
    """
    for uri in (lake.settings.quarantine_uri(table), lake.settings.table_uri(table)):
        require_emptiable(lake, uri)
    lake.store.delete_prefix(lake.settings.bucket, f"{lake.settings.user}/_checkpoints/{table}/")
    forget_kept(lake, table)
    empty(lake, lake.settings.quarantine_uri(table), why)
    empty(lake, lake.settings.table_uri(table), why)


def start_over_steps(lake: Lake, table: str) -> tuple[str, ...]:
    """What ``start_over`` does, in sentences."""
    steps = []
    uris = {table: lake.settings.table_uri(table), f"the quarantine of {table}": lake.settings.quarantine_uri(table)}
    for name, uri in uris.items():
        found = look_at(lake, uri)
        if found is not None and found.files:
            steps.append(found.step(name))
    return (*steps, f"remove the checkpoint of {table}; the next run computes it from all that its source has")


class _Stream:
    """The table of a ``cloudFiles`` stream, its journal and its checkpoint, each read once."""

    def __init__(self, lake: Lake, table: str, options: CloudFilesOptions) -> None:
        self._lake, self._table, self._overwrites = lake, table, options.allow_overwrites
        self._uri = options.journal_location or ""
        self._place = split_uri(self._uri)
        self._damage, self._journal = _opened(lake, self._uri)
        self._rows, self._paths = rows_by_sequence(lake, table), _paths(lake, table)
        self._last = max(self._rows, default=0)
        self._begins = checkpoints.forked_at(lake, table)
        self._offset = _readable_offset(lake, table)
        self._names = {(self._offset or {}).get("stream", "")} - {""}
        files = self._journal.files(0, self._last) if self._journal else ()
        known = {file.seq: (file.bucket, file.key) for file in files}
        # numbers in the table that are other files' in the journal, or nobody's
        self._lost = {seq for seq in self._rows if known.get(seq) != self._paths.get(seq)}
        self._waiting = self._waiting_replays()

    def mismatch(self) -> str:
        """Why checkpoint, journal and table do not fit each other; empty when they do."""
        journal, offset = self._journal, self._offset
        if journal is None:
            return self._damage
        if self._lost:
            return f"the table has rows of files that the journal of {journal.high_water:,} files does not have"
        if offset is not None and offset["seq"]:
            held = journal.position(offset["seq"]) if offset["seq"] <= journal.high_water else None
            if held is None or held.segment != offset["segment"]:
                return f"the checkpoint stands at file {offset['seq']:,}, which the journal does not have"
        return ""

    def steps(self) -> tuple[str, ...]:
        """What ``mend`` does."""
        if self._begins is not None:
            return (f"write the checkpoint again: the table was to begin behind file {self._begins['seq']:,}",)
        restore = f"restore the journal from {len(self._rows):,} files that have rows in the table"
        again = "load every file again, in place of its rows: which version they are from is not known any more"
        return (
            *([restore] if self._gone else []),
            *([again] if self._gone and self._overwrites == "replace" else []),
            *([f"ask again for {counted(len(self._waiting), 'file')} to be loaded again"] if self._waiting else []),
            *(
                f"{other_table} reads by the same journal, and has to be repaired or restarted after it"
                for other_table in self.others()
            ),
            f"write a new checkpoint behind file {self._last:,}, the last that has rows in the table",
            "keep the receipts of files that gave no rows, so that they stay listed",
            "load in the next run what comes after it, and nothing else",
        )

    @property
    def _gone(self) -> bool:
        """Whether the journal has to be restored."""
        return bool(self._lost) or self._journal is None

    def _waiting_replays(self) -> list[FileVersion]:
        """What the stream was asked to load again and has not: the stream of a new checkpoint has another name."""
        if self._journal is None or self._gone or not self._names:
            return []
        lake, [name] = self._lake, self._names
        finished = checkpoints.batch_numbers(lake, self._table, "commits")[-1:]
        place: dict[str, Any] | None = None
        with suppress(ValueError, IndexError):  # damaged: what was loaded again is loaded once more
            for batch in finished:
                folder = checkpoints.object_key(lake, self._table, "")
                place = planned_offset(lake.store, lake.settings.bucket, folder, batch)
        return replays_of(self._journal, name, (place or {}).get("seq", 0))

    def others(self) -> list[str]:
        """Tables whose streams use the same journal, when that has to be restored."""
        if not self._gone:
            return []
        bucket, user = self._lake.settings.bucket, self._lake.settings.user
        names = [name for name in self._lake.store.folders(bucket, f"{user}/_checkpoints/") if name != self._table]
        offsets = {name: _readable_offset(self._lake, name) or {} for name in names}
        return [
            name for name, offset in offsets.items() if offset.get("journal", "").rstrip("/") == self._uri.rstrip("/")
        ]

    def mend(self) -> None:
        """Writes journal, receipts and checkpoint; can be done again after a crash in between.

        Raises:
            ConfigurationError: the journal is lost, and every version of a file is loaded.
        """
        if self._begins is not None:
            begin_at(self._lake, self._table, self._begins)
            return
        if self._gone and self._overwrites is True:
            raise ConfigurationError(
                f"the journal of {self._table} is lost, and with allowOverwrites=true nothing tells which versions of "
                "its files are in the table",
                where=self._uri,
                state="nothing was changed",
                next_command="restore the journal from a copy; or declare cloudFiles.allowOverwrites: false, repair "
                f"it, and load overwritten files with: lakehouse replay --files NAME --table {self._table} --yes",
            )
        receipts = self._receipts()
        if self._gone:
            self._restore_journal()
        self._write_checkpoint(receipts)

    def _receipts(self) -> list[Receipt]:
        """For each file up to the last: its rows as they are in the table, or the reason why it has none."""
        store, kept = self._lake.store, {}
        if not self._gone:
            for stream in streams_with_receipts(store, *self._place):
                for receipt in (written.receipt for written in read_receipts(store, *self._place, stream)):
                    if receipt.seq <= self._last and receipt.seq not in self._rows and receipt.state != State.INGESTED:
                        kept[receipt.seq] = receipt
        return [*(Receipt(seq, 0, rows, State.INGESTED) for seq, rows in sorted(self._rows.items())), *kept.values()]

    def _restore_journal(self) -> None:
        """Gives the table's files their numbers again; the versions are those that the bucket has now.

        What was overwritten since is not told apart from what was loaded. Where a newer version takes the place of the
        older version, no version counts as known: each file is found and loaded again, in place of its rows.
        """
        store, (bucket, prefix) = self._lake.store, self._place
        store.delete_prefix(bucket, f"{prefix.rstrip('/')}/segments/")
        there = {}
        for source in {bucket_name for bucket_name, _ in self._paths.values()}:
            there.update({(source, info.key): info for info in store.list(source)})
        now, segment = utc_now(), uuid.uuid4().hex[:12]
        files = []
        for seq in sorted(self._rows):
            place = self._paths[seq]
            unknown = ObjectInfo(place[1], 0, "", now)
            info = unknown if self._overwrites == "replace" else there.get(place, unknown)
            version = FileVersion(seq, *place, info.e_tag, info.size_bytes, info.last_modified, now, True, segment)
            files.append(version)
        self._journal = Journal.at(store, self._uri)
        if files:
            self._journal.restore(files)

    def _write_checkpoint(self, receipts: list[Receipt]) -> None:
        """A checkpoint whose batch 0 is finished and ends at the last file; Spark goes on with batch 1."""
        lake, last = self._lake, self._last
        bucket, base = lake.settings.bucket, f"{lake.settings.user}/_checkpoints/{self._table}/"
        query, stream = str(uuid.uuid4()), uuid.uuid4().hex[:16]
        TaskReceipts(lake.store, *self._place, stream, last, "repaired").finish(receipts)
        again: dict[str, list[tuple[ObjectInfo, int]]] = {}
        for file in self._waiting:
            info = ObjectInfo(file.key, file.size_bytes, file.e_tag, file.last_modified)
            again.setdefault(file.bucket, []).append((info, file.replaces))
        for source, versions in again.items():
            Journal.at(lake.store, self._uri).replay(source, versions, stream)
        for name in self._names:  # the stream of that name is no more, and must not keep files from being cleaned up
            forget_position(lake.store, *self._place, name)
        lake.store.delete_prefix(bucket, base)
        segment = self._journal.position(last).segment if self._journal else ""
        offset = {"v": 1, "seq": last, "segment": segment, "journal": self._uri, "stream": stream}
        lake.store.write(bucket, f"{base}offsets/0", offset_lines(offset))
        lake.store.write(bucket, base + checkpoints.REPAIRED, json.dumps({"batch": 0}).encode())
        lake.store.write(bucket, f"{base}commits/0", FINISHED)
        lake.store.write(bucket, f"{base}metadata", json.dumps({"id": query}).encode())


def _opened(lake: Lake, uri: str) -> tuple[str, Journal | None]:
    """The journal; or why it cannot be read, and None."""
    try:
        return "", Journal.at(lake.store, uri)
    except (SegmentUnreadable, JournalUnsettled) as error:
        return f"the journal cannot be read: {error.what}", None


def _readable_offset(lake: Lake, table: str) -> dict[str, Any] | None:
    """Where the newest planned batch ends; None where nothing says it any more."""
    try:
        return checkpoints.newest_offset(lake, table)
    except ValueError:
        return None


def _paths(lake: Lake, table: str) -> dict[int, tuple[str, str]]:
    """Bucket and key of each file that has rows, by number."""
    rows = lake.rows(table)
    found: dict[int, tuple[str, str]] = {}
    if rows is not None:
        for batch in rows.to_batches(columns=[SEQUENCE, FILE]):
            for row in batch.to_pandas().drop_duplicates().itertuples(index=False):
                found[int(row[0])] = (split_uri(row[1])[0], uri_key(row[1]))
    return found
