"""What the metrics are called: the same names, whoever measures them. Units are in the names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

__all__ = ["BATCHES", "CONTENT_TYPE", "LAST_BATCH", "as_json", "counters", "gauges", "last_batches"]

LAST_BATCH = {
    "number": "Number of the newest batch, counted from 0 for ever",
    "input_rows": "Rows that it read",
    "input_rows_per_second": "Its rows over the time from the start of the batch before to its own",
    "processed_rows_per_second": "Its rows over its duration",
    "duration_seconds": "From its trigger to its commit",
    "ended_timestamp_seconds": "When it was committed",
    "rescued_rows": "Its rows with values that are kept in _rescued_data",
    "corrupt_rows": "Its rows that are no valid record",
    "late_rows": "Its rows that came after their window was closed",
    "set_aside_rows": "Its rows that no window counts for another reason",
    "backlog_files": "Files that waited after it",
    "backlog_bytes": "Their size",
    "state_rows": "Rows in the state store after it",
    "state_memory_bytes": "Memory of the state store after it",
    "watermark_timestamp_seconds": "The watermark in force",
    "watermark_lag_seconds": "How far that is behind the clock now",
}
"""Gauges ``lakehouse_last_batch_...``; a service, and ``ops.batches``, know them."""
BATCHES = {
    "input_rows": "Rows read by batches",
    "rescued_rows": "Rows with values that are kept in _rescued_data",
    "corrupt_rows": "Rows that are no valid record",
    "late_rows": "Rows that came after their window was closed",
    "set_aside_rows": "Rows that no window counts for another reason",
}
"""Counters ``lakehouse_batch_..._total`` of a service, since it began."""
_PHASE = "Time of a part of the newest batch"


def gauges(
    prefix: str, helps: Mapping[str, str], samples: Sequence[Mapping[str, Any]], labels: Sequence[str] = ("table",)
) -> Iterator[Metric]:
    """One gauge for each name that has a help; a value of None is no sample.

    Args:
        prefix: What stands before each name.
        helps: Name to help.
        samples: Values by name, beside the labels by theirs.
        labels: Names of the labels.
    """
    for name, help_ in helps.items():
        family = GaugeMetricFamily(f"{prefix}_{name}", help_, labels=labels)
        for sample in samples:
            if sample.get(name) is not None:
                family.add_metric([str(sample[label]) for label in labels], float(sample[name]))
        yield family


def counters(
    prefix: str, helps: Mapping[str, str], samples: Sequence[Mapping[str, Any]], labels: Sequence[str] = ("table",)
) -> Iterator[Metric]:
    """The same for sums that only grow: each name ends with ``_total``."""
    for name, help_ in helps.items():
        family = CounterMetricFamily(f"{prefix}_{name}", help_, labels=labels)
        for sample in samples:
            if sample.get(name) is not None:
                family.add_metric([str(sample[label]) for label in labels], float(sample[name]))
        yield family


def last_batches(samples: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """The newest batch of each table.

    Args:
        samples: A batch each: ``table``, the names of ``LAST_BATCH``, and ``phases_milliseconds``.
    """
    yield from gauges("lakehouse_last_batch", LAST_BATCH, samples)
    phases = GaugeMetricFamily("lakehouse_last_batch_phase_seconds", _PHASE, labels=["table", "phase"])
    for batch in samples:
        for phase, milliseconds in (batch.get("phases_milliseconds") or {}).items():
            phases.add_metric([str(batch["table"]), str(phase)], milliseconds / 1000)
    yield phases


def as_json(families: Iterable[Metric]) -> list[dict[str, Any]]:
    """For ``--json``: each metric with its samples."""
    return [
        {
            "name": metric.name,
            "help": metric.documentation,
            "type": metric.type,
            "samples": [{"name": line.name, "labels": line.labels, "value": line.value} for line in metric.samples],
        }
        for metric in families
    ]
