"""``cloudFiles.cleanSource``: files that were loaded long enough ago are moved away or deleted.

Only a file that gave all its rows goes: what is in quarantine, or had a line left out, stays where it is. It goes when
its batch is finished, the retention is over, and every other stream on the journal has loaded it, too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice

from lakehouse.autoloader.context import Source, shared_stream_id
from lakehouse.autoloader.files.positions import StreamPosition
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.options.paths import key_uri, split_uri
from lakehouse.autoloader.outcomes.archived import Archived, write_archived
from lakehouse.autoloader.outcomes.receipt_log import read_receipts, streams_with_receipts
from lakehouse.autoloader.outcomes.receipts import Receipt, State
from lakehouse.errors import ConfigurationError
from lakehouse.storage.store import ObjectExists, ObjectMissing

_FILES_A_STEP = 1_000
_THREADS = 8


class SourceCleaner:
    """Cleans up behind one stream, at most 1,000 files at each call, so that loading never waits for long."""

    def __init__(self, source: Source, position: StreamPosition) -> None:
        self._source, self._position = source, position

    def step(self) -> int:
        """Cleans what may go now; returns how many files went.

        Raises:
            AccessDenied: the store does not allow removal. What was loaded stays loaded.
            ConfigurationError: another checkpoint may have the stream's name, and not have read what this stream has.
        """
        source, position = self._source, self._position
        if position.stream == shared_stream_id(source.options):
            raise ConfigurationError(
                "this checkpoint is from a version that named streams by their options: another checkpoint may have "
                "the same name, and clean-up could remove files that it has not read",
                where="cloudFiles.cleanSource",
                state="nothing was removed, moved or read",
                next_command="go on without cloudFiles.cleanSource, or give it with a new checkpoint",
            )
        upto = position.committed_for(source.options.clean_source_retention_seconds)
        if upto <= position.cleaned:
            return 0
        files = list(islice(source.backlog().files(position.cleaned, upto), _FILES_A_STEP))
        last = files[-1].seq if len(files) == _FILES_A_STEP else upto
        whole = self._loaded_in_full(position.cleaned, last)
        with ThreadPoolExecutor(_THREADS) as pool:
            done = [entry for entry in pool.map(self._archive, (file for file in files if file.seq in whole)) if entry]
        if done:
            bucket, prefix = source.journal_place
            write_archived(source.store, bucket, prefix, done)
        position.cleaned = last
        position.save()
        return len(done)

    def _loaded_in_full(self, after: int, upto: int) -> set[int]:
        """Numbers of the files in (after, upto] all of whose receipts say that all went well."""
        store, (bucket, prefix) = self._source.store, self._source.journal_place
        well: set[int] = set()
        badly: set[int] = set()
        for stream in streams_with_receipts(store, bucket, prefix):
            written = read_receipts(store, bucket, prefix, stream, first_end=after + 1)
            for _, batch in groupby(written, key=lambda entry: entry.end):
                receipts = [entry.receipt for entry in batch]
                if all(receipt.seq > upto for receipt in receipts):
                    break
                for receipt in receipts:
                    (well if _is_well(receipt) else badly).add(receipt.seq)
        return well - badly

    def _archive(self, file: FileVersion) -> Archived | None:
        """Moves or deletes a version; None when another version has taken its place."""
        store, mode = self._source.store, self._source.options.clean_source
        current = store.info(file.bucket, file.key)
        if current is not None and current.e_tag != file.e_tag:
            return None
        to = self._moved_to(file) if mode == "MOVE" else ""
        if current is None:  # an earlier step was cut short before its record, or something else removed the file
            if to and store.info(file.bucket, to) is None:
                return None
        else:
            if to:
                try:
                    store.copy(file.bucket, file.key, to, if_match=file.e_tag)
                except (ObjectMissing, ObjectExists):
                    return None
            # no server refuses a DELETE because of the version, so it comes right after the look
            store.delete(file.bucket, file.key)
        return Archived(file.seq, self._source.now(), mode, key_uri(file.bucket, to) if to else "")

    def _moved_to(self, file: FileVersion) -> str:
        """The key below the destination; with the version's tag where another version was moved before."""
        folder = split_uri(self._source.options.clean_source_move_destination or "")[1].rstrip("/")
        key = f"{folder}/{file.key.removeprefix(self._source.path.root)}".lstrip("/")
        there = self._source.store.info(file.bucket, key)
        return key if there is None or there.e_tag == file.e_tag else f"{key}~{file.e_tag[:12]}"


def _is_well(receipt: Receipt) -> bool:
    return receipt.state == State.INGESTED and not receipt.error
