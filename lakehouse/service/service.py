"""Streams that do not end: one query a table, in one process, until somebody asks it to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import psutil
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_when_event_set, wait_random_exponential
from tenacity.nap import sleep_using_event

from lakehouse.declaration import read_catalogue
from lakehouse.engine import connect
from lakehouse.errors import ConfigurationError, LakehouseError, LeaseHeld, StreamFailed, TransientError
from lakehouse.lake import Lake
from lakehouse.pipeline import run_table
from lakehouse.service.event_metrics import event_metrics
from lakehouse.service.health import STALE_AFTER_SECONDS, ServiceHealth, State
from lakehouse.storage import ensure_store, store_status
from lakehouse.streams.progress import BatchProgress, OnBatch
from lakehouse.streams.queries import StopRequest
from lakehouse.streams.run import Run
from lakehouse.streams.trigger import Trigger

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = logging.getLogger(__name__)
_BACKOFF = wait_random_exponential(multiplier=1, min=1, max=60)
_LONGEST_WAIT = timedelta(seconds=30)
_JOIN_SECONDS = 0.5  # a signal that another thread receives is handled when this thread wakes


class Service:
    """Keeps tables up to date.

    A stream that fails with a ``TransientError`` is started again, after pauses that grow up to a minute and begin anew
    with every batch. Any other error ends the service, and so does a table that somebody else writes when the service
    begins.

    Args:
        lake: The lake; it is opened again for every start, because its servers may have gone.
        tables: What is written, one query each.
        trigger: When batches are made.
        say: Told what is not a batch: waits, failures, restarts.
        on_batch: Told about each committed batch, by the thread of its table.
        woken: Whether an event of a new file ends the pause of the trigger's interval, too.
        stale_after: How long a stream may give no sign of life, beside the trigger's own pauses, and still be well.

    Raises:
        ConfigurationError: a table is named twice or does not exist, or the trigger is none for a service.
    """

    def __init__(
        self,
        lake: Lake,
        tables: Sequence[str],
        trigger: Trigger,
        *,
        say: Callable[[str], None] = lambda text: None,
        on_batch: OnBatch = lambda batch: None,
        woken: bool = False,
        stale_after: timedelta = timedelta(seconds=STALE_AFTER_SECONDS),
    ) -> None:
        _check(read_catalogue(lake.settings).names, tables, trigger)
        pause = trigger.interval or timedelta()
        limit = (stale_after + pause).total_seconds()
        self.health = ServiceHealth(tables, stale_after_seconds=limit, also=lambda: event_metrics(lake.settings))
        self.stop = StopRequest()
        self._lake, self._trigger, self._say, self._on_batch = lake, trigger, say, on_batch
        self._woken = woken
        self._connecting = threading.Lock()
        self._error: Exception | None = None

    def run(self) -> None:
        """Runs until ``stop`` is asked, or a stream fails for good.

        Raises:
            LakehouseError: the error that ended it; the other streams were stopped between two batches.
        """
        threads = [threading.Thread(target=self._serve, args=(table,), name=table) for table in self.health.streams]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(_JOIN_SECONDS)
                    self._keep_store()
        except BaseException:  # without this thread nobody would start the store, or end the others
            self.stop.asked.set()
            for thread in threads:
                while thread.is_alive():
                    thread.join(_JOIN_SECONDS)
            raise
        if self._error is not None:
            raise self._error

    def _keep_store(self) -> None:
        """Starts the embedded store again as soon as it is gone.

        Spark and the streams try their requests again for a minute or two: mostly they never know.
        """
        settings = self._lake.settings
        if settings.s3_endpoint is None and store_status(settings) is None:
            self._say("the object store is gone: starting it again")
            try:
                ensure_store(settings, self._say)
            except (LakehouseError, OSError, psutil.Error) as error:  # the streams meet the reason, and tell it
                _log.info("the object store did not start: %s: %s", type(error).__name__, error)

    def _serve(self, table: str) -> None:
        health = self.health.streams[table]
        again = Retrying(
            retry=retry_if_exception(lambda error: self._may_pass(table, error)),
            wait=_BACKOFF,
            stop=stop_when_event_set(self.stop.asked),
            sleep=sleep_using_event(self.stop.asked),
            before_sleep=lambda state: self._failed(table, state),
            reraise=True,
        )
        try:
            for attempt in again:
                with attempt:
                    self._run(table, attempt.retry_state)
            health.state = State.STOPPED
        except BaseException as problem:  # a panic of a library in Rust is no Exception, and would end the thread alone
            if self.stop.asked.is_set() and self._may_pass(table, problem):
                health.state = State.STOPPED  # it was to end anyway; the next start does the batch again
                return
            error = problem if isinstance(problem, Exception) else _broken_off(table, problem)
            health.failed(error, again=False)
            self._error = self._error or error
            self.stop.asked.set()

    def _run(self, table: str, state: RetryCallState) -> None:
        def committed(batch: BatchProgress) -> None:
            state.attempt_number = 1  # it works again: the next failure is a first failure
            self.health.batch(batch)
            self._on_batch(batch)

        health = self.health.streams[table]
        run = Run(self._trigger, committed, health.alive, self.stop, self._woken)
        while not self.stop.asked.is_set():
            with self._connecting:
                lake = Lake.open(self._lake.settings, say=self._say)

            def connected(lake: Lake = lake) -> SparkSession:
                with self._connecting:
                    return connect(lake, self._say)

            if run_table(connected, lake, table, run).has_source:
                return
            pause = min(self._trigger.interval or timedelta(seconds=1), _LONGEST_WAIT).total_seconds()
            if health.state != State.WAITING:
                self._say(f"{table}: nothing to read from yet; looking again every {pause:g} s")
            health.wait()
            self.stop.asked.wait(pause)

    def _may_pass(self, table: str, error: BaseException) -> bool:
        if isinstance(error, LeaseHeld) and not self.health.streams[table].begun:
            return False
        return isinstance(error, TransientError)

    def _failed(self, table: str, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, LakehouseError)
        self.health.streams[table].failed(error, again=True)
        _log.info("%s: %s; starts again in %.0f s", table, error.what, state.upcoming_sleep)
        self._say(f"{table}: {error.what}; starts again in {state.upcoming_sleep:.0f} s")


def _broken_off(table: str, problem: BaseException) -> StreamFailed:
    return StreamFailed(
        f"the stream into {table} was broken off: {type(problem).__name__}: {problem}",
        where=table,
        state="batches committed before stay committed; the next start does the last one again",
        next_command=f"lakehouse doctor {table}",
    )


def _check(declared: Sequence[str], tables: Sequence[str], trigger: Trigger) -> None:
    unknown = [table for table in tables if table not in declared]
    double = sorted({table for table in tables if tables.count(table) > 1})
    wrong, cure = "", "name one or more of: " + ", ".join(declared)
    if unknown:
        wrong = f"there is no stream for {', '.join(unknown)}"
    elif double:
        wrong, cure = f"{', '.join(double)} is named twice: a table has one writer", "name each table once"
    elif trigger.ends:
        wrong = f"a run with {trigger} ends by itself: it is no service"
        cure = f"lakehouse ingest {' '.join(tables)} --trigger {trigger}"
    if wrong:
        raise ConfigurationError(
            wrong, where="lakehouse stream", state="nothing was read or written", next_command=cure
        )
    for table in tables:
        trigger.require_batches(table)
