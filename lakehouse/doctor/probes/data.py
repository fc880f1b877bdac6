"""Whether the data files of the newest version exist; looked at only for tables that the user named."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient, Ward, some
from lakehouse.lake import paths_of

ABOUT, OF, ORDER = "the table's data files are there", "table", 15
_MOST = 100_000

MISSING = Sign(
    "data_missing",
    Verdict.FAIL,
    "whoever reads rows of the table ends with an error: a file is not there",
    "somebody removed data files that the newest version names: a VACUUM with a short retention, a lifecycle rule, or "
    "a hand. Where a copy of the bucket has them, bring them back instead; else all files are loaded again",
    "lakehouse checkpoint reset {table} --rows empty --yes && lakehouse ingest {table}",
)
SIGNS = (MISSING,)


def examine(patient: Patient) -> Iterator[Seen]:
    """Holds the names in the log against a listing of the folder; of a very large folder nothing is said."""
    if not patient.ward.named or patient.opened is None:
        return
    uri, named = patient.settings.table_uri(patient.name), set(paths_of(patient.opened))
    gone, where = missing_files(patient.ward, uri, named), f"{uri}/"
    if gone is None:
        return
    evidence = {"files": len(named), "missing_files": len(gone)}
    if not gone:
        yield Seen(None, f"all {len(named):,} data files are there", where, evidence)
        return
    computed = f"lakehouse checkpoint restart {patient.name} --yes && lakehouse ingest {patient.name}"
    cure = "" if patient.files else computed
    what = f"{len(gone):,} of {len(named):,} data files are gone: {some(gone)}"
    yield Seen(MISSING, what, where, evidence, command=cure)


def missing_files(ward: Ward, table_uri: str, names: Collection[str]) -> list[str] | None:
    """Those of a table's data files that are not in its folder; None where that has too many to be listed."""
    bucket, folder = split_uri(f"{table_uri}/")
    # past what is remembered, and after the log was read: what it names is there by now
    listed = [info.key.removeprefix(folder) for info in islice(ward.unwatched.list(bucket, folder), _MOST)]
    return None if len(listed) == _MOST else sorted(set(names).difference(listed))
