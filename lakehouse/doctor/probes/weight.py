"""What makes a table slow: small files, a long log, large or growing state, rows that are only marked as deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient
from lakehouse.maintenance.backup import backups
from lakehouse.plain_text import sized
from lakehouse.storage.delta_paths import log_uri

ABOUT, OF, ORDER = "no small files, no long log, no large state", "table", 60
_SMALL_BYTES, _SMALL_FILES = 32 << 20, 200
_LOG_VERSIONS = 150
_STATE_BYTES = 5 << 30
_GROWN_BYTES, _GROWN_BACKUPS = 256 << 20, 3
_DELETED_SHARE = 0.2
_OPEN = 'python -c "from lakehouse.lake import Lake; '

SMALL = Sign(
    "small_files",
    Verdict.WARN,
    "reading the table takes long, though it is not large",
    f"a partition has more than {_SMALL_FILES} data files under {_SMALL_BYTES >> 20} MiB: each costs a request. "
    "Joining them changes no row, and streams that read the table pass over it",
    "lakehouse maintain optimize {table} --yes",
)
LONG_LOG = Sign(
    "long_log",
    Verdict.WARN,
    "opening the table takes long",
    f"more than {_LOG_VERSIONS} versions came since Delta's log was last summed up: all of them are read each time",
    _OPEN + "Lake.open().delta('{table}').create_checkpoint()\"",
)
STATE = Sign(
    "large_state",
    Verdict.WARN,
    "batches of the stream take longer and longer",
    "its state grows: the watermark is too long, or keys never end. A shorter watermark asks for a new beginning",
    "lakehouse checkpoint restart {table} --yes && lakehouse ingest {table}",
)
GROWING = Sign(
    "checkpoint_grows",
    Verdict.WARN,
    "each backup of the checkpoint is larger than the one before",
    "state never ends, or Spark's own file source lists every file that it ever read: lakehouse checkpoint size names "
    "the part. Without an end batches take longer and longer. A shorter watermark asks for a new beginning",
    "lakehouse checkpoint restart {table} --yes && lakehouse ingest {table}",
)
DELETED = Sign(
    "many_deleted_rows",
    Verdict.WARN,
    "reading the table takes long, after much was removed from it",
    "rows are marked as deleted beside their files (deletion vectors): each reader skips them; rewriting the files in "
    "Spark ends that",
    "in Spark: REORG TABLE {table} APPLY (PURGE)",
)
SIGNS = (SMALL, LONG_LOG, STATE, GROWING, DELETED)


def examine(patient: Patient) -> Iterator[Seen]:
    """Looks at the list of data files, the newest part of the log, and the sizes in the checkpoint."""
    found = [*_of_table(patient)] if patient.opened is not None else []
    state = [info.size_bytes for info in patient.checkpoint if "/state/" in info.key]
    if sum(state) > _STATE_BYTES:
        where, evidence = patient.settings.checkpoint_uri(patient.name), {"objects": len(state), "bytes": sum(state)}
        found.append(Seen(STATE, f"the stream keeps {sized(sum(state))} of state", where, evidence))
    found += _grown(patient) if patient.ward.named else ()
    bad = [seen for seen in found if seen.sign is not None]
    yield from bad or found[:1]


def _grown(patient: Patient) -> Iterator[Seen]:
    """Holds the size of the checkpoint against those in the newest backups."""
    kept = backups(patient.lake, patient.name)[-_GROWN_BACKUPS:]
    sizes = [copy.size_bytes - copy.sizes().get("schema", 0) for copy in kept]
    sizes.append(sum(info.size_bytes for info in patient.checkpoint))
    grown, always = sizes[-1] - sizes[0], all(after > before for before, after in pairwise(sizes))
    if len(kept) == _GROWN_BACKUPS and always and grown > max(_GROWN_BYTES, sizes[0]):
        evidence = {"backups": len(kept), "first_bytes": sizes[0], "bytes": sizes[-1], "since": kept[0].taken}
        where = patient.settings.checkpoint_uri(patient.name)
        yield Seen(GROWING, f"the checkpoint grew by {sized(grown)} over {len(kept)} backups", where, evidence)


def _of_table(patient: Patient) -> Iterator[Seen]:
    assert patient.opened is not None
    uri, adds = patient.settings.table_uri(patient.name), patient.adds
    sizes = adds["size_bytes"].to_pylist() if "size_bytes" in adds.column_names else []
    paths = adds["path"].to_pylist() if sizes else []
    small = Counter(
        path.rpartition("/")[0] for path, size in zip(paths, sizes, strict=True) if (size or 0) < _SMALL_BYTES
    )
    state = sum(info.size_bytes for info in patient.checkpoint if "/state/" in info.key)
    evidence = {"files": len(sizes), "small_files": small.total(), "partitions": len(small), "bytes": sum(sizes)}
    evidence |= {"version": patient.opened.version(), **({"state_bytes": state} if state else {})}
    most = max(small.values(), default=0)
    if most > _SMALL_FILES:
        yield Seen(SMALL, f"{small.total():,} of {len(sizes):,} data files are small", uri, evidence)
    else:
        yield Seen(None, f"{len(sizes):,} data files, {sized(sum(sizes))}", uri, evidence)
    behind = patient.opened.version() - _summed_up(patient)
    if behind > _LOG_VERSIONS:
        log_evidence = {"version": patient.opened.version(), "versions_since_summed_up": behind}
        yield Seen(LONG_LOG, f"{behind:,} versions since Delta's log was summed up", log_uri(uri), log_evidence)
    yield from _deleted(patient, uri)


def _summed_up(patient: Patient) -> int:
    """The newest version with a checkpoint of Delta's own; -1 where the newest part of the log has none."""
    names = [info.key.rsplit("/", 1)[-1] for info in patient.log]
    return max((int(name[:20]) for name in names if ".checkpoint" in name and name[:20].isdigit()), default=-1)


def _deleted(patient: Patient, uri: str) -> Iterator[Seen]:
    assert patient.opened is not None
    if "deletionVectors" not in (patient.opened.protocol().reader_features or ()):
        return
    deleted = 0
    for batch in pa.RecordBatchReader.from_stream(patient.opened.deletion_vectors()):
        kept = pc.list_flatten(batch["selection_vector"])
        deleted += len(kept) - (pc.sum(kept).as_py() or 0)
    rows = sum(count or 0 for count in patient.adds["num_records"].to_pylist())
    if rows and deleted / rows > _DELETED_SHARE:
        evidence = {"rows": rows, "deleted_rows": deleted, "share": round(deleted / rows, 3)}
        yield Seen(DELETED, f"{deleted:,} of {rows:,} rows are marked as deleted", uri, evidence)
