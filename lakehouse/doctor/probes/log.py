"""Whether a table's Delta log can be read; where it cannot, which of its objects is damaged or gone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient
from lakehouse.lake import TableUnreadable
from lakehouse.storage import ObjectInfo, ObjectMissing

ABOUT, OF, ORDER = "the table's log can be read", "table", 5
_DELETE = (
    'python -c "from lakehouse.lake import Lake; one = Lake.open(); '
    '[one.store.delete({bucket}, key) for key in {keys}]"'
)
_READ, _THREADS = 2_000, 8

DAMAGED = Sign(
    "log_damaged",
    Verdict.FAIL,
    "every command that opens the table ends with TableUnreadable",
    "an object of its Delta log is cut off, damaged or gone: which data files are the table's is not known. They are "
    "untouched",
    "bring the object back from a copy of the bucket; then: lakehouse doctor {table}",
)
SIGNS = (DAMAGED,)


def examine(patient: Patient) -> Iterator[Seen]:
    """Opens the table; only where that fails the objects of the log are looked through."""
    uri = f"{patient.settings.table_uri(patient.name)}/_delta_log/"
    try:
        if patient.opened is not None:
            yield Seen(None, f"version {patient.opened.version():,} is read", uri)
        return
    except TableUnreadable as error:
        reason = error.what
    bucket, folder = split_uri(uri)
    listed = list(patient.store.list(bucket, folder))
    commits = {_version(info): info for info in listed if info.key.endswith(".json") and _version(info) is not None}
    versions = sorted(version for version in commits if version is not None)[-_READ:]
    with ThreadPoolExecutor(_THREADS) as pool:
        broken = dict(
            zip(versions, pool.map(lambda number: _is_broken(patient, bucket, commits[number]), versions), strict=True)
        )
    evidence = {"objects": len(listed), "commits": len(commits), "newest_version": versions[-1] if versions else None}
    bad = [version for version in versions if broken[version]]
    gaps = [number for number in range(versions[0], versions[-1]) if number not in commits] if versions else []
    summaries = [info.key for info in listed if ".checkpoint" in info.key or info.key.endswith("/_last_checkpoint")]
    if bad and not gaps and bad == versions[-1:] and len(versions) > 1:
        key = commits[bad[0]].key
        yield Seen(
            DAMAGED,
            f"the newest commit, version {bad[0]:,}, is damaged: {reason}",
            f"s3a://{bucket}/{key}",
            evidence,
            command=_without(patient, bucket, [key]),
            why=f"the versions up to {bad[0] - 1:,} are whole: without that commit the files which it brought are "
            "loaded again. Where a copy of the bucket has the object, bring that back instead",
        )
    elif bad or gaps:
        which = bad[0] if bad else gaps[0]
        where = f"s3a://{bucket}/{folder}{which:020d}.json"
        yield Seen(DAMAGED, f"commit {which:,} is {'damaged' if bad else 'gone'}: {reason}", where, evidence)
    elif summaries and versions and versions[0] == 0:
        why = "every commit is whole: what sums them up can go, and is written anew some day"
        command = f"{_deleting(bucket, summaries)} && lakehouse doctor {patient.name}"
        what = f"what sums the log up is damaged: {reason}"
        yield Seen(DAMAGED, what, f"s3a://{bucket}/{summaries[-1]}", evidence, command=command, why=why)
    else:
        yield Seen(DAMAGED, reason, uri, evidence)


def _version(info: ObjectInfo) -> int | None:
    name = info.key.rsplit("/", 1)[-1].removesuffix(".json")
    return int(name) if len(name) == 20 and name.isdigit() else None


def _is_broken(patient: Patient, bucket: str, info: ObjectInfo) -> bool:
    try:
        lines = patient.store.read(bucket, info.key).splitlines()
        return not all(isinstance(json.loads(line), dict) for line in lines if line.strip())
    except (ValueError, ObjectMissing):
        return True


def _without(patient: Patient, bucket: str, keys: Sequence[str]) -> str:
    """The commands that remove the newest commit and load its rows again; readers may have read it."""
    table, readers = patient.name, [reader.name for reader in patient.ward.catalogue.readers(patient.name)]
    steps = [_deleting(bucket, keys)]
    if patient.checkpoint:
        steps += [f"lakehouse checkpoint repair {table} --yes", f"lakehouse ingest {table}"]
    steps += [
        step for name in readers for step in (f"lakehouse checkpoint restart {name} --yes", f"lakehouse ingest {name}")
    ]
    return " && ".join(steps)


def _deleting(bucket: str, keys: Sequence[str]) -> str:
    return _DELETE.format(bucket=f"'{bucket}'", keys=[*keys])
