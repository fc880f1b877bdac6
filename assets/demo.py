"""``./dev demo``: the real sensor asks for runs of the real job, in an instance whose pages ``./dev ui`` serves."""

import argparse
import json
import logging
import sys
import textwrap
import time
import warnings
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import dagster as dg
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from assets.customers import load_customers
from assets.definitions import JOB, SENSOR, defs
from assets.instance import use_instance
from lakehouse.engine import connect, engine_status
from lakehouse.errors import LakehouseError, StreamFailed
from lakehouse.lake import Lake
from lakehouse.orders.landing import look_at_landing
from lakehouse.orders.samples import generate_orders
from lakehouse.orders.tables import BRONZE, FIRST_ROWS, SILVER, TABLES
from lakehouse.plain_text import printable
from lakehouse.storage import store_status
from resources.lake import own_lake

_FIRST_FILES, _MORE_FILES = 12, 3


@dataclass
class Demo:
    """The state of one demo."""

    lake: Lake
    instance: dg.DagsterInstance
    console: Console
    runs: list[dict[str, Any]] = field(default_factory=list)

    def say(self, text: str = "", style: str = "") -> None:
        """Prints a line."""
        self.console.print(text, style=style, soft_wrap=True)

    def write_files(self, count: int) -> None:
        """Writes the next ``count`` files of the sample series."""
        settings = self.lake.settings
        report = generate_orders(
            lambda name, data: self.lake.store.write(settings.landing_bucket, settings.landing_prefix + name, data),
            files=count,
            first_file=look_at_landing(self.lake).next_number,
        )
        self.say(f"\n{report.line()}", "bold")

    def tick(self) -> dg.RunRequest | None:
        """Evaluates the sensor once, with the cursor that the instance keeps; None when it asks for no run."""
        sensor, name = defs().resolve_sensor_def(SENSOR), SENSOR
        key = f"demo/{name}"
        cursor = self.instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
        with dg.build_sensor_context(
            instance=self.instance, cursor=cursor, sensor_name=name, resources={"lake": own_lake()}
        ) as context:
            outcome = sensor.evaluate_tick(context)
        for event in outcome.asset_events:
            self.instance.report_runless_asset_event(event)
        if outcome.cursor:
            self.instance.daemon_cursor_storage.set_cursor_values({key: outcome.cursor})
        if outcome.skip_message or not outcome.run_requests:
            self.say(f"sensor {name}: skipped: {outcome.skip_message}")
            return None
        [request] = outcome.run_requests
        self.say(f"sensor {name}: one run for {request.tags['new_files']} new files")
        return request

    def run(self, request: dg.RunRequest | None) -> dict[str, Any]:
        """Runs the job in this process; the instance records it like any other run."""
        tags = {"dagster/sensor_name": SENSOR} if request else {}
        tags |= {"dagster/run_key": request.run_key or "", **request.tags} if request else {}
        started = time.monotonic()
        result = _job(self.console).execute_in_process(
            instance=self.instance, tags=tags, raise_on_error=False, run_config={"loggers": {"lines": {}}}
        )
        if not result.success:
            raise _failure(result)
        run: dict[str, Any] = {"run_id": result.run_id, "seconds": round(time.monotonic() - started, 1)}
        for event in result.get_asset_materialization_events():
            materialization = event.step_materialization_data.materialization
            numbers = {
                name: value.value
                for name, value in materialization.metadata.items()
                if isinstance(value.value, int | float)
            }
            run[".".join(materialization.asset_key.path)] = numbers
        run["checks"] = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
        passed = [name for name, passed in run["checks"].items() if passed]
        listed = textwrap.wrap(f"PASS  {', '.join(passed)}", 110, initial_indent="  ", subsequent_indent=" " * 8)
        self.say("\n".join(listed), "green")
        for name in sorted(run["checks"].keys() - set(passed)):
            self.say(f"  WARN  {name}", "yellow")
        bronze = run[BRONZE]
        self.say(
            f"run {run['run_id'][:8]}: {bronze.get('files_loaded', 0)} files and {bronze['rows_added']:,} rows loaded, "
            f"{run[SILVER]['rows_added']:,} rows of closed windows, {run['seconds']} s"
        )
        self.runs.append(run)
        return run


def main() -> None:
    """Runs the demo; exit code 1 and one clear message when anything fails."""
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    as_json = parser.parse_args().json
    console = Console(
        markup=False, emoji=False, stderr=as_json, highlight=False, width=None if sys.stdout.isatty() else 120
    )
    try:
        result = _demo(console)
    except LakehouseError as error:
        console.print(f"error: {error}", style="red")
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("interrupted; what was committed stays committed", style="red")
        sys.exit(1)
    if as_json:
        print(json.dumps(result, indent=2, default=str))


def _demo(console: Console) -> dict[str, Any]:
    started = time.monotonic()
    lake = Lake.open(say=lambda text: console.print(f" {text}", style="dim", soft_wrap=True))
    use_instance(lake.settings)
    with dg.DagsterInstance.get() as instance, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        demo = Demo(lake, instance, console)
        demo.write_files(_FIRST_FILES)
        connect(lake, lambda text: demo.say(f" {text}", "dim"))
        _expect(demo.run(demo.tick()), at_least=_FIRST_FILES)
        demo.write_files(_MORE_FILES)
        _expect(demo.run(demo.tick()), exactly=_MORE_FILES)
        demo.say("\nnothing new lands", "bold")
        demo.tick()
        _expect(demo.run(None), exactly=0)
        load_customers(lake, demo.say)
        _show_tables(demo)
        _show_where_next(demo)
    seconds = round(time.monotonic() - started, 1)
    demo.say(f"\ndone in {seconds} s", "bold")
    return {"seconds": seconds, "runs": demo.runs, "tables": [table.as_dict() for table in lake.tables()]}


def _expect(run: dict[str, Any], *, exactly: int | None = None, at_least: int = 0) -> None:
    """Makes sure of what the demo claims: a run loads new files, and no others."""
    loaded = run[BRONZE].get("files_loaded", 0)
    if loaded != exactly if exactly is not None else loaded < at_least:
        raise StreamFailed(
            f"the run loaded {loaded} files, not {exactly if exactly is not None else at_least}",
            where=f"Dagster run {run['run_id']}",
            state="everything it loaded is committed",
            next_command="lakehouse tables",
        )


def _failure(result: dg.ExecuteInProcessResult) -> LakehouseError:
    failed = [event for event in result.all_events if event.is_step_failure]
    reasons = [event.step_failure_data.error for event in failed if event.step_failure_data.error]
    cause = reasons[0].cause or reasons[0] if reasons else None
    return StreamFailed(
        "the run failed: " + (cause.message.strip() if cause else "see its events"),
        where=f"Dagster run {result.run_id}",
        state="what was committed stays committed; the next run goes on from there",
        next_command="./dev ui   (shows the run with all its events)",
    )


def _show_tables(demo: Demo) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("table", "rows", "version", "files", "kB"):
        table.add_column(name, justify="left" if name == "table" else "right")
    for info in demo.lake.tables():
        table.add_row(info.name, f"{info.rows:,}", str(info.version), str(info.files), f"{info.size_bytes / 1e3:,.0f}")
    demo.say()
    demo.console.print(table)
    for name, (count, columns) in FIRST_ROWS.items():
        _show_rows(demo, name, columns, count)


def _show_rows(demo: Demo, name: str, columns: tuple[str, ...], count: int) -> None:
    """Prints the first rows of a table, sorted by these columns."""
    rows = demo.lake.rows(name)
    if rows is None:
        return
    found = rows.to_table().sort_by([(key, "ascending") for key in columns]).slice(0, count)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in found.schema:
        numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        shown.add_column(column.name, justify="right" if numeric else "left", no_wrap=True)
    for row in found.to_pylist():
        shown.add_row(*map(_shown, row.values()))
    demo.say()
    demo.console.print(shown)


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def _show_where_next(demo: Demo) -> None:
    store, engine = store_status(demo.lake.settings), engine_status(demo.lake.settings)
    memory = [f"store {store.memory_bytes / 1e6:,.0f} MB"] if store else []
    memory += [f"Spark {engine.memory_bytes / 1e6:,.0f} MB"] if engine else []
    demo.say(f"\nrunning: {', '.join(memory) or 'nothing of ours'}")
    demo.say("next:  ./dev ui                            these runs, their numbers and checks, in Dagster")
    demo.say("       .venv/bin/lakehouse generate         more files; the sensor of the UI loads them")
    demo.say("       .venv/bin/lakehouse tables           the tables, without Spark")
    demo.say("       .venv/bin/lakehouse down             stop both servers; data stays")


def _job(console: Console) -> dg.JobDefinition:
    """The job, with a logger that prints the lines of batches; all other events are in the instance alone."""

    @dg.logger
    def lines(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("batches")
        logger.addHandler(_BatchLines(console))
        return logger

    return dg.Definitions.merge(defs(), dg.Definitions(loggers={"lines": lines})).resolve_job_def(JOB)


class _BatchLines(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = getattr(record, "dagster_meta", {}).get("orig_message", "")
        if text.startswith(tuple(f"{table} #" for table in TABLES)):
            self._console.print(f"  {text}", soft_wrap=True)


if __name__ == "__main__":
    main()
