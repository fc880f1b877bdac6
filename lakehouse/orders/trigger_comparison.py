"""The triggers side by side: each loads the same files into a lake of its own, which is removed afterwards."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lakehouse.engine import connect, ensure_engine
from lakehouse.lake import Lake
from lakehouse.orders.samples import generate_orders
from lakehouse.orders.tables import BRONZE
from lakehouse.pipeline import run_table
from lakehouse.service.health import latency
from lakehouse.service.usage import Usage, usage
from lakehouse.streams.progress import BatchProgress
from lakehouse.streams.queries import StopRequest
from lakehouse.streams.run import Run
from lakehouse.streams.trigger import AVAILABLE_NOW, ONCE, Trigger

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SINGLE_FILES, _ARRIVALS = 3, 8
WHILE_IT_RUNS = "files that arrive while it runs"
BEFORE_A_RUN = "a file written just before a run; the schedule's wait comes on top"


@dataclass(frozen=True)
class Measured:
    """One trigger's figures.

    Attributes:
        trigger: Its text.
        seconds: From the start of the run until all files were committed.
        batches: Micro-batches that took.
        rows: Rows in the table then.
        latency_of: Which files the two latencies are of.
        latency_p50_seconds, latency_p95_seconds: From the writing of a file to the end of its batch.
        idle_cpu_seconds: Engine and command, in a minute without new files.
        idle_s3_requests: Requests to the store in such a minute.
        empty_run_seconds: A run that finds nothing; None for a stream that does not end.
        empty_run_cpu_seconds, empty_run_s3_requests: What that run uses.
    """

    trigger: str
    seconds: float
    batches: int
    rows: int
    latency_of: str
    latency_p50_seconds: float | None
    latency_p95_seconds: float | None
    idle_cpu_seconds: float | None
    idle_s3_requests: float | None
    empty_run_seconds: float | None = None
    empty_run_cpu_seconds: float | None = None
    empty_run_s3_requests: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Runs the triggers, one after the other.

    Attributes:
        lake: Whose store and engine are used; its tables and landing folder are not touched.
        files, rows_per_file: What waits when a run begins.
        interval: Of ``processingTime``.
        idle_seconds: How long idle cost is measured.
        say: Told what is measured now.
    """

    lake: Lake
    files: int
    rows_per_file: int
    interval: timedelta
    idle_seconds: float
    say: Callable[[str], None]

    def run(self) -> list[Measured]:
        """Figures of ``availableNow``, ``once`` and ``processingTime``, in this order."""
        spark = connect(self.lake, self.say)
        place = f"{self.lake.settings.user}/_triggers/{uuid.uuid4().hex[:12]}"
        try:
            warm = _Sample(self, spark, f"{place}/warm")
            warm.land(1)
            warm.load(AVAILABLE_NOW)
            self.say(f"the engine without a query, for {self.idle_seconds:g} s")
            before = usage(self.lake)
            time.sleep(self.idle_seconds)
            idle = self._per_minute(before)
            return [
                *(self._ending(_Sample(self, spark, f"{place}/{kind}"), kind, idle) for kind in (AVAILABLE_NOW, ONCE)),
                self._endless(_Sample(self, spark, f"{place}/endless"), Trigger("processingTime", self.interval)),
            ]
        finally:
            self.lake.store.delete_prefix(self.lake.settings.bucket, f"{place}/")

    def _ending(self, sample: _Sample, trigger: Trigger, idle: dict[str, Any]) -> Measured:
        self.say(f"{trigger}: {self.files:,} files, then {_SINGLE_FILES} single ones, then nothing")
        sample.land(self.files)
        began = time.monotonic()
        batches = sample.load(trigger)
        seconds, rows = time.monotonic() - began, sample.rows()
        single: list[BatchProgress] = []
        for _ in range(_SINGLE_FILES):
            sample.land(1)
            single += sample.load(trigger)
        before, began = usage(self.lake), time.monotonic()
        sample.load(trigger)
        empty_seconds, empty = time.monotonic() - began, usage(self.lake).since(before)
        return Measured(
            **self._of_backlog(trigger, seconds, batches, rows),
            latency_of=BEFORE_A_RUN,
            **_latency(single),
            **idle,
            empty_run_seconds=round(empty_seconds, 1),
            empty_run_cpu_seconds=None if empty.cpu_seconds is None else round(empty.cpu_seconds, 1),
            empty_run_s3_requests=None if empty.s3_requests is None else round(empty.s3_requests),
        )

    def _endless(self, sample: _Sample, trigger: Trigger) -> Measured:
        self.say(f"{trigger}: {self.files:,} files, then {_ARRIVALS} that arrive, then {self.idle_seconds:g} s without")
        stop, batches = StopRequest(), list[BatchProgress]()
        sample.land(self.files)
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(sample.load, trigger, stop, batches.append)

            def wait_for(files: int) -> None:
                while sum(batch.files or 0 for batch in batches) < files and not running.done():
                    time.sleep(0.05)

            try:
                wait_for(self.files)
                seconds, backlog, rows = time.monotonic() - began, list(batches), sample.rows()
                for _ in range(_ARRIVALS):
                    sample.land(1)
                    time.sleep(self.interval.total_seconds() * 0.3)  # at another moment of the interval each time
                wait_for(self.files + _ARRIVALS)
                before = usage(self.lake)
                time.sleep(0 if running.done() else self.idle_seconds)
                idle = self._per_minute(before)
            finally:
                stop.ask()
            running.result()
        arrived = batches[len(backlog) :]
        return Measured(
            **self._of_backlog(trigger, seconds, backlog, rows), latency_of=WHILE_IT_RUNS, **_latency(arrived), **idle
        )

    def _per_minute(self, before: Usage) -> dict[str, Any]:
        used, scale = usage(self.lake).since(before), 60 / self.idle_seconds
        return {
            "idle_cpu_seconds": None if used.cpu_seconds is None else round(used.cpu_seconds * scale, 1),
            "idle_s3_requests": None if used.s3_requests is None else round(used.s3_requests * scale),
        }

    @staticmethod
    def _of_backlog(trigger: Trigger, seconds: float, batches: list[BatchProgress], rows: int) -> dict[str, Any]:
        return {"trigger": str(trigger), "seconds": round(seconds, 1), "batches": len(batches), "rows": rows}


class _Sample:
    """A lake within the lake, with a landing folder of its own and the table ``BRONZE`` as the product has it."""

    def __init__(self, comparison: Comparison, spark: SparkSession, place: str) -> None:
        lake, settings = comparison.lake, comparison.lake.settings
        remote = settings.spark_remote or ensure_engine(settings, lake.endpoint).remote
        own = {
            "user": place,
            "landing_bucket": settings.bucket,
            "landing_prefix": f"{place}/landing/",
            "spark_remote": remote,
        }
        self._lake = replace(lake, settings=settings.model_copy(update=own))
        self._spark, self._rows_per_file, self._files = spark, comparison.rows_per_file, 0

    def land(self, files: int) -> None:
        """The next files of the series: the same bytes for every trigger."""
        bucket, prefix = self._lake.settings.landing_bucket, self._lake.settings.landing_prefix
        generate_orders(
            lambda name, data: self._lake.store.write(bucket, prefix + name, data),
            files=files,
            rows_per_file=self._rows_per_file,
            first_file=self._files,
        )
        self._files += files

    def load(
        self,
        trigger: Trigger,
        stop: StopRequest | None = None,
        on_batch: Callable[[BatchProgress], None] = lambda batch: None,
    ) -> list[BatchProgress]:
        """Runs the stream; its batches."""
        run = Run(trigger, on_batch, stop=stop or StopRequest())
        return list(run_table(self._spark, self._lake, BRONZE, run).batches)

    def rows(self) -> int:
        """Rows in the table."""
        found = self._lake.describe(BRONZE)
        return found.rows if found else 0


def _latency(batches: list[BatchProgress]) -> dict[str, Any]:
    return latency([seconds for batch in batches for seconds in batch.latencies_seconds])
