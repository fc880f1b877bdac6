"""Writing a stream's checkpoint as Spark does: whoever goes on with it finds what Spark would have left.

``metadata`` has the checkpoint's own id. ``offsets/N`` is written before batch N and never again, ``commits/N`` after
it; a hundred of each are kept. (Spark 4.2, ``OffsetSeqLog`` and ``CommitLog``, version 1.)
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lakehouse.checkpoints.agreement import object_key
from lakehouse.engine.conf import frozen_conf
from lakehouse.lake import Lake
from lakehouse.storage import ObjectExists, ObjectMissing, ObjectStore

_KEPT_BATCHES = 100
FINISHED = b'v1\n{"nextBatchWatermarkMs":0}'
"""What ``commits/N`` holds without event times."""


class SparkLog:
    """The checkpoint of the stream into a table, for a source without event times.

    Args:
        lake: Where it is.
        table: The target.
    """

    def __init__(self, lake: Lake, table: str) -> None:
        self._lake, self._table, self._bucket = lake, table, lake.settings.bucket
        self._planned: tuple[int, dict[str, str]] | None = None

    def query_id(self) -> str:
        """The checkpoint's id, made when it has none."""
        key = self._key("metadata")
        with suppress(ObjectExists):
            self._lake.store.write(self._bucket, key, json.dumps({"id": str(uuid.uuid4())}).encode(), if_absent=True)
        return str(json.loads(self._lake.store.read(self._bucket, key))["id"])

    def planned(self, batch: int) -> dict[str, Any] | None:
        """Where the source stands after a batch; None when it was not planned."""
        return planned_offset(self._lake.store, self._bucket, self._key(""), batch)

    def plan(self, batch: int, offset: dict[str, Any]) -> None:
        """Makes durable what a batch will read.

        Raises:
            ObjectExists: another writer has planned it.
        """
        known = self._planned
        conf = known[1] if known is not None and known[0] == batch - 1 else self._conf(batch - 1)
        written = offset_lines(offset, conf)
        self._lake.store.write(self._bucket, self._key(f"offsets/{batch}"), written, if_absent=True)
        self._planned = batch, conf

    def plan_first(self, batch: int, offset: dict[str, Any]) -> dict[str, Any]:
        """Plans a batch and returns its end; another writer's, where that writer has planned it first."""
        try:
            self.plan(batch, offset)
        except ObjectExists:
            planned = self.planned(batch)
            assert planned is not None
            return planned
        return offset

    def finish(self, batch: int) -> None:
        """Notes that a batch is in the table, and removes what is older than the last hundred."""
        self._lake.store.write(self._bucket, self._key(f"commits/{batch}"), FINISHED)
        if batch >= _KEPT_BATCHES:
            for folder in ("offsets", "commits"):
                self._lake.store.delete(self._bucket, self._key(f"{folder}/{batch - _KEPT_BATCHES}"))

    def rewrite(
        self,
        query_id: str,
        batch: int,
        start: dict[str, Any] | None,
        end: dict[str, Any],
        marks: Mapping[str, bytes] | None = None,
    ) -> None:
        """Replaces the checkpoint by another in which ``batch`` is the last, and finished.

        Can be done again after a crash in between: the id, which makes it count, is written last. ``marks`` are further
        objects of the checkpoint.
        """
        self._lake.store.delete_prefix(self._bucket, self._key(""))
        for name, content in (marks or {}).items():
            self._lake.store.write(self._bucket, self._key(name), content)
        before = offset_lines(start or {**end, "seq": 0})
        if batch:  # Spark looks at the batch before the last, too
            self._lake.store.write(self._bucket, self._key(f"offsets/{batch - 1}"), before)
        self._lake.store.write(self._bucket, self._key(f"offsets/{batch}"), offset_lines(end))
        self._lake.store.write(self._bucket, self._key(f"commits/{batch}"), FINISHED)
        self._lake.store.write(self._bucket, self._key("metadata"), json.dumps({"id": query_id}).encode())

    def _conf(self, batch: int) -> dict[str, str]:
        """The settings that a batch has: the next batch has the same."""
        try:
            lines = self._lake.store.read(self._bucket, self._key(f"offsets/{batch}")).decode().splitlines()
        except ObjectMissing:
            return frozen_conf()
        return {**frozen_conf(), **json.loads(lines[1])["conf"]}

    def _key(self, name: str) -> str:
        return object_key(self._lake, self._table, name)


def planned_offset(store: ObjectStore, bucket: str, folder: str, batch: int) -> dict[str, Any] | None:
    """Where the source of a checkpoint stands after a batch; None when it was not planned.

    Args:
        store: Where the checkpoint is.
        bucket: Its bucket.
        folder: Key of its folder, with a slash at the end.
        batch: The batch.
    """
    try:
        lines = store.read(bucket, f"{folder}offsets/{batch}").decode().splitlines()
    except ObjectMissing:
        return None
    return dict(json.loads(lines[2]))


def offset_lines(offset: dict[str, Any], conf: dict[str, str] | None = None) -> bytes:
    """What ``offsets/N`` holds; ``conf`` are the settings of the query that Spark freezes there."""
    metadata = {"batchWatermarkMs": 0, "batchTimestampMs": int(time.time() * 1000), "conf": conf or frozen_conf()}
    return "\n".join(["v1", json.dumps(metadata), json.dumps(offset)]).encode()
