"""Which files ``copy_into`` has loaded into a table: kept in the table's own folder, so that both go together.

``<table>/_copy_into/segments/`` is a journal of the files that are in the table. A call is an attempt at the table's
next copy: it fixes what it reads, its tasks write receipts, and Delta's commit carries the number of the copy
(``txnVersion``) and the name of the attempt (``userMetadata``). Only then the files go into the journal; who dies
before is followed by a call that does it, because the table says which attempt was committed.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lakehouse.autoloader.files.journal import Journal, utc_now
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.options.paths import plain_uri, split_uri
from lakehouse.autoloader.outcomes.receipt_log import read_receipts
from lakehouse.autoloader.outcomes.receipts import Receipt, State
from lakehouse.copy_into.reader import STREAM, read_plan, write_plan
from lakehouse.delta_commit import metadata_of
from lakehouse.errors import TerminalError
from lakehouse.lake import Lake
from lakehouse.storage import ObjectInfo, ObjectMissing

APP_ID = "lakehouse.copy_into.copy"
"""Delta's name for the one who numbers a table's copies."""


@dataclass(frozen=True)
class CopiedFile:
    """What became of a file of a copy; ``problem`` says why it was not loaded, empty when it was."""

    path: str
    rows: int
    problem: str = ""


@dataclass(frozen=True)
class Attempt:
    """One try at the table's next copy.

    Attributes:
        number: Which copy it would be, from 1.
        name: Its own name.
        uri: Its folder.
    """

    number: int
    name: str
    uri: str

    def delta_options(self) -> dict[str, str]:
        """How its commit says whose it is. Of several attempts at one copy Delta takes one."""
        metadata = json.dumps({"copyInto": {"number": self.number, "attempt": self.name}})
        return {"txnAppId": APP_ID, "txnVersion": str(self.number), "userMetadata": metadata}


@dataclass(frozen=True)
class CopiedFiles:
    """The files that are in a table; only for the holder of the table's lease."""

    lake: Lake
    table: str

    @property
    def uri(self) -> str:
        """The folder of all of it; Delta's VACUUM passes over names that begin with ``_``."""
        return f"{self.lake.settings.table_uri(self.table)}/_copy_into/"

    @cached_property
    def journal(self) -> Journal:
        """Their journal: a key is ``bucket/key``, because a table may be loaded from several."""
        return Journal.at(self.lake.store, self.uri)

    def not_loaded(self, bucket: str, found: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        """The files of which no version is in the table."""
        named = [replace(info, key=f"{bucket}/{info.key}") for info in found]
        new = {info.key for info, first in self.journal.unseen(named) if first}
        return [info for info in found if f"{bucket}/{info.key}" in new]

    def committed(self) -> int:
        """How many copies the table has."""
        opened = self.lake.delta(self.table)
        return (opened.transaction_version(APP_ID) or 0) if opened else 0

    def begin(self, number: int, bucket: str, files: Sequence[ObjectInfo]) -> Attempt:
        """Fixes what an attempt reads."""
        name, now = uuid.uuid4().hex[:12], utc_now()
        attempt = self._attempt(number, name)
        versions = [
            FileVersion(seq, bucket, info.key, info.e_tag, info.size_bytes, info.last_modified, now, True, name)
            for seq, info in enumerate(files, 1)
        ]
        write_plan(self.lake.store, attempt.uri, versions)
        return attempt

    def settle(self) -> tuple[Attempt | None, list[CopiedFile]]:
        """Takes the files of the newest copy into the journal, if they are not there yet.

        Returns:
            The attempt that made it, and what became of its files; None when there was nothing to do.

        Raises:
            TerminalError: the table and the list of its files do not belong together.
        """
        settled, committed = self.settled(), self.committed()
        if settled == committed:
            return None, []
        if settled + 1 != committed:
            raise self._mismatch(f"the table holds {committed:,} copies, and the list of its files {settled:,}")
        name = self._winner(committed)
        if name is None:
            raise self._mismatch(f"the table's history does not say any more who made its copy {committed:,}")
        attempt = self._attempt(committed, name)
        try:
            files = list(self._outcome(attempt))
        except ObjectMissing:
            raise self._mismatch(f"what its copy {committed:,} read is not told any more") from None
        loaded = [
            ObjectInfo(f"{file.bucket}/{file.key}", file.size_bytes, file.e_tag, file.last_modified)
            for file, receipt in files
            if receipt.state == State.INGESTED
        ]
        self.journal.append(split_uri(self.uri)[0], loaded)
        self.journal.merge()
        bucket, prefix = split_uri(self.uri)
        self.lake.store.write(bucket, f"{prefix}state.json", json.dumps({"settled": committed}).encode())
        # all attempts are at this copy or an earlier copy: none can be committed any more
        self.lake.store.delete_prefix(bucket, f"{prefix}attempts/")
        copied = [CopiedFile(plain_uri(file.bucket, file.key), receipt.rows, receipt.error) for file, receipt in files]
        return attempt, copied

    def settled(self) -> int:
        """How many copies the journal knows."""
        bucket, prefix = split_uri(self.uri)
        try:
            return int(json.loads(self.lake.store.read(bucket, f"{prefix}state.json"))["settled"])
        except ObjectMissing:
            return 0

    def _attempt(self, number: int, name: str) -> Attempt:
        return Attempt(number, name, f"{self.uri}attempts/{name}/")

    def _winner(self, number: int) -> str | None:
        opened = self.lake.delta(self.table)
        for limit in (10, None):  # it is nearly always the last commit
            for entry in opened.history(limit) if opened else ():
                copy_into = metadata_of(entry).get("copyInto")
                if isinstance(copy_into, dict) and copy_into.get("number") == number:
                    return str(copy_into.get("attempt"))
        return None

    def _outcome(self, attempt: Attempt) -> Iterator[tuple[FileVersion, Receipt]]:
        """The files of a committed attempt, each with its receipts joined."""
        bucket, prefix = split_uri(attempt.uri)
        parts: dict[int, list[Receipt]] = defaultdict(list)
        for written in read_receipts(self.lake.store, bucket, prefix, STREAM):
            parts[written.receipt.seq].append(written.receipt)
        for file in read_plan(self.lake.store, attempt.uri):
            found = parts[file.seq]
            if not found:
                raise self._mismatch(f"how its copy {attempt.number:,} read {file.key} is not told any more")
            worst = next((receipt for receipt in found if receipt.state != State.INGESTED), found[0])
            yield file, replace(worst, rows=sum(receipt.rows for receipt in found))

    def _mismatch(self, what: str) -> TerminalError:
        return TerminalError(
            f"{self.table} and the list of files that were copied into it do not belong together: {what}",
            where=self.uri,
            state="nothing was read or written",
            next_command="restore the two from one backup; or remove this folder, and copy into a new table",
        )
