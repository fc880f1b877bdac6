"""Whether a checkpoint belongs to its table, by the checks that a run itself makes before it writes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.checkpoints import position
from lakehouse.checkpoints.kept import kept_removals
from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient
from lakehouse.doctor.watching import WouldWrite

ABOUT, OF, ORDER = "checkpoint and table belong together", "table", 10
_REPAIR = "lakehouse checkpoint repair {table} --yes && lakehouse ingest {table}"
_INGEST = "lakehouse ingest {table}"

LOST = Sign(
    "checkpoint_lost",
    Verdict.FAIL,
    "the table has rows, its checkpoint is gone; a run is refused",
    "a new checkpoint would begin at the beginning, and load everything again",
    _REPAIR,
)
FOREIGN = Sign(
    "checkpoint_foreign",
    Verdict.FAIL,
    "the table has no batch of this checkpoint; a run is refused",
    "the checkpoint is another table's, or the table was replaced",
    _REPAIR,
)
OLDER = Sign(
    "checkpoint_older",
    Verdict.FAIL,
    "the table is ahead of its checkpoint; a run is refused",
    "the checkpoint is an older copy: batches that it plans anew would be taken for those that the table has",
    _REPAIR,
)
AHEAD = Sign(
    "checkpoint_ahead",
    Verdict.FAIL,
    "the checkpoint is ahead of its table; a run is refused",
    "the table was taken back: rows of batches that count as finished are not in it",
    _REPAIR,
)
TABLE_GONE = Sign(
    "table_missing",
    Verdict.FAIL,
    "the checkpoint is there, its table is not; a run is refused",
    "the stream would go on behind rows that nobody has any more",
    _REPAIR,
)
UNREADABLE = Sign(
    "checkpoint_unreadable",
    Verdict.FAIL,
    "an object of the checkpoint is empty, cut off or damaged; a run is refused",
    "where the stream stands is not known",
    _REPAIR,
)
BEGUN = Sign(
    "batch_begun",
    Verdict.WARN,
    "a batch was planned and not finished, and nobody works on it",
    "a run ended in the midst of it; nothing is lost: the next run does the same batch again",
    _INGEST,
)
HALF_WRITTEN = Sign(
    "checkpoint_half_written",
    Verdict.WARN,
    "the first start of a stream was killed while it wrote its first offset",
    "nothing was planned yet; the next run removes what is left of it",
    _INGEST,
)
SIGNS = (LOST, FOREIGN, OLDER, AHEAD, TABLE_GONE, UNREADABLE, BEGUN, HALF_WRITTEN)


def examine(patient: Patient) -> Iterator[Seen]:
    """Makes a run's own checks on a store that refuses writes: what a run would write is what it would repair."""
    if not patient.streams or not (patient.checkpoint or patient.opened):
        return
    lake, table, state = patient.lake, patient.name, patient.state
    where = lake.settings.checkpoint_uri(table)
    evidence = _evidence(patient)
    try:
        with _silent():
            position.settle(lake, table)
            if patient.table.flow.reads:
                kept_removals(lake, table)
    except checkpoints.CheckpointMismatch as error:
        sign = _sign_of(patient, error)
        yield Seen(sign, error.what, error.where or where, evidence)
        return
    except WouldWrite:
        seen = Seen(None, "", where, evidence)
        try:
            checkpoints.verify(lake, table)
            seen = replace(seen, sign=FOREIGN, what=f"the checkpoint is not that of {table}: it has finished no batch")
        except checkpoints.CheckpointMismatch as error:
            seen = replace(seen, sign=_sign_of(patient, error), what=error.what)
        why = "the table says itself where its stream stands: the next run writes the checkpoint anew from that"
        yield replace(seen, verdict=Verdict.WARN, command=_INGEST.format(table=table), why=why)
        return
    if state is not None and state.last_offset is not None and state.last_offset != state.last_commit:
        if not patient.is_written_now:
            yield Seen(BEGUN, f"batch {state.last_offset} was planned and is not finished", where, evidence)
            return
        yield Seen(None, f"batch {state.last_offset} is being loaded now", where, evidence)
        return
    if not patient.times("offsets") and any("/offsets/." in info.key for info in patient.checkpoint):
        yield Seen(HALF_WRITTEN, "the checkpoint has the beginning of a first offset, and no batch", where, evidence)
        return
    yield Seen(None, "checkpoint and table agree", where, evidence)


def _evidence(patient: Patient) -> dict[str, int | None]:
    state, opened = patient.state, patient.opened
    batch = opened.transaction_version(state.query_id) if opened and state and state.query_id else None
    return {
        "planned_batch": state.last_offset if state else None,
        "finished_batch": state.last_commit if state else None,
        "batch_in_table": batch,
        "table_version": opened.version() if opened else None,
        "objects": len(patient.checkpoint),
    }


def _sign_of(patient: Patient, error: checkpoints.CheckpointMismatch) -> Sign:
    """Which of the two is older: by the same numbers that the refusal names."""
    state, opened = patient.state, patient.opened
    if isinstance(error, checkpoints.CheckpointUnreadable):
        return UNREADABLE
    if opened is None:
        return TABLE_GONE
    if state is None or state.query_id is None:
        return LOST
    written = opened.transaction_version(state.query_id)
    if written is None:
        return FOREIGN
    return OLDER if state.last_offset is None or written > state.last_offset else AHEAD


_here = threading.local()


@contextmanager
def _silent() -> Iterator[None]:
    """Without what a run would say of its mending: nothing is mended here. Other threads may say it."""
    position._log.addFilter(_may_speak)  # twice is once
    _here.looks = True
    try:
        yield
    finally:
        _here.looks = False


def _may_speak(record: logging.LogRecord) -> bool:
    return not getattr(_here, "looks", False)
