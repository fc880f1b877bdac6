"""Commands about single files: ``files``, ``replay``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from lakehouse.cli.output import (
    Checkpoint,
    FilesTable,
    Json,
    Yes,
    begun,
    command,
    open_own,
    open_table,
)
from lakehouse.plain_text import counted


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
            versions = {commit.batch_id: commit.version for commit in commits if commit.batch_id is not None}
            found = list(file_states(lake.store, lake.settings.checkpoint_uri(table), versions=versions))
        counts: dict[str, int] = {}
        for file in found:
            counts[file.ingestion_state or "PENDING"] = counts.get(file.ingestion_state or "PENDING", 0) + 1
        if wanted:
            found = [file for file in found if (file.ingestion_state or "PENDING") == wanted]
        rows = [
            [
                *(file.sequence, file.ingestion_state or "PENDING", file.rows, file.bad_records),
                *(file.batch_id, file.delta_version, file.path),
            ]
            for file in found[-limit:]
        ]
        out.table(["seq", "state", "rows", "bad", "batch", "version", "file"], rows)
        for file in found[-limit:]:
            if file.error:
                out.line(f"{file.path}: {file.error}", style="yellow")
        if len(found) > limit:
            out.line(f"the last {limit:,} of {len(found):,} files; --limit shows more, --json all")
        out.line(", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "no file yet")
        out.result({"table": table, "counts": counts, "files": [asdict(file) for file in found]})


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
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="files of this day: in their path, else written then")
    ] = None,
    only_quarantined: Annotated[bool, typer.Option("--quarantined", help="files that are in quarantine")] = False,
    named: FilesTable = None,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Load files again: takes out their rows, then the next ingest reads the files as they are now."""
    from lakehouse.errors import ConfigurationError
    from lakehouse.pipeline import replay_files

    with command(as_json) as out:
        if not (names or only_quarantined) and since is None and batch is None and day is None:
            raise ConfigurationError(
                "replay of everything was not asked for",
                where="lakehouse replay",
                state="nothing was changed",
                next_command="name the files: --files GLOB, --since TIME, --day DATE, --batch N or --quarantined",
            )
        lake, table = open_table(out, named)
        begun(out, lake, table, table)
        moment = since.replace(tzinfo=UTC) if since and since.tzinfo is None else since
        done = replay_files(
            *(lake, table),
            files=names or (),
            since=moment,
            batch=batch,
            day=day.date() if day else None,
            only_quarantined=only_quarantined,
            really=yes,
        )
        if not (done.files or done.gone or done.waiting):
            raise ConfigurationError(
                f"{table} has loaded no such file",
                where=" ".join(["lakehouse replay", *(f"--files {name}" for name in names or ())]),
                state="nothing was changed",
                next_command=f"lakehouse files --table {table}   (lists what it has loaded)",
            )
        out.table(
            ["seq", "state", "rows", "batch", "file"],
            [[file.sequence, file.ingestion_state, file.rows, file.batch_id, file.path] for file in done.files],
        )
        for file in done.gone:
            out.line(f"{file.path}: that version is not in the bucket any more, its rows stay", style="yellow")
        for file in done.waiting:
            out.line(f"{file.path} waits to be loaded again already: lakehouse ingest does it")
        if done.forgotten_rows:
            again = counted(done.forgotten_rows, "row")
            out.line(f"{again} of these files, removed on purpose, come again; then: lakehouse forget", style="yellow")
        what = f"{counted(len(done.files), 'file')} with {counted(done.rows, 'row')}"
        if done.done:
            out.line(f"asked to load {what} again, and to compute the tables behind them; now run: lakehouse ingest")
        else:
            does = "; --yes does it" if done.files else ""
            out.line(f"would load {what} again, and compute the tables behind them{does}")
        paths = {
            name: [file.path for file in group]
            for name, group in (("files", done.files), ("waiting", done.waiting), ("gone", done.gone))
        }
        out.result(
            {"table": table, "done": done.done, "rows": done.rows, "forgotten_rows": done.forgotten_rows, **paths}
        )
