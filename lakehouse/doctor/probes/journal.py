"""Whether the journal of files is whole, and has the place at which the checkpoint stands."""

from __future__ import annotations

from collections.abc import Iterator

from lakehouse.autoloader.files.journal import JournalMismatch, Position
from lakehouse.autoloader.files.journal_reader import JournalUnsettled
from lakehouse.autoloader.files.segments import SegmentUnreadable
from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient

ABOUT, OF, ORDER = "the journal of files is whole", "table", 20
_REPAIR = "lakehouse checkpoint repair {table} --yes && lakehouse ingest {table}"

LOST = Sign(
    "journal_lost",
    Verdict.FAIL,
    "the checkpoint names files of a journal that is empty",
    "without it every file would get another number and be loaded again",
    _REPAIR,
)
BEHIND = Sign(
    "journal_behind",
    Verdict.FAIL,
    "the checkpoint stands behind the last file of its journal",
    "the journal is an older copy: new files would get numbers that others have had, and be passed over",
    _REPAIR,
)
FOREIGN = Sign(
    "journal_foreign",
    Verdict.FAIL,
    "the number at which the checkpoint stands was given by another write of the journal",
    "the journal was restored and went on differently, or is another stream's",
    _REPAIR,
)
DAMAGED = Sign(
    "journal_damaged",
    Verdict.FAIL,
    "a segment of the journal is empty, cut off or damaged",
    "which files were found is not known whole; no run can begin",
    _REPAIR,
)
GAP = Sign(
    "journal_gap",
    Verdict.FAIL,
    "a segment of the journal is missing between two others",
    "files that it numbered are unknown, and no run can begin",
    _REPAIR,
)
SIGNS = (LOST, BEHIND, FOREIGN, DAMAGED, GAP)


def examine(patient: Patient) -> Iterator[Seen]:
    """Opens the journal and looks for the checkpoint's place in it, as a run does."""
    offset = patient.offset
    if offset is None or "seq" not in offset or not offset.get("journal"):
        return
    uri, seq = str(offset["journal"]), int(offset["seq"])
    try:
        journal = patient.ward.journal(uri)
        evidence = {"checkpoint_file": seq, "journal_files": journal.high_water}
        journal.verify(Position(seq, offset.get("segment", "")))
    except SegmentUnreadable as error:
        yield Seen(DAMAGED, error.what, f"{uri}segments/{error.where}", {"checkpoint_file": seq})
    except JournalUnsettled:
        yield Seen(GAP, "segments of the journal do not join", uri, {"checkpoint_file": seq})
    except JournalMismatch as error:
        sign = LOST if not journal.high_water else BEHIND if seq > journal.high_water else FOREIGN
        yield Seen(sign, error.what, uri, evidence)
    else:
        yield Seen(None, "the journal has the checkpoint's place", uri, evidence)
