"""How a service is: what each of its streams did last, as JSON and for Prometheus."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import Metric, StateSetMetricFamily
from prometheus_client.registry import Collector

from lakehouse.service import families
from lakehouse.service.pages import Page, serving
from lakehouse.streams.progress import BatchProgress

STALE_AFTER_SECONDS = 900.0
"""A batch takes less; a service whose batches take longer says so (``lakehouse stream --stale-after``)."""

_LATENCIES = 1000
_BUCKETS = (0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60, 120, 300, 900, 3600)


class State(StrEnum):
    """What a stream of a service is doing."""

    STARTING = "starting"
    WAITING = "waiting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


_WELL = frozenset({State.STARTING, State.WAITING, State.RUNNING})


@dataclass
class StreamHealth:
    """One stream of a service, since the service began. Its thread writes, the endpoint reads.

    Attributes:
        table: What it writes.
        state: What it does now.
        begun: Whether its query has ever run.
        batches, rows, files, sums: Sums over all batches; in ``sums`` only what was measured.
        restarts: How often it was started again after a failure.
        last: The newest batch; None before the first.
        error: What stopped it last; empty when nothing did since it last worked.
        latencies_seconds: From the writing of a file to the end of its batch, for the newest files.
        stale_after_seconds: How long it may give no sign of life and still be well.
        now: Seconds of a clock that nobody sets.
    """

    table: str
    state: State = State.STARTING
    begun: bool = False
    batches: int = 0
    rows: int = 0
    files: int = 0
    restarts: int = 0
    last: BatchProgress | None = None
    error: str = ""
    sums: dict[str, int] = field(default_factory=lambda: {"input_rows": 0})
    latencies_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))
    stale_after_seconds: float = STALE_AFTER_SECONDS
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._heard = self.now()
        self._began: float | None = None
        self._per_second: float | None = None
        self._ended: datetime | None = None
        self._done: float | None = None

    def alive(self) -> None:
        """The query has begun, has worked, or has looked and found nothing."""
        self._heard, self.state, self.begun, self.error = self.now(), State.RUNNING, True, ""

    def batch(self, batch: BatchProgress) -> None:
        """A batch is committed."""
        self._heard = self._done = self.now()
        self._ended = datetime.now(UTC)
        began = self._heard - batch.duration_seconds
        since = began - self._began if self._began is not None else 0.0
        self._began, self._per_second = began, batch.input_rows / since if since > 0 else None
        for name in families.BATCHES:
            if (counted := getattr(batch, name)) is not None:
                self.sums[name] = self.sums.get(name, 0) + counted
        self.batches += 1
        self.rows += batch.input_rows
        self.files += batch.files or 0
        self.last = batch
        self.latencies_seconds.extend(batch.latencies_seconds)

    def wait(self) -> None:
        """There is nothing to read from yet."""
        self._heard, self.state, self.error = self.now(), State.WAITING, ""

    def failed(self, error: Exception, *, again: bool) -> None:
        """It ended with an error, for good or to be started again."""
        self.state, self.error = State.RESTARTING if again else State.FAILED, str(error)
        self.restarts += again

    @property
    def stale(self) -> bool:
        """Whether it has given no sign of life for too long: its engine may be frozen, and answer nothing."""
        return self.now() - self._heard > self.stale_after_seconds

    def last_batch(self) -> dict[str, Any]:
        """The newest batch with the names of its metrics; empty before the first."""
        last, ended, now = self.last, self._ended, datetime.now(UTC)
        if last is None or ended is None:
            return {}
        mark = datetime.fromisoformat(last.watermark) if last.watermark else None
        return {
            **asdict(last),
            "number": last.batch_id,
            "input_rows_per_second": self._per_second,
            "processed_rows_per_second": last.input_rows / last.duration_seconds if last.duration_seconds else None,
            "ended_timestamp_seconds": ended.timestamp(),
            "watermark_timestamp_seconds": mark.timestamp() if mark else None,
            "watermark_lag_seconds": (now - mark).total_seconds() if mark else None,
        }

    def as_dict(self) -> dict[str, Any]:
        """For ``GET /health`` and ``--json``."""
        last = self.last
        return {
            "table": self.table,
            "state": self.state.value,
            "begun": self.begun,
            "last_batch_id": last.batch_id if last else None,
            "seconds_since_progress": round(self.now() - self._heard, 1),
            "seconds_since_batch": None if self._done is None else round(self.now() - self._done, 1),
            "stale": self.stale,
            "batches": self.batches,
            "rows": self.rows,
            "files": self.files,
            "backlog_files": last.backlog_files if last else None,
            "watermark": last.watermark if last else None,
            **latency(self.latencies_seconds),
            "restarts": self.restarts,
            "last_error": self.error or None,
        }


def latency(seconds: Iterable[float]) -> dict[str, float | None]:
    """Median and 95th percentile; None without files."""
    known = list(seconds)
    values = np.percentile(known, [50, 95]).round(3).tolist() if known else [None, None]
    return {"latency_p50_seconds": values[0], "latency_p95_seconds": values[1]}


class ServiceHealth(Collector):
    """All streams of a service.

    Args:
        tables: What they write.
        stale_after_seconds: How long a stream may give no sign of life and still be well.
        now: Seconds of a clock that nobody sets.
        also: Gives further metrics at every scrape.
    """

    def __init__(
        self,
        tables: Iterable[str],
        *,
        stale_after_seconds: float = STALE_AFTER_SECONDS,
        now: Callable[[], float] = time.monotonic,
        also: Callable[[], Iterable[Metric]] = lambda: (),
    ) -> None:
        self._also = also
        self.streams: Mapping[str, StreamHealth] = {
            table: StreamHealth(table, stale_after_seconds=stale_after_seconds, now=now) for table in tables
        }
        self._registry = CollectorRegistry()
        self._latency = Histogram(
            "lakehouse_stream_latency_seconds",
            "From the writing of a file to the end of its batch",
            ["table"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._duration = Histogram(
            "lakehouse_batch_duration_seconds",
            "From the trigger of a batch to its commit",
            ["table"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(self)

    def batch(self, batch: BatchProgress) -> None:
        """Notes a batch that a stream has committed."""
        self.streams[batch.table].batch(batch)
        self._duration.labels(batch.table).observe(batch.duration_seconds)
        for seconds in batch.latencies_seconds:
            self._latency.labels(batch.table).observe(seconds)

    @property
    def well(self) -> bool:
        """Whether every stream runs, or waits for its source, and was heard of lately."""
        return all(stream.state in _WELL and not stream.stale for stream in self.streams.values())

    def as_dict(self) -> dict[str, Any]:
        """``GET /health``."""
        return {"healthy": self.well, "tables": [stream.as_dict() for stream in self.streams.values()]}

    def metrics(self) -> bytes:
        """``GET /metrics``: Prometheus' text."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry at every scrape."""
        samples = [stream.as_dict() for stream in self.streams.values()]
        yield from families.counters("lakehouse_stream", _COUNTERS, samples)
        yield from families.gauges("lakehouse_stream", _GAUGES, samples)
        sums = [{"table": table, **stream.sums} for table, stream in self.streams.items()]
        yield from families.counters("lakehouse_batch", families.BATCHES, sums)
        yield from families.last_batches([last for stream in self.streams.values() if (last := stream.last_batch())])
        yield from self._also()
        states = StateSetMetricFamily("lakehouse_stream_state", "What the stream does now", labels=["table"])
        for sample in samples:
            states.add_metric([sample["table"]], {state.value: state.value == sample["state"] for state in State})
        yield states


_COUNTERS = {
    "batches": "Batches committed since the service began",
    "rows": "Rows read by them",
    "files": "Files read by them",
    "restarts": "Starts after a failure",
}
_GAUGES = {
    "last_batch_id": "Spark's number of the newest batch",
    "seconds_since_progress": "Since the query last worked, or looked for input",
    "stale": "Whether it has given no sign of life for too long",
    "backlog_files": "Files that waited after the newest batch",
}


@contextmanager
def serve(health: ServiceHealth, port: int) -> Iterator[str]:
    """Answers ``/health`` and ``/metrics`` on 127.0.0.1 while the body runs; gives the address.

    Args:
        health: What is told.
        port: 0 takes a free port.

    Raises:
        ConfigurationError: somebody else has the port.
    """

    def health_page() -> Page:
        status = HTTPStatus.OK if health.well else HTTPStatus.SERVICE_UNAVAILABLE
        return Page(json.dumps(health.as_dict()).encode(), "application/json", status)

    pages = {"/health": health_page, "/metrics": lambda: Page(health.metrics(), families.CONTENT_TYPE)}
    with serving(pages, port, where="--health-port") as address:
        yield address
