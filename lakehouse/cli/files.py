"""Commands about single files and the place of a stream: ``files``, ``replay``, ``checkpoint``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from lakehouse.cli.output import (
    Checkpoint,
    FilesArgument,
    FilesTable,
    Json,
    Output,
    Yes,
    begun,
    command,
    open_own,
    open_table,
)
from lakehouse.plain_text import counted

checkpoint = typer.Typer(help="Where a stream stands, and mending it.", no_args_is_help=True)


def files(
    named: FilesTable = None,
    checkpoint: Checkpoint = None,
    state: Annotated[str | None, typer.Option(help="INGESTED, QUARANTINED, ..., or PENDING: not read yet")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many lines; --json gives all")] = 50,
    as_json: bool = Json,
) -> None:
    """List the files that a cloudFiles stream knows, and what became of each."""
    from dataclasses import asdict

    from lakehouse.autoloader.outcomes.file_states import file_states

    with command(as_json) as out:
        wanted = _state(state) if state else None
        if checkpoint:
            lake, table = open_own(out, checkpoint, named), checkpoint
            found = list(file_states(lake.store, checkpoint))
        else:
            lake, table = open_table(out, named)
            if not begun(out, lake, table, named):
                out.result({"table": table, "counts": {}, "files": []})
                return
            commits = lake.commits_since(table, None)
            versions = {one.batch_id: one.version for one in commits if one.batch_id is not None}
            found = list(file_states(lake.store, lake.settings.checkpoint_uri(table), versions=versions))
        counts: dict[str, int] = {}
        for one in found:
            counts[one.ingestion_state or "PENDING"] = counts.get(one.ingestion_state or "PENDING", 0) + 1
        if wanted:
            found = [one for one in found if (one.ingestion_state or "PENDING") == wanted]
        rows = [
            [
                *(one.sequence, one.ingestion_state or "PENDING", one.rows, one.bad_records),
                *(one.batch_id, one.delta_version, one.path),
            ]
            for one in found[-limit:]
        ]
        out.table(["seq", "state", "rows", "bad", "batch", "version", "file"], rows)
        for one in found[-limit:]:
            if one.error:
                out.line(f"{one.path}: {one.error}", style="yellow")
        if len(found) > limit:
            out.line(f"the last {limit:,} of {len(found):,} files; --limit shows more, --json all")
        out.line(", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "no file yet")
        out.result({"table": table, "counts": counts, "files": [asdict(one) for one in found]})


def _state(named: str) -> str:
    from lakehouse.autoloader.outcomes.receipts import State
    from lakehouse.errors import ConfigurationError

    known = [*State, "PROCESSING", "PENDING"]
    if named.upper() not in known:
        raise ConfigurationError(
            f"there is no state {named} of files",
            where="lakehouse files --state",
            state="nothing was read",
            next_command="name one of: " + ", ".join(known),
        )
    return named.upper()


def replay(
    names: Annotated[list[str] | None, typer.Option("--files", help="path, key or name; globs; repeatable")] = None,
    since: Annotated[datetime | None, typer.Option(help="files found since then, UTC")] = None,
    batch: Annotated[int | None, typer.Option(min=0, help="files of this micro-batch")] = None,
    named: FilesTable = None,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Load files again: takes out their rows, then the next ingest reads the files as they are now."""
    from lakehouse.errors import ConfigurationError
    from lakehouse.pipeline import replay_files

    with command(as_json) as out:
        if not names and since is None and batch is None:
            raise ConfigurationError(
                "replay of everything was not asked for",
                where="lakehouse replay",
                state="nothing was changed",
                next_command="name the files: --files GLOB, --since TIME or --batch N",
            )
        lake, table = open_table(out, named)
        begun(out, lake, table, table)
        moment = since.replace(tzinfo=UTC) if since and since.tzinfo is None else since
        done = replay_files(lake, table, files=names or (), since=moment, batch=batch, really=yes)
        if not (done.files or done.gone or done.waiting):
            raise ConfigurationError(
                f"{table} has loaded no such file",
                where=" ".join(["lakehouse replay", *(f"--files {name}" for name in names or ())]),
                state="nothing was changed",
                next_command=f"lakehouse files --table {table}   (lists what it has loaded)",
            )
        out.table(
            ["seq", "state", "rows", "batch", "file"],
            [[one.sequence, one.ingestion_state, one.rows, one.batch_id, one.path] for one in done.files],
        )
        for one in done.gone:
            out.line(f"{one.path}: that version is not in the bucket any more, its rows stay", style="yellow")
        for one in done.waiting:
            out.line(f"{one.path} waits to be loaded again already: lakehouse ingest does it")
        what = f"{counted(len(done.files), 'file')} with {counted(done.rows, 'row')}"
        if done.done:
            out.line(f"asked to load {what} again, and to compute the tables behind them; now run: lakehouse ingest")
        else:
            does = "; --yes does it" if done.files else ""
            out.line(f"would load {what} again, and compute the tables behind them{does}")
        paths = {
            name: [one.path for one in some]
            for name, some in (("files", done.files), ("waiting", done.waiting), ("gone", done.gone))
        }
        out.result({"table": table, "done": done.done, "rows": done.rows, **paths})


@checkpoint.command("show")
def show(named: FilesArgument = None, checkpoint: Checkpoint = None, as_json: bool = Json) -> None:
    """Print where the stream into a table stands, and whether the table agrees."""
    from dataclasses import asdict

    from lakehouse.checkpoints import agreement as checkpoints

    with command(as_json) as out:
        if checkpoint:
            _show_own(out, checkpoint, named)
            return
        lake, table = open_table(out, named)
        if not begun(out, lake, table, named):
            out.result({"table": table, "checkpoint": None, "offset": None})
            return
        state = checkpoints.read_checkpoint(lake, table)
        offset = checkpoints.newest_offset(lake, table)
        said = asdict(state) if state else {}
        for name, value in {**said, "offset": offset, "delta_version": lake.version(table)}.items():
            out.line(f"{name:14} {value}")
        out.result({"table": table, "checkpoint": said or None, "offset": offset})
        checkpoints.verify(lake, table)


def _show_own(out: Output, uri: str, named: str | None) -> None:
    """Of a stream of the user's own: there is no table to hold it against."""
    from lakehouse.autoloader.options.paths import split_uri
    from lakehouse.autoloader.outcomes.file_states import read_stream_log
    from lakehouse.errors import ConfigurationError

    log = read_stream_log(open_own(out, uri, named).store, *split_uri(uri))
    if log is None:
        raise ConfigurationError(
            "there is no checkpoint of a cloudFiles stream that planned a batch",
            where=uri,
            state="nothing was read or written",
            next_command="name the folder given as checkpointLocation",
        )
    last_offset, last_commit = max(log.ends, default=None), max(log.commits, default=None)
    said = {"query_id": log.query_id, "last_offset": last_offset, "last_commit": last_commit}
    said |= {"committed_files": log.committed_seq, "journal": log.journal, "stream": log.stream}
    for name, value in said.items():
        out.line(f"{name:15} {value}")
    out.result({"checkpoint": uri, **said})


@checkpoint.command("repair")
def repair_(named: FilesArgument = None, yes: Yes = False, as_json: bool = Json) -> None:
    """Bring checkpoint, journal and table together again after one of them was lost or restored."""
    from dataclasses import asdict

    from lakehouse import pipeline

    with command(as_json) as out:
        lake, table = open_table(out, named)
        done = pipeline.repair_table(lake, table, really=yes)
        if done.reason:
            out.line(done.reason, style="yellow")
        for step in done.steps:
            out.line(f"{'done: ' if done.done else 'would: ' if done.reason else ''}{step}")
        if done.reason and not done.done:
            out.line(f"nothing was changed; to do it: lakehouse checkpoint repair {table} --yes")
        out.result(asdict(done))


@checkpoint.command("restart")
def restart(
    table: Annotated[str, typer.Argument(help="layer.name of a table that is computed from another")],
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Remove a computed table and its checkpoint; the next run computes it from all of its source."""
    from dataclasses import asdict

    from lakehouse import pipeline

    with command(as_json) as out:
        lake, _ = open_table(out, table)
        done = pipeline.restart_table(lake, table, really=yes)
        for step in done.steps:
            out.line(f"{'done: ' if done.done else 'would: '}{step}")
        if not done.done:
            out.line(f"nothing was changed; to do it: lakehouse checkpoint restart {table} --yes")
        out.result(asdict(done))
