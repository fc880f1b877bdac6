"""How far each stream on a journal has come: one small object a stream, written when its place has changed.

A file may leave its folder only when every stream that shares the journal has loaded it, so each stream says where it
stands, whatever its own options are.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from lakehouse.storage.store import ObjectMissing, ObjectStore

_KEPT_MARKS = 200
_log = logging.getLogger(__name__)


class StreamPosition:
    """The place of one stream.

    Args:
        store: Where it is kept.
        bucket: Its bucket.
        journal_prefix: The journal's folder.
        stream_id: The stream.
        now: The clock.
        schema_location: Where the stream keeps its schema; empty without a schema.
    """

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        journal_prefix: str,
        stream_id: str,
        now: Callable[[], datetime],
        schema_location: str = "",
    ) -> None:
        self._store, self._bucket, self._now = store, bucket, now
        self._schema_location = schema_location
        self.stream = stream_id
        self._folder, self._key = _folder(journal_prefix), _key(journal_prefix, stream_id)
        record = _read(store, bucket, self._key)
        self._marks = [(int(seq), datetime.fromisoformat(at)) for seq, at in record.get("committed", [])]
        self.cleaned = int(record.get("cleaned", 0))

    @property
    def committed(self) -> int:
        """Number of the last file that is known to be in the sink."""
        return self._marks[-1][0] if self._marks else 0

    def note(self, committed: int) -> None:
        """Makes durable that all files up to that number are in the sink."""
        if self._marks and self._marks[-1][0] == committed:
            return
        # a stream that begins anew stands at a lower place: then nothing behind it counts
        self._marks = [mark for mark in self._marks if mark[0] < committed] + [(committed, self._now())]
        if len(self._marks) > _KEPT_MARKS:
            del self._marks[1:-1:2]  # what is left out counts as committed later than it was
        self.save()

    def save(self) -> None:
        """Writes marks and ``cleaned``."""
        committed = [[seq, at.isoformat()] for seq, at in self._marks]
        record = {"committed": committed, "cleaned": self.cleaned, "schema": self._schema_location}
        self._store.write(self._bucket, self._key, json.dumps(record).encode())

    def committed_for(self, seconds: float) -> int:
        """Number of the last file that all streams have committed, this stream at least so long ago."""
        limit = self._now() - timedelta(seconds=seconds)
        own = max((seq for seq, at in self._marks if at <= limit), default=0)
        return min([own, *(self._newest(info.key) for info in self._store.list(self._bucket, self._folder))])

    def _newest(self, key: str) -> int:
        return max((int(seq) for seq, _ in _read(self._store, self._bucket, key).get("committed", [])), default=0)


def committed_by_all(store: ObjectStore, bucket: str, journal_prefix: str, schema_location: str) -> int:
    """Number up to which every stream that keeps its schema there has loaded the files; 0 without such a stream."""
    records = [_read(store, bucket, info.key) for info in store.list(bucket, _folder(journal_prefix))]
    mine = [
        record for record in records if schema_location and record.get("schema", schema_location) == schema_location
    ]
    places = [record.get("committed", []) for record in mine]
    return min((max((int(seq) for seq, _ in marks), default=0) for marks in places), default=0)


def forget_position(store: ObjectStore, bucket: str, journal_prefix: str, stream_id: str) -> None:
    """Takes out a stream that will not come back: nothing waits for it any more."""
    store.delete(bucket, _key(journal_prefix, stream_id))


def _read(store: ObjectStore, bucket: str, key: str) -> dict[str, Any]:
    """What a stream noted; nothing where it is damaged: then nothing counts as loaded, and no file is taken away."""
    try:
        text = store.read(bucket, key)
    except ObjectMissing:
        return {}
    try:
        record: dict[str, Any] = json.loads(text)
        for seq, at in record.get("committed", []):
            int(seq), datetime.fromisoformat(at)
        int(record.get("cleaned", 0))
    except (ValueError, TypeError, AttributeError):
        _log.warning("s3a://%s/%s is damaged: of that stream no file counts as loaded until it loads more", bucket, key)
        return {}
    return record


def _folder(journal_prefix: str) -> str:
    return f"{journal_prefix.rstrip('/')}/streams/"


def _key(journal_prefix: str, stream_id: str) -> str:
    return f"{_folder(journal_prefix)}{stream_id}.json"
