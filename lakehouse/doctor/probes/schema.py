"""Columns that wait: in a schema that is ahead of its table, in the rescued data, or with another type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lakehouse.autoloader.lineage import RESCUED_DATA
from lakehouse.autoloader.options.paths import split_uri
from lakehouse.checks.evidence import RescueRate
from lakehouse.doctor.finding import Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient, some
from lakehouse.storage import ObjectMissing

ABOUT, OF, ORDER = "schema and table have the same columns", "table", 55
_SHARE = 0.1

AHEAD = Sign(
    "schema_ahead",
    Verdict.WARN,
    "a version of the schema has columns that the table lacks",
    "a run ended after it had met new columns, before a batch with them was in the table",
    "lakehouse ingest {table}",
)
TYPES = Sign(
    "types_differ",
    Verdict.WARN,
    "a column has another type in the table than in the schema's newest version",
    "values are cast or rescued; a run that cannot write them fails. Where the table can become as wide, a run in "
    "Spark makes it so; else the stream takes the types of an older version again",
    "lakehouse schema history --table {table}",
)
RESCUED = Sign(
    "much_rescued",
    Verdict.WARN,
    "many rows have values in _rescued_data that no column has",
    "their sender sends new columns or other types. Columns join with schema approve and promote; wrong values are "
    "corrected at their sender",
    "lakehouse schema approve --table {table}",
)
UNREADABLE = Sign(
    "schema_unreadable",
    Verdict.FAIL,
    "the newest version of the schema is empty, cut off or damaged; a run is refused",
    "a version is never changed: what is damaged can go, the stream goes on with the version before it, and takes what "
    "is new in again",
    'python -c "from lakehouse.lake import Lake; one = Lake.open(); one.store.delete({place})"',
)
SIGNS = (UNREADABLE, AHEAD, TYPES, RESCUED)


def examine(patient: Patient) -> Iterator[Seen]:
    """Compares names and types, and the counts of NULL in the table's statistics: no row is read."""
    if patient.files is None or patient.opened is None:
        return
    yield from _rescued(patient)
    if patient.files.columns is not None:
        return
    bucket, prefix = split_uri(f"{patient.settings.schema_uri(patient.name)}/_schemas/")
    names = [info.key.removeprefix(prefix) for info in patient.store.list(bucket, prefix)]
    versions = sorted(int(name) for name in names if name.isdigit())
    if not versions:
        return
    key = f"{prefix}{versions[-1]}"
    where = f"s3a://{bucket}/{key}"
    try:
        columns = _columns(patient, key)
    except (ValueError, LookupError, TypeError):
        filled = {"place": f"'{bucket}', '{key}'"}
        yield Seen(UNREADABLE, f"version {versions[-1]} of the schema cannot be read", where, filled=filled)
        return
    fields = json.loads(patient.opened.schema().to_json())["fields"]
    has = {field["name"].lower(): field["type"] for field in fields}
    new = [name for name in columns if name.lower() not in has]
    retyped = [name for name, type_ in columns.items() if _differs(type_, has.get(name.lower()))]
    evidence = {"version": versions[-1], "columns": len(columns), "new": len(new), "other_type": len(retyped)}
    if new:
        yield Seen(AHEAD, f"columns that the table lacks: {some(new)}", where, evidence)
    elif retyped:
        cure = _with_the_types_of(patient, prefix, versions[:-1], has)
        yield Seen(TYPES, f"columns of another type in the table: {some(retyped)}", where, evidence, command=cure)
    else:
        yield Seen(None, "schema and table have the same columns", where, evidence)


def _columns(patient: Patient, key: str) -> dict[str, Any]:
    """Names and types of a version's columns; raises ValueError, LookupError, TypeError where it is damaged."""
    record = json.loads(patient.store.read(patient.settings.bucket, key).split(b"\n", 1)[1])
    return {field["name"]: field["type"] for field in json.loads(record["dataSchemaJson"])["fields"]}


def _with_the_types_of(patient: Patient, prefix: str, versions: list[int], has: dict[str, Any]) -> str:
    """The command by which the stream gets the newest version with the table's types; empty where there is none."""
    for version in reversed(versions):
        try:
            columns = _columns(patient, f"{prefix}{version}")
        except (ValueError, LookupError, TypeError, ObjectMissing):
            continue
        if not any(_differs(type_, has.get(name.lower())) for name, type_ in columns.items()):
            back = f"lakehouse schema rollback {version} --table {patient.name} --yes"
            return f"{back}   (or, where the table shall have the new types: lakehouse ingest {patient.name})"
    return ""


def _differs(type_: Any, there: Any) -> bool:
    """Of nested columns only the kind is compared: fields within them join as columns do."""
    if there is None:
        return False
    kinds = [kind["type"] if isinstance(kind, dict) else kind for kind in (type_, there)]
    return bool(kinds[0] != kinds[1])


def _rescued(patient: Patient) -> Iterator[Seen]:
    nulls = f"null_count.{RESCUED_DATA}"
    if nulls not in patient.adds.column_names:
        return
    counts = zip(patient.adds["num_records"].to_pylist(), patient.adds[nulls].to_pylist(), strict=True)
    known = [(rows, empty) for rows, empty in counts if rows and empty is not None]
    rows = sum(count for count, _ in known)
    rescued = rows - sum(empty for _, empty in known)
    limit = next((check.max_share for check in patient.table.checks if isinstance(check, RescueRate)), _SHARE)
    if rows and rescued / rows > limit:
        evidence = {"rows": rows, "rescued_rows": rescued, "share": round(rescued / rows, 4), "limit": limit}
        what = f"{rescued:,} of {rows:,} rows have values that fit no column"
        yield Seen(RESCUED, what, patient.settings.table_uri(patient.name), evidence)
