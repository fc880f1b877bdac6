"""From a file to its rows by Dagster: ``dagster dev`` with its daemon, whose sensor reads the inbox of events.

Each file comes when the run before has ended, at a random moment between two ticks. The figures are those that the
materializations of bronze and gold have, and the seconds of the sensor's ticks as the daemon records them.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import psutil
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus

from benchmarks.events_outage import BUCKET, until
from lakehouse.dagster.event_times import COMMIT, REQUEST
from lakehouse.dagster.failures import UNFINISHED
from lakehouse.dagster.names import key_of
from lakehouse.dagster.sensors import SENSOR
from lakehouse.lake import Lake
from lakehouse.processes import free_port

FOLDER = "dropped/"
_BRONZE, _GOLD = "bronze.dropped", "gold.dropped"
_DECLARATION = """
tables:
  bronze.dropped:
    files:
      path: s3a://landing/dropped/
      engine: local
      hints: {number: BIGINT}
      options: {cloudFiles.useNotifications: true}
  gold.dropped:
    latest: {of: bronze.dropped, key: number, order: [number], engine: local}
"""
_DEFINITIONS = "from lakehouse.dagster import definitions\n\ndefs = definitions()\n"
_CONFIG = Path(__file__).parents[1] / "dagster.yaml"
_BETWEEN_TICKS_SECONDS = 5.0


def by_dagster(lake: Lake, files: int) -> dict[str, Any]:
    """Drops files one by one, and waits for each to be in gold by a run of the sensor's."""
    home = lake.settings.home
    (home / "dagster.lakehouse.yaml").write_text(_DECLARATION)
    (home / "definitions.py").write_text(_DEFINITIONS)
    lake = replace(lake, settings=lake.settings.model_copy(update={"declaration": home / "dagster.lakehouse.yaml"}))
    folder, chance = home / "dagster", random.Random(1)
    folder.mkdir()
    shutil.copy(_CONFIG, folder / "dagster.yaml")
    instance = dg.DagsterInstance.from_config(str(folder))
    try:
        with _servers(lake, folder):
            for number in range(files + 1):  # the first one begins the tables, with a listing
                lake.store.write(BUCKET, f"{FOLDER}{number:05d}.json", f'{{"number": {number}}}\n'.encode())
                _until_loaded(lake, instance, number + 1)
                time.sleep(chance.uniform(0, _BETWEEN_TICKS_SECONDS))
            bronze, gold = _delays(instance, _BRONZE, COMMIT), _delays(instance, _GOLD, COMMIT)
            requests, ticks = _delays(instance, _BRONZE, REQUEST), _ticks(instance)
    finally:
        instance.dispose()
    if not requests:
        raise SystemExit(f"no run was asked for by events:\n{_log_tail(home)}")
    measured = {"run_request": requests, "bronze_commit": bronze, "gold_commit": gold}
    return {
        "files": len(requests),
        **{f"put_to_{name}_seconds": _percentiles(seconds) for name, seconds in measured.items()},
        "sensor_ticks": len(ticks),
        "sensor_tick_seconds": _percentiles(ticks),
    }


@contextmanager
def _servers(lake: Lake, folder: Path) -> Iterator[None]:
    """``dagster dev``; it and all that it started end with the block."""
    settings = lake.settings
    names = ("home", "user", "bucket", "declaration")
    environment = {f"LAKEHOUSE_{name.upper()}": str(getattr(settings, name)) for name in names}
    environment |= {"LAKEHOUSE_ENGINE": "local", "DAGSTER_HOME": str(folder)}
    command = [sys.executable, "-m", "dagster", "dev", "-f", "definitions.py", "-h", "127.0.0.1"]
    with (settings.home / "dagster.log").open("wb") as log:
        servers = psutil.Popen(
            [*command, "-p", str(free_port())],
            cwd=settings.home,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        family = [servers, *servers.children(recursive=True)]
        servers.terminate()
        _, alive = psutil.wait_procs(family, timeout=60)
        for process in alive:
            with suppress(psutil.Error):
                process.kill()


def _until_loaded(lake: Lake, instance: dg.DagsterInstance, rows: int) -> None:
    """Until gold has so many rows, and no run is under way, for which the sensor would wait."""

    def loaded() -> bool:
        return _rows(lake) == rows and not instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))

    until(loaded, lambda: f"{rows} rows in {_GOLD}:\n{_log_tail(lake.settings.home)}", every_seconds=1.0)


def _rows(lake: Lake) -> int:
    rows = lake.rows(_GOLD)
    return rows.count_rows() if rows is not None else 0


def _delays(instance: dg.DagsterInstance, table: str, name: str) -> list[float]:
    """What the table's materializations say of a file that an event told of; each run had one."""
    made = instance.fetch_materializations(key_of(table), limit=10_000).records
    said = [record.asset_materialization.metadata.get(f"{name}_p95_seconds") for record in made]
    requested = [f"{REQUEST}_p95_seconds" in record.asset_materialization.metadata for record in made]
    return [value.value for value, by_event in zip(said, requested, strict=True) if value and by_event]


def _ticks(instance: dg.DagsterInstance) -> list[float]:
    """Seconds of the sensor's ticks that ended, with what the daemon does around them."""
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    [state] = [state for state in states if state.instigator_name == SENSOR]
    ended = [TickStatus.SUCCESS, TickStatus.SKIPPED]
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, statuses=ended)
    return [tick.tick_data.end_timestamp - tick.timestamp for tick in ticks if tick.tick_data.end_timestamp]


def _log_tail(home: Path) -> str:
    return (home / "dagster.log").read_text(errors="replace")[-3000:]


def _percentiles(seconds: list[float]) -> list[float]:
    return [round(value, 3) for value in np.percentile(seconds, [50, 95]).tolist()]
