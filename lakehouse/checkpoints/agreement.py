"""What a stream's checkpoint says, read without Spark.

A checkpoint is a folder: ``offsets/N`` is written before batch N, ``commits/N`` after it, ``sources/0/N`` lists the
files that Spark's file source put into its log entry N.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from deltalake import DeltaTable

from lakehouse.checkpoints.taken_back import content, last_batch
from lakehouse.delta_commit import EMPTIED, batch_of, metadata_of
from lakehouse.engine import end_writes, engine_in_use
from lakehouse.errors import TerminalError
from lakehouse.lake import Lake, LakeTable
from lakehouse.storage import Lease, ObjectMissing, Takeover, hold_lease


@dataclass(frozen=True)
class CheckpointState:
    """Where a stream stands.

    Attributes:
        query_id: The checkpoint's own id: Delta keeps the last batch under it.
        last_offset: Newest batch that was planned; None before the first.
        last_commit: Newest batch that was finished; smaller than ``last_offset`` after a crash.
        watermark: The event-time watermark the next batch starts with; None without one.
    """

    query_id: str | None
    last_offset: int | None
    last_commit: int | None
    watermark: datetime | None


def read_checkpoint(lake: Lake, table: str) -> CheckpointState | None:
    """The state of the stream that writes ``table``, or None when it has no checkpoint yet."""
    offsets, commits = batch_numbers(lake, table, "offsets"), batch_numbers(lake, table, "commits")
    query_id = None
    try:
        with readable(lake, table, "metadata"):
            query_id = json.loads(lake.store.read(lake.settings.bucket, object_key(lake, table, "metadata")))["id"]
    except ObjectMissing:
        if not offsets:
            return None
    # the commit of a batch carries the watermark that the next batch uses
    watermark = None
    if commits:
        with readable(lake, table, f"commits/{commits[-1]}"):
            lines = _lines(lake, table, f"commits/{commits[-1]}")
            millis = json.loads(lines[1]).get("nextBatchWatermarkMs", 0) if lines[0] and len(lines) > 1 else 0
            watermark = datetime.fromtimestamp(millis / 1000, UTC) if millis else None
    return CheckpointState(query_id, offsets[-1] if offsets else None, commits[-1] if commits else None, watermark)


@contextmanager
def writer_of(lake: Lake, table: str) -> Iterator[Lease]:
    """Keeps every other writer of the table out, on this machine and elsewhere.

    Raises:
        LeaseHeld: somebody writes it now, or what a dead client started cannot be ended.
    """
    with loader_of(lake, table) as lease, rewriter_of(lake, table):
        yield lease


@contextmanager
def loader_of(lake: Lake, table: str) -> Iterator[Lease]:
    """The same for a stream, which adds batches: only who writes its data files again may go on beside it.

    What a writer before started and did not end, because it died, is ended first.

    Raises:
        LeaseHeld: somebody writes it now, or what a dead client started cannot be ended.
    """
    takeover = Takeover(
        end_writes=lambda holder: end_writes(lake, table, holder),
        signs_of_life=lambda: (batch_numbers(lake, table, "offsets")[-1:], batch_numbers(lake, table, "commits")[-1:]),
    )
    engine = engine_in_use(lake.settings)
    key, bucket = lease_key(lake, table), lake.settings.bucket
    with hold_lease(lake.store, bucket, key, owner=table, engine=engine, takeover=takeover) as lease:
        yield lease


@contextmanager
def rewriter_of(lake: Lake, table: str) -> Iterator[Lease]:
    """The same for whoever writes data files again beside a stream: joined, or without old rows.

    Raises:
        LeaseHeld: somebody else does, or writes the table without a stream.
    """
    key = rewriter_lease_key(lake, table)
    with hold_lease(lake.store, lake.settings.bucket, key, owner=table) as lease:
        yield lease


def lease_key(lake: Lake, table: str) -> str:
    """The object that says who writes a table."""
    return f"{lake.settings.user}/_checkpoints/{table}.lease"


def rewriter_lease_key(lake: Lake, table: str) -> str:
    """The object that says who writes data files of a table again."""
    return f"{lake.settings.user}/_checkpoints/{table}.rewriter.lease"


class CheckpointMismatch(TerminalError):
    """A table and its checkpoint do not belong together: going on would lose rows or write them twice."""


class CheckpointUnreadable(CheckpointMismatch):
    """An object of a checkpoint is empty, cut off or not what is written there: where the stream stands is lost."""


@contextmanager
def readable(lake: Lake, table: str, name: str, where: str = "", cure: str = "repair") -> Iterator[None]:
    """Makes an error of what is wrong in an object of a checkpoint; ``checkpoint CURE`` is what mends it."""
    try:
        yield
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        commands = {
            "repair": f"lakehouse checkpoint repair {table}",
            "restart": f"lakehouse checkpoint restart {table}",
        }
        raise CheckpointUnreadable(
            f"the checkpoint of {table} cannot be read: {name} is empty, cut off or damaged",
            where=where or f"{lake.settings.checkpoint_uri(table)}/{name}",
            state="nothing was read or written",
            next_command=f"{commands[cure]}   (says what it would do; --yes does it)",
        ) from None


def _require_readable(lake: Lake, table: str, state: CheckpointState) -> None:
    """Makes sure that the batches which a stream goes on from can be read."""
    if state.last_offset is None:
        return
    going_on_from = {state.last_offset}
    if state.last_offset != state.last_commit:  # it is done again, from where the batch before it ended
        going_on_from |= {state.last_offset - 1} & set(batch_numbers(lake, table, "offsets"))
    for batch in going_on_from:
        with readable(lake, table, f"offsets/{batch}"):
            _, metadata, first, *more = _lines(lake, table, f"offsets/{batch}")
            for line in (metadata or "{}", first, *more):
                if line != "-":  # Spark's word for a source without a place yet
                    json.loads(line)


def verify(lake: Lake, table: str) -> LakeTable | None:
    """Compares what the checkpoint says with what the table says, before a stream writes: see ``verified``.

    Returns:
        The table at its newest version; None when it does not exist yet.

    Raises:
        CheckpointMismatch: naming which of the two is older, and the command that mends it.
    """
    return verified(lake, table)[1]


def verified(lake: Lake, table: str) -> tuple[CheckpointState | None, LakeTable | None]:
    """Where a stream stands, and the table at its newest version, when the two agree.

    Delta keeps the last batch of each checkpoint, by the checkpoint's id, in the table's log. A table that was ahead
    would silently skip new batches, a table that is behind has lost rows, and a new checkpoint would load all again.

    Raises:
        CheckpointMismatch: they do not.
    """
    state, delta = read_checkpoint(lake, table), lake.delta(table)
    if state is None or state.query_id is None:
        if delta is not None and _streamed(lake, table):
            raise _mismatch(lake, table, "the checkpoint is gone, but the table holds rows of a stream")
        return state, delta
    _require_readable(lake, table, state)
    if delta is None:
        _require_made(lake, table, state)
        if state.last_commit is not None and not _begins_anew(lake, table, state.last_commit):
            raise _mismatch(lake, table, f"the table is gone, but its checkpoint stands at batch {state.last_commit}")
        return state, None
    require_not_taken_back(delta, state.query_id, table, lake.settings.checkpoint_uri(table))
    written = delta.transaction_version(state.query_id)
    if written is None:
        _require_made(lake, table, state)
        if state.last_offset is None and _streamed(lake, table):
            raise _mismatch(lake, table, "the checkpoint plans no batch, but the table holds rows of a stream")
    if written is not None and (state.last_offset is None or written > state.last_offset):
        planned = "none" if state.last_offset is None else state.last_offset
        text = f"the table holds batch {written}, but the newest planned in the checkpoint is {planned}"
        raise _mismatch(lake, table, f"{text}: the checkpoint is an older copy")
    finished = state.last_commit
    if finished is not None and (written is None or written < finished) and not _is_made(lake, table, finished):
        has = "no batch" if written is None else f"batches up to {written}"
        text = f"the checkpoint has finished batch {state.last_commit}, but the table holds {has} of it"
        raise _mismatch(lake, table, f"{text}: the table was replaced or restored, or the checkpoint is another's")
    return state, delta


def require_not_taken_back(opened: DeltaTable, query_id: str, table: str, where: str) -> None:
    """Makes sure that the table has the rows of the last batch that Delta counts: RESTORE takes rows, and not counts.

    Args:
        opened: The table.
        query_id: The checkpoint's own id.
        table: Its name, for the message.
        where: The same.

    Raises:
        CheckpointMismatch: it has not. A stream that went on would pass over what is gone.
    """
    written, held = opened.transaction_version(query_id), last_batch(opened, query_id)
    if held != written:
        has = "no batch" if held is None else f"batches up to {held}"
        raise _apart(table, where, f"RESTORE took the table back: Delta counts batch {written}, it has {has}")


def clear_interrupted_start(lake: Lake, table: str) -> int:
    """Removes what a first start left that was killed while it wrote its first offset; returns how many objects.

    Spark writes an offset under a temporary name and renames it, and refuses a checkpoint that has such an object and
    no batch (``STATE_STORE_CHECKPOINT_LOCATION_NOT_EMPTY``), for ever. Nothing was planned yet, so nothing is lost.
    """
    bucket, prefix = lake.settings.bucket, object_key(lake, table, "offsets/")
    names = [info.key.removeprefix(prefix) for info in lake.store.list(bucket, prefix)]
    if any(name.isdigit() for name in names):
        return 0
    left = [name for name in names if name.startswith(".")]
    for name in left:
        lake.store.delete(bucket, prefix + name)
    return len(left)


REPAIRED, FORKED = "repaired.json", "forked.json"
"""Mark a checkpoint that was written by a repair or a restore, or for a new table: its first batch was never a batch of
Delta's under its id."""


def _require_made(lake: Lake, table: str, state: CheckpointState) -> None:
    """Makes sure that a checkpoint has the batch with which it was written, where no stream made it."""
    if None in (state.last_offset, state.last_commit) and any(_mark(lake, table, mark) for mark in (REPAIRED, FORKED)):
        raise _mismatch(lake, table, "the checkpoint has lost the batch that a repair, a restore or a fork wrote")


def _is_made(lake: Lake, table: str, batch: int) -> bool:
    """Whether no stream made the checkpoint, with ``batch`` as its first."""
    return any(_is_marked(lake, table, mark, batch) for mark in (REPAIRED, FORKED))


def _is_marked(lake: Lake, table: str, mark: str, batch: int) -> bool:
    return _mark(lake, table, mark).get("batch") == batch


def _mark(lake: Lake, table: str, mark: str) -> dict[str, Any]:
    try:
        text = lake.store.read(lake.settings.bucket, object_key(lake, table, mark))
    except ObjectMissing:
        return {}
    with readable(lake, table, mark):
        return dict(json.loads(text))


def forked_at(lake: Lake, table: str) -> dict[str, Any] | None:
    """The offset where a table that has no rows yet was to begin; None for a table that begins with the first file."""
    return _mark(lake, table, FORKED).get("offset") if lake.version(table) is None else None


def _begins_anew(lake: Lake, table: str, batch: int) -> bool:
    """Whether the checkpoint is there before its table: of a new table, or of a table that was lost and loads again."""
    if _is_marked(lake, table, FORKED, batch):
        return True
    return _is_marked(lake, table, REPAIRED, batch) and (newest_offset(lake, table) or {}).get("seq") == 0


def _streamed(lake: Lake, table: str) -> bool:
    """Whether the table holds rows of a stream: since it was emptied, if it ever was."""
    opened = lake.delta(table)
    for entry in content(opened) if opened is not None else ():
        if EMPTIED in metadata_of(entry):
            return False
        if batch_of(entry)[0] is not None:
            return True
    return False


def _mismatch(lake: Lake, table: str, what: str) -> CheckpointMismatch:
    return _apart(table, lake.settings.checkpoint_uri(table), what)


def _apart(table: str, where: str, what: str) -> CheckpointMismatch:
    return CheckpointMismatch(
        f"{table} and its checkpoint do not belong together: {what}",
        where=where,
        state="nothing was written",
        next_command=f"lakehouse checkpoint repair {table}   (says what it would do; --yes does it)",
    )


def source_files(lake: Lake, table: str) -> dict[int, list[str]]:
    """Keys of the landing files that Spark's file source read, by number in its log.

    Every tenth entry repeats all before it, so the answer is complete from the newest such entry on.
    """
    entries: dict[int, list[str]] = {}
    prefix = object_key(lake, table, "sources/0/")
    names = [info.key.removeprefix(prefix) for info in lake.store.list(lake.settings.bucket, prefix)]
    compacted = [int(name.removesuffix(".compact")) for name in names if name.endswith(".compact")]
    newest = max(compacted, default=-1)
    wanted = [name for name in names if name == f"{newest}.compact" or (name.isdigit() and int(name) > newest)]
    for name in wanted:
        text = lake.store.read(lake.settings.bucket, prefix + name).decode()
        for line in text.splitlines()[1:]:
            entry = json.loads(line)
            path = unquote(urlsplit(entry["path"]).path).lstrip("/")
            entries.setdefault(entry["batchId"], []).append(path)
    return entries


def object_key(lake: Lake, table: str, name: str) -> str:
    """The key of an object in the table's checkpoint."""
    return f"{lake.settings.user}/_checkpoints/{table}/{name}"


def batch_numbers(lake: Lake, table: str, folder: str) -> list[int]:
    """The batches that a checkpoint has in ``offsets`` or ``commits``, in order."""

    def found() -> Iterator[int]:
        for info in lake.store.list(lake.settings.bucket, object_key(lake, table, folder + "/")):
            name = info.key.rsplit("/", 1)[1]
            if name.isdigit():
                yield int(name)

    return sorted(found())


@dataclass(frozen=True)
class PlannedBatch:
    """What a checkpoint says of a batch before it reads.

    Attributes:
        query_id: The checkpoint's own id.
        watermark_milliseconds: Watermark that closes windows in this batch, since 1970; rows are held against that of
            the batch before.
        offset: Where its source stands after it.
    """

    query_id: str
    watermark_milliseconds: int
    offset: dict[str, Any]


def planned(lake: Lake, table: str, batch: int) -> PlannedBatch:
    """A batch of a checkpoint with one source.

    Raises:
        ObjectMissing: there is none of that number, or Spark has removed it (it keeps a hundred).
    """
    _, metadata, offset = _lines(lake, table, f"offsets/{batch}")
    query_id = json.loads(lake.store.read(lake.settings.bucket, object_key(lake, table, "metadata")))["id"]
    return PlannedBatch(query_id, json.loads(metadata)["batchWatermarkMs"], json.loads(offset))


def last_finished(lake: Lake, table: str) -> PlannedBatch | None:
    """The newest finished batch; None before the first."""
    numbers = batch_numbers(lake, table, "commits")
    return planned(lake, table, numbers[-1]) if numbers else None


def _lines(lake: Lake, table: str, name: str) -> list[str]:
    return lake.store.read(lake.settings.bucket, object_key(lake, table, name)).decode().splitlines()


def newest_offset(lake: Lake, table: str, *, back: int = 0) -> dict[str, Any] | None:
    """The offset of the newest planned batch, or of the batch so many before it; None before the first."""
    numbers = batch_numbers(lake, table, "offsets")
    if len(numbers) <= back:
        return None
    lines = _lines(lake, table, f"offsets/{numbers[-1 - back]}")
    offset = json.loads(lines[2]) if len(lines) > 2 else None
    return offset if isinstance(offset, dict) else None
