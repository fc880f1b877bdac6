"""Metrics of the lake as it lies there: tables, what waits, what the doctor finds. Needs no engine, writes nothing."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from deltalake.exceptions import DeltaError
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from lakehouse.batches import SCHEMA
from lakehouse.batches import TABLE as BATCHES
from lakehouse.declaration import read_catalogue
from lakehouse.doctor.examining import examine
from lakehouse.doctor.finding import Finding, Verdict
from lakehouse.errors import LakehouseError
from lakehouse.lake import Lake
from lakehouse.maintenance.detail import states
from lakehouse.service.event_metrics import event_metrics
from lakehouse.service.families import LAST_BATCH, gauges, last_batches
from lakehouse.settings import Settings
from lakehouse.storage import find_store, open_store
from lakehouse.table import Catalogue

_LOOKED = ("backlog", "following", "leases", "log")
_UP = "Whether the lake could be looked at"
_TABLE = {
    "readable": "Whether the log of the table can be read",
    "version": "The newest version",
    "rows": "Rows in it",
    "files": "Data files of it",
    "size_bytes": "Their size",
    "last_write_timestamp_seconds": "When rows came or went last",
    "last_batch_number": "Number of the newest batch that its stream has finished",
    "freshness_limit_seconds": "How old its newest rows may be, as declared",
}
_BACKLOG = {
    "files": "Files that wait, and are not in the table; at least so many in a folder of many thousands",
    "bytes": "Their size",
    "oldest_seconds": "Age of the oldest of them",
}
_SOURCE = {
    "commits_waiting": "Commits of its source that a computed table has not read",
    "oldest_seconds": "Age of the oldest of them",
}
_FINDING = "Something that the doctor finds wrong"
_measuring = threading.Lock()
_log = logging.getLogger(__name__)


def measure(lake: Lake, catalogue: Catalogue, now: datetime | None = None) -> Iterator[Metric]:
    """Looks at the whole lake.

    Args:
        lake: Where it is.
        catalogue: What is declared.
        now: The time that ages are counted to.

    Raises:
        LakehouseError: the store does not answer.
    """
    now = now or datetime.now(UTC)
    yield _up(True)
    yield from gauges("lakehouse_table", _TABLE, _tables(lake, catalogue))
    found = examine(lake, catalogue, now=now, shared=False, only=_LOOKED).findings
    yield from gauges("lakehouse_backlog", _BACKLOG, [*_evidence(found, "backlog", _WAITING)])
    yield from gauges("lakehouse_source", _SOURCE, [*_evidence(found, "following", _BEHIND)])
    findings = GaugeMetricFamily("lakehouse_finding", _FINDING, labels=["table", "sign", "verdict"])
    for labels in dict.fromkeys(
        (finding.table, finding.sign, finding.verdict.value) for finding in found if _is_wrong(finding)
    ):
        findings.add_metric(list(labels), 1)
    yield findings
    yield from last_batches(newest_batches(lake, now))
    yield from event_metrics(lake.settings)


def text(families: Iterable[Metric]) -> bytes:
    """Prometheus' text."""
    given = list(families)

    class Given:
        def collect(self) -> list[Metric]:
            return given

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given())
    return generate_latest(registry)


def scraped(settings: Settings) -> bytes:
    """The text for a scrape: that the lake cannot be looked at is a metric, too. Scrapes take turns."""
    with _measuring:
        try:
            endpoint = find_store(settings)
            return text(measure(Lake(settings, endpoint, open_store(endpoint)), read_catalogue(settings)))
        except (LakehouseError, DeltaError, OSError) as error:
            _log.warning("the lake could not be looked at: %s: %s", type(error).__name__, str(error).splitlines()[:1])
            return text([_up(False)])


def _up(answers: bool) -> Metric:
    return GaugeMetricFamily("lakehouse_up", _UP, value=float(answers))


def _is_wrong(finding: Finding) -> bool:
    return finding.verdict is not Verdict.PASS


def _tables(lake: Lake, catalogue: Catalogue) -> list[dict[str, Any]]:
    limits = {table.name: table.freshness for table in catalogue}
    samples = []
    for state in states(lake, lake.table_names()):
        limit = limits.get(state.name)
        last = {
            "table": state.name,
            "readable": not state.problem,
            "last_write_timestamp_seconds": state.last_write.timestamp() if state.last_write else None,
            "last_batch_number": state.last_batch,
            "freshness_limit_seconds": limit.total_seconds() if limit else None,
        }
        samples.append({name: getattr(state, name, None) for name in _TABLE} | last)
    return samples


_WAITING = {"files": "files_waiting", "bytes": "bytes_waiting", "oldest_seconds": "oldest_seconds"}
_BEHIND = {"commits_waiting": "commits_waiting", "oldest_seconds": "oldest_seconds"}


def _evidence(found: Iterable[Finding], probe: str, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What a probe measured; nothing that waits has the age 0."""
    for finding in found:
        if finding.probe == probe and finding.evidence.keys() & {"files_waiting", "read_version"}:
            yield {"table": finding.table} | {name: _number(finding.evidence.get(key)) for name, key in names.items()}


def _number(value: Any) -> float:
    return float(re.sub(r"\+$", "", str(value))) if value is not None else 0.0


def newest_batches(lake: Lake, now: datetime) -> list[dict[str, Any]]:
    """The newest row of each table in the last two days of ``ops.batches``; no row where that table is not kept."""
    opened = lake.delta(BATCHES)
    if opened is None:
        return []
    days = sorted({str(partition["day"]) for partition in opened.partitions()})[-2:]
    columns = [name for name in SCHEMA.names if name in LAST_BATCH or name in _ROW]
    rows = opened.to_pyarrow_table(filters=[("day", "in", days)], columns=columns)
    newest = {str(row["table"]): row for row in rows.sort_by("ended_at").to_pylist(maps_as_pydicts="lossy")}
    return [_batch(row, now) for row in newest.values()]


_ROW = ("table", "batch_id", "ended_at", "watermark", "phases_milliseconds")


def _batch(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    ended, watermark = row["ended_at"], row["watermark"]
    return {
        **row,
        "number": row["batch_id"],
        "ended_timestamp_seconds": ended.timestamp() if ended else None,
        "watermark_timestamp_seconds": watermark.timestamp() if watermark else None,
        "watermark_lag_seconds": (now - watermark).total_seconds() if watermark else None,
    }
