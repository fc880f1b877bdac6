"""Running all probes on all tables, in parallel threads: most of their time is spent in waiting for the store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from lakehouse.autoloader.options.paths import split_uri
from lakehouse.doctor.finding import Finding, Seen, Sign, Verdict
from lakehouse.doctor.patient import Patient, Ward
from lakehouse.doctor.probes import PROBES, Probe
from lakehouse.doctor.watching import WatchedLake, WatchingStore
from lakehouse.errors import LakehouseError
from lakehouse.lake import Lake, TableUnreadable
from lakehouse.plain_text import printable
from lakehouse.storage import ObjectMissing, StoreEndpoint, open_store
from lakehouse.table import Catalogue

_THREADS = 16

UNSEEN = Sign(
    "could_not_look",
    Verdict.FAIL,
    "a probe ended with an error",
    "what it would have found is not known",
    "lakehouse doctor {table}",
)
UNREACHABLE = Sign(
    "store_unreachable",
    Verdict.FAIL,
    "every command ends with the object store does not answer, refuses, or has no such bucket",
    "no table can be read or written",
    "lakehouse up",
)
OWN_SIGNS = (UNREACHABLE, UNSEEN)
"""Signs that the doctor itself could not look."""


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
        findings: Table after table in the order of the data, the most severe probes first; then what tables share.
        tables: How many tables were looked at.
        requests: How many requests the store got, without those that open Delta tables.
    """

    findings: tuple[Finding, ...]
    tables: int
    requests: int

    def of(self, *verdicts: Verdict) -> list[Finding]:
        """The findings with one of these verdicts."""
        return [finding for finding in self.findings if finding.verdict in verdicts]


def examine(
    lake: Lake,
    catalogue: Catalogue,
    tables: Sequence[str] = (),
    *,
    now: datetime | None = None,
    shared: bool = True,
    only: Collection[str] = (),
) -> Examination:
    """Looks at tables, and at what they share; writes nothing.

    Args:
        lake: Where they are.
        catalogue: What is declared.
        tables: Names of tables that are looked at in full; none for all tables, of which only the last batches are.
        now: The time at which ages are computed.
        shared: Whether to look at store, bucket and machine, too.
        only: Names of the probes of tables that look; none for all.
    """
    ward = _ward(lake, lake.endpoint, catalogue, bool(tables))
    if now is not None:
        ward.now = now
    patients = [Patient(ward, table) for table in catalogue if not tables or table.name in tables]
    of_tables = [probe for probe in PROBES if probe.of == "table" and (not only or probe.name in only)]
    of_lake = [probe for probe in PROBES if probe.of == "lake"] if shared else []
    if not tables:  # one listing in place of one for each table; where it fails, the probes say so
        with suppress(LakehouseError):
            next(ward.store.list(lake.settings.bucket, f"{lake.settings.user}/_schemas/"), None)
    with ThreadPoolExecutor(_THREADS) as pool:
        # these begin first: one of them loads the SDK, while the others wait for the store
        about_lake = [pool.submit(_all, [probe], ward, "") for probe in of_lake]
        about_tables = [pool.submit(_all, of_tables, patient, patient.name) for patient in patients]
        found = [finding for looked in (*about_tables, *about_lake) for finding in looked.result()]
    return Examination(tuple(found), len(patients), ward.store.requests)


def unreachable(error: LakehouseError) -> Examination:
    """What is found when the store cannot be reached."""
    evidence = {"error": type(error).__name__}
    seen = Seen(UNREACHABLE, error.what, error.where, evidence, command=error.next_command)
    return Examination((seen.finding("store", ""),), 0, 0)


def _ward(lake: Lake, endpoint: StoreEndpoint, catalogue: Catalogue, named: bool) -> Ward:
    plain = open_store(endpoint)
    store = WatchingStore(plain, lake.settings.bucket, f"{lake.settings.user}/")
    return Ward(WatchedLake.of(lake, store), store, plain, catalogue, named)


def _all(probes: Iterable[Probe], whom: Patient | Ward, table: str) -> list[Finding]:
    found: list[Finding] = []
    blind: dict[tuple[str, str], int] = {}
    for probe in probes:
        for seen in _looked(probe, whom):
            why = str(seen.evidence.get("error")), seen.what
            if seen.sign is UNSEEN and why in blind:  # one reason is one finding, with all probes that met it
                first = found[blind[why]]
                about = f"{first.evidence['not_looked_at']}; {probe.about}"
                found[blind[why]] = replace(first, evidence={**first.evidence, "not_looked_at": about})
                continue
            if seen.sign is UNSEEN:
                blind[why] = len(found)
                seen = replace(seen, evidence={**seen.evidence, "not_looked_at": probe.about})
            found.append(seen.finding(probe.name, table))
    return found


def _is_of(patient: Patient, error: LakehouseError) -> bool:
    return error.where.startswith(f"{patient.settings.table_uri(patient.name)}/")


def _looked(probe: Probe, whom: Patient | Ward) -> list[Seen]:
    """What a probe saw. An error of the probe is a finding, and the other probes go on."""
    try:
        return list(probe.examine(whom))
    except LakehouseError as error:
        if isinstance(error, TableUnreadable) and isinstance(whom, Patient) and _is_of(whom, error):
            return []  # the probe of the log reports it, once
        return [_unseen(error)]
    except OSError as error:
        return [_unseen(_reason_of(whom) or error)]
    except Exception as error:
        return [_unseen(error)]


def _reason_of(whom: Patient | Ward) -> LakehouseError | None:
    """Why the store refuses a table, by our own client: ``deltalake`` raises one class of error for all reasons."""
    if not isinstance(whom, Patient):
        return None
    bucket, folder = split_uri(f"{whom.settings.table_uri(whom.name)}/_delta_log/")
    try:
        whom.ward.unwatched.read(bucket, f"{folder}_last_checkpoint")
    except ObjectMissing:
        return None
    except LakehouseError as error:
        return error
    return None


def _unseen(error: Exception) -> Seen:
    evidence = {"error": type(error).__name__}
    if isinstance(error, LakehouseError):
        return Seen(UNSEEN, error.what, error.where, evidence, command=error.next_command)
    message = next(iter(str(error).splitlines()), "")
    return Seen(UNSEEN, f"{type(error).__name__}: {printable(message)[:200]}", evidence=evidence)
