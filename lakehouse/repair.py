"""A checkpoint and a table that do not belong together any more: what can be done, and doing it.

What the table of a ``cloudFiles`` stream holds is told by its rows: each has the number and the path of its file. So
the checkpoint can be written anew behind the last of them, and a lost journal be restored under the same numbers.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from lakehouse import checkpoints
from lakehouse.autoloader.journal import Journal
from lakehouse.autoloader.location import split_uri, uri_key
from lakehouse.autoloader.receipts import Receipt, State, TaskReceipts, read_receipts
from lakehouse.autoloader.segments import FileVersion
from lakehouse.completeness import rows_by_sequence
from lakehouse.lake import Lake
from lakehouse.storage import ObjectInfo, hold_lease


@dataclass(frozen=True)
class Repair:
    """What a repair does, or would do.

    Attributes:
        table: The table.
        reason: Why it is needed; empty when checkpoint and table agree.
        steps: What is done, one sentence each.
        done: Whether it was done.
    """

    table: str
    reason: str
    steps: tuple[str, ...]
    done: bool = False


def repair(lake: Lake, table: str, journal_uri: str | None, *, really: bool = False) -> Repair:
    """Brings the checkpoint of ``table`` in line with its rows; without ``really`` only says how.

    Args:
        lake: Where both are.
        table: The table.
        journal_uri: Folder of its journal when a ``cloudFiles`` stream writes it. Other tables are computed again from
            their source: the table and its checkpoint are removed.
        really: Do it.

    Raises:
        LeaseHeld: a stream writes the table now.
    """
    key = f"{lake.settings.user}/_checkpoints/{table}.lease"
    with hold_lease(lake.store, lake.settings.bucket, key, owner=table):
        reason = _reason(lake, table, journal_uri)
        if not reason:
            return Repair(table, "", ("nothing: checkpoint, journal and table agree",))
        if journal_uri is None:
            steps = (f"remove {table} and its checkpoint; the next run computes it again from its source",)
            if really:
                start_over(lake, table)
            return Repair(table, reason, steps, really)
        return _repair_cloud_files(lake, table, journal_uri, reason, really)


def start_over(lake: Lake, table: str) -> None:
    """Removes a table, then its checkpoint: a crash in between is noticed by the next run."""
    layer, name = table.split(".")
    bucket, user = lake.settings.bucket, lake.settings.user
    lake.store.delete_prefix(bucket, f"{user}/{layer}/{name}/")
    lake.store.delete_prefix(bucket, f"{user}/_checkpoints/{table}/")


def _reason(lake: Lake, table: str, journal_uri: str | None) -> str:
    try:
        checkpoints.verify(lake, table)
    except checkpoints.CheckpointMismatch as error:
        return error.what
    if journal_uri is None:
        return ""
    found, journal = rows_by_sequence(lake, table), Journal.at(lake.store, journal_uri)
    if _strangers(journal, _paths(lake, table), found):
        return f"the table has rows of files that the journal of {journal.high_water:,} files does not have"
    offset = checkpoints.newest_offset(lake, table)
    if offset is not None and offset["seq"]:
        held = journal.position(offset["seq"]) if offset["seq"] <= journal.high_water else None
        if held is None or held.segment != offset.get("segment"):
            return f"the checkpoint stands at file {offset['seq']:,}, which the journal does not have"
    return ""


def _repair_cloud_files(lake: Lake, table: str, journal_uri: str, reason: str, really: bool) -> Repair:
    found, paths = rows_by_sequence(lake, table), _paths(lake, table)
    journal = Journal.at(lake.store, journal_uri)
    last = max(found, default=0)
    steps = []
    lost = _strangers(journal, paths, found)
    if lost:
        steps.append(f"restore the journal from {len(found):,} files that have rows in the table")
    steps.append(f"write a new checkpoint behind file {last:,}, the last that has rows in the table")
    steps.append("keep the receipts of files that gave no rows, so that they stay listed")
    steps.append("load in the next run what comes after it, and nothing else")
    if really:
        kept = _receipts(lake, table, journal_uri, found, last, journal_is_whole=not lost)
        if lost:
            journal = _restored(lake, journal_uri, paths, found)
        _write_checkpoint(lake, table, journal_uri, journal, last, kept)
    return Repair(table, reason, tuple(steps), really)


def _paths(lake: Lake, table: str) -> dict[int, tuple[str, str]]:
    """Bucket and key of each file that has rows, by number."""
    opened = lake.delta(table)
    found: dict[int, tuple[str, str]] = {}
    if opened is not None:
        names = ["_source_sequence", "_source_file"]
        for batch in opened.to_pyarrow_dataset().to_batches(columns=names):
            for row in batch.to_pandas().drop_duplicates().itertuples(index=False):
                found[int(row[0])] = (split_uri(row[1])[0], uri_key(row[1]))
    return found


def _strangers(journal: Journal, paths: dict[int, tuple[str, str]], found: Iterable[int]) -> set[int]:
    """Numbers in the table that are other files' in the journal, or nobody's."""
    known = {one.seq: (one.bucket, one.key) for one in journal.files(0, journal.high_water)}
    return {seq for seq in found if known.get(seq) != paths.get(seq)}


def _restored(lake: Lake, uri: str, paths: dict[int, tuple[str, str]], found: dict[int, int]) -> Journal:
    """A journal that has the table's files under their numbers; the versions are those that the bucket has now.

    What was replaced since is not told apart from what was loaded: streams that load overwritten files again
    (``allowOverwrites``) cannot be restored this way.
    """
    bucket, prefix = split_uri(uri)
    lake.store.delete_prefix(bucket, f"{prefix.rstrip('/')}/segments/")
    there = {}
    for source in {one for one, _ in paths.values()}:
        there.update({(source, info.key): info for info in lake.store.list(source)})
    now, segment = datetime.now(UTC), uuid.uuid4().hex[:12]
    files = []
    for seq in sorted(found):
        info = there.get(paths[seq]) or ObjectInfo(paths[seq][1], 0, "", now)
        version = FileVersion(seq, *paths[seq], info.e_tag, info.size_bytes, info.last_modified, now, True, segment)
        files.append(version)
    journal = Journal.at(lake.store, uri)
    if files:
        journal.restore(files)
    return journal


def _receipts(
    lake: Lake, table: str, uri: str, found: dict[int, int], last: int, *, journal_is_whole: bool
) -> list[Receipt]:
    """A receipt for each file up to ``last``: its rows as they are in the table, or the reason why it has none."""
    bucket, prefix = split_uri(uri)
    queries = {commit.query_id for commit in lake.commits_since(table, None) if commit.query_id}
    state = checkpoints.read_checkpoint(lake, table)
    queries |= {state.query_id} if state and state.query_id else set()
    old = [one for query in sorted(queries) for _, one in read_receipts(lake.store, bucket, prefix, query)]
    without = {one.seq: one for one in old if one.seq <= last and one.seq not in found and one.state != State.INGESTED}
    kept = list(without.values()) if journal_is_whole else []
    return [*(Receipt(seq, 0, rows, State.INGESTED) for seq, rows in sorted(found.items())), *kept]


def _write_checkpoint(
    lake: Lake, table: str, journal_uri: str, journal: Journal, last: int, receipts: list[Receipt]
) -> None:
    """A checkpoint whose batch 0 is finished and ends at file ``last``; Spark goes on with batch 1."""
    bucket, base = lake.settings.bucket, f"{lake.settings.user}/_checkpoints/{table}/"
    query = str(uuid.uuid4())
    journal_bucket, prefix = split_uri(journal_uri)
    prefix = prefix.rstrip("/") + "/"
    TaskReceipts(lake.store, journal_bucket, prefix, query, 0, "repaired").finish(receipts)
    lake.store.delete_prefix(bucket, base)
    offset = {"v": 1, "seq": last, "segment": journal.position(last).segment, "journal": journal_uri}
    metadata = {"batchWatermarkMs": 0, "batchTimestampMs": int(time.time() * 1000), "conf": {}}
    lines = ["v1", json.dumps(metadata), json.dumps(offset)]
    lake.store.write(bucket, f"{base}offsets/0", "\n".join(lines).encode())
    lake.store.write(bucket, base + checkpoints.REPAIRED, json.dumps({"batch": 0}).encode())
    lake.store.write(bucket, f"{base}commits/0", b'v1\n{"nextBatchWatermarkMs":0}')
    lake.store.write(bucket, f"{base}metadata", json.dumps({"id": query}).encode())
