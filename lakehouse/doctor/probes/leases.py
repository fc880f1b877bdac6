"""Who writes a table: a living process, a silent one, a dead one, or two."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient, in_seconds
from lakehouse.storage import ObjectMissing
from lakehouse.storage.lease_holder import Holder

ABOUT, OF, ORDER = "one living writer at most", "table", 30
_COMMITS = 10

DEAD = Sign(
    "writer_dead",
    Verdict.WARN,
    "a run or a service was killed: its process is gone, its lease was not given back",
    "nothing loads the table now; the next run takes the lease over at once",
    "lakehouse ingest {table}",
)
SILENT = Sign(
    "writer_silent",
    Verdict.WARN,
    "a writer on another machine has not renewed its lease",
    "it is dead, hangs, or cannot reach the store; the next run watches it for as long as its lease may last, and then "
    "takes over",
    "lakehouse ingest {table}",
)
STRANGE = Sign(
    "lease_strange",
    Verdict.FAIL,
    "the object in the place of the lease is no lease; every run is refused",
    "somebody wrote over it; when no other run writes the table, it can go",
    'python -c "from lakehouse.lake import Lake; one = Lake.open(); one.store.delete({place})"',
)
TWO = Sign(
    "two_writers",
    Verdict.WARN,
    "commits of two streams alternate in the table's log",
    "two checkpoints write one table: each loads every file",
    "lakehouse check {table}",
)
SIGNS = (DEAD, SILENT, STRANGE, TWO)


def examine(patient: Patient) -> Iterator[Seen]:
    """Judges the holder by its process where that is on this machine, else by the age of its last renewal."""
    if patient.ward.named:
        yield from _two(patient)
    bucket, key = patient.settings.bucket, patient.lease_key
    where = f"s3a://{bucket}/{key}"
    try:
        content = patient.store.read(bucket, key)
    except ObjectMissing:
        return
    holder = Holder.decoded(content)
    if holder is None:
        filled = {"place": f"'{bucket}', '{key}'"}
        yield Seen(STRANGE, "the object in the place of the lease is no lease", where, {"bytes": len(content)}, filled)
        return
    evidence: dict[str, object] = {"pid": holder.pid, "host": holder.host.split("/")[0], "renewals": holder.renewals}
    lives = holder.lives()
    if holder.released:
        yield Seen(None, "nobody writes it", where, evidence)
    elif lives:
        yield Seen(None, f"it is being written by {holder.described()}", where, evidence)
    elif lives is False:
        yield Seen(DEAD, f"the writer is dead: {holder.described()}", where, evidence)
    else:
        info = patient.store.info(bucket, key)
        silent = in_seconds(patient.age(info.last_modified)) if info else 0
        evidence |= {"silent_seconds": silent, "lease_seconds": round(holder.ttl_seconds)}
        if silent > holder.ttl_seconds:
            yield Seen(SILENT, f"the writer is silent: {holder.described()}", where, evidence)
        else:
            yield Seen(None, f"it is being written by {holder.described()}", where, evidence)


def _two(patient: Patient) -> Iterator[Seen]:
    commits = patient.lake.commits_since(patient.name, None, last=_COMMITS)
    turns = [query for query, _ in groupby(commit.query_id for commit in commits if commit.query_id)]
    if len(turns) > len(set(turns)):
        evidence = {"streams": len(set(turns)), "turns": len(turns), "commits": len(commits)}
        where = patient.settings.table_uri(patient.name)
        yield Seen(TWO, f"{len(set(turns))} streams take turns in the last {len(commits)} commits", where, evidence)
