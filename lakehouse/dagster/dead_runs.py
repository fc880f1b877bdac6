"""Runs whose process is gone without a word: the machine lost its power, or somebody killed everything at once.

Where a run's process alone dies, the server that started it tells Dagster. Where both die nobody does, and Dagster
takes the run for one under way until ``max_runtime_seconds`` are over: meanwhile nobody writes its tables. So each run
notes in which process it is, and the sensors end those that cannot be any more.
"""

from __future__ import annotations

import json
import os
import re
import socket
import uuid
from contextlib import suppress
from pathlib import Path

import dagster as dg
from dagster._core.events import DagsterEventType, JobFailureData, RunFailureReason

from lakehouse.storage.lease_holder import UNKNOWN, birth_of, this_host

PROCESS_TAG = "lakehouse/process"
_GOING_ON = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_MOST, _EVENTS = 200, 20
_STARTED = re.compile(r"Started process for run \(pid: (\d+)\)")


def note_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Writes down that a run is in this process."""
    here = {
        "run": run_id,
        "host": this_host(),
        "machine": _machine(),
        "pid": os.getpid(),
        "born": birth_of(os.getpid()),
    }
    instance.add_run_tags(run_id, {PROCESS_TAG: json.dumps(here)})


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Ends the runs that are in no process any more; their ids.

    A run of another machine or container is left alone. So is a run that has noted nothing, and a run whose steps have
    processes of their own: those end while the run goes on. Dagster may try again a run that failed so, as after
    any crash.
    """
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_GOING_ON), limit=_MOST):
        gone = _gone(run.run_id, run.tags.get(PROCESS_TAG))
        if gone is not None and gone == _started_in(instance, run.run_id):
            message = "its process is gone: the machine went down, or everything was killed at once"
            if run.status == dg.DagsterRunStatus.CANCELING:
                instance.report_run_canceled(run, message)
            else:
                crashed = JobFailureData(error=None, failure_reason=RunFailureReason.UNEXPECTED_TERMINATION)
                instance.report_run_failed(run, message, crashed)
            ended.append(run.run_id)
    return ended


def _gone(run_id: str, tag: str | None) -> int | None:
    """The process that a run has noted, where it does not live any more."""
    try:
        record = json.loads(tag or "")
        run, host, machine = str(record["run"]), str(record["host"]), str(record["machine"])
        pid, born = int(record["pid"]), record["born"]
    except (ValueError, KeyError, TypeError):
        return None
    if run != run_id:  # a run that is tried again begins with the tags of the first
        return None
    if host == this_host():
        return pid if birth_of(pid) not in (born, UNKNOWN) else None
    booted = machine == _machine() and _boot(host) != _boot(this_host())
    return pid if booted else None


def _started_in(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """The process in which the run itself was started, as its server tells; None where nothing tells it."""
    of_engine = instance.get_records_for_run(run_id, of_type=DagsterEventType.ENGINE_EVENT, limit=_EVENTS).records
    for record in of_engine:
        found = _STARTED.match(record.event_log_entry.message)
        if found:
            return int(found[1])
    return None


def _boot(host: str) -> list[str]:
    return host.split("/")[:2]


def _machine() -> str:
    """The machine, whenever it was booted; not a container's where that has no id of its own."""
    own = f"{uuid.getnode():x}"
    with suppress(OSError):
        own = Path("/etc/machine-id").read_text().strip() or own
    return f"{socket.gethostname()}/{own}"
