"""The commands: each reads settings, calls one function of the library and renders what it returns."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.arrow_alone import keep_pandas_out
from lakehouse.cli import files as files_commands
from lakehouse.cli.alerts import alerts
from lakehouse.cli.check import check, show_finding
from lakehouse.cli.checklist import checklist
from lakehouse.cli.checkpoint import checkpoint
from lakehouse.cli.cleanup import cleanup
from lakehouse.cli.copy_into import copy_into
from lakehouse.cli.crash import crash
from lakehouse.cli.declare import add, init, validate
from lakehouse.cli.doctor import doctor, explain
from lakehouse.cli.events import events
from lakehouse.cli.forget import forget
from lakehouse.cli.import_checkpoint import import_checkpoint
from lakehouse.cli.late import replay_late, watermark
from lakehouse.cli.maintain import maintain
from lakehouse.cli.metrics import metrics
from lakehouse.cli.output import Json, command, full_disk_reported, in_lake, require_declared
from lakehouse.cli.policies import policies
from lakehouse.cli.put import put
from lakehouse.cli.quarantine import quarantine
from lakehouse.cli.report import report
from lakehouse.cli.schema import schema
from lakehouse.cli.sql import sql
from lakehouse.cli.stream import stream
from lakehouse.cli.tables import detail, du, history, tables
from lakehouse.cli.triggers import triggers
from lakehouse.cli.verbose import Group, Verbose
from lakehouse.errors import ConfigurationError
from lakehouse.extras import PROJECT

app = typer.Typer(
    name="lakehouse",
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        python = ".".join(map(str, sys.version_info[:3]))
        print(f"lakehouse {version(PROJECT)} (pyspark {version('pyspark')}, Python {python})")
        raise typer.Exit


@app.callback()
def lakehouse(
    verbose: Verbose = 0,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Files in a bucket become bronze, silver and gold Delta tables, each file exactly once.

    The tables are declared in lakehouse.yaml; lakehouse init writes a first one.
    """


@app.command()
def up(as_json: bool = Json) -> None:
    """Start the object store and the Spark engine, or find them running."""
    from lakehouse.engine import engine_status, warm_up
    from lakehouse.lake import Lake
    from lakehouse.storage import store_status

    with command(as_json) as out:
        lake = Lake.open(say=out.say)
        warm_up(lake, out.say)
        store, engine = store_status(lake.settings), engine_status(lake.settings)
        rows = []
        if store is not None:
            rows.append([f"object store ({store.kind})", lake.endpoint.url, store.pid, store.memory_bytes / 1e6])
        if engine is not None:
            rows.append(["Spark engine", f"127.0.0.1:{engine.port}", engine.pid, engine.memory_bytes / 1e6])
        out.table(["server", "address", "pid", "MB"], rows)
        names = ("server", "address", "pid", "memory_megabytes")
        out.result({"servers": [dict(zip(names, row, strict=True)) for row in rows]})


@app.command()
def down(
    everyone: Annotated[bool, typer.Option("--all", help="also the engines of other users of this home")] = False,
    as_json: bool = Json,
) -> None:
    """Stop the Spark engine and the object store. Data stays."""
    from lakehouse.engine import stop_engine
    from lakehouse.events.receiver_process import stop_receiver
    from lakehouse.processes import dagster_pages
    from lakehouse.settings import Settings
    from lakehouse.storage import stop_store

    with command(as_json) as out:
        settings = Settings.load()
        users = {settings.user}
        if everyone and (settings.home / "engine").is_dir():
            users |= {entry.name for entry in (settings.home / "engine").iterdir() if entry.is_dir()}
        engines = sum(stop_engine(settings.model_copy(update={"user": user})) for user in sorted(users))
        store = stop_store(settings)
        stop_receiver(settings)
        if pages := dagster_pages(settings.home).running():
            out.warn(f"Dagster's pages are on, and their sensor starts the store again; to end them: kill {pages.pid}")
        out.line(f"stopped {engines} engine(s) and {int(store)} object store(s); data stays in {settings.home}")
        out.result({"stopped_engines": engines, "stopped_stores": int(store), "home": str(settings.home)})
        out.result({"dagster_pid": pages.pid if pages else None})


@app.command()
def env(as_json: bool = Json) -> None:
    """Print export lines with the store's address and keys, for other S3 clients: eval "$(lakehouse env)"."""
    import shlex

    from lakehouse.settings import Settings
    from lakehouse.storage import ensure_store

    with command(as_json) as out:
        endpoint = ensure_store(Settings.load(), out.say)
        variables = {
            "AWS_ENDPOINT_URL": endpoint.url,
            "AWS_ACCESS_KEY_ID": endpoint.access_key.get_secret_value(),
            "AWS_SECRET_ACCESS_KEY": endpoint.secret_key.get_secret_value(),
            "AWS_REGION": endpoint.region,
        }
        for name, value in variables.items():
            out.line(f"export {name}={shlex.quote(value)}")
        out.result(variables)


@app.command()
def generate(
    files: Annotated[int, typer.Option(min=1, help="how many files")] = 12,
    rows_per_file: Annotated[int, typer.Option(min=1, help="orders in each")] = 250,
    seed: Annotated[int, typer.Option(help="the same seed writes the same bytes")] = 7,
    first_file: Annotated[int | None, typer.Option(help="number of the first file; default: after those there")] = None,
    late_share: Annotated[float, typer.Option(min=0, max=1, help="share of orders that come late")] = 0.02,
    duplicate_share: Annotated[float, typer.Option(min=0, max=1, help="share of orders sent twice")] = 0.0,
    bad_line_share: Annotated[float, typer.Option(min=0, max=1, help="share of lines that are no order")] = 0.0,
    new_column: Annotated[str | None, typer.Option(help="name of a column that appears later")] = None,
    new_column_from_file: Annotated[int | None, typer.Option(help="first file that has it")] = None,
    as_json: bool = Json,
) -> None:
    """Write sample order files into the landing bucket."""
    from lakehouse.lake import Lake
    from lakehouse.orders.landing import look_at_landing
    from lakehouse.orders.samples import generate_orders

    with command(as_json) as out:
        lake = Lake.open(say=out.say)
        bucket, prefix = lake.settings.landing_bucket, lake.settings.landing_prefix
        report = generate_orders(
            lambda name, data: lake.store.write(bucket, prefix + name, data),
            files=files,
            rows_per_file=rows_per_file,
            seed=seed,
            first_file=look_at_landing(lake).next_number if first_file is None else first_file,
            late_share=late_share,
            duplicate_share=duplicate_share,
            bad_line_share=bad_line_share,
            new_column=new_column,
            new_column_from_file=new_column_from_file,
        )
        out.line(f"{report.line()}, to s3://{bucket}/{prefix}")
        out.result(report.as_dict())


@app.command()
def ingest(
    tables: Annotated[
        list[str] | None,
        typer.Argument(callback=in_lake, help="layer.name of each, in order; default: all but those on demand"),
    ] = None,
    trigger: Annotated[str, typer.Option(help="availableNow, or once: all in one batch")] = "availableNow",
    as_json: bool = Json,
) -> None:
    """Load what is new, once: the tables in the order of the data, each followed by its checks."""
    keep_pandas_out()
    from lakehouse import pipeline
    from lakehouse.alerts.hooks import alerted, run_and_doctor
    from lakehouse.batches import Recorder
    from lakehouse.cli.triggers import trigger_that_ends
    from lakehouse.engine import connect
    from lakehouse.lake import Lake
    from lakehouse.settings import Settings
    from lakehouse.streams.run import Run
    from lakehouse.tracing import span

    with command(as_json) as out, ExitStack() as stack:
        settings = Settings.load()
        stack.enter_context(span(settings, "lakehouse ingest"))
        watch = stack.enter_context(alerted(settings, out.warn))
        chosen = tables or list(pipeline.default_tables(settings))
        for table in chosen:
            require_declared(settings, table)  # a wrong name is told before anything runs
        ending = trigger_that_ends(trigger, chosen, out.say)
        lake = watch.lake = Lake.open(settings, say=out.say)
        spark = cache(lambda: connect(lake, out.say))
        recorder = Recorder(lake)
        stack.enter_context(recorder.flushing())
        run = Run(ending, on_batch=recorder.noting(lambda batch: out.line(batch.line())))
        done = pipeline.ingest(
            *(spark, lake, chosen, run),
            on_table=lambda table, doing: out.doing(f"{table}: {doing}"),
            on_report=lambda report: out.line(report.line()),
            on_finding=lambda finding: show_finding(out, finding),
        )
        watch.find = lambda catalogue: run_and_doctor(lake, catalogue, done, chosen)
        for table, error in list(done.errors.items())[1:]:
            out.line(f"{table}: {error}", style="red")
        for table, because in done.left_out.items():
            out.line(f"{table} was not run: {because} has to be right first", style="yellow")
        out.result({"tables": [report.as_dict() for report in done.reports]})
        out.result({"checks": [finding.as_dict() for finding in done.findings]})
        out.result({"failed": {table: error.as_dict() for table, error in done.errors.items()}})
        out.result({"left_out": done.left_out})
        done.require_success()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def demo(
    context: typer.Context,
    by_events: Annotated[bool, typer.Option("--events", help="files that events tell of; --files N of them")] = False,
    as_json: bool = Json,
) -> None:
    """Run the whole story with Dagster: sample files, sensor, job, checks. Needs a clone of the project."""
    if not Path("assets/demo.py").is_file():
        with command(as_json):
            raise ConfigurationError(
                "the demo is part of the project, not of the installed library",
                where=str(Path.cwd()),
                state="nothing was started",
                next_command="run it in the folder of a clone: ./dev demo",
            )
    arguments = ["--json"] if as_json else []
    module = "assets.demo_events" if by_events else "assets.demo"
    raise typer.Exit(subprocess.run([sys.executable, "-m", module, *arguments, *context.args], check=False).returncode)


@app.command(hidden=True)
def prepare(as_json: bool = Json) -> None:
    """Fetch Spark's jars and build the object store, when they are missing."""
    from concurrent.futures import ThreadPoolExecutor

    from lakehouse.engine.jars import ensure_jars
    from lakehouse.settings import Settings
    from lakehouse.storage import ensure_minio_binary

    with command(as_json) as out, ThreadPoolExecutor(2) as pool:
        work = [
            pool.submit(ensure_minio_binary, out.say, Settings.load().minio_binary),
            pool.submit(ensure_jars, out.say),
        ]
        out.result({"ready": [str(future.result()) for future in work]})


app.command()(tables)
app.command()(history)
app.command()(detail)
app.command()(du)
app.command()(cleanup)
app.command()(init)
app.command()(add)
app.command()(validate)
app.command()(policies)
app.command()(put)
app.command("import-checkpoint")(import_checkpoint)
app.command()(check)
app.command()(checklist)
app.command()(crash)
app.command()(doctor)
app.command()(explain)
app.command()(files_commands.files)
app.command()(files_commands.replay)
app.command()(forget)
app.command()(quarantine)
app.command("replay-late")(replay_late)
app.command()(watermark)
app.command()(report)
app.command()(sql)
app.command()(stream)
app.command()(metrics)
app.command("copy-into")(copy_into)
app.add_typer(alerts, name="alerts")
app.add_typer(checkpoint, name="checkpoint")
app.add_typer(events, name="events")
app.add_typer(maintain, name="maintain")
app.add_typer(schema, name="schema")
app.add_typer(triggers, name="triggers")


def main() -> None:
    """The entry point of the ``lakehouse`` script."""
    with full_disk_reported():
        app()


if __name__ == "__main__":
    main()
