"""Files that wait, whether they grow more, and what bounds a stream that does not keep up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, pairwise

from lakehouse.autoloader.files.backlog import Backlog, FileFilter
from lakehouse.autoloader.files.journal import Journal
from lakehouse.autoloader.files.segments import FileVersion
from lakehouse.autoloader.options.parse import CloudFilesOptions
from lakehouse.autoloader.options.paths import SourcePath
from lakehouse.checkpoints import agreement as checkpoints
from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient, in_seconds
from lakehouse.errors import LakehouseError
from lakehouse.storage import ObjectInfo

ABOUT, OF, ORDER = "files do not wait", "table", 40
_LISTED, _COUNTED, _BATCHES, _GROWTH = 5_000, 20_000, 6, 3

WAITING = Sign(
    "files_wait",
    Verdict.WARN,
    "files are in the landing folder, and not in the table",
    "no run has come by for longer than the table's freshness (without one: an hour)",
    "lakehouse ingest {table}",
)
GROWING = Sign(
    "backlog_grows",
    Verdict.WARN,
    "after each of the last batches more files waited than before",
    "files come faster than they are loaded; bound says whether finding or loading them takes the time: raise "
    "cloudFiles.maxFilesPerTrigger where finding does, give the engine more cores where loading does",
    "lakehouse ingest {table}",
)
STUCK = Sign(
    "no_progress",
    Verdict.FAIL,
    "files wait, and the table has had no commit for longer than it promises",
    "runs fail, or nothing runs: the sensor, the schedule or the service is down",
    "lakehouse ingest {table}",
)
STALE = Sign(
    "nothing_arrives",
    Verdict.WARN,
    "no file waits, and the newest commit is older than the table's freshness",
    "its sender has sent nothing that the table takes",
    "lakehouse files --table {table}",
)
SIGNS = (STUCK, WAITING, GROWING, STALE)


def examine(patient: Patient) -> Iterator[Seen]:
    """Counts what the journal has behind the checkpoint, and what lies in the folder and is not in the journal."""
    flow = patient.files
    if flow is None or flow.source != "cloudFiles":
        return
    options = flow.cloud_files(patient.settings, patient.name)
    journal, place = _journal(patient, options.journal_location or "")
    if journal is None:
        return  # the journal's own probe says why
    path = SourcePath.parse(flow.path, strict=options.use_strict_globber)
    stream = str((patient.offset or {}).get("stream", ""))
    upto = min(journal.high_water, place + _COUNTED)
    known = [*Backlog(journal, path, options, stream=stream).files(place, upto)]
    fresh, all_seen = _unseen(patient, journal, path, options)
    all_seen = all_seen and upto == journal.high_water
    files: list[FileVersion | ObjectInfo] = [*known, *fresh]
    waiting, oldest = len(files), min((file.last_modified for file in files), default=None)
    evidence: dict[str, object] = {
        "files_waiting": waiting if all_seen else f"{waiting}+",
        "bytes_waiting": sum(file.size_bytes for file in files),
        "oldest_seconds": in_seconds(patient.age(oldest)) if oldest else None,
        **_bound(batches := _batches(patient, journal) if known or patient.ward.named else []),
    }
    last = patient.last_commit_at
    evidence["last_commit_seconds"] = in_seconds(patient.age(last)) if last else None
    where, limit = flow.path, patient.patience
    grown = [batch.waiting for batch in batches][-_GROWTH:]
    if oldest and patient.age(oldest) > limit and not patient.is_on_demand:
        stuck = last is not None and patient.age(last) > limit and not patient.is_written_now
        sign, since = (STUCK, last) if stuck and last else (WAITING, oldest)
        what = f"{waiting:,} files wait, the oldest for {_spoken(patient, oldest)}"
        more = f"; the last commit is {_spoken(patient, since)} old" if stuck else ""
        yield Seen(sign, what + more, where, evidence)
    elif len(grown) == _GROWTH and all(after > before for before, after in pairwise(grown)):
        counts = ", ".join(f"{count:,}" for count in grown)
        yield Seen(GROWING, f"files that waited after each batch: {counts}", where, evidence)
    elif not waiting and last and patient.table.freshness and patient.age(last) > limit:
        yield Seen(STALE, f"nothing came for {_spoken(patient, last)}", where, evidence)
    else:
        yield Seen(None, f"{waiting:,} files wait", where, evidence)


def _journal(patient: Patient, uri: str) -> tuple[Journal | None, int]:
    """The journal, and up to which number the table has its files."""
    place = patient.finished or {}
    try:
        journal = patient.ward.journal(str(place.get("journal") or f"{uri.rstrip('/')}/"))
    except LakehouseError:
        return None, 0
    return journal, int(place.get("seq", 0))


def _unseen(
    patient: Patient, journal: Journal, path: SourcePath, options: CloudFilesOptions
) -> tuple[list[ObjectInfo], bool]:
    """Objects in the folder that the journal lacks, and whether all were looked at; of many the first and the last."""
    flow = patient.files
    assert flow is not None
    page = [*islice(patient.store.list(path.bucket, path.root), _LISTED)]
    whole = len(page) < _LISTED
    if not whole and journal.max_key > page[-1].key:
        page += islice(patient.store.list(path.bucket, path.root, start_after=journal.max_key), _LISTED)
    takes = FileFilter(path, options).takes
    found = journal.unseen([info for info in page if flow.is_input(info) and takes(info)])
    return [info for info, first in found if first or options.allow_overwrites], whole


@dataclass(frozen=True)
class _Batch:
    """When a batch was planned and finished, and how many files that had been found waited then."""

    planned: datetime
    done: datetime
    waiting: int


def _batches(patient: Patient, journal: Journal) -> list[_Batch]:
    """The last batches of the checkpoint; none where they cannot be read."""
    planned, done = patient.times("offsets"), patient.times("commits")
    last = sorted(batch for batch in done if batch in planned)[-_BATCHES:]
    try:
        ends = [int(checkpoints.planned(patient.lake, patient.name, batch_id).offset["seq"]) for batch_id in last]
    except (LakehouseError, ValueError, LookupError):
        return []
    found = [(file.seq, file.discovered) for file in journal.files(min(ends, default=0), journal.high_water)]
    waiting = [
        sum(seq > end and at <= done[batch_id] for seq, at in found) for batch_id, end in zip(last, ends, strict=True)
    ]
    return [_Batch(planned[batch_id], done[batch_id], left) for batch_id, left in zip(last, waiting, strict=True)]


def _bound(batches: Sequence[_Batch]) -> dict[str, object]:
    """What the batches spent: on the way to the next plan while files waited, and from there to their end."""
    loading = sum((batch.done - batch.planned).total_seconds() for batch in batches)
    pairs = [(before, after) for before, after in pairwise(batches) if before.waiting]
    finding = sum((after.planned - before.done).total_seconds() for before, after in pairs)
    if not batches:
        return {}
    spent = {"batches": len(batches), "loading_seconds": round(loading, 1), "finding_seconds": round(finding, 1)}
    return {**spent, **({"bound": "finding" if finding > loading else "loading"} if pairs else {})}


def _spoken(patient: Patient, since: datetime) -> str:
    seconds = in_seconds(patient.age(since))
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:,} {unit}"
    return f"{seconds:,} seconds"
