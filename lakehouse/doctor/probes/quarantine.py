"""Files that could not be read, and were left out of the table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.autoloader.outcomes.file_states import file_states
from lakehouse.autoloader.outcomes.receipts import State
from lakehouse.checks.cures import replay
from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient, some
from lakehouse.errors import LakehouseError
from lakehouse.storage import ObjectMissing

ABOUT, OF, ORDER = "files are not in quarantine", "table", 50
_BATCHES = 3

QUARANTINED = Sign(
    "files_quarantined",
    Verdict.WARN,
    "files are in the landing folder and none of their rows is in the table",
    "they could not be read; the others were loaded. Correct each under its name at its sender, then load it again",
    "lakehouse replay --files NAME --table {table} --yes && lakehouse ingest",
)
SIGNS = (QUARANTINED,)


def examine(patient: Patient) -> Iterator[Seen]:
    """Reads all receipts of a named table; else only those of the last batches, unless a file is in quarantine there.

    So looking at all tables costs the same however long they have been loading.
    """
    if patient.files is None or patient.files.source != "cloudFiles" or not patient.finished:
        return
    if not patient.ward.named and not _lately(patient):
        yield Seen(None, "no file of the last batches is in quarantine", evidence={"batches": _BATCHES})
        return
    location = patient.settings.checkpoint_uri(patient.name)
    try:
        states = list(file_states(patient.store, location))
    except (LakehouseError, ValueError, LookupError):
        return  # other probes report what cannot be read
    bad = [file for file in states if file.ingestion_state == State.QUARANTINED]
    if not bad:
        yield Seen(None, "no file is in quarantine", evidence={"files": len(states)})
        return
    reasons = Counter((file.error or "").split(":")[0] for file in bad)
    evidence = {"files": len(states), "quarantined_files": len(bad), "reasons": dict(reasons)}
    names = [file.path.rsplit("/", 1)[-1] for file in bad]
    cure = replay(patient.table, [file.path for file in bad])
    yield Seen(QUARANTINED, f"{len(bad):,} files in quarantine: {some(names)}", bad[-1].path, evidence, command=cure)


def _lately(patient: Patient) -> bool:
    """Whether receipts of the last batches have a file that was left out."""
    assert patient.finished is not None
    bucket, prefix = split_uri(str(patient.finished["journal"]))
    folder = f"{prefix.rstrip('/')}/receipts/{patient.finished['stream']}/"
    first = max(int(patient.finished["seq"]) - _FILES, 0)
    # past what is remembered: a listing of all receipts would grow with the table
    listed = patient.ward.unwatched.list(bucket, folder, start_after=f"{folder}{first:020d}")
    batches = [list(objects) for _, objects in groupby(listed, key=lambda entry: entry.key.removeprefix(folder)[:20])]
    for info in (receipt for batch in batches[-_BATCHES:] for receipt in batch):
        try:
            lines = patient.store.read(bucket, info.key).splitlines()
        except ObjectMissing:
            continue
        if any(json.loads(line)["state"] == State.QUARANTINED for line in lines if line):
            return True
    return False


_FILES = 3_000
