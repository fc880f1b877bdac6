"""Whether a computed table follows its source: commits that it has not read, and how old the oldest of them is."""

from __future__ import annotations

from collections.abc import Iterator

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checkpoints.delta_offsets import Place
from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient, in_seconds
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
SIGNS = (BEHIND,)


def examine(patient: Patient) -> Iterator[Seen]:
    """Compares the place in the checkpoint with the newest version of the first source."""
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
    late = oldest is None or patient.age(oldest.last_modified) > patient.patience
    sign = BEHIND if late and not patient.is_on_demand and not patient.is_written_now else None
    yield Seen(sign, f"{behind:,} commits of {sources[0]} are not read", uri, evidence)
