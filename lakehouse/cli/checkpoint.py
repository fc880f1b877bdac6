"""Commands about the place of a stream: ``checkpoint``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.backup import backup, restore_
from lakehouse.cli.output import (
    Checkpoint,
    FilesArgument,
    Json,
    Output,
    Yes,
    begun,
    command,
    in_lake,
    open_own,
    open_table,
    require_declared,
)
from lakehouse.plain_text import counted, sized

if TYPE_CHECKING:
    from lakehouse.checkpoints.standing import Standing

checkpoint = typer.Typer(
    help="Where streams stand; backups of that; mending it, and letting it go.", no_args_is_help=True
)
checkpoint.command("backup")(backup)
checkpoint.command("restore")(restore_)

StreamArgument = Annotated[str, typer.Argument(metavar="TABLE", callback=in_lake, help="layer.name")]


@checkpoint.command("list")
def list_(as_json: bool = Json) -> None:
    """List the streams of all declared tables: last batch, what is read, size, and whether the table agrees."""
    from lakehouse.lake import Lake
    from lakehouse.places import places_of

    with command(as_json) as out:
        found = places_of(Lake.open(say=out.say))
        rows = []
        for stream in found:
            at = stream.standing
            agrees = (
                "not begun" if not stream.begun and not stream.disagreement else "no" if stream.disagreement else "yes"
            )
            place = at.place if at else "-"
            when = f"{at.finished_at:%Y-%m-%d %H:%M:%S}" if at and at.finished_at else "-"
            size = at.size_bytes / 1e3 if at else None
            rows.append([stream.table, at.finished if at else None, when, stream.rows, size, agrees, _short(place)])
        out.table(["table", "batch", "finished (UTC)", "rows", "kB", "agrees", "stands at"], rows)
        for stream in found:
            if stream.disagreement:
                out.line(f"{stream.table}: {stream.disagreement}", style="yellow")
        out.result({"streams": [{"table": stream.table, **_facts(stream)} for stream in found]})


def _facts(stream: Any) -> dict[str, Any]:
    at = stream.standing
    facts = _as_dict(at) if at else {}
    return {"begun": stream.begun, "rows": stream.rows, "disagreement": stream.disagreement, **facts}


def _as_dict(at: Standing) -> dict[str, Any]:
    from dataclasses import asdict

    fields = asdict(at)
    fields["parts"] = [{**part, "what": origin.what} for part, origin in zip(fields["parts"], at.parts, strict=True)]
    fields["rows_of_batch"] = fields.pop("rows")
    return {**fields, "objects": at.objects, "size_bytes": at.size_bytes}


def _short(place: str) -> str:
    """The place without the journal's folder."""
    return place.split(" of the journal ")[0]


@checkpoint.command("show")
def show(named: FilesArgument = None, checkpoint: Checkpoint = None, as_json: bool = Json) -> None:
    """Tell where the stream into a table stands, what its last batch covered, and whether the table agrees."""
    from dataclasses import asdict

    from lakehouse.checkpoints import agreement as checkpoints
    from lakehouse.checkpoints.standing import standing

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
        version, at = lake.version(table), standing(lake, table, count_state=True)
        if at is not None:
            _tell(out, table, lake.settings.checkpoint_uri(table), at, version)
        stands = _as_dict(at) if at else None
        out.result({"table": table, "checkpoint": asdict(state) if state else None, "offset": offset})
        out.result({"delta_version": version, "standing": stands})
        checkpoints.verify(lake, table)
        out.line("table and checkpoint belong together")


def _tell(out: Output, table: str, uri: str, at: Standing, version: int | None) -> None:
    if at.finished is None:
        out.line(f"{table}: no batch is finished yet")
    else:
        when = f" at {at.finished_at:%Y-%m-%d %H:%M:%S} UTC" if at.finished_at else ""
        brought = "" if at.rows is None else f", {counted(at.rows, 'row')} in version {at.version} of the table"
        out.line(f"{table}: batch {at.finished} was finished{when}")
        out.line(f"it covered {at.covered}{brought}")
        out.line(f"the next one begins behind {at.place}")
    if at.planned is not None and at.planned != at.finished:
        out.line(f"batch {at.planned} is planned and not finished: it is under way, or the next run does it again")
    if at.watermark:
        out.line(f"the watermark is {at.watermark:%Y-%m-%d %H:%M:%S} UTC: windows that ended before it are closed")
    if at.state_rows is not None:
        size = sum(part.size_bytes for part in at.parts if part.name == "state")
        out.line(f"{counted(at.state_rows, 'row')} wait in its state, {sized(size)} with what older batches left")
    out.line(f"the table is at version {'none' if version is None else version}; it knows batches as of {at.query_id}")
    rows = [[part.name, part.objects, part.size_bytes, part.what] for part in at.parts]
    out.table(["part", "objects", "bytes", "what it is"], rows, title=f"{uri}/")


@checkpoint.command("size")
def size(named: FilesArgument = None, checkpoint: Checkpoint = None, as_json: bool = Json) -> None:
    """Count the objects and bytes of a checkpoint by part, and how they grew over the backups that are kept."""
    from lakehouse.checkpoints.standing import objects_of, parts_of
    from lakehouse.maintenance.backup import backups, places

    with command(as_json) as out:
        if checkpoint:
            _size_of_own(out, checkpoint, named)
            return
        lake, table = open_table(out, named)
        if not begun(out, lake, table, named):
            out.result({"table": table, "parts": [], "backups": []})
            return
        parts = list(parts_of(objects_of(lake, table), places(lake, table)["checkpoint/"]))
        schema = list(lake.store.list(lake.settings.bucket, places(lake, table)["schema/"]))
        every: list[list[Any]] = [[part.name, part.objects, part.size_bytes] for part in parts]
        every.append(["schema", len(schema), sum(info.size_bytes for info in schema)])
        rows = _show_sizes(out, every, lake.settings.checkpoint_uri(table))
        kept = backups(lake, table)
        grown = [[copy.taken, copy.finished, len(copy.objects), copy.size_bytes] for copy in kept]
        if kept:
            out.table(["backup", "batch", "objects", "bytes"], grown)
            out.line(f"grown by {rows[-1][2] - kept[0].size_bytes:+,} bytes since the oldest backup that is kept")
        out.result({"table": table, "backups": [{**copy.as_dict(), "parts": copy.sizes()} for copy in kept]})


def _show_sizes(out: Output, parts: list[list[Any]], uri: str) -> list[list[Any]]:
    """Shows names of parts with their objects and bytes, and the sums; returns all of these rows."""
    rows = [*parts, ["all", sum(row[1] for row in parts), sum(row[2] for row in parts)]]
    out.table(["part", "objects", "bytes"], rows, title=uri)
    out.result({"parts": [dict(zip(("part", "objects", "size_bytes"), row, strict=True)) for row in rows]})
    return rows


def _size_of_own(out: Output, uri: str, named: str | None) -> None:
    """Counts what a stream of the user's own keeps in its checkpoint; there are no backups of it."""
    from lakehouse.autoloader.options.paths import split_uri
    from lakehouse.checkpoints.standing import parts_of
    from lakehouse.errors import ConfigurationError

    lake, (bucket, key) = open_own(out, uri, named), split_uri(uri)
    prefix = f"{key.rstrip('/')}/"
    parts = parts_of(list(lake.store.list(bucket, prefix)), prefix)
    if not any(part.name == "metadata" for part in parts):
        raise ConfigurationError(
            "there is no checkpoint of a stream",
            where=uri,
            state="nothing was read or written",
            next_command="name the folder given as checkpointLocation",
        )
    _show_sizes(out, [[part.name, part.objects, part.size_bytes] for part in parts], uri)
    out.result({"checkpoint": uri})


@checkpoint.command("reset")
def reset(
    table: StreamArgument,
    rows: Annotated[
        str | None, typer.Option(help="of those there: empty, replace or keep; default: what loses and doubles none")
    ] = None,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Have a stream begin anew: says what it reads again, and what becomes of the rows that are there."""
    from dataclasses import asdict
    from typing import cast, get_args

    from lakehouse.errors import ConfigurationError
    from lakehouse.maintenance.reset import Rows
    from lakehouse.places import reset_table

    with command(as_json) as out:
        if rows is not None and rows not in get_args(Rows):
            raise ConfigurationError(
                f"rows cannot be {rows}",
                where=f"lakehouse checkpoint reset --rows {rows}",
                state="nothing was changed",
                next_command=f"name one of: {', '.join(get_args(Rows))}",
            )
        lake, _ = open_table(out, table)
        done = reset_table(lake, table, cast("Rows | None", rows), really=yes)
        _print_steps(out, done.steps, done.done)
        for path in done.gone[:20]:
            out.line(f"{path}: not there any more, its rows stay", style="yellow")
        if done.kept_as:
            out.line(f"the checkpoint as it was: backup {done.kept_as}")
        if not done.done:
            out.line(f"nothing was changed; to do it: lakehouse checkpoint reset {table} --rows {done.rows} --yes")
        out.result(asdict(done))


@checkpoint.command("fork")
def fork(
    table: StreamArgument,
    new: Annotated[
        str, typer.Argument(metavar="NEW", help="a declared table of the same files that no run has filled")
    ],
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Have a new table begin where another stands: its first run loads only what comes after."""
    from dataclasses import asdict

    from lakehouse.places import fork_table
    from lakehouse.settings import Settings

    with command(as_json) as out:
        for name in (table, new):
            require_declared(Settings.load(), name)
        lake, _ = open_table(out, table)
        done = fork_table(lake, table, new, really=yes)
        does = "begins" if done.done else "would begin"
        out.line(f"{new} {does} behind {done.place}, where {table} stands; what came before is never in it")
        if done.with_schema:
            out.line(f"its columns {'are' if done.done else 'would be'} those that {table} has now")
        if not done.done:
            out.line(f"nothing was changed; to do it: lakehouse checkpoint fork {table} {new} --yes")
        out.result(asdict(done))


def _print_steps(out: Output, steps: tuple[str, ...], done: bool) -> None:
    for step in steps:
        out.line(f"{'done: ' if done else 'would: '}{step}")


def _show_own(out: Output, uri: str, named: str | None) -> None:
    """Shows a stream of the user's own, which has no table to compare it with."""
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
    facts = {"query_id": log.query_id, "last_offset": last_offset, "last_commit": last_commit}
    facts |= {"committed_files": log.committed_seq, "journal": log.journal, "stream": log.stream}
    for name, value in facts.items():
        out.line(f"{name:15} {value}")
    out.result({"checkpoint": uri, **facts})


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
    table: Annotated[str, typer.Argument(callback=in_lake, help="layer.name of a table that is computed from another")],
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
