"""``checkpoint backup`` and ``checkpoint restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import Json, Output, Yes, command, in_lake, open_table, require_declared
from lakehouse.plain_text import counted, sized

if TYPE_CHECKING:
    from lakehouse.lake import Lake


def backup(
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLES]", callback=in_lake, help="layer.name of each")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="of every declared table that has a stream")] = False,
    only_list: Annotated[bool, typer.Option("--list", help="list the backups that there are; makes none")] = False,
    keep: Annotated[
        int | None, typer.Option(min=1, help="remove the oldest backups of each table but so many, with the new one")
    ] = None,
    as_json: bool = Json,
) -> None:
    """Copy checkpoints, with the versions of schema and table that belong to them, below _backups/ of the lake."""
    from lakehouse.declaration import read_catalogue
    from lakehouse.errors import ConfigurationError
    from lakehouse.lake import Lake
    from lakehouse.places import back_up_all, streams
    from lakehouse.settings import Settings

    with command(as_json) as out:
        settings = Settings.load()
        if not (tables or everything or only_list):
            raise ConfigurationError(
                "no table was named",
                where="lakehouse checkpoint backup",
                state="no backup was made",
                next_command="lakehouse checkpoint backup --all   (or name tables)",
            )
        names = tuple(require_declared(settings, table).name for table in tables or ())
        lake = Lake.open(settings, say=out.say)
        names = names or streams(read_catalogue(settings))
        if only_list:
            _list(out, lake, names)
            return
        done = back_up_all(lake, names, keep, on_backup=lambda copy: out.doing(f"{copy.table} is copied"))
        rows = [[row.table, row.taken, row.finished, row.delta_version, row.size_bytes / 1e3] for row in done.made]
        out.table(["table", "backup", "batch", "version", "kB"], rows)
        for copy in done.made:
            if not copy.at_rest:
                out.line(f"{copy.table}: batch {copy.planned} is not finished; the next run repeats it", style="yellow")
        for copy in done.removed:
            out.line(f"removed the backup {copy.taken} of {copy.table} ({sized(copy.size_bytes)})")
        for name in done.without:
            out.line(f"{name} has no checkpoint yet")
        for name, error in done.errors.items():
            out.line(f"{name}: {error}", style="red")
        out.result({"backups": [copy.as_dict() for copy in done.made]})
        out.result({"removed": [copy.as_dict() for copy in done.removed], "without": done.without})
        out.result({"failed": {name: error.as_dict() for name, error in done.errors.items()}})
        for error in done.errors.values():
            raise error
        if tables and done.without:
            raise ConfigurationError(
                f"{', '.join(done.without)} has no checkpoint: there is nothing to copy",
                where=settings.checkpoint_uri(done.without[0]),
                state="no backup of it was made",
                next_command=f"lakehouse ingest {done.without[0]}",
            )


def _list(out: Output, lake: Lake, names: tuple[str, ...]) -> None:
    from lakehouse.maintenance.backup import backups

    found = [copy for name in names for copy in backups(lake, name)]
    rows = [
        [row.table, row.taken, row.finished, row.delta_version, len(row.objects), row.size_bytes / 1e3] for row in found
    ]
    out.table(["table", "backup", "batch", "version", "objects", "kB"], rows)
    out.line(
        f"{counted(len(found), 'backup')}; lakehouse checkpoint restore TABLE --from BACKUP says what each would do"
    )
    out.result({"backups": [copy.as_dict() for copy in found]})


def restore_(
    table: Annotated[str, typer.Argument(metavar="TABLE", callback=in_lake, help="layer.name")],
    taken: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="name of a backup, or its beginning; default: the newest"),
    ] = None,
    with_table: Annotated[
        bool, typer.Option("--with-table", help="take the table back, too, where the checkpoint alone would do")
    ] = False,
    yes: Yes = False,
    as_json: bool = Json,
) -> None:
    """Put a backup of a checkpoint back so that no row is lost or doubled, or say why that cannot be."""
    from dataclasses import asdict

    from lakehouse.places import restore_table

    with command(as_json) as out:
        lake, _ = open_table(out, table)
        done = restore_table(lake, table, taken, with_table=with_table, really=yes)
        for step in done.steps:
            out.line(f"{'done: ' if done.done else 'would: '}{step}")
        if done.kept_as:
            out.line(f"what was there before: backup {done.kept_as}")
        if done.done:
            out.line(f"now run: lakehouse ingest {table}")
        else:
            option = " --with-table" if with_table else ""
            out.line(
                f"nothing was changed; to do it: lakehouse checkpoint restore {table} --from {done.taken}{option} --yes"
            )
        out.result(asdict(done))
