"""Whether a computed table follows its source: commits that it has not read, if they can be read, and their age."""

from __future__ import annotations

from collections.abc import Iterator

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints.delta_offsets import Place, files_between
from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient, in_seconds, some
from lakehouse.doctor.probes.data import missing_files
from lakehouse.errors import TerminalError
from lakehouse.storage.delta_paths import commit_uri

ABOUT, OF, ORDER = "a computed table follows its source", "table", 45

BEHIND = Sign(
    "source_is_ahead",
    Verdict.WARN,
    "silver or gold lacks rows that bronze has",
    "commits of its source wait for longer than the table's freshness (without one: an hour): its runs fail or were "
    "left out, or nothing runs",
    "lakehouse ingest {table}",
)
UNREAD_GONE = Sign(
    "unread_rows_gone",
    Verdict.FAIL,
    "runs of a computed table end with DataFileMissing, or say that a commit is not in its source's log any more",
    "a VACUUM with a short retention, or the retention of the log, removed what the table's stream had not read: it "
    "cannot go on where it stands, and is computed again from what its source has now",
    "lakehouse checkpoint restart {table} --yes && lakehouse ingest {table}",
)
SIGNS = (UNREAD_GONE, BEHIND)


def examine(patient: Patient) -> Iterator[Seen]:
    """Compares the place in the checkpoint with the newest version of the first source; of a named table its files."""
    offset, sources = patient.finished, patient.table.flow.reads
    if offset is None or "reservoirVersion" not in offset or not sources:
        return
    opened, place = patient.lake.delta(sources[0]), Place.of(offset)
    if opened is None:
        return
    uri, behind = patient.settings.table_uri(sources[0]), opened.version() - place.last_commit
    evidence: dict[str, object] = {"source_version": opened.version(), "read_version": place.last_commit}
    if behind <= 0:
        yield Seen(None, f"it has read all of {sources[0]}", uri, evidence)
        return
    bucket, key = split_uri(commit_uri(uri, place.last_commit + 1))
    oldest = patient.store.info(bucket, key)
    evidence |= {
        "commits_waiting": behind,
        "oldest_seconds": in_seconds(patient.age(oldest.last_modified)) if oldest else None,
    }
    gone = f"commit {place.last_commit + 1:,} of {sources[0]} is not in its log any more" if oldest is None else ""
    if gone := gone or _files_gone(patient, sources[0], place, opened.version()):
        yield Seen(UNREAD_GONE, gone, uri, evidence)
        return
    late = oldest is not None and patient.age(oldest.last_modified) > patient.patience
    sign = BEHIND if late and not patient.is_on_demand and not patient.is_written_now else None
    yield Seen(sign, f"{behind:,} commits of {sources[0]} are not read", uri, evidence)


def _files_gone(patient: Patient, source: str, place: Place, newest: int) -> str:
    """Which of the data files that are not read yet are gone, in words; a run that goes on reads them meanwhile."""
    if not patient.ward.named or patient.is_written_now:
        return ""
    uri = patient.settings.table_uri(source)
    try:
        unread = files_between(patient.lake, source, place, Place(newest + 1, -1, snapshot=False))
    except TerminalError as error:
        return error.what
    gone = missing_files(patient.ward, uri, {path.removeprefix(f"{uri}/") for path in unread})
    return f"{len(gone):,} of {len(unread):,} data files that are not read yet are gone: {some(gone)}" if gone else ""
